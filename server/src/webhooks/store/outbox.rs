//! What has happened becomes deliveries.

use std::time::Duration;

use super::WebhookStore;
use crate::db::DatabaseError;

/// How long deliveries are kept that came to their end, and those that did not, in days.
const KEPT_DAYS: (i32, i32) = (7, 30);
/// Deliveries that are deleted in one statement.
pub(super) const DELETED: i64 = 5000;
/// Statements of a turn: what is left is the next one's.
const DELETIONS: usize = 20;

impl WebhookStore {
    /// Makes deliveries of some of what has happened, for the webhooks that want it now; whether there was so much that
    /// there may be more. Servers may do it side by side: each takes what no other has.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn note_events(&self, most: i64) -> Result<bool, DatabaseError> {
        // One row a mark of a session that is final; those who have left the roster are none of it. Webhooks stay until
        // their deliveries are there.
        let sql = "WITH batch AS MATERIALIZED (
                SELECT site_id, id FROM webhook_outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
            ), taken AS (
                DELETE FROM webhook_outbox o USING batch t
                WHERE o.site_id = t.site_id AND o.id = t.id RETURNING o.*
            ), happened AS (
                SELECT t.site_id, t.event, s.subject_id, s.student_id, t.details, t.happened_at
                FROM taken t CROSS JOIN LATERAL unnest(t.subjects, t.students) AS s (subject_id, student_id)
                UNION ALL
                SELECT t.site_id, 'mark.finalised', m.session_id, m.student_id, NULL, t.happened_at
                FROM taken t JOIN marks m ON m.site_id = t.site_id AND m.session_id = t.subjects[1] AND m.is_listed
                WHERE t.event = 'class_session.finalised'
            ), noted AS (
                INSERT INTO webhook_deliveries
                    (site_id, webhook_id, event, subject_id, student_id, details, happened_at)
                SELECT h.site_id, w.id, h.event, h.subject_id, h.student_id, h.details, h.happened_at
                FROM happened h JOIN webhooks w
                    ON w.site_id = h.site_id AND w.is_active AND h.event = ANY(w.events)
                FOR KEY SHARE OF w
            ) SELECT count(*) FROM taken";
        let client = self.db.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let taken: i64 = client.query_one(&statement, &[&most]).await?.try_get(0)?;
        Ok(taken >= most)
    }

    /// Notes which devices have fallen silent or are heard again since any server looked last; how many. A device that is
    /// looked at for the first time has not changed.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn note_connections(&self, online_for: Duration) -> Result<u64, DatabaseError> {
        let sql = "WITH found AS (
                SELECT d.site_id, d.id,
                    coalesce(d.last_seen_at > now() - make_interval(secs => $1), false) AS is_online
                FROM devices d
                WHERE d.status <> 'revoked' AND d.site_id IN (SELECT w.site_id FROM webhooks w
                    WHERE w.is_active AND 'device.connection_changed' = ANY(w.events))
            ), changed AS (
                INSERT INTO webhook_device_states AS s (site_id, device_id, is_online)
                SELECT f.site_id, f.id, f.is_online FROM found f
                    LEFT JOIN webhook_device_states k ON k.site_id = f.site_id AND k.device_id = f.id
                WHERE k.is_online IS DISTINCT FROM f.is_online
                ORDER BY f.site_id, f.id
                ON CONFLICT (site_id, device_id) DO UPDATE SET is_online = excluded.is_online, changed_at = now()
                    WHERE s.is_online <> excluded.is_online
                RETURNING s.site_id, s.device_id, s.is_online, xmax = 0 AS is_first
            )
            INSERT INTO webhook_outbox (site_id, event, subjects, details)
            SELECT site_id, 'device.connection_changed', ARRAY[device_id], jsonb_build_object('online', is_online)
            FROM changed WHERE NOT is_first";
        Ok(self.db.client().await?.execute(sql, &[&online_for.as_secs_f64()]).await?)
    }

    /// Deletes deliveries that are kept no longer; how many.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn delete_old(&self) -> Result<u64, DatabaseError> {
        // What was taken after days is kept as long as what was taken at once.
        let sql = "WITH old AS MATERIALIZED (
                SELECT site_id, id FROM webhook_deliveries
                WHERE created_at < now() - make_interval(days => $1)
                    AND (state IN ('delivered', 'obsolete')
                            AND coalesce(delivered_at, created_at) < now() - make_interval(days => $1)
                        OR created_at < now() - make_interval(days => $2))
                ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED
            ) DELETE FROM webhook_deliveries d USING old WHERE d.site_id = old.site_id AND d.id = old.id";
        let (ended, any) = KEPT_DAYS;
        let mut deleted = 0;
        for _ in 0..DELETIONS {
            let now = self.db.client().await?.execute(sql, &[&ended, &any, &DELETED]).await?;
            deleted += now;
            if now < DELETED.unsigned_abs() {
                break;
            }
        }
        Ok(deleted)
    }
}
