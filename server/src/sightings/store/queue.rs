//! The queue: what waits for a person, and who has claimed what of it.

use std::collections::HashMap;

use cavs_types::{PredictionReason, QueueOrder, SightingId, SiteId, StudentId, UserId};
use deadpool_postgres::Object;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    SightingStore,
    queries::{Filter, LISTED, List, read_all},
};
use crate::{
    db::{Conditions, DatabaseError},
    page::{Page, PageRequest},
    sightings::{ClaimedBy, QueueFilter, QueuePosition, QueueRequest, Sighting},
};

/// The queue with the least certain first.
const BY_CERTAINTY: &str = "coalesce(s.similarity, -1), s.id";
const FOLLOWS_BY_CERTAINTY: &str = "(coalesce(s.similarity, -1), s.id) > (?, ?)";

/// A filter of a site's queue, as its columns are.
struct QueueColumns<'a> {
    sightings: Filter<'a>,
    filter: &'a QueueFilter,
    reason: Option<&'static str>,
    predicted: Option<Uuid>,
    claimed_by: Option<&'a String>,
}

impl<'a> QueueColumns<'a> {
    fn new(site: SiteId, filter: &'a QueueFilter) -> Self {
        Self {
            sightings: Filter::new(site, &filter.sightings),
            filter,
            reason: filter.reason.map(PredictionReason::as_str),
            predicted: filter.predicted.map(StudentId::uuid),
            claimed_by: match &filter.claimed {
                Some(ClaimedBy::Reviewer(name)) => Some(name),
                Some(ClaimedBy::Nobody) | None => None,
            },
        }
    }

    fn conditions(&self) -> Conditions<'_> {
        let mut conditions = self.sightings.conditions(List::Queue);
        conditions.with_value("s.reason = ?", &self.reason, Type::TEXT);
        conditions.with_value("s.similarity >= ?", &self.filter.least_similarity, Type::FLOAT4);
        conditions.with_value("s.similarity < ?", &self.filter.similarity_below, Type::FLOAT4);
        conditions.with_value("s.predicted_student_id = ?", &self.predicted, Type::UUID);
        conditions.with_value(
            "s.predicted_student_id IN (SELECT p.id FROM students p WHERE p.site_id = s.site_id AND p.section = ?)",
            &self.filter.section,
            Type::TEXT,
        );
        if let Some(flagged) = self.filter.flagged {
            // In the queue, a verdict is a flag.
            conditions.also(if flagged { "s.verdict IS NOT NULL" } else { "s.verdict IS NULL" });
        }
        conditions.with_value(
            "s.id IN (SELECT c.sighting_id FROM review_claims c JOIN users u ON u.id = c.reviewer_id
                WHERE c.site_id = s.site_id AND c.claimed_until > now() AND u.username = ?)",
            &self.claimed_by,
            Type::TEXT,
        );
        if self.filter.claimed == Some(ClaimedBy::Nobody) {
            conditions.also(
                "NOT EXISTS (SELECT FROM review_claims c WHERE c.site_id = s.site_id AND c.sighting_id = s.id
                    AND c.claimed_until > now())",
            );
        }
        conditions
    }

    /// Those that a person may decide.
    fn decidable<'b>(&'b self, reviewer: &'b Uuid) -> Conditions<'b> {
        let mut conditions = self.conditions();
        conditions.with(MAY_DECIDE, &[(reviewer, Type::UUID), (reviewer, Type::UUID)]);
        conditions
    }
}

/// The first sighting of each visit. What somebody has flagged is by itself.
const BEGINS_VISIT: &str = "(s.verdict IS NOT NULL OR NOT EXISTS (
    SELECT FROM sightings e WHERE e.site_id = s.site_id AND e.device_id = s.device_id AND e.in_queue
        AND e.verdict IS NULL
        AND e.predicted_student_id = s.predicted_student_id AND e.listed_at >= s.listed_at - visit_gap()
        AND (e.listed_at, e.id) < (s.listed_at, s.id)))";

/// How many sightings of the queue there are in the visits of some of its sightings.
const VISIT_SIZES: &str =
    "SELECT s.id, (SELECT count(*) FROM visit_of($1, s.id)) AS size FROM unnest($2::uuid[]) AS s (id)";

/// What a person may decide: a flag wants a second person, and what is claimed its own.
const MAY_DECIDE: &str = "NOT (s.verdict IS NOT DISTINCT FROM 'flagged' AND s.reviewer_id = ?)
    AND NOT EXISTS (SELECT FROM review_claims c WHERE c.site_id = s.site_id AND c.sighting_id = s.id
        AND c.claimed_until > now() AND c.reviewer_id <> ?)";

