//! Which start of a device's agent may speak; and that two of them want to.

use std::time::Duration;

use cavs_embedding::PackDigest;
use cavs_types::DeviceId;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{DeviceStore, devices::record_greeting};
use crate::{
    db::DatabaseError,
    fleet::{ALIVE_FOR, Admission, HOLDS_FOR, RunId, SettingsReport, Standing, message_proves_two},
};

/// Superseded starts that are remembered of a device, the newest: a second agent that restarts all the
/// time must not fill the disk.
const REMEMBERED: i64 = 32;

impl RunId {
    pub(crate) const fn uuid(self) -> Uuid {
        Uuid::from_bytes(*self.as_bytes())
    }
}

impl DeviceStore {
    /// Records that a start of a device's agent has come, and with what, unless another one holds its
    /// place.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn run_greeted(
        &self,
        id: DeviceId,
        run: RunId,
        agent_version: &str,
        pack: PackDigest,
        settings: &SettingsReport,
    ) -> Result<Admission, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        // Greetings of one device take turns.
        let sql = "SELECT run_id IS NOT NULL AND run_id <> $2 AS other,
                       coalesce(run_since > now() - make_interval(secs => $3)
                           AND last_seen_at > now() - make_interval(secs => $4), false) AS holds,
                       (SELECT greatest(extract(epoch FROM now() - superseded_at), 0)::float8
                        FROM superseded_runs s
                        WHERE s.site_id = devices.site_id AND s.device_id = id AND s.run_id = $2) AS superseded
                   FROM devices WHERE id = $1 FOR NO KEY UPDATE";
        let (holds, alive) = (HOLDS_FOR.as_secs_f64(), ALIVE_FOR.as_secs_f64());
        let row = transaction.query_opt(sql, &[&id.uuid(), &run.uuid(), &holds, &alive]).await?;
        let row = row.ok_or(DatabaseError::NotFound)?;
        let standing = Standing {
            other_speaks: row.try_get("other")?,
            other_holds: row.try_get("holds")?,
            superseded_for: row.try_get::<_, Option<f64>>("superseded")?.map(Duration::from_secs_f64),
        };
        let admission = standing.greeted();
        if admission.welcome {
            if standing.other_speaks {
                let sql = "INSERT INTO superseded_runs (site_id, device_id, run_id)
                           SELECT site_id, id, run_id FROM devices WHERE id = $1
                           ON CONFLICT (site_id, device_id, run_id) DO UPDATE SET superseded_at = now()";
                transaction.execute(sql, &[&id.uuid()]).await?;
                let sql = "DELETE FROM superseded_runs r USING devices d
                           WHERE d.id = $1 AND r.site_id = d.site_id AND r.device_id = d.id
                               AND (r.run_id = $2 OR r.run_id IN (
                                   SELECT s.run_id FROM superseded_runs s
                                   WHERE s.site_id = d.site_id AND s.device_id = d.id
                                   ORDER BY s.superseded_at DESC OFFSET $3))";
                transaction.execute(sql, &[&id.uuid(), &run.uuid(), &REMEMBERED]).await?;
            }
            let sql = "UPDATE devices SET run_id = $2, run_since =
                           CASE WHEN run_id = $2 THEN coalesce(run_since, now()) ELSE now() END WHERE id = $1";
            transaction.execute(sql, &[&id.uuid(), &run.uuid()]).await?;
            record_greeting(&transaction, id, agent_version, pack, settings).await?;
        }
        if admission.twice {
            note_twice(&transaction, id).await?;
        }
        transaction.commit().await?;
        Ok(admission)
    }

    /// A start has ended its stream: another one need not wait for its place.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn run_left(&self, id: DeviceId, run: RunId) -> Result<(), DatabaseError> {
        let sql = "UPDATE devices SET run_since = NULL WHERE id = $1 AND run_id = $2";
        self.db.client().await?.execute(sql, &[&id.uuid(), &run.uuid()]).await?;
        Ok(())
    }

    /// A start spoke on its stream although another one has its place, which only another server can
    /// have given away. Whether that proves that the device is connected twice; it is noted then.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn superseded_run_spoke(&self, id: DeviceId, run: RunId) -> Result<bool, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let sql = "SELECT greatest(extract(epoch FROM now() - s.superseded_at), 0)::float8
                   FROM superseded_runs s JOIN devices d ON d.site_id = s.site_id AND d.id = s.device_id
                   WHERE d.id = $1 AND s.run_id = $2";
        let parameters: [&(dyn ToSql + Sync); 2] = [&id.uuid(), &run.uuid()];
        let row = transaction.query_opt(sql, &parameters).await?;
        let age = row.map(|row| row.try_get::<_, f64>(0)).transpose()?.map(Duration::from_secs_f64);
        let twice = message_proves_two(age);
        if twice {
            note_twice(&transaction, id).await?;
            transaction.commit().await?;
        }
        Ok(twice)
    }
}

/// Notes that a device is connected twice, and tells its streams on all servers.
async fn note_twice(
    transaction: &deadpool_postgres::Transaction<'_>,
    id: DeviceId,
) -> Result<(), DatabaseError> {
    let sql = "UPDATE devices SET twice_at = now(), twice_count = twice_count + 1 WHERE id = $1";
    transaction.execute(sql, &[&id.uuid()]).await?;
    let sql = "INSERT INTO device_conflicts (site_id, device_id, noticed) SELECT site_id, id, 1 FROM devices WHERE id = $1
               ON CONFLICT (site_id, device_id, day) DO UPDATE
               SET noticed = device_conflicts.noticed + 1, last_at = now()";
    transaction.execute(sql, &[&id.uuid()]).await?;
    transaction.execute("SELECT pg_notify('cavs_devices', '')", &[]).await?;
    Ok(())
}
