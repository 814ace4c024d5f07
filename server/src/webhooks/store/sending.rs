//! Who sends, what is due, and what came of it.

use std::time::{Duration, Instant};

use cavs_types::{SiteId, WebhookDeliveryId, WebhookEvent, WebhookId};
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::WebhookStore;
use crate::{
    db::{Batch, DatabaseError, read_text, to_integer},
    webhooks::{
        Attempt, AttemptOutcome,
        model::{disables_after, is_outage, next_due, rest_after},
    },
};

/// Webhooks of one site that are taken in one claim: others wait no longer because of its slow receivers.
const OF_A_SITE: i64 = 4;

/// What signs for a webhook, sealed, the newest first.
pub type SealedSecrets = Vec<Vec<u8>>;

/// A webhook that this server alone sends to, for a while.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Whose it is.
    pub site: SiteId,
    /// Which.
    pub id: WebhookId,
    /// Of this claim.
    pub lease: Uuid,
    /// From when the lease counts, or a little earlier.
    pub claimed_at: Instant,
    /// Where it is told.
    pub url: String,
    /// Whether it is told names of people.
    pub include_names: bool,
    /// What signs, sealed.
    pub secrets: SealedSecrets,
    /// Rounds that failed since the last that did not.
    pub failures: u32,
    /// Since when.
    pub failing_since: Option<Timestamp>,
    /// When something was taken last.
    pub last_success_at: Option<Timestamp>,
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub struct DueDelivery {
    /// What receivers know it by.
    pub id: WebhookDeliveryId,
    /// What has happened.
    pub event: WebhookEvent,
    /// The sighting, review, device or session.
    pub subject: Uuid,
    /// Whose mark.
    pub student: Option<Uuid>,
    /// What is in no other row.
    pub details: Option<serde_json::Value>,
    /// When it happened.
    pub happened_at: Timestamp,
    /// Attempts before.
    pub attempts: u32,
    /// When the first of them was.
    pub first_attempt_at: Option<Timestamp>,
}

