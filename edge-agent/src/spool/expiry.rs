//! Which sightings have waited too long, those too that were stored while nobody knew the time.

use std::time::Duration;

use cavs_proto::v1;
use jiff::Timestamp;
use prost::Message;
use rusqlite::{Transaction, params};

use super::{
    Seal, SealedPart, SpoolError,
    format::{signed, unsigned},
};
use crate::{clock::Stamp, sighting::SightingKey};

/// Undated sightings that are dated at once: what is left is dated a minute later.
const DATED_AT_ONCE: i64 = 10_000;

/// Sightings that go at once, so that SQLite's journal stays short: what is left goes a minute later.
const GONE_AT_ONCE: i64 = 50_000;

/// For spools of earlier agents too, which made none.
const INDEX: &str = "CREATE INDEX IF NOT EXISTS sightings_by_age ON sightings (stored_at)";

/// Deletes what is older than `max_age`; gives the number.
pub(super) fn expire(
    transaction: &Transaction<'_>,
    seal: &Seal,
    max_age: Duration,
    now: Stamp,
    boot_id: &str,
) -> Result<u64, SpoolError> {
    transaction.execute_batch(INDEX)?;
    if !now.synchronised {
        return expire_of_this_boot(transaction, seal, max_age, now, boot_id);
    }
    date(transaction, seal, now, boot_id)?;
    let oldest = now.wall.checked_sub(max_age).map_or(i64::MIN, |oldest| oldest.as_millisecond());
    let sql = "DELETE FROM sightings WHERE rowid IN
        (SELECT rowid FROM sightings WHERE stored_at < ? ORDER BY stored_at LIMIT ?)";
    Ok(transaction.prepare_cached(sql)?.execute([oldest, GONE_AT_ONCE])? as u64)
}

/// Gives a date to the sightings that have none, now that the time is known.
fn date(transaction: &Transaction<'_>, seal: &Seal, now: Stamp, boot_id: &str) -> Result<(), SpoolError> {
    let mut undated = transaction.prepare_cached(
        "SELECT s.boot_epoch, s.sequence, s.body, b.boot_id, b.anchor_boot_us
         FROM sightings s LEFT JOIN boots b ON b.boot_epoch = s.boot_epoch
         WHERE s.stored_at IS NULL LIMIT ?",
    )?;
    let rows = undated.query_map([DATED_AT_ONCE], |row| {
        let key = SightingKey { boot_epoch: unsigned(row.get(0)?), sequence: unsigned(row.get(1)?) };
        let (boot, anchor): (Option<String>, Option<i64>) = (row.get(3)?, row.get(4)?);
        Ok((key, row.get::<_, Vec<u8>>(2)?, boot, anchor))
    })?;
    let mut dates = Vec::new();
    for row in rows {
        let (key, body, boot, anchor) = row?;
        let since_boot = since_boot(seal, key, body);
        let started = match boot {
            // An empty id is that of a kernel that does not say which start it is.
            Some(boot) if boot == boot_id && !boot.is_empty() => now.wall.checked_sub(now.since_boot).ok(),
            Some(_) | None => anchor.and_then(|micros| Timestamp::from_microsecond(micros).ok()),
        };
        let known = started.zip(since_boot).and_then(|(started, since)| started.checked_add(since).ok());
        // Where nothing tells, it is at least as old as this moment, and never given up too early.
        dates.push((key, known.unwrap_or(now.wall).min(now.wall).as_millisecond()));
    }
    let sql = "UPDATE sightings SET stored_at = ? WHERE boot_epoch = ? AND sequence = ?";
    let mut set = transaction.prepare_cached(sql)?;
    for (key, date) in dates {
        set.execute(params![date, signed(key.boot_epoch), signed(key.sequence)])?;
    }
    Ok(())
}

/// Without the time, what was stored since the kernel's start has an age nevertheless.
fn expire_of_this_boot(
    transaction: &Transaction<'_>,
    seal: &Seal,
    max_age: Duration,
    now: Stamp,
    boot_id: &str,
) -> Result<u64, SpoolError> {
    let mut oldest = transaction.prepare_cached(
        "SELECT s.boot_epoch, s.sequence, s.body FROM sightings s JOIN boots b ON b.boot_epoch = s.boot_epoch
         WHERE b.boot_id = ? AND b.boot_id <> '' AND s.stored_at IS NULL
         ORDER BY s.boot_epoch, s.sequence LIMIT 1000",
    )?;
    let sql = "DELETE FROM sightings WHERE boot_epoch = ? AND sequence = ?";
    let mut delete = transaction.prepare_cached(sql)?;
    let mut count = 0;
    let rows = oldest.query_map([boot_id], |row| {
        let key = SightingKey { boot_epoch: unsigned(row.get(0)?), sequence: unsigned(row.get(1)?) };
        Ok((key, row.get::<_, Vec<u8>>(2)?))
    })?;
    let mut gone = Vec::new();
    for row in rows {
        let (key, body) = row?;
        // The clock since the kernel's start never goes back: what comes after a young one is younger.
        match since_boot(seal, key, body) {
            Some(since) if now.since_boot.saturating_sub(since) <= max_age => break,
            Some(_) => gone.push(key),
            None => {}
        }
    }
    for key in gone {
        count += delete.execute(params![signed(key.boot_epoch), signed(key.sequence)])? as u64;
    }
    Ok(count)
}

