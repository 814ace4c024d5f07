//! Makes durable what frames show: one thread, many frames a transaction, for an agent's own camera as
//! for the cameras of a proxy. What has waited too long is given up, whether or not frames come.

use std::{
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Stamp,
    spool::{Appended, FrameRecord, Kept, SpoolError, Writer},
    vitals::Vitals,
};

/// Most frames of one transaction.
const MAX_FRAMES: usize = 32;

/// From one look for sightings that are too old to the next.
pub(crate) const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Pause before a failed transaction is tried again: space may be freed, a lock may go.
const RETRY: Duration = Duration::from_secs(1);

/// A retry that is worth a line in the log, after the first one.
const LOG_EVERY: u32 = 60;

/// Where a frame's sightings are, for who waits to hear it; dropped where they could not be kept.
pub(crate) type Reply = oneshot::Sender<Kept>;

/// Where what is to be kept comes from.
pub(crate) trait Feed {
    /// What comes.
    type Item;

    /// What is to be kept of it.
    fn record(&mut self, item: Self::Item) -> (FrameRecord, Option<Reply>);

    /// What was recorded is kept, or something was given up.
    fn kept(&mut self, appended: &Appended);

    /// Until when frames that can't be kept are tried again; `None` where their senders are told.
    fn retries(&self) -> Option<&CancellationToken>;
}

/// The thread that keeps.
pub(crate) struct Keeper<'a> {
    pub(crate) writer: &'a mut Writer,
    /// Signalled after sightings were stored.
    pub(crate) spooled: &'a Notify,
    pub(crate) vitals: &'a Vitals,
    pub(crate) expire_every: Duration,
}

impl Keeper<'_> {
    /// Keeps what comes until nothing more does. Blocks: give it a blocking thread of the runtime.
    ///
    /// # Errors
    /// Damage of the spool, or anything else that did not pass as long as frames were tried again.
    pub(crate) fn keep<F: Feed>(
        mut self,
        mut inbox: mpsc::Receiver<F::Item>,
        feed: &mut F,
    ) -> Result<(), SpoolError> {
        let runtime = Handle::current();
        let mut expires = Instant::now();
        loop {
            let patience = expires.saturating_duration_since(Instant::now());
            // Nothing is lost where the time ends the wait: receiving is cancel safe.
            match runtime.block_on(async { timeout(patience, inbox.recv()).await }) {
                Ok(None) => return Ok(()),
                Ok(Some(first)) => self.store(first, &mut inbox, feed)?,
                Err(_) => {}
            }
            if expires <= Instant::now() {
                expires = Instant::now() + self.expire_every;
                match self.writer.expire(Stamp::now()) {
                    Ok(expired) => {
                        feed.kept(&expired);
                        report_losses(&expired, "sightings waited too long");
                    }
                    Err(error) if error.is_damage() => return Err(error),
                    Err(error) => tracing::warn!(%error, "old sightings could not be given up"),
                }
            }
        }
    }

    fn store<F: Feed>(
        &mut self,
        first: F::Item,
        inbox: &mut mpsc::Receiver<F::Item>,
        feed: &mut F,
    ) -> Result<(), SpoolError> {
        let (record, reply) = feed.record(first);
        let (mut records, mut replies) = (vec![record], vec![reply]);
        while records.len() < MAX_FRAMES
            && let Ok(next) = inbox.try_recv()
        {
            let (record, reply) = feed.record(next);
            records.push(record);
            replies.push(reply);
        }
        let Some((kept, appended)) = self.write(&records, feed.retries())? else { return Ok(()) };
        feed.kept(&appended);
        report_losses(&appended, "the spool is full");
        if appended.stored > 0 {
            self.spooled.notify_one();
        }
        for (reply, kept) in replies.into_iter().zip(kept) {
            // Fails only where nobody waits any more; the frame is kept nevertheless.
            let _ = reply.map(|reply| reply.send(kept));
        }
        Ok(())
    }

    /// Stores frames; `None` where they can't be, and their senders are to be told.
    fn write(
        &mut self,
        records: &[FrameRecord],
        retries: Option<&CancellationToken>,
    ) -> Result<Option<(Vec<Kept>, Appended)>, SpoolError> {
        let mut attempts = 0;
        loop {
            let error = match self.writer.store(records) {
                Ok(stored) => {
                    self.vitals.storing_fails.store(false, Relaxed);
                    return Ok(Some(stored));
                }
                Err(error) => error,
            };
            let given_up = retries.is_some_and(CancellationToken::is_cancelled);
            if error.is_damage() || given_up {
                return Err(error);
            }
            self.vitals.storing_fails.store(error.is_full(), Relaxed);
            if attempts % LOG_EVERY == 0 {
                let frames = records.len();
                tracing::error!(%error, attempts, frames, "nothing can be stored");
            }
            attempts += 1;
            // On a full disk, pages of the spool itself are what can be had.
            let shed = error.is_full() && self.writer.shed().is_ok_and(|shed| shed != Appended::default());
            if shed {
                tracing::warn!("the disk is full; a part of the spool was given up");
            }
            match retries {
                None => return Ok(None),
                Some(_) if shed => {}
                Some(_) => thread::sleep(RETRY),
            }
        }
    }
}

fn report_losses(appended: &Appended, why: &'static str) {
    if appended.lost > 0 || appended.lost_evidence > 0 {
        tracing::warn!(
            sightings = appended.lost,
            repeats = appended.lost_repeats,
            expired = appended.lost_expired,
            evidence = appended.lost_evidence,
            "{why}; something was given up"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        sighting::Sighting,
        spool::{Spool, SpoolOptions},
        vision::{Vision, fake},
    };

    /// Keeps records as they come.
    struct Plain(u64);

    impl Feed for Plain {
        type Item = FrameRecord;

        fn record(&mut self, item: FrameRecord) -> (FrameRecord, Option<Reply>) {
            (item, None)
        }

        fn kept(&mut self, appended: &Appended) {
            self.0 += appended.lost_expired;
        }

        fn retries(&self) -> Option<&CancellationToken> {
            None
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_old_goes_while_no_frame_comes() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = SpoolOptions::new(dir.path().join("spool.db"), 1 << 30);
        options.max_age = Some(Duration::from_millis(300));
        let Spool { mut writer, outbox, .. } = Spool::open(&options, Timestamp::now()).unwrap();
        let (sender, inbox) = mpsc::channel(1);
        let keeping = tokio::task::spawn_blocking(move || {
            let (spooled, vitals) = (Notify::new(), Arc::new(Vitals::default()));
            let expire_every = Duration::from_millis(50);
            let keeper = Keeper { writer: &mut writer, spooled: &spooled, vitals: &vitals, expire_every };
            let mut feed = Plain(0);
            keeper.keep(inbox, &mut feed).unwrap();
            feed.0
        });
        // One without a date, as the clock was not known to be right.
        let taken = Stamp { synchronised: false, ..Stamp::now() };
        let (pack_digest, face) = (fake::FakeVision.pack_digest(), fake::face(0));
        let sighting =
            Sighting { taken, frame: "f".to_owned(), pack_digest, face, track: None, camera: None };
        sender.send(FrameRecord { sightings: vec![sighting], ..FrameRecord::default() }).await.unwrap();
        let gone = async {
            loop {
                let status = outbox.status().unwrap();
                if status.lost_expired == 1 {
                    break assert_eq!(status.spooled, 0);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), gone).await.expect("it is still there");
        drop(sender);
        assert_eq!(keeping.await.unwrap(), 1);
    }
}
