//! What was watched, until the server knows it; and up to where each start of the agent is complete.
//!
//! A checkpoint says: once all sightings up to this number are with the server, so is everything that was captured
//! before this moment. A period is offered up to the newest checkpoint of its start that holds; what is left of it is
//! offered later.

use std::{collections::HashMap, time::Duration};

use cavs_proto::{
    enum_to_wire, to_timestamp,
    v1::{self, capture_clock::Trust},
};
use cavs_types::{ClockTrust, WatchState};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    Outbox, SpoolError,
    format::{self, signed, unsigned},
};
use crate::{
    clock::{ClockAnchor, EstimatedTime, Stamp, since_boot},
    watch::{WatchLog, WatchedPeriod, counted_back},
};

/// Periods, and checkpoints, that are kept at most, the newest: those of cameras that come and go for weeks.
const MOST_ROWS: i64 = 20_000;

/// No sighting's number is as high.
const BEYOND: i64 = i64::MAX;

/// Times of the wall clock in microseconds since 1970, others in milliseconds since the kernel's start.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS watched_periods (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_epoch INTEGER NOT NULL,
    state TEXT NOT NULL,
    pack TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    start_wall_us INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    end_wall_us INTEGER NOT NULL,
    synchronised INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS watch_checkpoints (
    boot_epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    complete_ms INTEGER NOT NULL,
    complete_wall_us INTEGER NOT NULL,
    synchronised INTEGER NOT NULL,
    UNIQUE (boot_epoch, sequence)
) STRICT;
CREATE TABLE IF NOT EXISTS watch_losses (until_us INTEGER NOT NULL, before_ms INTEGER NOT NULL) STRICT;
";

/// Reads everything once, so that damage which `quick_check` does not see is found when the spool is opened.
pub(super) fn validate(connection: &Connection) -> Result<(), SpoolError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name IN ('watched_periods', 'watch_checkpoints')";
    match connection.query_row(sql, [], |row| row.get::<_, i64>(0))? {
        // Of an earlier agent.
        0 => return Ok(()),
        2 => {}
        tables => return Err(format::corrupt(format!("{tables} of 2 tables of what was watched"))),
    }
    let sql = "SELECT id, boot_epoch, start_ms, start_wall_us, end_ms, end_wall_us, synchronised, 0, state, pack
                   FROM watched_periods
               UNION ALL SELECT rowid, boot_epoch, sequence, complete_ms, complete_wall_us, synchronised, 0, 0, '', ''
                   FROM watch_checkpoints";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        (0..8).try_for_each(|column| row.get::<_, i64>(column).map(drop))?;
        (8..10).try_for_each(|column| row.get::<_, String>(column).map(drop))?;
    }
    Ok(())
}

/// Prepares the tables, and ends what earlier starts have left open: what they had not said to be complete when they
/// ended, was perhaps not stored.
pub(super) fn begin(connection: &Connection) -> Result<(), SpoolError> {
    connection.execute_batch(TABLES)?;
    connection.execute_batch(
        "UPDATE watched_periods SET
             end_wall_us = end_wall_us - 1000 * (end_ms - complete.ms), end_ms = complete.ms
         FROM (SELECT boot_epoch, max(complete_ms) AS ms FROM watch_checkpoints GROUP BY boot_epoch) complete
         WHERE complete.boot_epoch = watched_periods.boot_epoch AND end_ms > complete.ms;
         DELETE FROM watched_periods WHERE end_ms <= start_ms OR NOT EXISTS
             (SELECT 1 FROM watch_checkpoints c WHERE c.boot_epoch = watched_periods.boot_epoch);
         DELETE FROM watch_losses;",
    )?;
    Ok(())
}

