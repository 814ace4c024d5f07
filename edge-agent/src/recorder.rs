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
    health::HealthCounters,
    spool::{Appended, FrameRecord, SpoolError, StoredFrame, Writer},
};

/// Most frames of one transaction.
const MAX_FRAMES: usize = 32;

/// How often sightings that are too old are looked for.
pub(crate) const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Pause before a failed transaction is tried again: space may be freed, a lock may go.
const RETRY: Duration = Duration::from_secs(1);

/// A retry that is worth a line in the log, after the first one.
const LOG_EVERY: u32 = 60;

/// Tells a frame's sender under which keys its sightings are stored; dropped where they could not be.
pub(crate) type StoredReply = oneshot::Sender<StoredFrame>;

/// What the frame recorder stores, and who is told of it.
pub(crate) trait RecordSource {
    /// One frame's result, as its queue carries it.
    type Item;

    /// What goes into the spool, and the sender that waits to hear of it.
    fn record(&mut self, item: Self::Item) -> (FrameRecord, Option<StoredReply>);

    /// A transaction was committed: records were stored, or sightings given up.
    fn on_stored(&mut self, appended: &Appended);

    /// Until when frames that can't be kept are tried again; `None` where their senders are told.
    fn retry_until(&self) -> Option<&CancellationToken>;
}

/// The thread that writes into the spool: frames as they come, and the expiry of what waited too long.
pub(crate) struct FrameRecorder<'a> {
    pub(crate) writer: &'a mut Writer,
    /// Signalled after sightings were stored.
    pub(crate) spooled: &'a Notify,
    pub(crate) counters: &'a HealthCounters,
    pub(crate) expire_every: Duration,
}

impl FrameRecorder<'_> {
    /// Stores frames until no more come. Blocks: give it a blocking thread of the runtime.
    ///
    /// # Errors
    /// Damage of the spool, or anything else that did not pass as long as frames were tried again.
    pub(crate) fn run<F: RecordSource>(
        mut self,
        mut inbox: mpsc::Receiver<F::Item>,
        source: &mut F,
    ) -> Result<(), SpoolError> {
        let runtime = Handle::current();
        let mut expires = Instant::now();
        loop {
            let patience = expires.saturating_duration_since(Instant::now());
            // Nothing is lost where the time ends the wait: receiving is cancel safe.
            match runtime.block_on(async { timeout(patience, inbox.recv()).await }) {
                Ok(None) => {
                    self.note_watch();
                    self.spooled.notify_one();
                    return Ok(());
                }
                Ok(Some(first)) => self.store(first, &mut inbox, source)?,
                Err(_) => {}
            }
            if expires <= Instant::now() {
                expires = Instant::now() + self.expire_every;
                match self.writer.expire(Stamp::now()) {
                    Ok(expired) => {
                        source.on_stored(&expired);
                        report_losses(&expired, "sightings waited too long");
                    }
                    Err(error) if error.is_damage() => return Err(error),
                    Err(error) => tracing::warn!(%error, "old sightings could not be given up"),
                }
            }
        }
    }

    fn store<F: RecordSource>(
        &mut self,
        first: F::Item,
        inbox: &mut mpsc::Receiver<F::Item>,
        source: &mut F,
    ) -> Result<(), SpoolError> {
        let (record, reply) = source.record(first);
        let (mut records, mut replies) = (vec![record], vec![reply]);
        while records.len() < MAX_FRAMES
            && let Ok(next) = inbox.try_recv()
        {
            let (record, reply) = source.record(next);
            records.push(record);
            replies.push(reply);
        }
        let Some((stored, appended)) = self.write(&records, source.retry_until())? else { return Ok(()) };
        source.on_stored(&appended);
        report_losses(&appended, "the spool is full");
        let reported = records.iter().any(|record| record.watch.is_some()) && self.writer.is_watch_due();
        if reported {
            self.note_watch();
        }
        if appended.stored > 0 || reported {
            self.spooled.notify_one();
        }
        for (reply, stored) in replies.into_iter().zip(stored) {
            // Fails only where nobody waits any more; the frame is stored nevertheless.
            let _ = reply.map(|reply| reply.send(stored));
        }
        Ok(())
    }

    /// Has the spool take note of what was watched. Where it can't, it is tried again with what comes next.
    fn note_watch(&mut self) {
        if let Err(error) = self.writer.note_watch() {
            tracing::warn!(%error, "what was watched can't be noted");
        }
    }

    /// Stores frames; `None` where they can't be, and their senders are to be told.
    fn write(
        &mut self,
        records: &[FrameRecord],
        retries: Option<&CancellationToken>,
    ) -> Result<Option<(Vec<StoredFrame>, Appended)>, SpoolError> {
        let mut attempts = 0;
        loop {
            let error = match self.writer.store(records) {
                Ok(stored) => {
                    self.counters.storing_fails.store(false, Relaxed);
                    return Ok(Some(stored));
                }
                Err(error) => error,
            };
            let given_up = retries.is_some_and(CancellationToken::is_cancelled);
            if error.is_damage() || given_up {
                return Err(error);
            }
            self.counters.storing_fails.store(error.is_full(), Relaxed);
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

    /// Passes records on as they come, and counts what expires.
    struct CountsExpired(u64);

    impl RecordSource for CountsExpired {
        type Item = FrameRecord;

        fn record(&mut self, item: FrameRecord) -> (FrameRecord, Option<StoredReply>) {
            (item, None)
        }

        fn on_stored(&mut self, appended: &Appended) {
            self.0 += appended.lost_expired;
        }

        fn retry_until(&self) -> Option<&CancellationToken> {
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
            let (spooled, counters) = (Notify::new(), Arc::new(HealthCounters::default()));
            let expire_every = Duration::from_millis(50);
            let recorder =
                FrameRecorder { writer: &mut writer, spooled: &spooled, counters: &counters, expire_every };
            let mut source = CountsExpired(0);
            recorder.run(inbox, &mut source).unwrap();
            source.0
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
