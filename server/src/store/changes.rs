//! How a server follows the changes that any server makes to the templates.

use std::{future::poll_fn, time::Duration};

use cavs_embedding::PackDigest;
use cavs_proto::{StudentId, TemplateId};
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Config};
use uuid::Uuid;

use super::{Store, StoreError, templates::StoredTemplate};

/// Changes that are read at a time.
pub const CHANGES: i64 = 1024;
/// Channels that tell of changes of templates and of thresholds.
pub const GALLERY_CHANGES: &[&str] = &["cavs_gallery", "cavs_thresholds"];
/// The channel that tells of changes of devices: who may speak, and who for whom.
pub const DEVICE_CHANGES: &[&str] = &["cavs_devices"];
/// How long changes are remembered: whoever was away for longer loads everything again.
const REMEMBERED: &str = "30 days";

/// A change of the templates.
#[derive(Debug)]
pub struct GalleryChange {
    /// Its number: one more than the change's before.
    pub sequence: i64,
    /// Which template.
    pub template: TemplateId,
    /// The template as it is now, where it is of the pack in question; `None` where it was removed,
    /// by this change or a later one.
    pub stored: Option<StoredTemplate>,
}

impl Store {
    /// The number of the latest change. Old changes are forgotten on the way.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn gallery_sequence(&self) -> Result<i64, StoreError> {
        let client = self.client().await?;
        let sql = format!("DELETE FROM gallery_changes WHERE changed_at < now() - interval '{REMEMBERED}'");
        client.execute(&sql, &[]).await?;
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
    ) -> Result<(i64, Vec<GalleryChange>), StoreError> {
        let client = self.client().await?;
        // One statement, so that number and changes are of one moment.
        let statement = client
            .prepare_cached(
                "SELECT g.sequence AS latest, c.sequence, c.template_id, t.student_id, k.wrapped, t.embedding
                 FROM gallery_clock g
                 LEFT JOIN gallery_changes c ON c.sequence > $1
                 LEFT JOIN (templates t JOIN student_keys k USING (student_id))
                     ON t.id = c.template_id AND t.pack_digest = $2
                 ORDER BY c.sequence LIMIT $3",
            )
            .await?;
        let rows = client.query(&statement, &[&after, &pack.as_bytes().as_slice(), &CHANGES]).await?;
        // There is always a row, as there is always a clock; without it, nothing is as it was.
        let latest = rows.first().map_or(Ok(0), |row| row.try_get("latest"))?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(sequence) = row.try_get("sequence")? else { continue };
            let template = row.try_get::<_, Uuid>("template_id")?.into();
            let stored = match row.try_get::<_, Option<Uuid>>("student_id")? {
                None => None,
                Some(student) => Some(StoredTemplate {
                    id: template,
                    student: StudentId::from(student),
                    wrapped_key: row.try_get("wrapped")?,
                    sealed: row.try_get("embedding")?,
                }),
            };
            changes.push(GalleryChange { sequence, template, stored });
        }
        Ok((latest, changes))
    }

    /// Listens on channels, on a connection of its own, until it breaks; whatever is told wakes `changed`.
    ///
    /// # Errors
    /// `Unavailable`: there is no connection, or no more.
    pub async fn listen(&self, channels: &[&str], changed: &Notify) -> Result<(), StoreError> {
        let lost = || StoreError::Unavailable("the connection was closed".into());
        let (client, mut connection) = self.link.connect().await?;
        let listening = async {
            client.batch_execute(&format!("LISTEN {}", channels.join("; LISTEN "))).await?;
            // What happened before this moment was not announced to us.
            changed.notify_one();
            // The client must live, or the connection closes.
            std::future::pending::<()>().await;
            Ok::<(), StoreError>(())
        };
        let messages = async {
            // Ends with the connection only.
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(_))) => changed.notify_one(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(StoreError::from(error)),
                    None => return Err(lost()),
                }
            }
        };
        tokio::try_join!(listening, messages).map(|((), ())| ())
    }
}

/// What the pool's and the listening connections have in common.
pub(super) fn with_keepalives(config: &mut Config) {
    // A database that went away without a word must be noticed, or its changes would be missed.
    config
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3);
}