/// Notes periods, and that everything is complete up to a moment once the sighting of a number is delivered.
pub(super) fn note(
    transaction: &Transaction<'_>,
    boot_epoch: u64,
    last_sequence: u64,
    log: &WatchLog,
) -> Result<(), SpoolError> {
    let (periods, complete_until) = log.waiting();
    for period in periods {
        add(transaction, boot_epoch, period)?;
    }
    let Some(complete) = complete_until else { return Ok(()) };
    apply_losses(transaction, millis(complete.since_boot))?;
    let sql =
        "INSERT INTO watch_checkpoints (boot_epoch, sequence, complete_ms, complete_wall_us, synchronised)
               VALUES (?, ?, ?, ?, ?) ON CONFLICT (boot_epoch, sequence) DO UPDATE SET
                   complete_ms = excluded.complete_ms, complete_wall_us = excluded.complete_wall_us,
                   synchronised = excluded.synchronised
               WHERE excluded.complete_ms > watch_checkpoints.complete_ms";
    let (complete_ms, wall) = (millis(complete.since_boot), complete.wall.as_microsecond());
    transaction.prepare_cached(sql)?.execute(params![
        signed(boot_epoch),
        signed(last_sequence),
        complete_ms,
        wall,
        complete.synchronised
    ])?;
    for table in ["watched_periods", "watch_checkpoints"] {
        let sql = format!(
            "DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - ?1
             AND (SELECT count(*) FROM {table}) > ?1"
        );
        transaction.prepare_cached(&sql)?.execute([MOST_ROWS])?;
    }
    // Without a checkpoint of its start, a period can never be told, and would hold up those after it.
    let orphans = "DELETE FROM watched_periods WHERE boot_epoch <> ?1
                   AND boot_epoch NOT IN (SELECT boot_epoch FROM watch_checkpoints)";
    transaction.prepare_cached(orphans)?.execute([signed(boot_epoch)])?;
    Ok(())
}

/// Goes on with the last period where it is the same, or begins another one.
fn add(transaction: &Transaction<'_>, boot_epoch: u64, period: &WatchedPeriod) -> Result<(), SpoolError> {
    let WatchedPeriod { start, end, state, pack } = period;
    let (pack, state, epoch) = (pack.to_string(), state.as_str(), signed(boot_epoch));
    let (start_ms, end_ms) = (millis(start.since_boot), millis(end.since_boot));
    let (start_wall, end_wall) = (start.wall.as_microsecond(), end.wall.as_microsecond());
    // A second of difference is the clock's drift, or its being led.
    let sql = "UPDATE watched_periods SET end_ms = ?1, end_wall_us = ?2
               WHERE boot_epoch = ?3 AND state = ?4 AND pack = ?5
                   AND end_ms = ?6 AND abs(end_wall_us - ?7) < 1000000 AND synchronised = ?8";
    let values = params![end_ms, end_wall, epoch, state, pack, start_ms, start_wall, end.synchronised];
    if transaction.prepare_cached(sql)?.execute(values)? > 0 {
        return Ok(());
    }
    let sql = "INSERT INTO watched_periods
               (boot_epoch, state, pack, start_ms, start_wall_us, end_ms, end_wall_us, synchronised)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![epoch, state, pack, start_ms, start_wall, end_ms, end_wall, end.synchronised];
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// A sighting is given up before the server has it: what was watched up to its time proves nothing. `until` in
/// milliseconds since 1970; `None` where nobody knows when it was.
pub(super) fn mark_lost(transaction: &Transaction<'_>, until: Option<i64>) -> Result<(), SpoolError> {
    let until = until.map_or(i64::MAX, |millis| millis.saturating_add(1).saturating_mul(1000));
    // What was watched at its time may not be noted yet.
    let sql = "INSERT INTO watch_losses (until_us, before_ms) VALUES (?, ?)";
    transaction.prepare_cached(sql)?.execute([until, millis(since_boot())])?;
    mark_lost_until(transaction, until)
}

/// Marks what was noted since sightings were given up, until everything is noted that was captured before that.
fn apply_losses(transaction: &Transaction<'_>, complete_ms: i64) -> Result<(), SpoolError> {
    let sql = "SELECT max(until_us) FROM watch_losses";
    let Some(until) = transaction.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0))?
    else {
        return Ok(());
    };
    mark_lost_until(transaction, until)?;
    transaction.prepare_cached("DELETE FROM watch_losses WHERE before_ms <= ?")?.execute([complete_ms])?;
    Ok(())
}

