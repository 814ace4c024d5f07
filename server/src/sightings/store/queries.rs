use std::collections::HashMap;

use cavs_embedding::{PackDigest, Similarity};
use cavs_types::{DeviceId, MatchScope, PredictionReason, Quality, SightingId, SiteId, StudentId};
use futures_util::future::{try_join, try_join3, try_join4};
use jiff::{Timestamp, civil::Date};
use tokio_postgres::{
    Row,
    types::{Json, ToSql, Type},
};
use uuid::Uuid;

use super::{SightingStore, ingest::CandidateColumn};
use crate::{
    biometrics::{has_evidence, sightings_with_evidence},
    db::{Conditions, DatabaseError, ListSource, read_digest, read_json, read_text, to_bigint},
    fleet::RunId,
    page::{Page, PageRequest},
    people::StudentRef,
    recognition::{Candidate, Judged, Prediction},
    sightings::{
        BoundingBox, Claim, Clock, JudgedFace, Review, Sighting, SightingAnswer, SightingFilter, SightingKey,
        SightingPosition, Track, Withdrawal,
    },
};

/// Of a sighting `s` and what is joined to it.
const COLUMNS: &str = "
    s.id, s.device_id, s.classroom, s.boot_epoch, s.sequence, s.captured_at, s.received_at,
        s.time_implausible, s.frame, s.clock_trust, s.clock_uncertainty_ms, s.track_id, s.track_entered_at,
        s.track_last_seen_at, s.track_left, s.box_x, s.box_y, s.box_width, s.box_height, s.detection_score,
        s.quality, s.liveness, s.pack_digest, s.decision, s.reason, s.similarity, s.margin, s.threshold,
        s.threshold_version, s.scope, s.scope_templates, s.candidates, s.verdict, s.reviewed_at, s.review_notes, s.student_id,
        s.corrected_student_id, d.name AS device_name, u.username AS reviewer, s.day,
        nullif(c.claimed_until, 'infinity') AS claimed_until, c.reviewer_id AS claimed_by_id,
        cu.username AS claimed_by, ca.username AS assigned_by";

/// To a sighting `s`.
const JOINED: &str = "
    JOIN devices d ON d.site_id = s.site_id AND d.id = s.device_id LEFT JOIN users u ON u.id = s.reviewer_id
    LEFT JOIN (review_claims c JOIN users cu ON cu.id = c.reviewer_id LEFT JOIN users ca ON ca.id = c.assigned_by)
        ON c.site_id = s.site_id AND c.sighting_id = s.id AND c.claimed_until > now() AND s.in_queue";

/// What lists of sightings are read from.
pub(crate) const LISTED: ListSource<'_> =
    ListSource { columns: COLUMNS, table: "sightings", alias: "s", joined: JOINED };

/// A list of sightings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// All, newest first.
    Newest,
    /// Those that wait for a person, oldest first.
    Queue,
}

impl List {
    pub(crate) const fn order(self) -> &'static str {
        match self {
            Self::Newest => "s.listed_at DESC, s.id DESC",
            Self::Queue => "s.listed_at, s.id",
        }
    }

    pub(crate) const fn follows(self) -> &'static str {
        match self {
            Self::Newest => "(s.listed_at, s.id) < (?, ?)",
            Self::Queue => "(s.listed_at, s.id) > (?, ?)",
        }
    }
}

/// A filter of a site's sightings, as its columns are.
pub(crate) struct Filter<'a> {
    site: Uuid,
    device: Option<Uuid>,
    classroom: &'a Option<String>,
    student: Option<Uuid>,
    decision: Option<&'static str>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl<'a> Filter<'a> {
    pub(crate) fn new(site: SiteId, filter: &'a SightingFilter) -> Self {
        Self {
            site: site.uuid(),
            device: filter.device.map(|id| id.uuid()),
            classroom: &filter.classroom,
            student: filter.student.map(|id| id.uuid()),
            decision: filter.decision.map(|value| value.as_str()),
            from: filter.from,
            until: filter.until,
        }
    }

    pub(crate) fn conditions(&self, list: List) -> Conditions<'_> {
        let mut conditions = Conditions::default();
        conditions.with("s.site_id = ?", &[(&self.site, Type::UUID)]);
        if list == List::Queue {
            conditions.also("s.in_queue");
        }
        conditions.with_value("s.device_id = ?", &self.device, Type::UUID);
        conditions.with_value("s.classroom = ?", self.classroom, Type::TEXT);
        conditions.with_value("s.student_id = ?", &self.student, Type::UUID);
        conditions.with_value("s.decision = ?", &self.decision, Type::TEXT);
        conditions.with_value("s.listed_at >= ?", &self.from, Type::TIMESTAMPTZ);
        conditions.with_value("s.listed_at < ?", &self.until, Type::TIMESTAMPTZ);
        conditions
    }
}

