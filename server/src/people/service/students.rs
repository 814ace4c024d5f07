use std::sync::Arc;

use cavs_types::{ErrorReason, SiteId, StudentId, UserId};
use tracing::info;

use crate::{
    biometrics::{BiometricStore, Erasure, Keys, Maintenance},
    db::{Database, DatabaseError},
    error::ServiceError,
    page::{Page, PageRequest},
    people::{NewStudent, Student, StudentFilter, StudentKey, StudentStore},
    recognition::Galleries,
};

/// Students, each of one site: who they are, and how they are forgotten.
#[derive(Clone)]
pub struct Students {
    store: StudentStore,
    biometrics: BiometricStore,
    keys: Arc<Keys>,
    galleries: Arc<Galleries>,
    maintenance: Arc<Maintenance>,
}

impl Students {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(
        db: &Database,
        keys: &Arc<Keys>,
        galleries: &Arc<Galleries>,
        maintenance: &Arc<Maintenance>,
    ) -> Self {
        Self {
            store: StudentStore::new(db),
            biometrics: BiometricStore::new(db),
            keys: Arc::clone(keys),
            galleries: Arc::clone(galleries),
            maintenance: Arc::clone(maintenance),
        }
    }

    /// Adds a student.
    ///
    /// # Errors
    /// `STUDENT_EXISTS`.
    pub async fn create(&self, site: SiteId, new: &NewStudent) -> Result<Student, ServiceError> {
        let id = StudentId::generate();
        let mut created = self.store.create(site, id, new, &self.keys.new_student_key(site, id)?).await;
        if matches!(created, Err(DatabaseError::EpochRetired)) {
            // Another server has rotated the keyring.
            self.keys.refresh().await?;
            created = self.store.create(site, id, new, &self.keys.new_student_key(site, id)?).await;
        }
        let student = created.map_err(|error| {
            let message = || format!("student number {:?} is taken", new.number);
            ServiceError::taken(error, ErrorReason::StudentExists, message)
        })?;
        info!(student = %student.id, "added a student");
        Ok(student)
    }

    /// A student, where there is one.
    ///
    /// # Errors
    /// `Database`.
    pub async fn find(&self, site: SiteId, key: &StudentKey) -> Result<Option<Student>, ServiceError> {
        Ok(self.store.get(site, key).await?)
    }

    /// One student.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`.
    pub async fn get(&self, site: SiteId, key: &StudentKey) -> Result<Student, ServiceError> {
        self.find(site, key).await?.ok_or_else(|| {
            let message = match key {
                StudentKey::Id(id) => format!("no student has the id {id}"),
                StudentKey::Number(number) => format!("no student has the number {number:?}"),
            };
            ServiceError::refused(ErrorReason::StudentNotFound, message)
        })
    }

    /// Students by number.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        filter: &StudentFilter,
        page: &PageRequest<String>,
    ) -> Result<Page<Student>, ServiceError> {
        Ok(self.store.list(site, filter, page).await?)
    }

    /// Destroys a student's face, number and name for good; the sightings stay, without them. When this returns,
    /// no search here finds the student, and what the graph knew of them leaves its memory as soon as it is built
    /// anew; what is left in the database's files goes in the background, as the student's erasure says.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`.
    pub async fn erase(&self, site: SiteId, id: StudentId, by: UserId) -> Result<Student, ServiceError> {
        let key = StudentKey::Id(id);
        // Names the one who is not there.
        self.get(site, &key).await?;
        let templates = self.store.erase(site, id, by).await?;
        self.maintenance.wake();
        self.galleries.bring_into_force(site, &templates).await?;
        info!(student = %id, %by, templates = templates.len(), "erased a student");
        self.get(site, &key).await
    }

    /// How far a student's erasure is.
    ///
    /// # Errors
    /// `NOT_FOUND`: nobody has erased the student.
    pub async fn erasure(&self, site: SiteId, id: StudentId) -> Result<Erasure, ServiceError> {
        self.get(site, &StudentKey::Id(id)).await?;
        self.biometrics.erasure(site, id).await?.ok_or_else(|| {
            ServiceError::refused(ErrorReason::NotFound, format!("the student {id} was not erased"))
        })
    }
}