/// Gives sightings of the queue to a person for a while, but for those that are another's. Those that were assigned to
/// them stay so.
const CLAIM: &str = "
    INSERT INTO review_claims AS c (site_id, sighting_id, reviewer_id, claimed_until)
    SELECT $1, s.id, $3, now() + make_interval(secs => $4) FROM unnest($2::uuid[]) AS s (id)
    ON CONFLICT (site_id, sighting_id) DO UPDATE
    SET reviewer_id = EXCLUDED.reviewer_id, assigned_by = NULL,
        claimed_until = CASE WHEN c.reviewer_id = EXCLUDED.reviewer_id
            THEN greatest(c.claimed_until, EXCLUDED.claimed_until) ELSE EXCLUDED.claimed_until END
    WHERE c.claimed_until <= now() OR (c.reviewer_id = EXCLUDED.reviewer_id AND c.assigned_by IS NULL)";

/// Gives sightings of the queue to a reviewer of the site until they are decided, whoever has claimed them.
const ASSIGN: &str = "
    WITH chosen AS (
        SELECT s.site_id, s.id FROM sightings s WHERE s.site_id = $1 AND s.id = ANY($2) AND s.in_queue
        ORDER BY s.id FOR NO KEY UPDATE)
    INSERT INTO review_claims AS c (site_id, sighting_id, reviewer_id, claimed_until, assigned_by)
    SELECT site_id, id, $3, 'infinity', $4 FROM chosen
    ON CONFLICT (site_id, sighting_id) DO UPDATE
    SET reviewer_id = EXCLUDED.reviewer_id, assigned_by = EXCLUDED.assigned_by, claimed_until = EXCLUDED.claimed_until";

/// Who may give verdicts in a site.
const REVIEWER: &str = "
    SELECT u.id FROM users u WHERE u.username = $2 AND (u.is_operator OR EXISTS (
        SELECT FROM user_roles r WHERE r.user_id = u.id AND r.site_id = $1 AND r.role IN ('admin', 'reviewer')))";

