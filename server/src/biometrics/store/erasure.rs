//! How a student's face is destroyed.

use cavs_types::{StudentId, TemplateId};
use deadpool_postgres::{Object, Transaction};
use uuid::Uuid;

use super::BiometricStore;
use crate::db::DatabaseError;

/// Sightings that show the student, as far as anybody knows: those that are theirs, and those that wait for a
/// person while the machine thinks of them.
const FACES: &str = "SELECT id FROM sightings WHERE student_id = $1
    UNION SELECT id FROM sightings WHERE in_queue AND predicted_student_id = $1";

/// What was destroyed.
#[derive(Debug)]
pub(crate) struct ErasedFaces {
    /// Templates, which the galleries have to forget.
    pub(crate) templates: Vec<TemplateId>,
    /// Number of sightings whose probe and picture are gone.
    pub(crate) sightings: u64,
}

/// Destroys a student's data key and templates, and the probes and pictures of their sightings, with the commit.
/// The caller holds the student's row.
pub(crate) async fn erase_faces(
    transaction: &Transaction<'_>,
    student: StudentId,
) -> Result<ErasedFaces, DatabaseError> {
    let student = student.uuid();
    transaction.execute("DELETE FROM data_keys WHERE student_id = $1", &[&student]).await?;
    let sql = format!("DELETE FROM evidence WHERE sighting_id IN ({FACES})");
    transaction.execute(&sql, &[&student]).await?;
    let sql = format!("UPDATE sightings SET probe = '' WHERE probe <> '' AND id IN ({FACES})");
    let sightings = transaction.execute(&sql, &[&student]).await?;
    // Last: from here to the commit, nobody else changes a template.
    let sql = "DELETE FROM templates WHERE student_id = $1 RETURNING id";
    let templates = transaction
        .query(sql, &[&student])
        .await?
        .iter()
        .map(|row| row.try_get::<_, Uuid>(0).map(Into::into))
        .collect::<Result<_, _>>()?;
    Ok(ErasedFaces { templates, sightings })
}

impl BiometricStore {
    /// Rewrites the tables of the students and of their data keys, so that their files hold no name and no key
    /// that was erased. They have a short row for each student.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn purge_erased(&self) -> Result<(), DatabaseError> {
        // Only the owner of a table may rewrite it; and each by itself, as none may be part of a transaction.
        let owner = self.db.owner().await?;
        owner.batch_execute("VACUUM FULL data_keys").await?;
        owner.batch_execute("VACUUM FULL students").await?;
        if self.db.has_owner() {
            // A session of the owner's is open no longer than it is needed.
            drop(Object::take(owner));
        }
        Ok(())
    }
}