/// `until` in microseconds since 1970.
fn mark_lost_until(transaction: &Transaction<'_>, until: i64) -> Result<(), SpoolError> {
    let (watching, lost) = (WatchState::Watching.as_str(), WatchState::SightingsLost.as_str());
    let sql = "UPDATE watched_periods SET state = ?1
               WHERE state = ?2 AND (end_wall_us <= ?3 OR synchronised = 0)";
    transaction.prepare_cached(sql)?.execute(params![lost, watching, until])?;
    // The one in the midst of which it was is parted.
    let sql = "SELECT id, boot_epoch, pack, start_ms, start_wall_us, synchronised FROM watched_periods
               WHERE state = ? AND start_wall_us < ?2 AND end_wall_us > ?2";
    let mut parted = transaction.prepare_cached(sql)?;
    let parted: Vec<(i64, i64, String, i64, i64, bool)> = parted
        .query_map(params![watching, until], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })?
        .collect::<Result<_, _>>()?;
    for (id, epoch, pack, start_ms, start_wall, synchronised) in parted {
        let parted_ms = start_ms + (until - start_wall + 999) / 1000;
        let sql = "UPDATE watched_periods SET start_ms = ?, start_wall_us = ? WHERE id = ?";
        transaction.prepare_cached(sql)?.execute(params![parted_ms, until, id])?;
        let sql = "UPDATE watched_periods SET end_ms = ?, end_wall_us = ?
                   WHERE boot_epoch = ? AND state = ? AND pack = ? AND end_ms = ?";
        let values = params![parted_ms, until, epoch, lost, pack, start_ms];
        if transaction.prepare_cached(sql)?.execute(values)? == 0 {
            let sql = "INSERT INTO watched_periods
                       (boot_epoch, state, pack, start_ms, start_wall_us, end_ms, end_wall_us, synchronised)
                       VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
            let values = params![epoch, lost, pack, start_ms, start_wall, parted_ms, until, synchronised];
            transaction.prepare_cached(sql)?.execute(values)?;
        }
    }
    Ok(())
}

/// A period that is offered, up to the end that it has in the message.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedPeriod {
    id: i64,
    end_ms: i64,
    end_wall_us: i64,
    /// The message.
    pub wire: v1::WatchedPeriod,
}

/// What the server can be told of what was watched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WatchReport {
    /// The oldest periods up to whose ends everything is delivered.
    pub periods: Vec<OfferedPeriod>,
    /// Up to when everything that was captured is delivered, and all periods are reported with these.
    pub delivered_until: Option<Timestamp>,
    /// There are more periods.
    pub more: bool,
}

/// A moment up to which everything of a start of the agent is delivered.
#[derive(Debug, Clone, Copy)]
struct Bound {
    ms: i64,
    stamp: Stamp,
}

impl Outbox {
    /// What can be told of what was watched, `most` periods at most.
    ///
    /// # Errors
    /// `Database`.
    pub fn watch_report(&self, most: usize) -> Result<WatchReport, SpoolError> {
        let bounds = self.bounds()?;
        let mut statement = self.connection.prepare_cached(
            "SELECT id, boot_epoch, state, pack, start_ms, start_wall_us, end_ms, end_wall_us, synchronised
             FROM watched_periods ORDER BY id LIMIT ?",
        )?;
        let limit = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
        let mut rows = statement.query([limit])?;
        let (mut report, mut count) = (WatchReport::default(), 0);
        while let Some(row) = rows.next()? {
            count += 1;
            if count > most {
                report.more = true;
                break;
            }
            let (boot_epoch, state): (u64, String) = (unsigned(row.get(1)?), row.get(2)?);
            let synchronised = row.get(8)?;
            let (start, end) = (
                stamp(row.get(4)?, row.get(5)?, synchronised),
                stamp(row.get(6)?, row.get(7)?, synchronised),
            );
            let (Some(start), Some(end), Ok(state)) = (start, end, state.parse::<WatchState>()) else {
                continue;
            };
            let Some(bound) = bounds.get(&boot_epoch) else { continue };
            let end =
                if millis(end.since_boot) > bound.ms { counted_back(end, duration(bound.ms)) } else { end };
            if end.since_boot <= start.since_boot {
                continue;
            }
            let pack_digest: String = row.get(3)?;
            let wire = to_wire(state, start, end, pack_digest, self.boots.anchor(boot_epoch));
            let (end_ms, end_wall_us) = (millis(end.since_boot), end.wall.as_microsecond());
            report.periods.push(OfferedPeriod { id: row.get(0)?, end_ms, end_wall_us, wire });
        }
        if !report.more {
            report.delivered_until = self.delivered_until(&bounds)?;
        }
        Ok(report)
    }

    /// Forgets of offered periods what the server knows now.
    ///
    /// # Errors
    /// `Database`, for another reason than a full disk; they are offered again, which changes nothing.
    pub fn settle_watch(&mut self, offered: &[OfferedPeriod]) -> Result<(), SpoolError> {
        match self.forget(offered) {
            Err(error) if error.is_full() => Ok(()),
            result => result,
        }
    }