impl SightingStore {
    /// Sightings that wait for a person.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn review_queue(
        &self,
        site: SiteId,
        queue: &QueueRequest,
        request: &PageRequest<QueuePosition>,
    ) -> Result<Page<Sighting>, DatabaseError> {
        let client = self.db.client().await?;
        let columns = QueueColumns::new(site, &queue.filter);
        let mut chosen = columns.conditions();
        if queue.by_visit {
            chosen.also(BEGINS_VISIT);
        }
        let total = match request.with_total {
            true => Some(chosen.count(&client, "sightings s").await?),
            false => None,
        };
        let (time, similarity) = match request.after {
            Some(QueuePosition::Time(after)) => (Some((after.listed_at, after.id.uuid())), None),
            Some(QueuePosition::Similarity { similarity, id }) => (None, Some((similarity, id.uuid()))),
            None => (None, None),
        };
        if let Some((time, id)) = &time {
            chosen.with(List::Queue.follows(), &[(time, Type::TIMESTAMPTZ), (id, Type::UUID)]);
        }
        if let Some((similarity, id)) = &similarity {
            chosen.with(FOLLOWS_BY_CERTAINTY, &[(similarity, Type::FLOAT4), (id, Type::UUID)]);
        }
        let rows = chosen.joined_rows(&client, &LISTED, sorted(queue.order), request.fetch()).await?;
        let mut items = read_all(&client, site, &rows).await?;
        if queue.by_visit {
            with_visit_sizes(&client, site, &mut items).await?;
        }
        Ok(Page { total, ..request.page(items, |sighting| QueuePosition::of(sighting, queue.order)) })
    }

    /// The oldest sightings of the queue, no more than a number, of those that a person may decide, and whether each
    /// has a verdict: a flag.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn queued(
        &self,
        site: SiteId,
        filter: &QueueFilter,
        reviewer: UserId,
        most: u32,
    ) -> Result<Vec<(SightingId, bool)>, DatabaseError> {
        let client = self.db.client().await?;
        let columns = QueueColumns::new(site, filter);
        let reviewer = reviewer.uuid();
        let chosen = columns.decidable(&reviewer);
        let select = "SELECT s.id, s.verdict IS NOT NULL FROM sightings s";
        let rows = chosen.rows(&client, select, List::Queue.order(), i64::from(most)).await?;
        rows.iter().map(|row| Ok((row.try_get::<_, Uuid>(0)?.into(), row.try_get(1)?))).collect()
    }

    /// Claims the first sightings of the queue, no more than a number, for a person: those of them that nobody else
    /// was faster with, as they are then.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn claim(
        &self,
        site: SiteId,
        queue: &QueueRequest,
        reviewer: UserId,
        most: u32,
        seconds: u32,
    ) -> Result<Vec<Sighting>, DatabaseError> {
        let mut client = self.db.client().await?;
        let (site_id, reviewer) = (site.uuid(), reviewer.uuid());
        let columns = QueueColumns::new(site, &queue.filter);
        let mut chosen = columns.decidable(&reviewer);
        if queue.by_visit {
            chosen.also(BEGINS_VISIT);
        }
        let order = sorted(queue.order);
        let transaction = client.transaction().await?;
        let select = "SELECT s.id FROM sightings s";
        // Who claims at the same time passes over what is locked.
        let rows = chosen.unlocked_rows(&transaction, select, order, i64::from(most)).await?;
        let chosen: Vec<Uuid> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        transaction.execute(CLAIM, &[&site_id, &chosen, &reviewer, &f64::from(seconds)]).await?;
        transaction.commit().await?;
        let mut mine = Conditions::default();
        mine.with("s.site_id = ?", &[(&site_id, Type::UUID)]);
        mine.with("s.id = ANY(?)", &[(&chosen, Type::UUID_ARRAY)]);
        mine.with(
            "s.id IN (SELECT c.sighting_id FROM review_claims c
                WHERE c.site_id = s.site_id AND c.reviewer_id = ? AND c.claimed_until > now())",
            &[(&reviewer, Type::UUID)],
        );
        let rows = mine.joined_rows(&client, &LISTED, order, i64::from(most)).await?;
        let mut items = read_all(&client, site, &rows).await?;
        if queue.by_visit {
            with_visit_sizes(&client, site, &mut items).await?;
        }
        Ok(items)
    }

    /// Ends a person's claims of some sightings, or all of them: how many there were.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn release_claims(
        &self,
        site: SiteId,
        sightings: Option<&[SightingId]>,
        reviewer: UserId,
    ) -> Result<u64, DatabaseError> {
        let sightings = sightings.map(uuids);
        let sql = "DELETE FROM review_claims WHERE site_id = $1 AND reviewer_id = $2
                AND CASE WHEN $3::uuid[] IS NULL THEN assigned_by IS NULL ELSE sighting_id = ANY($3) END";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &reviewer.uuid(), &sightings]).await?)
    }

    /// Gives sightings of the queue to a reviewer of the site until they are decided, or to nobody in particular: how
    /// many there were; `None` where no reviewer has that name.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn assign(
        &self,
        site: SiteId,
        sightings: &[SightingId],
        reviewer: Option<&str>,
        by: UserId,
    ) -> Result<Option<u64>, DatabaseError> {
        let client = self.db.client().await?;
        let (site, sightings) = (site.uuid(), uuids(sightings));
        let Some(reviewer) = reviewer else {
            let sql = "DELETE FROM review_claims WHERE site_id = $1 AND sighting_id = ANY($2)";
            return Ok(Some(client.execute(sql, &[&site, &sightings]).await?));
        };
        let Some(found) = client.query_opt(REVIEWER, &[&site, &reviewer]).await? else { return Ok(None) };
        let reviewer: Uuid = found.try_get(0)?;
        Ok(Some(client.execute(ASSIGN, &[&site, &sightings, &reviewer, &by.uuid()]).await?))
    }

    /// The sightings of the queue of one visit with a sighting, itself among them, at most 401.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn visit(&self, site: SiteId, of: SightingId) -> Result<Vec<SightingId>, DatabaseError> {
        let client = self.db.client().await?;
        let rows = client.query("SELECT visit_of($1, $2)", &[&site.uuid(), &of.uuid()]).await?;
        rows.iter().map(|row| Ok(row.try_get::<_, Uuid>(0)?.into())).collect()
    }

    /// The latest sightings on which a reviewer's verdict is in force, newest first; of those that were reviewed
    /// together, the newest alone.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn reviewed_by(
        &self,
        site: SiteId,
        reviewer: UserId,
        most: u32,
    ) -> Result<Vec<Sighting>, DatabaseError> {
        let client = self.db.client().await?;
        let (site_id, reviewer) = (site.uuid(), reviewer.uuid());
        let mut chosen = Conditions::default();
        chosen.with("s.site_id = ?", &[(&site_id, Type::UUID)]);
        chosen.with("s.reviewer_id = ?", &[(&reviewer, Type::UUID)]);
        chosen.also(
            "(s.review_batch_id IS NULL OR NOT EXISTS (
                SELECT FROM sightings l WHERE l.site_id = s.site_id AND l.review_batch_id = s.review_batch_id
                    AND l.reviewer_id = s.reviewer_id AND (l.reviewed_at, l.id) > (s.reviewed_at, s.id)))",
        );
        let rows = chosen.joined_rows(&client, &LISTED, "s.reviewed_at DESC", i64::from(most)).await?;
        read_all(&client, site, &rows).await
    }
}

const fn sorted(order: QueueOrder) -> &'static str {
    match order {
        QueueOrder::OldestFirst => List::Queue.order(),
        QueueOrder::LeastCertainFirst => BY_CERTAINTY,
    }
}

fn uuids(sightings: &[SightingId]) -> Vec<Uuid> {
    sightings.iter().map(|id| id.uuid()).collect()
}

async fn with_visit_sizes(
    client: &Object,
    site: SiteId,
    sightings: &mut [Sighting],
) -> Result<(), DatabaseError> {
    let ids: Vec<Uuid> = sightings.iter().map(|sighting| sighting.id.uuid()).collect();
    let rows = client.query(VISIT_SIZES, &[&site.uuid(), &ids]).await?;
    let sizes: HashMap<Uuid, i64> = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, DatabaseError>>()?;
    for sighting in sightings {
        let size = sizes.get(&sighting.id.uuid()).copied().unwrap_or(0);
        sighting.visit_size = u32::try_from(size).unwrap_or(u32::MAX);
    }
    Ok(())
}
