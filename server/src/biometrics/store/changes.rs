//! How a server follows the changes that any server makes to the templates.

use cavs_embedding::PackDigest;
use cavs_types::{StudentId, TemplateId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    BiometricStore, StoredTemplate,
    keys::{KEY_COLUMNS, stored_key},
};
use crate::db::DatabaseError;

/// Changes that are read at a time.
pub const CHANGES: i64 = 1024;
/// Channels that tell of changes of templates and of thresholds.
pub const GALLERY_CHANGES: &[&str] = &["cavs_gallery", "cavs_thresholds"];
/// How long changes are remembered: whoever was away for longer loads everything again.
const REMEMBERED: &str = "30 days";

/// A change of the templates.
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
    /// What is stored of it, where it is of the pack in question; `None` where there is none any more.
    pub stored: Option<StoredTemplate>,
}

impl BiometricStore {
    /// Deletes changes that nobody needs any more: whoever has been away for so long loads everything.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_old_gallery_changes(&self) -> Result<(), DatabaseError> {
        let sql = format!("DELETE FROM gallery_changes WHERE changed_at < now() - interval '{REMEMBERED}'");
        self.db.client().await?.execute(&sql, &[]).await?;
        Ok(())
    }

    /// The number of the latest change.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn gallery_sequence(&self) -> Result<i64, DatabaseError> {
        let client = self.db.client().await?;
        Ok(client.query_one("SELECT sequence FROM gallery_clock", &[]).await?.try_get(0)?)
    }

    /// The number of the latest change, and up to [`CHANGES`] changes after a number, in order.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn gallery_changes(
        &self,
        after: i64,
        pack: PackDigest,
    ) -> Result<(i64, Vec<GalleryChange>), DatabaseError> {
        let client = self.db.client().await?;
        // One statement, so that number and changes are of one moment.
        let statement = client
            .prepare_cached(&format!(
                "SELECT g.sequence AS latest, c.sequence, c.template_id, t.student_id, t.embedding, {KEY_COLUMNS}
                 FROM gallery_clock g
                 LEFT JOIN gallery_changes c ON c.sequence > $1
                 LEFT JOIN (templates t JOIN data_keys k USING (student_id))
                     ON t.id = c.template_id AND t.pack_digest = $2
                 ORDER BY c.sequence LIMIT $3"
            ))
            .await?;
        let rows = client.query(&statement, &[&after, &pack.as_bytes().as_slice(), &CHANGES]).await?;
        // There is always a row, as there is always a clock; without it, nothing is as it was.
        let latest = rows.first().map_or(Ok(0), |row| row.try_get("latest"))?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(sequence) = row.try_get("sequence")? else { continue };
            changes.push(GalleryChange { sequence, state: template_state(row)? });
        }
        Ok((latest, changes))
    }

    /// Some templates as they are now, whatever was changed before.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn template_states(
        &self,
        templates: &[TemplateId],
        pack: PackDigest,
    ) -> Result<Vec<TemplateState>, DatabaseError> {
        let ids: Vec<Uuid> = templates.iter().map(|id| id.uuid()).collect();
        let client = self.db.client().await?;
        let statement = client
            .prepare_cached(&format!(
                "SELECT w.template_id, t.student_id, t.embedding, {KEY_COLUMNS}
                 FROM unnest($1::uuid[]) AS w (template_id)
                 LEFT JOIN (templates t JOIN data_keys k USING (student_id))
                     ON t.id = w.template_id AND t.pack_digest = $2"
            ))
            .await?;
        let rows = client.query(&statement, &[&ids, &pack.as_bytes().as_slice()]).await?;
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
