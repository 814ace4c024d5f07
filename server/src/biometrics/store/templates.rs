use std::collections::HashMap;

use cavs_embedding::PackDigest;
use cavs_types::{EnrollmentGate, Quality, SightingId, SiteId, StudentId, TemplateId, UserId};
use deadpool_postgres::Object;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tokio_postgres::{
    Row,
    types::{Json, ToSql},
};
use uuid::Uuid;

use super::{
    BiometricStore, StoredKey,
    keys::{KEY_COLUMNS, stored_key},
};
use crate::{
    biometrics::TemplateInfo,
    db::{DatabaseError, read_digest, read_json, read_text},
};

/// How many templates a student of `students s` has, as the column `template_count`.
pub(crate) const TEMPLATE_COUNT: &str = "(SELECT count(*) FROM templates t WHERE t.site_id = s.site_id AND t.student_id = s.id) AS template_count";

/// Whether a student of `students s` has templates.
pub(crate) const IS_ENROLLED: &str =
    "EXISTS (SELECT FROM templates t WHERE t.site_id = s.site_id AND t.student_id = s.id)";

/// Templates `t` of students who are to be recognised, with their data keys `k`.
pub(super) const MATCHED: &str = "templates t JOIN data_keys k USING (site_id, student_id)
    JOIN students s ON s.site_id = t.site_id AND s.id = t.student_id AND s.is_matched";

/// A template to be stored.
#[derive(Debug)]
pub struct NewTemplate<'a> {
    /// Its id.
    pub id: TemplateId,
    /// Whose face it is.
    pub student: StudentId,
    /// What made it.
    pub pack: PackDigest,
    /// The sealed embedding.
    pub sealed: &'a [u8],
    /// How good the picture was.
    pub quality: Quality,
    /// The sealed picture, where it is kept.
    pub portrait: Option<&'a [u8]>,
    /// Where the face comes from.
    pub source: TemplateSource,
    /// How strictly it was looked at, and who enrolled it.
    pub admitted: Option<(EnrollmentGate, UserId)>,
}

/// Where the face of a template comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateSource {
    /// A picture that was sent.
    Image,
    /// A sighting of which a person has said who it is. When they say otherwise, the template goes.
    Sighting(SightingId),
    /// An embedding that was sent.
    Embedding,
}

/// What became of a template to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateOutcome {
    /// It is there.
    Stored,
    /// The student has as many as they may have.
    TooMany,
    /// The student is not active, or has refused to be recognised.
    NotWanted,
}

/// A template as it is stored.
#[derive(Debug)]
pub struct StoredTemplate {
    /// Its id.
    pub id: TemplateId,
    /// Whose face it is.
    pub student: StudentId,
    /// The student's data key.
    pub key: StoredKey,
    /// The sealed embedding.
    pub sealed: Vec<u8>,
}

