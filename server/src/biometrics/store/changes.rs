//! How a server follows the changes that any server makes to the templates.

use cavs_embedding::PackDigest;
use cavs_types::{SiteId, StudentId, TemplateId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    BiometricStore, StoredTemplate,
    keys::{KEY_COLUMNS, stored_key},
    templates::MATCHED,
};
use crate::db::DatabaseError;

/// Changes that are read at a time.
pub const CHANGES: i64 = 1024;
/// How long changes are remembered: whoever was away for longer loads everything again.
const REMEMBERED: &str = "30 days";

/// A change of a site's templates.
#[derive(Debug)]
pub struct GalleryChange {
    /// Its number: one more than the change's before.
    pub sequence: i64,
    /// What it was about.
    pub state: TemplateState,
}

/// A template as it is now.
#[derive(Debug)]
pub struct TemplateState {
    /// Which template.
    pub template: TemplateId,
    /// What is stored of it, where it is of the pack in question and its student is to be recognised; `None` where
    /// there is none any more.
    pub stored: Option<StoredTemplate>,
}

impl BiometricStore {
    /// Deletes changes that nobody needs any more: whoever has been away for so long loads everything.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_old_gallery_changes(&self, site: SiteId) -> Result<(), DatabaseError> {
        let sql = format!(
            "DELETE FROM gallery_changes WHERE site_id = $1 AND changed_at < now() - interval '{REMEMBERED}'"
        );
        self.db.client().await?.execute(&sql, &[&site.uuid()]).await?;
        Ok(())
    }

    /// The number of a site's latest change.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn gallery_sequence(&self, site: SiteId) -> Result<i64, DatabaseError> {
        let sql = "SELECT sequence FROM gallery_clock WHERE site_id = $1";
        Ok(self.db.client().await?.query_one(sql, &[&site.uuid()]).await?.try_get(0)?)
    }

    /// The number of a site's latest change, and up to [`CHANGES`] changes after a number, in order.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn gallery_changes(
        &self,
        site: SiteId,
        after: i64,
        pack: PackDigest,
    ) -> Result<(i64, Vec<GalleryChange>), DatabaseError> {
        let client = self.db.client().await?;
        // One statement, so that number and changes are of one moment.
        let statement = client
            .prepare_cached(&format!(
                "SELECT g.sequence AS latest, c.sequence, c.template_id, t.student_id, t.embedding, {KEY_COLUMNS}
                 FROM gallery_clock g
                 LEFT JOIN gallery_changes c ON c.site_id = g.site_id AND c.sequence > $2
                 LEFT JOIN ({MATCHED}) ON t.site_id = c.site_id AND t.id = c.template_id AND t.pack_digest = $3
                 WHERE g.site_id = $1 ORDER BY c.sequence LIMIT $4"
            ))
            .await?;
        let pack = pack.as_bytes().as_slice();
        let rows = client.query(&statement, &[&site.uuid(), &after, &pack, &CHANGES]).await?;
        // There is always a row, as there is always a clock; without it, nothing is as it was.
        let latest = rows.first().map_or(Ok(0), |row| row.try_get("latest"))?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(sequence) = row.try_get("sequence")? else { continue };
            changes.push(GalleryChange { sequence, state: template_state(row)? });
        }
        Ok((latest, changes))
    }

    /// Some templates of a site as they are now, whatever was changed before.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn template_states(
        &self,
        site: SiteId,
        templates: &[TemplateId],
        pack: PackDigest,
    ) -> Result<Vec<TemplateState>, DatabaseError> {
        let ids: Vec<Uuid> = templates.iter().map(|id| id.uuid()).collect();
        let client = self.db.client().await?;
        let statement = client
            .prepare_cached(&format!(
                "SELECT w.template_id, t.student_id, t.embedding, {KEY_COLUMNS}
                 FROM unnest($2::uuid[]) AS w (template_id)
                 LEFT JOIN ({MATCHED}) ON t.site_id = $1 AND t.id = w.template_id AND t.pack_digest = $3"
            ))
            .await?;
        let rows = client.query(&statement, &[&site.uuid(), &ids, &pack.as_bytes().as_slice()]).await?;
        rows.iter().map(template_state).collect()
    }
}

fn template_state(row: &Row) -> Result<TemplateState, DatabaseError> {
    let template = row.try_get::<_, Uuid>("template_id")?.into();
    let stored = match row.try_get::<_, Option<Uuid>>("student_id")? {
        None => None,
        Some(student) => Some(StoredTemplate {
            id: template,
            student: StudentId::from(student),
            key: stored_key(row)?,
            sealed: row.try_get("embedding")?,
        }),
    };
    Ok(TemplateState { template, stored })
}