impl WebhookStore {
    /// Takes webhooks for which something is due, and which no other server has: those first that were told longest ago,
    /// and a few of a site.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn claim(
        &self,
        lease: Uuid,
        held: Duration,
        most: usize,
    ) -> Result<Vec<Claimed>, DatabaseError> {
        let sql = "WITH ready AS (
                SELECT c.site_id, c.id, row_number() OVER (PARTITION BY c.site_id
                    ORDER BY greatest(c.last_success_at, c.last_failure_at) NULLS FIRST, c.id) AS place
                FROM webhooks c JOIN sites s ON s.id = c.site_id
                WHERE c.is_active AND s.archived_at IS NULL AND (c.leased_until IS NULL OR c.leased_until <= now())
                    AND (c.rests_until IS NULL OR c.rests_until <= now())
                    AND EXISTS (SELECT FROM unnest($4::text[]) AS e (event) CROSS JOIN LATERAL (
                        SELECT FROM webhook_deliveries d WHERE d.site_id = c.site_id AND d.webhook_id = c.id
                            AND d.event = e.event AND d.state = 'pending' AND d.due_at <= now() LIMIT 1) AS one)
            ), free AS MATERIALIZED (
                SELECT c.site_id, c.id FROM webhooks c JOIN ready r ON r.site_id = c.site_id AND r.id = c.id
                WHERE r.place <= $5 AND c.is_active AND (c.leased_until IS NULL OR c.leased_until <= now())
                ORDER BY greatest(c.last_success_at, c.last_failure_at) NULLS FIRST, c.id
                LIMIT $3 FOR NO KEY UPDATE OF c SKIP LOCKED
            ) UPDATE webhooks w SET lease = $1, leased_until = now() + make_interval(secs => $2)
            FROM free WHERE w.site_id = free.site_id AND w.id = free.id
            RETURNING w.site_id, w.id, w.url, w.include_names, w.secret, w.failures, w.failing_since,
                w.last_success_at, CASE WHEN w.previous_until > now() THEN w.previous_secret END AS previous_secret";
        let client = self.db.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let claimed_at = Instant::now();
        let rows = client
            .query(&statement, &[&lease, &held.as_secs_f64(), &most, &all_events(), &OF_A_SITE])
            .await?;
        rows.iter().map(|row| claimed(row, lease, claimed_at)).collect()
    }

    /// What is due of a webhook: the longest of each type first, then the second of each, so that no type waits for
    /// another one.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn due(
        &self,
        of: &Claimed,
        of_each: i64,
        most: i64,
    ) -> Result<Vec<DueDelivery>, DatabaseError> {
        // All types, not the webhook's: what waits stays due where it wants no more of them. By rows, as many are due at
        // one time, and all of these would be read.
        let sql = "SELECT d.* FROM unnest($3::text[]) AS e (event) CROSS JOIN LATERAL (
                       SELECT id, event, subject_id, student_id, details, happened_at, attempts, first_attempt_at,
                           due_at, row_number() OVER (ORDER BY due_at ROWS UNBOUNDED PRECEDING) AS place
                       FROM webhook_deliveries
                       WHERE site_id = $1 AND webhook_id = $2 AND event = e.event AND state = 'pending'
                           AND due_at <= now()
                       ORDER BY due_at LIMIT $4) AS d
                   ORDER BY d.place, d.due_at LIMIT $5";
        let client = self.db.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&of.site.uuid(), &of.id.uuid(), &all_events(), &of_each, &most];
        let rows = client.query(&statement, &parameters).await?;
        rows.iter().map(due).collect()
    }

    /// Lets a webhook go that could not be told by a fault of this server's, or of what it has read; it rests.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn let_go(&self, of: &Claimed) -> Result<(), DatabaseError> {
        let sql = "UPDATE webhooks SET lease = NULL, leased_until = NULL,
                       rests_until = now() + interval '1 minute', last_failure_at = now(),
                       last_error = 'the server could not read what is to be told'
                   WHERE site_id = $1 AND id = $2 AND lease = $3";
        let client = self.db.client().await?;
        client.execute(sql, &[&of.site.uuid(), &of.id.uuid(), &of.lease]).await?;
        Ok(())
    }

    /// Notes what came of a round, and lets the webhook go. Why it is switched off, where it is.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn record(
        &self,
        of: &Claimed,
        attempts: &[Attempt],
        obsolete: &[WebhookDeliveryId],
    ) -> Result<Option<String>, DatabaseError> {
        let is_taken = attempts.iter().any(|attempt| attempt.outcome.is_accepted());
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        // By the clock that writes when attempts were made.
        let now: Timestamp = transaction.query_one("SELECT now()", &[]).await?.try_get(0)?;
        let last_success_at = if is_taken { Some(now) } else { of.last_success_at };
        // Before its deliveries, as whoever deletes it does.
        lock(&transaction, of.site.uuid(), of.id.uuid()).await?;
        let outcomes: Vec<Outcome> =
            attempts.iter().map(|attempt| Outcome::of(attempt, last_success_at)).collect();
        write_outcomes(&transaction, of, &outcomes).await?;
        let obsolete: Vec<Uuid> = obsolete.iter().map(|id| id.uuid()).collect();
        let sql = "UPDATE webhook_deliveries SET state = 'obsolete'
                   WHERE site_id = $1 AND webhook_id = $2 AND id = ANY($3) AND state = 'pending'";
        transaction.execute(sql, &[&of.site.uuid(), &of.id.uuid(), &obsolete]).await?;
        let disabled = write_health(&transaction, of, attempts, is_taken, now).await?;
        if is_taken && is_outage(of.failures) {
            // What was tried while nothing could be taken does not wait for its own next time.
            let sql = "UPDATE webhook_deliveries SET due_at = now()
                       WHERE site_id = $1 AND webhook_id = $2 AND state = 'pending' AND due_at > now()
                           AND last_attempt_at >= $3";
            transaction.execute(sql, &[&of.site.uuid(), &of.id.uuid(), &of.failing_since]).await?;
        }
        transaction.commit().await?;
        Ok(disabled)
    }
}

/// Holds a webhook until the transaction ends.
pub(super) async fn lock(transaction: &Transaction<'_>, site: Uuid, id: Uuid) -> Result<(), DatabaseError> {
    let sql = "SELECT FROM webhooks WHERE site_id = $1 AND id = $2 FOR NO KEY UPDATE";
    transaction.execute(sql, &[&site, &id]).await?;
    Ok(())
}

/// What is written of an attempt.
struct Outcome {
    id: Uuid,
    state: &'static str,
    /// Seconds until the next one.
    pause: i32,
    status: Option<i32>,
    error: String,
}

impl Outcome {
    fn of(attempt: &Attempt, last_success_at: Option<Timestamp>) -> Self {
        let (state, pause) = if attempt.outcome.is_accepted() {
            ("delivered", Duration::ZERO)
        } else {
            next_due(attempt, last_success_at).map_or(("failed", Duration::ZERO), |pause| ("pending", pause))
        };
        Self {
            id: attempt.delivery.uuid(),
            state,
            pause: i32::try_from(pause.as_secs()).unwrap_or(i32::MAX),
            status: attempt.outcome.status().map(i32::from),
            error: attempt.outcome.problem(),
        }
    }
}