impl BiometricStore {
    /// Stores a template of a student of the site, unless they are not to be recognised, or have `most` of the pack
    /// already.
    ///
    /// # Errors
    /// `NotFound`: the student; `Erased`.
    pub async fn create_template(
        &self,
        site: SiteId,
        new: &NewTemplate<'_>,
        most: u32,
    ) -> Result<TemplateOutcome, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let (site, student) = (site.uuid(), new.student.uuid());
        let pack = new.pack.as_bytes().as_slice();
        let (source, sighting) = match new.source {
            TemplateSource::Image => ("image", None),
            TemplateSource::Embedding => ("embedding", None),
            TemplateSource::Sighting(sighting) => ("sighting", Some(sighting.uuid())),
        };
        if sighting.is_some() {
            // Before the student, as verdicts do.
            let sql = "SELECT FROM sightings WHERE site_id = $1 AND id = $2 AND student_id = $3 FOR SHARE";
            if transaction.query_opt(sql, &[&site, &sighting, &student]).await?.is_none() {
                return Ok(TemplateOutcome::NotWanted);
            }
        }
        // Enrollments of one student take turns, or two would both see room for the last one.
        let row = transaction
            .query_opt(
                // The key's row, too: without its key, what is stored now would never open.
                "SELECT s.is_matched FROM students s JOIN data_keys k ON k.site_id = s.site_id AND k.student_id = s.id
                 WHERE s.site_id = $1 AND s.id = $2 FOR UPDATE OF s, k",
                &[&site, &student],
            )
            .await?
            .ok_or(DatabaseError::NotFound)?;
        if !row.try_get::<_, bool>(0)? {
            return Ok(TemplateOutcome::NotWanted);
        }
        let sql =
            "SELECT count(*) FROM templates WHERE site_id = $1 AND student_id = $2 AND pack_digest = $3";
        let count: i64 = transaction.query_one(sql, &[&site, &student, &pack]).await?.try_get(0)?;
        if count >= i64::from(most) {
            return Ok(TemplateOutcome::TooMany);
        }
        // What was said of older templates says nothing of this one.
        let sql = "UPDATE students SET re_enroll = false WHERE site_id = $1 AND id = $2 AND re_enroll";
        transaction.execute(sql, &[&site, &student]).await?;
        let (gate, by) = (new.admitted.map(|(gate, _)| gate.as_str()), new.admitted.map(|(_, by)| by.uuid()));
        transaction
            .execute(
                "INSERT INTO templates
                     (site_id, id, student_id, pack_digest, embedding, quality, source, sighting_id, gate, enrolled_by)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                &[
                    &site,
                    &new.id.uuid(),
                    &student,
                    &pack,
                    &new.sealed,
                    &Json(new.quality),
                    &source,
                    &sighting,
                    &gate,
                    &by,
                ],
            )
            .await?;
        if let Some(portrait) = new.portrait {
            let sql = "INSERT INTO portraits (site_id, day, template_id, student_id, sealed)
                       SELECT site_id, (created_at AT TIME ZONE 'UTC')::date, id, student_id, $3 FROM templates
                       WHERE site_id = $1 AND id = $2";
            transaction.execute(sql, &[&site, &new.id.uuid(), &portrait]).await?;
        }
        transaction.commit().await?;
        Ok(TemplateOutcome::Stored)
    }

    /// A student's templates, oldest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn student_templates(
        &self,
        site: SiteId,
        student: StudentId,
    ) -> Result<Vec<TemplateInfo>, DatabaseError> {
        let sql = format!("{INFO} WHERE t.site_id = $1 AND t.student_id = $2 ORDER BY t.id");
        let rows = self.db.client().await?.query(&sql, &[&site.uuid(), &student.uuid()]).await?;
        rows.iter().map(info).collect()
    }

    /// What is known of a template of the site.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn template_info(
        &self,
        site: SiteId,
        id: TemplateId,
    ) -> Result<Option<TemplateInfo>, DatabaseError> {
        let sql = format!("{INFO} WHERE t.site_id = $1 AND t.id = $2");
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid(), &id.uuid()]).await?;
        row.as_ref().map(info).transpose()
    }

    /// When each student of a site who has templates of a pack got the newest.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn newest_templates(
        &self,
        site: SiteId,
        pack: PackDigest,
    ) -> Result<HashMap<StudentId, Timestamp>, DatabaseError> {
        let sql = "SELECT student_id, max(created_at) FROM templates WHERE site_id = $1 AND pack_digest = $2
                   GROUP BY student_id";
        let pack = pack.as_bytes().as_slice();
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &pack]).await?;
        rows.iter().map(|row| Ok((row.try_get::<_, Uuid>(0)?.into(), row.try_get(1)?))).collect()
    }

    /// The templates of some students.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn templates_of(
        &self,
        site: SiteId,
        students: &[StudentId],
    ) -> Result<Vec<TemplateId>, DatabaseError> {
        let students: Vec<Uuid> = students.iter().map(|id| id.uuid()).collect();
        let sql = "SELECT id FROM templates WHERE site_id = $1 AND student_id = ANY($2)";
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &students]).await?;
        rows.iter().map(|row| Ok(row.try_get::<_, Uuid>(0)?.into())).collect()
    }

    /// Deletes a template of the site; whether it was there.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_template(&self, site: SiteId, id: TemplateId) -> Result<bool, DatabaseError> {
        let sql = "DELETE FROM templates WHERE site_id = $1 AND id = $2";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid()]).await? > 0)
    }

    /// All templates of a site and a pack whose students are to be recognised, as they lie: mostly those of a student together.
    ///
    /// # Errors
    /// `Unavailable`, at the start or in the middle.
    pub async fn templates(
        &self,
        site: SiteId,
        pack: PackDigest,
    ) -> Result<impl Stream<Item = Result<StoredTemplate, DatabaseError>> + use<>, DatabaseError> {
        // A connection of its own: its settings go with it, and the stream ends with it. The keys are held in
        // memory whole; with less, the join would write all templates to disk and read them again.
        let client = Object::take(self.db.client().await?);
        client.batch_execute("SET statement_timeout = '10min'; SET work_mem = '256MB'").await?;
        let sql = format!(
            "SELECT t.id, t.student_id, t.embedding, {KEY_COLUMNS} FROM {MATCHED}
             WHERE t.site_id = $1 AND t.pack_digest = $2"
        );
        let (site, pack) = (site.uuid(), pack.as_bytes().as_slice());
        let parameters: [&(dyn ToSql + Sync); 2] = [&site, &pack];
        let rows = client.query_raw(&sql, parameters).await?;
        Ok(rows.map(move |row| {
            let _held = &client;
            template(&row?)
        }))
    }
}

/// What [`info`] reads.
const INFO: &str = "SELECT t.id, t.student_id, t.pack_digest, t.quality, t.created_at, t.gate,
        u.username AS enrolled_by,
        EXISTS (SELECT FROM portraits p WHERE p.site_id = t.site_id AND p.template_id = t.id
            AND p.day = (t.created_at AT TIME ZONE 'UTC')::date) AS has_portrait
    FROM templates t LEFT JOIN users u ON u.id = t.enrolled_by";

fn info(row: &Row) -> Result<TemplateInfo, DatabaseError> {
    let gate: Option<&str> = row.try_get("gate")?;
    Ok(TemplateInfo {
        id: row.try_get::<_, Uuid>("id")?.into(),
        student: row.try_get::<_, Uuid>("student_id")?.into(),
        pack: read_digest("templates", row.try_get("pack_digest")?)?,
        quality: read_json(row, "templates", "quality")?,
        created_at: row.try_get("created_at")?,
        gate: gate.map(|_| read_text(row, "templates", "gate")).transpose()?,
        enrolled_by: row.try_get("enrolled_by")?,
        has_portrait: row.try_get("has_portrait")?,
    })
}

fn template(row: &Row) -> Result<StoredTemplate, DatabaseError> {
    Ok(StoredTemplate {
        id: row.try_get::<_, Uuid>("id")?.into(),
        student: row.try_get::<_, Uuid>("student_id")?.into(),
        key: stored_key(row)?,
        sealed: row.try_get("embedding")?,
    })
}
