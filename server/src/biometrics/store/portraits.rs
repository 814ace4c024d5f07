use cavs_types::{SiteId, StudentId, TemplateId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    BiometricStore, StoredKey,
    keys::{KEY_COLUMNS, stored_key},
};
use crate::db::DatabaseError;

/// A picture that a template was made of, as it is stored.
#[derive(Debug)]
pub struct SealedPortrait {
    /// The template.
    pub template: TemplateId,
    /// Whose face it is.
    pub student: StudentId,
    /// The student's data key.
    pub key: StoredKey,
    /// The sealed JPEG.
    pub sealed: Vec<u8>,
}

impl BiometricStore {
    /// The picture of a template of the site; not of a student who has refused that their photographs are used, and not of
    /// an erased one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn portrait(
        &self,
        site: SiteId,
        template: TemplateId,
    ) -> Result<Option<SealedPortrait>, DatabaseError> {
        let sql = format!(
            "SELECT p.template_id, p.student_id, p.sealed, {KEY_COLUMNS}
             FROM templates t
                 JOIN portraits p ON p.site_id = t.site_id AND p.template_id = t.id
                     AND p.day = (t.created_at AT TIME ZONE 'UTC')::date
                 JOIN data_keys k ON k.site_id = p.site_id AND k.student_id = p.student_id
                 JOIN students s ON s.site_id = p.site_id AND s.id = p.student_id
             WHERE t.site_id = $1 AND t.id = $2 AND s.erased_at IS NULL AND s.photo_consent <> 'refused'"
        );
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid(), &template.uuid()]).await?;
        row.as_ref().map(portrait).transpose()
    }

    /// Of each of some students of the site, the picture of the best quality, the newest of several. Not of those
    /// who have refused that their photographs are used, and not of erased ones.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn best_portraits(
        &self,
        site: SiteId,
        students: &[StudentId],
    ) -> Result<Vec<SealedPortrait>, DatabaseError> {
        let sql = format!(
            "SELECT DISTINCT ON (p.student_id) p.template_id, p.student_id, p.sealed, {KEY_COLUMNS}
             FROM portraits p
                 JOIN templates t ON t.site_id = p.site_id AND t.id = p.template_id
                 JOIN data_keys k ON k.site_id = p.site_id AND k.student_id = p.student_id
                 JOIN students s ON s.site_id = p.site_id AND s.id = p.student_id
             WHERE p.site_id = $1 AND p.student_id = ANY($2)
                 AND s.erased_at IS NULL AND s.photo_consent <> 'refused'
             ORDER BY p.student_id, (t.quality->>'unified_score')::integer DESC, p.template_id DESC"
        );
        let students: Vec<Uuid> = students.iter().map(|id| id.uuid()).collect();
        let client = self.db.client().await?;
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &[&site.uuid(), &students]).await?;
        rows.iter().map(portrait).collect()
    }
}

fn portrait(row: &Row) -> Result<SealedPortrait, DatabaseError> {
    Ok(SealedPortrait {
        template: row.try_get::<_, Uuid>("template_id")?.into(),
        student: row.try_get::<_, Uuid>("student_id")?.into(),
        key: stored_key(row)?,
        sealed: row.try_get("sealed")?,
    })
}