/// When a sighting was taken, since the kernel's start.
fn since_boot(seal: &Seal, key: SightingKey, body: Vec<u8>) -> Option<Duration> {
    let body = seal.open(key, SealedPart::Body, body)?;
    let clock = v1::CapturedSighting::decode(body.as_slice()).ok()?.clock?;
    Some(Duration::from_millis(clock.since_boot_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sighting::Sighting,
        spool::{FrameRecord, Spool, SpoolOptions, Writer},
        vision::{Vision, fake},
    };

    const DAY: Duration = Duration::from_secs(86_400);
    const NOON: i64 = 1_800_000_000;

    fn open(dir: &std::path::Path, now: i64) -> Spool {
        let mut options = SpoolOptions::new(dir.join("spool.db"), 1 << 30);
        options.max_age = Some(DAY);
        Spool::open(&options, Timestamp::from_second(now).unwrap()).unwrap()
    }

    fn stamp(wall: i64, since_boot: Duration, synchronised: bool) -> Stamp {
        Stamp { wall: Timestamp::from_second(wall).unwrap(), since_boot, synchronised }
    }

    fn append(writer: &mut Writer, taken: Stamp) {
        let (pack_digest, face) = (fake::FakeVision.pack_digest(), fake::face(0));
        let sighting = Sighting { taken, frame: "f".into(), pack_digest, face, track: None, camera: None };
        writer.append(&[FrameRecord { sightings: vec![sighting], ..FrameRecord::default() }]).unwrap();
    }

    fn left(spool: &Spool) -> u64 {
        spool.writer.status().unwrap().spooled
    }

    #[test]
    fn undated_sightings_keep_nobody_elses_age_from_being_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path(), NOON);
        // More undated ones than were ever looked at together, and a dated one behind them.
        let undated = stamp(40, Duration::from_secs(40), false);
        for _ in 0..1100 {
            append(&mut spool.writer, undated);
        }
        append(&mut spool.writer, stamp(NOON, Duration::from_secs(100), true));
        let boot = crate::clock::boot_id();
        // Of another start of the kernel, whose time was never known: from now on they have an age.
        let later = stamp(NOON + 90_000, Duration::from_secs(5), true);
        let expired = spool.writer.expire_during(later, "another").unwrap();
        assert_eq!((expired.lost_expired, left(&spool)), (1, 1100));
        let day_after = stamp(NOON + 90_000 + 86_000, Duration::from_secs(86_005), true);
        assert_eq!(spool.writer.expire_during(day_after, &boot).unwrap().lost, 0);
        let two_days = stamp(NOON + 90_000 + 87_000, Duration::from_secs(87_005), true);
        assert_eq!(spool.writer.expire_during(two_days, &boot).unwrap().lost, 1100);
    }

    #[test]
    fn a_sighting_of_this_boot_is_as_old_as_the_time_since_the_boot_says() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path(), NOON);
        let boot = crate::clock::boot_id();
        append(&mut spool.writer, stamp(40, Duration::from_secs(40), false));
        append(&mut spool.writer, stamp(80_000, Duration::from_secs(80_000), false));
        // The time is still not known: a day since the boot is a day.
        let unknown = |since| stamp(since, Duration::from_secs(since.unsigned_abs()), false);
        assert_eq!(spool.writer.expire_during(unknown(86_000), &boot).unwrap().lost, 0);
        assert_eq!(spool.writer.expire_during(unknown(86_500), &boot).unwrap().lost, 1);
        // Now it is.
        let known = stamp(NOON, Duration::from_secs(166_300), true);
        assert_eq!(spool.writer.expire_during(known, &boot).unwrap().lost, 0);
        let known = stamp(NOON + 200, Duration::from_secs(166_500), true);
        assert_eq!(spool.writer.expire_during(known, &boot).unwrap().lost, 1);
        assert_eq!(left(&spool), 0);
    }
}
