//! Makes what frames show durable: one thread, many frames a transaction.

use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    clock::Stamp,
    spool::{Appended, CapturedFrame, Kept, SpoolError, Writer},
};

/// Most frames of one transaction.
const MAX_FRAMES: usize = 32;

/// From one look for sightings that are too old to the next.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// A frame to be kept.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) frame: CapturedFrame,
    /// Where it is; dropped where it could not be kept.
    pub(super) reply: oneshot::Sender<Kept>,
}

/// Keeps frames until no more come. Blocks: give it a thread.
///
/// # Errors
/// Damage of the spool. Trouble that may pass is told to those who wait, by dropping their reply.
pub(super) fn keep(
    writer: &mut Writer,
    mut inbox: mpsc::Receiver<Keep>,
    spooled: &Notify,
) -> Result<(), SpoolError> {
    let mut expired_at = Instant::now();
    while let Some(first) = inbox.blocking_recv() {
        let (mut frames, mut replies) = (vec![first.frame], vec![first.reply]);
        while frames.len() < MAX_FRAMES
            && let Ok(Keep { frame, reply }) = inbox.try_recv()
        {
            frames.push(frame);
            replies.push(reply);
        }
        match writer.capture(&frames) {
            Ok((kept, appended)) => {
                report_losses(&appended, "the spool is full");
                if appended.stored > 0 {
                    spooled.notify_one();
                }
                for (reply, kept) in replies.into_iter().zip(kept) {
                    // Fails only where nobody waits any more; the frame is kept nevertheless.
                    let _ = reply.send(kept);
                }
            }
            Err(error) if error.is_damage() => return Err(error),
            Err(error) => {
                tracing::error!(%error, frames = frames.len(), "frames can't be kept; their senders are told");
                // On a full disk, pages of the spool itself are what can be had.
                if error.is_full() && writer.shed().is_ok_and(|shed| shed != Appended::default()) {
                    tracing::warn!("the disk is full; a part of the spool was given up");
                }
            }
        }
        if expired_at.elapsed() >= EXPIRE_EVERY {
            expired_at = Instant::now();
            match writer.expire(Stamp::now()) {
                Ok(expired) => report_losses(&expired, "sightings waited too long"),
                Err(error) if error.is_damage() => return Err(error),
                Err(error) => tracing::warn!(%error, "old sightings could not be given up"),
            }
        }
    }
    Ok(())
}

fn report_losses(appended: &Appended, why: &'static str) {
    if appended.lost > 0 || appended.lost_evidence > 0 {
        let Appended { lost, lost_repeats, lost_expired, lost_evidence, .. } = *appended;
        tracing::warn!(
            sightings = lost,
            repeats = lost_repeats,
            expired = lost_expired,
            evidence = lost_evidence,
            "{why}; something was given up"
        );
    }
}