/// Of the latest sightings of a site and a pack.
pub(crate) const LATEST_JUDGED: &str = "
    SELECT similarity, margin, quality, liveness, reason, scope, scope_templates FROM sightings
    WHERE site_id = $1 AND pack_digest = $2 AND reason <> 'PACK_NOT_SERVED' ORDER BY listed_at DESC LIMIT $3";

impl SightingStore {
    /// Sightings, newest first.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn sightings(
        &self,
        site: SiteId,
        filter: &SightingFilter,
        request: &PageRequest<SightingPosition>,
    ) -> Result<Page<Sighting>, DatabaseError> {
        self.list(List::Newest, site, filter, request).await
    }

    async fn list(
        &self,
        list: List,
        site: SiteId,
        filter: &SightingFilter,
        request: &PageRequest<SightingPosition>,
    ) -> Result<Page<Sighting>, DatabaseError> {
        let client = self.db.client().await?;
        let filter = Filter::new(site, filter);
        let after = request.after.map(|after| (after.listed_at, after.id.uuid()));
        let mut chosen = filter.conditions(list);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "sightings s").await?),
            false => None,
        };
        if let Some((time, id)) = &after {
            chosen.with(list.follows(), &[(time, Type::TIMESTAMPTZ), (id, Type::UUID)]);
        }
        let rows = chosen.joined_rows(&client, &LISTED, list.order(), request.fetch()).await?;
        let items = read_all(&client, site, &rows).await?;
        Ok(Page { total, ..request.page(items, Sighting::position) })
    }

    /// The ids after one, in their order.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ids_after(
        &self,
        site: SiteId,
        after: Uuid,
        most: usize,
    ) -> Result<Vec<Uuid>, DatabaseError> {
        let sql = "SELECT id FROM sightings WHERE site_id = $1 AND id > $2 ORDER BY id LIMIT $3";
        let client = self.db.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let rows = client
            .query(&statement, &[&site.uuid(), &after, &i64::try_from(most).unwrap_or(i64::MAX)])
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Tells whoever listens on a channel of these sites.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn announce(&self, channel: &str, sites: &[SiteId]) -> Result<(), DatabaseError> {
        let sites: Vec<String> = sites.iter().map(ToString::to_string).collect();
        let sql = "SELECT pg_notify($1, site) FROM unnest($2::text[]) AS s (site)";
        self.db.client().await?.execute(sql, &[&channel, &sites]).await?;
        Ok(())
    }

    /// Those of some sightings that a filter chooses, in the order of their ids.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sightings_of(
        &self,
        site: SiteId,
        filter: &SightingFilter,
        ids: &[Uuid],
    ) -> Result<Vec<Sighting>, DatabaseError> {
        let client = self.db.client().await?;
        let filter = Filter::new(site, filter);
        let mut chosen = filter.conditions(List::Newest);
        chosen.with("s.id = ANY(?)", &[(&ids, Type::UUID_ARRAY)]);
        let rows = chosen.joined_rows(&client, &LISTED, "s.id", ids.len() as i64).await?;
        read_all(&client, site, &rows).await
    }

    /// One sighting.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sighting(&self, site: SiteId, id: SightingId) -> Result<Option<Sighting>, DatabaseError> {
        read_one(&self.db.client().await?, site, id).await
    }

    /// What decisions on the latest sightings of a site and a pack depended on.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn latest_judged(
        &self,
        site: SiteId,
        pack: PackDigest,
        most: u32,
    ) -> Result<Vec<JudgedFace>, DatabaseError> {
        let client = self.db.client().await?;
        let (pack, most) = (pack.as_bytes().as_slice(), i64::from(most));
        let rows = client.query(LATEST_JUDGED, &[&site.uuid(), &pack, &most]).await?;
        rows.iter()
            .map(|row| {
                let Json(quality) = row.try_get::<_, Json<Quality>>("quality")?;
                let scope: MatchScope = read_text(row, "sightings", "scope")?;
                let templates = row.try_get::<_, Option<i32>>("scope_templates")?.map(i32::unsigned_abs);
                let face = Judged {
                    similarity: row.try_get::<_, Option<f32>>("similarity")?.map(Similarity::clamped),
                    margin: row.try_get("margin")?,
                    quality: quality.unified_score,
                    upright: quality.is_upright(),
                    liveness: row.try_get("liveness")?,
                    // Pairs of today say nothing of how it was judged.
                    confused_with: (row.try_get::<_, &str>("reason")?
                        == PredictionReason::ConfusablePair.as_str())
                    .then(|| Similarity::clamped(1.0)),
                };
                Ok(JudgedFace { face, expected: templates.filter(|_| scope == MatchScope::Roster) })
            })
            .collect()
    }

    /// What was made of sightings that went through a proxy, by camera and key.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn answers(
        &self,
        site: SiteId,
        proxy: DeviceId,
        wanted: &[(DeviceId, RunId, SightingKey)],
    ) -> Result<HashMap<(DeviceId, SightingKey), SightingAnswer>, DatabaseError> {
        let cameras: Vec<Uuid> = wanted.iter().map(|(camera, ..)| camera.uuid()).collect();
        let runs: Vec<Uuid> = wanted.iter().map(|(_, run, _)| run.uuid()).collect();
        let epochs: Vec<i64> = wanted.iter().map(|(.., key)| to_bigint(key.boot_epoch)).collect();
        let sequences: Vec<i64> = wanted.iter().map(|(.., key)| to_bigint(key.sequence)).collect();
        let client = self.db.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT s.device_id, s.boot_epoch, s.sequence, s.id, s.decision, s.reason, s.similarity,
                     s.threshold, p.id AS student_id, p.number, p.name
                 FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::uuid[])
                     AS w (camera, epoch, sequence, run)
                 JOIN sightings s ON s.site_id = $6 AND s.device_id = w.camera AND s.via = $1 AND s.run_id = w.run
                     AND s.boot_epoch = w.epoch AND s.sequence = w.sequence
                 LEFT JOIN students p ON p.site_id = s.site_id AND p.id = s.predicted_student_id",
            )
            .await?;
        let (site, proxy) = (site.uuid(), proxy.uuid());
        let rows = client.query(&statement, &[&proxy, &cameras, &epochs, &sequences, &runs, &site]).await?;
        rows.iter().map(answer).collect()
    }
}

