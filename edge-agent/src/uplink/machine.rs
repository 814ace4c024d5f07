//! The uplink's protocol as a state machine: no I/O, and the time is what the caller says.
//!
//! The caller performs every [`Action`] in order, then feeds the next event. A [`Action::Load`] is
//! answered by [`Machine::on_loaded`] before anything else.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use cavs_proto::v1::{BatchAck, SightingResult, Welcome, sighting_result::Outcome};

use super::{
    Failure, Phase,
    backoff::{Backoff, REFUSED},
};
use crate::{sighting::SightingKey, spool::Settlement};

/// Largest batch that is offered, whatever the server would take.
const MAX_BATCH_SIZE: usize = 1024;

/// A session that lasted so long ended the turns of two agents.
const UNCONTESTED: Duration = Duration::from_secs(600);

/// Most batches under way, whatever the server would take.
pub(super) const MAX_UNACKNOWLEDGED: usize = 32;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Until the stream is open.
    pub connect: Duration,
    /// Until `Welcome`.
    pub welcome: Duration,
    /// From a batch to its acknowledgement: the server matches and commits in between.
    pub acknowledgement: Duration,
    /// From one heartbeat to the next.
    pub heartbeat: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            welcome: Duration::from_secs(10),
            acknowledgement: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
        }
    }
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a stream and send `Hello`.
    Connect,
    /// Read sightings from the spool and call [`Machine::on_loaded`] with their keys.
    Load {
        /// Only those after this key.
        after: Option<SightingKey>,
        /// Most sightings of the batch.
        limit: usize,
    },
    /// Send what was loaded last as a batch.
    SendBatch {
        /// Counts the batches of this process from 1; the acknowledgement names it.
        batch_id: u64,
    },
    /// Send a heartbeat with the spool's status and the agent's health.
    SendHeartbeat,
    /// Take sightings out of the spool, durably.
    Settle(Vec<(SightingKey, Settlement)>),
    /// Drop the stream, or the attempt to open one.
    Disconnect {
        /// What ended it.
        failure: Failure,
        /// When the next attempt comes.
        retry_in: Duration,
    },
}

/// The state machine; see the [module](self).
#[derive(Debug)]
pub struct Machine {
    timing: Timing,
    backoff: Backoff,
    /// While another agent speaks for this device. What is delivered in between does not make it short:
    /// two agents would spend their time on taking each other's place.
    contested: Backoff,
    state: State,
    last_batch_id: u64,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Connecting { deadline: Instant },
    AwaitingWelcome { deadline: Instant },
    Streaming(Session),
}

#[derive(Debug)]
struct Session {
    began: Instant,
    batch_size: usize,
    max_unacknowledged: usize,
    /// By batch id, so the oldest comes first.
    in_flight: BTreeMap<u64, Batch>,
    /// The last sighting that this session has offered.
    offered: Option<SightingKey>,
    loading: bool,
    /// The spool may hold more than was offered.
    more: bool,
    next_heartbeat: Instant,
}

#[derive(Debug)]
struct Batch {
    keys: Vec<SightingKey>,
    deadline: Instant,
}

impl Machine {
    /// A machine that connects at once. The seed makes its delays reproducible.
    #[must_use]
    pub fn new(timing: Timing, seed: u64, now: Instant) -> Self {
        Self {
            timing,
            backoff: Backoff::new(seed),
            contested: Backoff::contested(seed),
            state: State::Waiting { until: now },
            last_batch_id: 0,
            actions: VecDeque::new(),
        }
    }

