//! What the server made of sightings, for those who wait for it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cavs_proto::v1::{self, sighting_result::Outcome};
use tokio::{sync::watch, time::timeout};

use crate::sighting::SightingKey;

/// Answers that are remembered, for frames that come again.
const REMEMBERED: usize = 8192;

/// What the server said of a sighting.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerAnswer {
    /// It has it, and this is what it made of it, where it says so.
    Recorded(Option<v1::SightingAnswer>),
    /// It will not have it, for this stable reason.
    Rejected(String),
}

/// The answers that frames wait for.
#[derive(Debug)]
pub struct Answers {
    recent: Mutex<Recent>,
    server: watch::Sender<ServerState>,
}

#[derive(Debug, Default)]
struct Recent {
    answers: HashMap<SightingKey, ServerAnswer>,
    /// Oldest first.
    order: VecDeque<SightingKey>,
}

#[derive(Debug, Clone, Copy, Default)]
struct ServerState {
    connected: bool,
}

impl Default for Answers {
    fn default() -> Self {
        Self { recent: Mutex::default(), server: watch::Sender::new(ServerState::default()) }
    }
}

impl Answers {
    /// The server listens, or does so no more: then nobody need wait for it.
    pub fn connected(&self, connected: bool) {
        self.server.send_replace(ServerState { connected });
    }

    /// Takes in what the server said.
    pub fn settle(&self, results: &[v1::SightingResult]) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for result in results {
            let key = SightingKey { boot_epoch: result.boot_epoch, sequence: result.sequence };
            let answer = match result.outcome() {
                Outcome::Stored | Outcome::Duplicate => ServerAnswer::Recorded(result.answer.clone()),
                Outcome::Rejected => ServerAnswer::Rejected(result.reason.clone()),
                Outcome::Unspecified => continue,
            };
            if recent.answers.insert(key, answer).is_none() {
                recent.order.push_back(key);
            }
        }
        while recent.order.len() > REMEMBERED {
            let oldest = recent.order.pop_front();
            oldest.and_then(|key| recent.answers.remove(&key));
        }
        drop(recent);
        self.server.send_modify(|_| {});
    }

    /// What was said of sightings so far.
    #[must_use]
    pub fn of(&self, keys: &[SightingKey]) -> Vec<Option<ServerAnswer>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| recent.answers.get(key).cloned()).collect()
    }

    /// What was said of sightings, as soon as something was said of all of them; at the latest after
    /// `limit`, or when the server is gone.
    pub async fn wait_for(&self, keys: &[SightingKey], limit: Duration) -> Vec<Option<ServerAnswer>> {
        let mut server = self.server.subscribe();
        let all = async {
            loop {
                let connected = server.borrow_and_update().connected;
                if !connected || self.of(keys).iter().all(Option::is_some) || server.changed().await.is_err()
                {
                    return;
                }
            }
        };
        // What is missing then was not said in time.
        let _ = timeout(limit, all).await;
        self.of(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sequence: u64) -> SightingKey {
        SightingKey { boot_epoch: 1, sequence }
    }

    fn result(sequence: u64, outcome: Outcome) -> v1::SightingResult {
        let reason = "R".to_owned();
        v1::SightingResult { boot_epoch: 1, sequence, outcome: outcome.into(), reason, ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_it_makes_sense() {
        let answers = Answers::default();
        let limit = Duration::from_secs(2);
        let begun = tokio::time::Instant::now();
        assert_eq!(answers.wait_for(&[key(1)], limit).await, [None], "the server is away");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        answers.connected(true);
        assert_eq!(answers.wait_for(&[key(1)], limit).await, [None]);
        assert_eq!(begun.elapsed(), limit);

        let settling = async {
            answers.settle(&[result(1, Outcome::Stored)]);
            tokio::task::yield_now().await;
            answers.settle(&[result(2, Outcome::Rejected)]);
        };
        let keys = [key(1), key(2)];
        let (received, ()) = tokio::join!(answers.wait_for(&keys, limit), settling);
        assert_eq!(
            received,
            [Some(ServerAnswer::Recorded(None)), Some(ServerAnswer::Rejected("R".to_owned()))]
        );
        assert_eq!(begun.elapsed(), limit, "no further wait");
        let leaving = async { answers.connected(false) };
        let keys = [key(3)];
        assert_eq!(tokio::join!(answers.wait_for(&keys, limit), leaving).0, [None]);
    }

    #[test]
    fn only_the_newest_are_remembered() {
        let answers = Answers::default();
        for sequence in 0..2 * REMEMBERED as u64 {
            answers.settle(&[result(sequence, Outcome::Duplicate), result(sequence, Outcome::Stored)]);
        }
        let recent = answers.recent.lock().unwrap();
        assert_eq!((recent.answers.len(), recent.order.len()), (REMEMBERED, REMEMBERED));
        assert!(recent.answers.contains_key(&key(2 * REMEMBERED as u64 - 1)));
    }
}
