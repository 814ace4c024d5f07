use std::sync::Arc;

use cavs_types::{ErrorReason, ProtocolError, SiteId, StudentId, UserId};
use tracing::info;

use super::Students;
use crate::{
    db::{Database, DatabaseError},
    error::ServiceError,
    page::{Page, PageRequest},
    people::{ConfusablePair, PairPosition, PairStore, StudentKey},
    recognition::Galleries,
};

/// Students who are taken for one another.
#[derive(Clone)]
pub struct Pairs {
    store: PairStore,
    students: Students,
    galleries: Arc<Galleries>,
}

impl Pairs {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, students: &Students, galleries: &Arc<Galleries>) -> Self {
        Self { store: PairStore::new(db), students: students.clone(), galleries: Arc::clone(galleries) }
    }

    /// Notes that two students look alike: when this returns, faces that may be either's go to a person here.
    ///
    /// # Errors
    /// `Protocol`: they are one. `STUDENT_NOT_FOUND`, `STUDENT_ERASED`.
    pub async fn note_twins(
        &self,
        site: SiteId,
        one: StudentId,
        other: StudentId,
        by: UserId,
    ) -> Result<ConfusablePair, ServiceError> {
        if one == other {
            return Err(ProtocolError::invalid("other_student_id", "is the same student").into());
        }
        for id in [one, other] {
            self.students.get(site, &StudentKey::Id(id)).await?;
        }
        let noted = self.store.note_twins(site, one, other, by).await;
        if matches!(noted, Err(DatabaseError::NotFound)) {
            let message = "one of the students was erased, for good";
            return Err(ServiceError::refused(ErrorReason::StudentErased, message));
        }
        let noted = noted?;
        self.galleries.refresh_pairs(site).await?;
        info!(%one, %other, %by, "noted that two students look alike");
        Ok(noted)
    }

    /// Forgets a pair: when this returns, faces are taken for either's as for anybody's here.
    ///
    /// # Errors
    /// `PAIR_NOT_FOUND`.
    pub async fn delete(
        &self,
        site: SiteId,
        one: StudentId,
        other: StudentId,
        by: UserId,
    ) -> Result<(), ServiceError> {
        if !self.store.delete(site, one, other).await? {
            let message = format!("the students {one} and {other} are no pair");
            return Err(ServiceError::refused(ErrorReason::PairNotFound, message));
        }
        self.galleries.refresh_pairs(site).await?;
        info!(%one, %other, %by, "forgot a confusable pair");
        Ok(())
    }

    /// Pairs of the site, or of one of its students.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        student: Option<StudentId>,
        page: &PageRequest<PairPosition>,
    ) -> Result<Page<ConfusablePair>, ServiceError> {
        Ok(self.store.list(site, student, page).await?)
    }
}