    /// The next action, in order; `None` where the caller may wait for an event.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::on_time`] has to be called, unless an event comes before.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.state {
            State::Waiting { until } => *until,
            State::Connecting { deadline } | State::AwaitingWelcome { deadline } => *deadline,
            State::Streaming(session) => {
                let oldest = session.in_flight.values().next().map(|batch| batch.deadline);
                oldest.map_or(session.next_heartbeat, |oldest| oldest.min(session.next_heartbeat))
            }
        }
    }

    /// No batch waits for an acknowledgement or is being loaded.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.state {
            State::Waiting { .. } | State::Connecting { .. } | State::AwaitingWelcome { .. } => true,
            State::Streaming(session) => session.in_flight.is_empty() && !session.loading,
        }
    }

    /// The server has welcomed this agent and the stream is open.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming(_))
    }

    /// Acts on deadlines up to `now`: attempts, timeouts, heartbeats.
    pub fn on_time(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { until } if *until <= now => {
                self.state = State::Connecting { deadline: now + self.timing.connect };
                self.actions.push_back(Action::Connect);
            }
            State::Connecting { deadline } if *deadline <= now => {
                self.on_failure(Failure::Timeout(Phase::Connect), now);
            }
            State::AwaitingWelcome { deadline } if *deadline <= now => {
                self.on_failure(Failure::Timeout(Phase::Welcome), now);
            }
            State::Streaming(session) => {
                if session.in_flight.values().any(|batch| batch.deadline <= now) {
                    self.on_failure(Failure::Timeout(Phase::Acknowledgement), now);
                } else if session.next_heartbeat <= now {
                    session.next_heartbeat = now + self.timing.heartbeat;
                    self.actions.push_back(Action::SendHeartbeat);
                }
            }
            State::Waiting { .. } | State::Connecting { .. } | State::AwaitingWelcome { .. } => {}
        }
    }

    /// The stream is open and `Hello` is on its way.
    pub fn on_connected(&mut self, now: Instant) {
        if let State::Connecting { .. } = self.state {
            self.state = State::AwaitingWelcome { deadline: now + self.timing.welcome };
        }
    }

    /// The server has welcomed the agent.
    pub fn on_welcome(&mut self, welcome: &Welcome, now: Instant) {
        let State::AwaitingWelcome { .. } = self.state else {
            return self.on_failure(Failure::Protocol("an unexpected welcome".to_owned()), now);
        };
        let clamp = |value: u32, most: usize| usize::try_from(value).unwrap_or(most).clamp(1, most);
        self.state = State::Streaming(Session {
            began: now,
            batch_size: clamp(welcome.max_batch_size, MAX_BATCH_SIZE),
            max_unacknowledged: clamp(welcome.max_unacknowledged_batches, MAX_UNACKNOWLEDGED),
            in_flight: BTreeMap::new(),
            offered: None,
            loading: false,
            more: true,
            next_heartbeat: now + self.timing.heartbeat,
        });
        self.fill();
    }

    /// The answer to [`Action::Load`]: keys in the spool's order; none says that there are no more.
    pub fn on_loaded(&mut self, keys: Vec<SightingKey>, now: Instant) {
        let State::Streaming(session) = &mut self.state else { return };
        session.loading = false;
        let Some(last) = keys.last() else {
            session.more = false;
            return;
        };
        session.offered = Some(*last);
        self.last_batch_id += 1;
        let batch_id = self.last_batch_id;
        let deadline = now + self.timing.acknowledgement;
        session.in_flight.insert(batch_id, Batch { keys, deadline });
        self.actions.push_back(Action::SendBatch { batch_id });
        self.fill();
    }

    /// The spool has got new sightings.
    pub fn on_spooled(&mut self) {
        if let State::Streaming(session) = &mut self.state {
            session.more = true;
            self.fill();
        }
    }

    /// There is something that the server should know at once.
    pub fn on_news(&mut self, now: Instant) {
        if let State::Streaming(session) = &mut self.state {
            session.next_heartbeat = now;
        }
    }

    /// The server has acknowledged a batch. An acknowledgement that does not fit its batch settles
    /// nothing: the session ends, and the batch is offered again in the next one.
    pub fn on_ack(&mut self, ack: BatchAck, now: Instant) {
        let batch = match &mut self.state {
            State::Streaming(session) => session.in_flight.remove(&ack.batch_id),
            State::Waiting { .. } | State::Connecting { .. } | State::AwaitingWelcome { .. } => None,
        };
        let settlements = batch
            .ok_or_else(|| format!("batch {} is not under way", ack.batch_id))
            .and_then(|batch| settlements(&batch.keys, ack.results));
        match settlements {
            Ok(settlements) => {
                // Only progress makes retries fast again: a server that welcomes and fails at once
                // is not hammered.
                self.backoff.reset();
                self.actions.push_back(Action::Settle(settlements));
                self.fill();
            }
            Err(problem) => self.on_failure(Failure::Protocol(problem), now),
        }
    }

    /// The stream has ended or could not be opened.
    pub fn on_failure(&mut self, failure: Failure, now: Instant) {
        if let State::Waiting { .. } = self.state {
            return;
        }
        if let State::Streaming(session) = &self.state
            && now.saturating_duration_since(session.began) >= UNCONTESTED
        {
            self.contested.reset();
        }
        let retry_in = if failure.is_contested() {
            self.contested.next_delay()
        } else if failure.advice().is_some() {
            REFUSED
        } else {
            self.backoff.next_delay()
        };
        self.state = State::Waiting { until: now + retry_in };
        // What was settled stays so; everything else was meant for the stream that is gone.
        self.actions.retain(|action| matches!(action, Action::Settle(_)));
        self.actions.push_back(Action::Disconnect { failure, retry_in });
    }

    fn fill(&mut self) {
        let State::Streaming(session) = &mut self.state else { return };
        if session.more && !session.loading && session.in_flight.len() < session.max_unacknowledged {
            session.loading = true;
            self.actions.push_back(Action::Load { after: session.offered, limit: session.batch_size });
        }
    }
}

/// Checks that results are those of a batch, in its order.
fn settlements(
    keys: &[SightingKey],
    results: Vec<SightingResult>,
) -> Result<Vec<(SightingKey, Settlement)>, String> {
    if results.len() != keys.len() {
        return Err(format!("{} results for {} sightings", results.len(), keys.len()));
    }
    let pairs = keys.iter().zip(results);
    pairs
        .map(|(key, result)| {
            let said = SightingKey { boot_epoch: result.boot_epoch, sequence: result.sequence };
            if said != *key {
                return Err(format!("a result for {said} in the place of {key}"));
            }
            match Outcome::try_from(result.outcome) {
                Ok(Outcome::Stored | Outcome::Duplicate) => Ok((*key, Settlement::Delivered)),
                Ok(Outcome::Rejected) => {
                    let SightingResult { reason, message, .. } = result;
                    Ok((*key, Settlement::Rejected { reason, message }))
                }
                Ok(Outcome::Unspecified) | Err(_) => {
                    Err(format!("outcome {} of {key} is unknown", result.outcome))
                }
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
