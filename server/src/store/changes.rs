//! How a server follows the changes that any server makes to the templates.

use std::{future::poll_fn, time::Duration};

use cavs_embedding::PackDigest;
use cavs_proto::{StudentId, TemplateId};
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Config, NoTls};
use uuid::Uuid;

use super::{Store, StoreError, templates::StoredTemplate};

/// Changes that are read at a time.
pub const CHANGES: i64 = 1024;
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

    /// Up to [`CHANGES`] changes after a number, in order.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn gallery_changes(
        &self,
        after: i64,
        pack: PackDigest,
    ) -> Result<Vec<GalleryChange>, StoreError> {
        let client = self.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT c.sequence, c.template_id, t.student_id, k.wrapped, t.embedding
                 FROM gallery_changes c
                 LEFT JOIN (templates t JOIN student_keys k USING (student_id))
                     ON t.id = c.template_id AND t.pack_digest = $2
                 WHERE c.sequence > $1 ORDER BY c.sequence LIMIT $3",
            )
            .await?;
        let rows = client.query(&statement, &[&after, &pack.as_bytes().as_slice(), &CHANGES]).await?;
        rows.iter()
            .map(|row| {
                let template = row.try_get::<_, Uuid>("template_id")?.into();
                let student: Option<Uuid> = row.try_get("student_id")?;
                let stored = match student {
                    None => None,
                    Some(student) => Some(StoredTemplate {
                        id: template,
                        student: StudentId::from(student),
                        wrapped_key: row.try_get("wrapped")?,
                        sealed: row.try_get("embedding")?,
                    }),
                };
                Ok(GalleryChange { sequence: row.try_get("sequence")?, template, stored })
            })
            .collect()
    }

    /// Listens for changes on a connection of its own until it breaks; each one wakes `changed`.
    ///
    /// # Errors
    /// `Unavailable`: there is no connection, or no more.
    pub async fn listen_for_gallery_changes(&self, changed: &Notify) -> Result<(), StoreError> {
        let lost = || StoreError::Unavailable("the connection was closed".into());
        let connect = self.config.connect(NoTls);
        let limit = tokio::time::timeout(Duration::from_secs(10), connect);
        let (client, mut connection) = limit.await.map_err(|_| lost())??;
        let listening = async {
            client.batch_execute("LISTEN cavs_gallery").await?;
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