    fn forget(&mut self, offered: &[OfferedPeriod]) -> Result<(), SpoolError> {
        let transaction = format::begin(&mut self.connection)?;
        for OfferedPeriod { id, end_ms, end_wall_us, .. } in offered {
            let sql = "DELETE FROM watched_periods WHERE id = ? AND end_ms <= ?";
            transaction.prepare_cached(sql)?.execute([id, end_ms])?;
            let sql = "UPDATE watched_periods SET start_ms = ?2, start_wall_us = ?3
                       WHERE id = ?1 AND start_ms < ?2";
            transaction.prepare_cached(sql)?.execute([id, end_ms, end_wall_us])?;
        }
        // Of the checkpoints that hold, the newest says it all; of starts of which nothing is left, none is needed.
        transaction.execute_batch(
            "DELETE FROM watch_checkpoints AS c WHERE EXISTS (SELECT 1 FROM watch_checkpoints n
                 WHERE n.boot_epoch = c.boot_epoch AND n.sequence > c.sequence AND NOT EXISTS
                     (SELECT 1 FROM sightings s WHERE s.boot_epoch = n.boot_epoch AND s.sequence <= n.sequence));
             DELETE FROM watch_checkpoints
             WHERE boot_epoch < (SELECT max(boot_epoch) FROM watch_checkpoints)
                 AND boot_epoch NOT IN (SELECT boot_epoch FROM sightings)
                 AND boot_epoch NOT IN (SELECT boot_epoch FROM watched_periods);",
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// For each start of the agent, the newest checkpoint up to which nothing waits.
    fn bounds(&self) -> Result<HashMap<u64, Bound>, SpoolError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT c.boot_epoch, max(c.complete_ms), c.complete_wall_us, c.synchronised
             FROM watch_checkpoints c WHERE c.sequence < ifnull(
                 (SELECT min(s.sequence) FROM sightings s WHERE s.boot_epoch = c.boot_epoch), ?)
             GROUP BY c.boot_epoch",
        )?;
        let rows = statement.query_map([BEYOND], |row| {
            let (epoch, ms): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((unsigned(epoch), ms, stamp(ms, row.get(2)?, row.get(3)?)))
        })?;
        let mut bounds = HashMap::new();
        for row in rows {
            let (epoch, ms, stamp) = row?;
            if let Some(stamp) = stamp {
                bounds.insert(epoch, Bound { ms, stamp });
            }
        }
        Ok(bounds)
    }

    /// The bound of the oldest start of which something waits, or of the last one.
    fn delivered_until(&self, bounds: &HashMap<u64, Bound>) -> Result<Option<Timestamp>, SpoolError> {
        let sql = "SELECT min(boot_epoch) FROM sightings";
        let waiting: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0)).optional()?.flatten();
        let epoch = waiting.map(unsigned).or(bounds.keys().copied().max());
        let Some((epoch, bound)) = epoch.and_then(|epoch| Some((epoch, bounds.get(&epoch)?))) else {
            return Ok(None);
        };
        let estimate = EstimatedTime::of(bound.stamp, self.boots.anchor(epoch));
        Ok((estimate.trust != ClockTrust::Unsynchronised).then_some(estimate.wall))
    }
}

/// The message; its times are the best that is known of them.
fn to_wire(
    state: WatchState,
    start: Stamp,
    end: Stamp,
    pack_digest: String,
    anchor: Option<&ClockAnchor>,
) -> v1::WatchedPeriod {
    let since_boot_ms = unsigned(millis(start.since_boot));
    let (start, end) = (EstimatedTime::of(start, anchor), EstimatedTime::of(end, anchor));
    let worse = if start.trust == end.trust { start.trust } else { worse_trust(start.trust, end.trust) };
    let uncertainty = start.uncertainty.zip(end.uncertainty).map(|(a, b)| a.max(b));
    v1::WatchedPeriod {
        camera_id: String::new(),
        state: enum_to_wire(state),
        start_time: Some(to_timestamp(start.wall)),
        end_time: Some(to_timestamp(end.wall)),
        clock: Some(v1::CaptureClock {
            trust: Trust::from(worse).into(),
            uncertainty_ms: uncertainty.map(|uncertainty| unsigned(millis(uncertainty))),
            since_boot_ms,
        }),
        pack_digest,
    }
}

fn worse_trust(one: ClockTrust, other: ClockTrust) -> ClockTrust {
    let is = |trust| one == trust || other == trust;
    match () {
        () if is(ClockTrust::Unknown) => ClockTrust::Unknown,
        () if is(ClockTrust::Unsynchronised) => ClockTrust::Unsynchronised,
        () if is(ClockTrust::Corrected) => ClockTrust::Corrected,
        () => ClockTrust::Synchronised,
    }
}

fn stamp(since_boot_ms: i64, wall_us: i64, synchronised: bool) -> Option<Stamp> {
    let wall = Timestamp::from_microsecond(wall_us).ok()?;
    Some(Stamp { wall, since_boot: duration(since_boot_ms), synchronised })
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(unsigned(millis))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "watched_tests.rs"]
mod tests;