async fn write_outcomes(
    transaction: &Transaction<'_>,
    of: &Claimed,
    outcomes: &[Outcome],
) -> Result<(), DatabaseError> {
    let batch = Batch::of(outcomes)
        .column("id", |outcome| outcome.id)
        .column("state", |outcome| outcome.state)
        .column("pause", |outcome| outcome.pause)
        .column("status", |outcome| outcome.status)
        .column("error", |outcome| outcome.error.as_str());
    // A server that comes late with what it sent changes nothing that is settled.
    let sql = format!(
        "UPDATE webhook_deliveries d SET state = given.state, attempts = d.attempts + 1,
             due_at = now() + make_interval(secs => given.pause),
             first_attempt_at = coalesce(d.first_attempt_at, now()), last_attempt_at = now(),
             last_status = given.status, last_error = given.error,
             delivered_at = CASE given.state WHEN 'delivered' THEN now() END
         FROM {}
         WHERE d.site_id = '{}' AND d.webhook_id = '{}' AND d.id = given.id AND d.state = 'pending'",
        batch.source(),
        of.site,
        of.id
    );
    transaction.execute(&sql, &batch.parameters()).await?;
    Ok(())
}

async fn write_health(
    transaction: &Transaction<'_>,
    of: &Claimed,
    attempts: &[Attempt],
    is_taken: bool,
    now: Timestamp,
) -> Result<Option<String>, DatabaseError> {
    let failed = attempts.iter().rfind(|attempt| !attempt.outcome.is_accepted());
    let problem = failed.map(|attempt| attempt.outcome.problem());
    let failures = if is_taken || attempts.is_empty() { 0 } else { of.failures.saturating_add(1) };
    let failing_since = of.failing_since.unwrap_or(now);
    let retry_after = failed.and_then(|attempt| match attempt.outcome {
        AttemptOutcome::Refused { retry_after, .. } => retry_after,
        AttemptOutcome::Accepted { .. } | AttemptOutcome::Unanswered { .. } => None,
    });
    let disabled = if attempts.iter().any(|attempt| attempt.outcome.is_gone()) {
        Some("the receiver wants nothing more: it answered 410".to_owned())
    } else if disables_after(failures, failing_since, now) {
        let problem = problem.as_deref().unwrap_or_default();
        Some(format!("nothing was taken since {}: {problem}", failing_since.strftime("%Y-%m-%d %H:%M UTC")))
    } else {
        None
    };
    let rest = (failures > 0).then(|| rest_after(failures, retry_after).as_secs_f64());
    // Whoever comes late has no lease any more, and says nothing of how it goes.
    let sql = "UPDATE webhooks SET lease = NULL, leased_until = NULL,
            failures = CASE WHEN $4 THEN $5 ELSE failures END,
            failing_since = CASE WHEN NOT $4 THEN failing_since WHEN $5 > 0 THEN $6 END,
            rests_until = CASE WHEN NOT $4 THEN rests_until ELSE now() + make_interval(secs => $7) END,
            last_success_at = CASE WHEN $8 THEN now() ELSE last_success_at END,
            last_failure_at = CASE WHEN $9::text IS NULL THEN last_failure_at ELSE now() END,
            last_error = coalesce($9, last_error)
        WHERE site_id = $1 AND id = $2 AND lease = $3";
    let (site, id, is_tried) = (of.site.uuid(), of.id.uuid(), !attempts.is_empty());
    let failures = to_integer(failures);
    let noted = transaction
        .execute(
            sql,
            &[&site, &id, &of.lease, &is_tried, &failures, &failing_since, &rest, &is_taken, &problem],
        )
        .await?;
    let Some(reason) = disabled.filter(|_| noted == 1) else { return Ok(None) };
    let sql = "UPDATE webhooks SET is_active = false, disabled_at = now(), disabled_reason = $3
               WHERE site_id = $1 AND id = $2 AND is_active";
    let disabled = transaction.execute(sql, &[&site, &id, &reason]).await?;
    Ok((disabled == 1).then_some(reason))
}

fn all_events() -> Vec<&'static str> {
    WebhookEvent::ALL.iter().map(|event| event.as_str()).collect()
}

fn claimed(row: &Row, lease: Uuid, claimed_at: Instant) -> Result<Claimed, DatabaseError> {
    let previous: Option<Vec<u8>> = row.try_get("previous_secret")?;
    Ok(Claimed {
        site: row.try_get::<_, Uuid>("site_id")?.into(),
        id: row.try_get::<_, Uuid>("id")?.into(),
        lease,
        claimed_at,
        url: row.try_get("url")?,
        include_names: row.try_get("include_names")?,
        secrets: std::iter::once(row.try_get("secret")?).chain(previous).collect(),
        failures: row.try_get::<_, i32>("failures")?.unsigned_abs(),
        failing_since: row.try_get("failing_since")?,
        last_success_at: row.try_get("last_success_at")?,
    })
}

fn due(row: &Row) -> Result<DueDelivery, DatabaseError> {
    Ok(DueDelivery {
        id: row.try_get::<_, Uuid>("id")?.into(),
        event: read_text(row, "webhook_deliveries", "event")?,
        subject: row.try_get("subject_id")?,
        student: row.try_get("student_id")?,
        details: row.try_get("details")?,
        happened_at: row.try_get("happened_at")?,
        attempts: row.try_get::<_, i32>("attempts")?.unsigned_abs(),
        first_attempt_at: row.try_get("first_attempt_at")?,
    })
}
