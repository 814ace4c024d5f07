//! What time it was during each start of the agent whose sightings still wait.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{SpoolError, format::signed};
use crate::clock::ClockAnchor;

/// The starts by their epochs.
#[derive(Debug, Default)]
pub(super) struct Boots {
    boots: HashMap<u64, Boot>,
}

#[derive(Debug)]
struct Boot {
    boot_id: String,
    anchor: Option<ClockAnchor>,
}

/// Notes that an epoch has begun, and forgets those of which nothing waits any more.
pub(super) fn begin(connection: &Connection, boot_epoch: u64, boot_id: &str) -> Result<(), SpoolError> {
    connection.execute(
        "DELETE FROM boots WHERE NOT EXISTS
         (SELECT 1 FROM sightings WHERE sightings.boot_epoch = boots.boot_epoch)
         AND NOT EXISTS (SELECT 1 FROM watched_periods WHERE watched_periods.boot_epoch = boots.boot_epoch)",
        [],
    )?;
    let sql = "INSERT OR REPLACE INTO boots (boot_epoch, boot_id) VALUES (?, ?)";
    connection.execute(sql, params![signed(boot_epoch), boot_id])?;
    Ok(())
}

impl Boots {
    pub(super) fn load(connection: &Connection) -> Result<Self, SpoolError> {
        let mut statement = connection.prepare(
            "SELECT boot_epoch, boot_id, anchor_boot_us, anchor_learnt_ms, anchor_uncertainty_ms FROM boots",
        )?;
        let boots = statement.query_map([], |row| {
            let anchor = match (row.get(2)?, row.get(3)?, row.get(4)?) {
                (Some(boot), Some(learnt), Some(uncertainty)) => anchor(boot, learnt, uncertainty),
                _ => None,
            };
            Ok((super::format::unsigned(row.get(0)?), Boot { boot_id: row.get(1)?, anchor }))
        })?;
        Ok(Self { boots: boots.collect::<Result<_, _>>()? })
    }

    /// An epoch has begun, whether or not that could be written.
    pub(super) fn begun(&mut self, boot_epoch: u64, boot_id: String) {
        self.boots.insert(boot_epoch, Boot { boot_id, anchor: None });
    }

    /// What is known of the time during an epoch.
    pub(super) fn anchor(&self, boot_epoch: u64) -> Option<&ClockAnchor> {
        self.boots.get(&boot_epoch)?.anchor.as_ref()
    }

    /// Takes in what was learnt during a start of the kernel: it holds for every start of the agent
    /// since. Durable, so that it holds for what is sent after the next start too.
    pub(super) fn learn(
        &mut self,
        connection: &Connection,
        boot_id: &str,
        learnt: ClockAnchor,
    ) -> Result<(), SpoolError> {
        for (boot_epoch, boot) in self.boots.iter_mut().filter(|(_, boot)| boot.boot_id == boot_id) {
            let better = boot.anchor.map_or(learnt, |known| known.or_better(learnt));
            // Written seldom: an idle agent must not wear out its memory card.
            if boot.anchor.is_none_or(|known| differ(&known, &better)) {
                let sql = "UPDATE boots SET anchor_boot_us = ?, anchor_learnt_ms = ?,
                           anchor_uncertainty_ms = ? WHERE boot_epoch = ?";
                let millis =
                    |duration: Duration| signed(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
                let (learnt, uncertainty) = (millis(better.learnt), millis(better.uncertainty));
                let row = params![better.boot.as_microsecond(), learnt, uncertainty, signed(*boot_epoch)];
                // In force first: without room to write it, it holds for what is sent until the end.
                boot.anchor = Some(better);
                match connection.execute(sql, row).map_err(SpoolError::from) {
                    Err(error) if error.is_full() => {
                        tracing::warn!(%error, "what was learnt of the time can't be kept");
                    }
                    result => drop(result?),
                }
            }
        }
        Ok(())
    }
}

/// Two anchors differ by more than what nobody would notice.
fn differ(known: &ClockAnchor, better: &ClockAnchor) -> bool {
    let moved = known.boot.duration_since(better.boot).unsigned_abs();
    moved > Duration::from_secs(1) || known.uncertainty > better.uncertainty + Duration::from_secs(1)
}

fn anchor(boot: i64, learnt: i64, uncertainty: i64) -> Option<ClockAnchor> {
    let millis = |value: i64| u64::try_from(value).ok().map(Duration::from_millis);
    Some(ClockAnchor {
        boot: Timestamp::from_microsecond(boot).ok()?,
        learnt: millis(learnt)?,
        uncertainty: millis(uncertainty)?,
    })
}
