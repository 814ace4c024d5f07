//! How a student's face is destroyed.

use cavs_proto::{StudentId, TemplateId};
use deadpool_postgres::Object;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::{Erased, pseudonym};

/// Sightings that show the student, as far as anybody knows: those that are theirs, and those that wait for a
/// person while the machine thinks of them.
const FACES: &str = "SELECT id FROM sightings WHERE student_id = $1
    UNION SELECT id FROM sightings WHERE in_queue AND predicted_student_id = $1";

impl Store {
    /// Destroys a student's data key and templates, the probes and pictures of their sightings, and their
    /// number, name and section; which templates they were.
    ///
    /// # Errors
    /// `NotFound`: the student.
    pub async fn erase_student(&self, id: StudentId) -> Result<(Erased, Vec<TemplateId>), StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let student = id.uuid();
        // An enrollment under way takes this row, too: it is through, or finds no key any more.
        let sql = "UPDATE students SET erased_at = coalesce(erased_at, now()), number = $2, name = '',
                   section = '', name_words = '' WHERE id = $1";
        if transaction.execute(sql, &[&student, &pseudonym(id)]).await? == 0 {
            return Err(StoreError::NotFound);
        }
        transaction.execute("DELETE FROM student_keys WHERE student_id = $1", &[&student]).await?;
        let sql = format!("DELETE FROM evidence WHERE sighting_id IN ({FACES})");
        transaction.execute(&sql, &[&student]).await?;
        let sql = format!("UPDATE sightings SET probe = '' WHERE probe <> '' AND id IN ({FACES})");
        let sightings = transaction.execute(&sql, &[&student]).await?;
        // Last: from here to the commit, nobody else changes a template.
        let sql = "DELETE FROM templates WHERE student_id = $1 RETURNING id";
        let templates: Vec<TemplateId> = transaction
            .query(sql, &[&student])
            .await?
            .iter()
            .map(|row| row.try_get::<_, Uuid>(0).map(Into::into))
            .collect::<Result<_, _>>()?;
        transaction.commit().await?;
        Ok((Erased { templates: templates.len() as u64, sightings }, templates))
    }

    /// Rewrites the tables of the students and of their data keys, so that their files hold no name and no key
    /// that was erased. They have a short row for each student.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn purge_erased(&self) -> Result<(), StoreError> {
        // Only the owner of a table may rewrite it; and each by itself, as none may be part of a transaction.
        let owner = self.owner().await?;
        owner.batch_execute("VACUUM FULL student_keys").await?;
        owner.batch_execute("VACUUM FULL students").await?;
        if self.owner.is_some() {
            // A session of the owner's is open no longer than it is needed.
            drop(Object::take(owner));
        }
        Ok(())
    }
}