fn answer(row: &tokio_postgres::Row) -> Result<((DeviceId, SightingKey), SightingAnswer), DatabaseError> {
    let number = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    let key = SightingKey { boot_epoch: number("boot_epoch")?, sequence: number("sequence")? };
    let student = match row.try_get::<_, Option<Uuid>>("student_id")? {
        None => None,
        Some(id) => {
            Some(StudentRef { id: id.into(), number: row.try_get("number")?, name: row.try_get("name")? })
        }
    };
    let answer = SightingAnswer {
        id: row.try_get::<_, Uuid>("id")?.into(),
        decision: read_text(row, "sightings", "decision")?,
        reason: read_text(row, "sightings", "reason")?,
        student,
        similarity: row.try_get::<_, Option<f32>>("similarity")?.map(Similarity::clamped),
        threshold: row.try_get("threshold")?,
    };
    Ok(((row.try_get::<_, Uuid>("device_id")?.into(), key), answer))
}

/// The students that a sighting names.
const STUDENTS_OF_ONE: &str = "
    SELECT p.id, p.number, p.name FROM students p WHERE p.site_id = $1 AND p.id IN (
        SELECT s.student_id FROM sightings s WHERE s.site_id = $1 AND s.id = $2
        UNION SELECT r.corrected_student_id FROM reviews r WHERE r.site_id = $1 AND r.sighting_id = $2
        UNION SELECT (c->>'student_id')::uuid FROM sightings s, jsonb_array_elements(s.candidates) c
            WHERE s.site_id = $1 AND s.id = $2)";

/// The last verdicts on a sighting, newest first, with who took them back.
const REVIEWS_OF_ONE: &str = "
    SELECT r.verdict, r.reviewed_at, r.notes AS review_notes, r.corrected_student_id, u.username AS reviewer,
        w.reviewed_at AS withdrawn_at, w.notes AS withdrawal_notes, x.username AS withdrawn_by
    FROM reviews r JOIN users u ON u.id = r.reviewer_id
        LEFT JOIN (reviews w JOIN users x ON x.id = w.reviewer_id)
            ON w.site_id = r.site_id AND w.sighting_id = r.sighting_id AND w.withdraws = r.number
    WHERE r.site_id = $1 AND r.sighting_id = $2 AND r.verdict <> 'withdrawn' ORDER BY r.number DESC LIMIT 100";

/// Reads one sighting with its reviews. The statements go out together.
pub(crate) async fn read_one(
    client: &deadpool_postgres::Object,
    site: SiteId,
    id: SightingId,
) -> Result<Option<Sighting>, DatabaseError> {
    let select = format!("SELECT {COLUMNS} FROM sightings s {JOINED} WHERE s.site_id = $1 AND s.id = $2");
    let (select, students, reviews) = try_join3(
        client.prepare_cached(&select),
        client.prepare_cached(STUDENTS_OF_ONE),
        client.prepare_cached(REVIEWS_OF_ONE),
    )
    .await?;
    let has_evidence = has_evidence(client, site, id);
    let (site, id) = (site.uuid(), id.uuid());
    let parameters: [&(dyn ToSql + Sync); 2] = [&site, &id];
    let read_row = async { Ok(client.query_opt(&select, &parameters).await?) };
    let read_students = async { Ok(client.query(&students, &parameters).await?) };
    let read_reviews = async { Ok(client.query(&reviews, &parameters).await?) };
    let (row, students, reviews, has_evidence) =
        try_join4(read_row, read_students, read_reviews, has_evidence).await?;
    let Some(row) = row else { return Ok(None) };
    let students = students_by_id(&students)?;
    let candidates: Vec<CandidateColumn> = read_json(&row, "sightings", "candidates")?;
    let reviews = reviews.iter().rev().map(|row| {
        let withdrawal = match row.try_get::<_, Option<Timestamp>>("withdrawn_at")? {
            None => None,
            Some(withdrawn_at) => Some(Withdrawal {
                reviewer: row.try_get("withdrawn_by")?,
                withdrawn_at,
                notes: row.try_get("withdrawal_notes")?,
            }),
        };
        Ok(Review { withdrawal, ..read_review(row, "reviews", &students)? })
    });
    let reviews = reviews.collect::<Result<_, DatabaseError>>()?;
    Ok(Some(Sighting { reviews, ..read(&row, &candidates, &students, has_evidence)? }))
}

/// Reads rows of [`COLUMNS`], and in two further queries, which go out together, the students they name and which
/// of them have pictures.
pub(super) async fn read_all(
    client: &deadpool_postgres::Object,
    site: SiteId,
    rows: &[Row],
) -> Result<Vec<Sighting>, DatabaseError> {
    let candidates: Vec<Vec<CandidateColumn>> =
        rows.iter().map(|row| read_json(row, "sightings", "candidates")).collect::<Result<_, _>>()?;
    let mut ids: Vec<Uuid> = candidates.iter().flatten().map(|c| c.student_id).collect();
    for row in rows {
        for column in ["student_id", "corrected_student_id"] {
            ids.extend(row.try_get::<_, Option<Uuid>>(column)?);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let sql = "SELECT id, number, name FROM students WHERE site_id = $1 AND id = ANY($2)";
    let site_id = site.uuid();
    let named =
        async { Ok(client.query_typed(sql, &[(&site_id, Type::UUID), (&ids, Type::UUID_ARRAY)]).await?) };
    let sightings: Vec<Uuid> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
    let mut days: Vec<Date> = rows.iter().map(|row| row.try_get("day")).collect::<Result<_, _>>()?;
    days.sort_unstable();
    days.dedup();
    let (named, pictured) = try_join(named, sightings_with_evidence(client, site, &days, &sightings)).await?;
    let students = students_by_id(&named)?;
    rows.iter()
        .zip(&candidates)
        .zip(&sightings)
        .map(|((row, candidates), id)| read(row, candidates, &students, pictured.contains(id)))
        .collect()
}

fn students_by_id(rows: &[Row]) -> Result<HashMap<Uuid, StudentRef>, DatabaseError> {
    rows.iter()
        .map(|row| {
            let id: Uuid = row.try_get("id")?;
            let (number, name) = (row.try_get("number")?, row.try_get("name")?);
            Ok((id, StudentRef { id: StudentId::from(id), number, name }))
        })
        .collect()
}

/// Whom a column names.
fn named(
    row: &Row,
    column: &str,
    students: &HashMap<Uuid, StudentRef>,
) -> Result<Option<StudentRef>, DatabaseError> {
    Ok(row.try_get::<_, Option<Uuid>>(column)?.and_then(|id| students.get(&id).cloned()))
}

/// Reads a verdict: of the sighting that it is in force on, or of `reviews`.
fn read_review(
    row: &Row,
    table: &'static str,
    students: &HashMap<Uuid, StudentRef>,
) -> Result<Review, DatabaseError> {
    Ok(Review {
        verdict: read_text(row, table, "verdict")?,
        reviewer: row.try_get("reviewer")?,
        reviewed_at: row.try_get("reviewed_at")?,
        notes: row.try_get("review_notes")?,
        corrected: named(row, "corrected_student_id", students)?,
        withdrawal: None,
    })
}

fn read_claim(row: &Row) -> Result<Option<Claim>, DatabaseError> {
    let Some(reviewer) = row.try_get("claimed_by")? else { return Ok(None) };
    let (until, assigned_by) = (row.try_get("claimed_until")?, row.try_get("assigned_by")?);
    let reviewer_id = row.try_get::<_, Uuid>("claimed_by_id")?.into();
    Ok(Some(Claim { reviewer_id, reviewer, until, assigned_by }))
}

fn read(
    row: &Row,
    candidates: &[CandidateColumn],
    students: &HashMap<Uuid, StudentRef>,
    has_evidence: bool,
) -> Result<Sighting, DatabaseError> {
    const TABLE: &str = "sightings";
    let review = match row.try_get::<_, Option<&str>>("verdict")? {
        None => None,
        Some(_) => Some(read_review(row, TABLE, students)?),
    };
    let candidate = |c: &CandidateColumn| {
        let student = students.get(&c.student_id)?.clone();
        Some(Candidate { student, similarity: Similarity::clamped(c.similarity) })
    };
    let quality: Quality = read_json(row, TABLE, "quality")?;
    let track = match row.try_get::<_, Option<i64>>("track_id")? {
        None => None,
        Some(id) => Some(Track {
            id: id.unsigned_abs(),
            entered_at: row.try_get("track_entered_at")?,
            last_seen_at: row.try_get("track_last_seen_at")?,
            left: row.try_get("track_left")?,
        }),
    };
    let uncertainty: Option<i64> = row.try_get("clock_uncertainty_ms")?;
    Ok(Sighting {
        id: row.try_get::<_, Uuid>("id")?.into(),
        device: row.try_get::<_, Uuid>("device_id")?.into(),
        device_name: row.try_get("device_name")?,
        classroom: row.try_get("classroom")?,
        key: SightingKey {
            boot_epoch: row.try_get::<_, i64>("boot_epoch")?.unsigned_abs(),
            sequence: row.try_get::<_, i64>("sequence")?.unsigned_abs(),
        },
        captured_at: row.try_get("captured_at")?,
        received_at: row.try_get("received_at")?,
        bounding_box: BoundingBox {
            x: row.try_get("box_x")?,
            y: row.try_get("box_y")?,
            width: row.try_get("box_width")?,
            height: row.try_get("box_height")?,
        },
        detection_score: row.try_get("detection_score")?,
        quality,
        liveness: row.try_get("liveness")?,
        frame: row.try_get("frame")?,
        pack: read_digest(TABLE, row.try_get("pack_digest")?)?,
        prediction: Prediction {
            decision: read_text(row, TABLE, "decision")?,
            reason: read_text(row, TABLE, "reason")?,
            candidates: candidates.iter().filter_map(candidate).collect(),
            margin: row.try_get("margin")?,
            threshold: row.try_get("threshold")?,
            threshold_version: row.try_get::<_, i32>("threshold_version")?.unsigned_abs(),
            scope: read_text(row, TABLE, "scope")?,
            scope_templates: row.try_get::<_, Option<i32>>("scope_templates")?.map(i32::unsigned_abs),
        },
        best_similarity: row.try_get::<_, Option<f32>>("similarity")?.map(Similarity::clamped),
        review,
        reviews: Vec::new(),
        claim: read_claim(row)?,
        visit_size: 0,
        student: named(row, "student_id", students)?,
        has_evidence,
        clock: Clock {
            trust: read_text(row, TABLE, "clock_trust")?,
            uncertainty_ms: uncertainty.map(i64::unsigned_abs),
        },
        track,
        time_implausible: row.try_get("time_implausible")?,
    })
}
