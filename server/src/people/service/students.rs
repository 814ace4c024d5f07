use std::sync::Arc;

use cavs_types::{ErrorReason, SiteId, StudentId, UserId};
use tracing::info;

use crate::{
    biometrics::{BiometricStore, Erasure, Keys, Maintenance, NewDataKey},
    db::{Database, DatabaseError},
    error::{ServiceError, blocking},
    page::{Page, PageRequest},
    people::{
        ImportFile, ImportOptions, ImportOutcome, ImportPlan, Student, StudentChange, StudentChanges,
        StudentFilter, StudentKey, StudentProfile, StudentState, StudentStore, StudentVersion,
    },
    recognition::Galleries,
};

/// How often a change is tried anew where somebody else was first, and nobody asked for the version that there was.
const ATTEMPTS: usize = 5;
/// Students whose templates are looked at together.
const FOLLOWED: usize = 200;

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
    /// `STUDENT_EXISTS`, `STUDENT_EMAIL_TAKEN`, `STUDENT_EXTERNAL_ID_TAKEN`.
    pub async fn create(&self, site: SiteId, profile: StudentProfile) -> Result<Student, ServiceError> {
        let state = StudentState::new(profile);
        let (id, create) = (state.id, vec![state]);
        let mut changes =
            StudentChanges { keys: self.new_keys(site, &create)?, create, ..StudentChanges::default() };
        let mut created = self.store.apply(site, &changes).await;
        if matches!(created, Err(DatabaseError::EpochRetired)) {
            // Another server has rotated the keyring.
            self.keys.refresh().await?;
            changes.keys = self.new_keys(site, &changes.create)?;
            created = self.store.apply(site, &changes).await;
        }
        created.map_err(|error| taken(error, &changes.create[0].profile))?;
        info!(student = %id, "added a student");
        self.get(site, &StudentKey::Id(id)).await
    }

    fn new_keys(&self, site: SiteId, students: &[StudentState]) -> Result<Vec<NewDataKey>, ServiceError> {
        students.iter().map(|student| self.keys.new_student_key(site, student.id)).collect()
    }

    /// Changes a student; with a version, only that one. When this returns, the student is recognised here as the
    /// change says.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`, `STUDENT_ERASED`, `STUDENT_CHANGED`: they have another version. `Protocol`. As
    /// [`Self::create`].
    pub async fn update(
        &self,
        site: SiteId,
        id: StudentId,
        seen: Option<StudentVersion>,
        change: &StudentChange,
    ) -> Result<Student, ServiceError> {
        let key = StudentKey::Id(id);
        for _ in 0..ATTEMPTS {
            let found = self.get(site, &key).await?;
            if let Some(at) = found.erased_at {
                let message = format!("the student's face was erased at {at}");
                return Err(ServiceError::refused(ErrorReason::StudentErased, message));
            }
            if seen.is_some_and(|seen| seen != found.state.version) {
                break;
            }
            let mut state = found.state.clone();
            state.change(change)?;
            if state == found.state {
                return Ok(found);
            }
            let was_matched = found.state.is_matched();
            let changes = StudentChanges { update: vec![state], ..StudentChanges::default() };
            let done = self.store.apply(site, &changes).await;
            if !done.map_err(|error| taken(error, &changes.update[0].profile))? {
                // Somebody else was first.
                continue;
            }
            if was_matched != changes.update[0].is_matched() {
                self.follow_templates(site, &[id]).await?;
            }
            info!(student = %id, "changed a student");
            return self.get(site, &key).await;
        }
        let message = "somebody has changed the student since";
        Err(ServiceError::refused(ErrorReason::StudentChanged, message))
    }

    /// Adds and changes students as a file says.
    ///
    /// # Errors
    /// `IMPORT_INVALID`: it can't be read at all. `STUDENT_CHANGED`: somebody has changed a student meanwhile.
    pub async fn import(
        &self,
        site: SiteId,
        data: Vec<u8>,
        options: ImportOptions,
        by: UserId,
    ) -> Result<(ImportPlan, bool), ServiceError> {
        let options = Arc::new(options);
        let read = Arc::clone(&options);
        let file = blocking(move || ImportFile::read(&data, &read))
            .await?
            .map_err(|problem| ServiceError::refused(ErrorReason::ImportInvalid, problem.to_string()))?;
        let imported = self.import_once(site, &file, &options).await;
        let imported = match imported {
            Err(ServiceError::Database(DatabaseError::EpochRetired)) => {
                self.keys.refresh().await?;
                self.import_once(site, &file, &options).await
            }
            imported => imported,
        };
        if matches!(imported, Err(ServiceError::Database(DatabaseError::Taken(_)))) {
            return Err(overtaken());
        }
        let (plan, outcome) = imported?;
        match outcome {
            ImportOutcome::NotWanted => return Ok((plan, false)),
            ImportOutcome::Overtaken => return Err(overtaken()),
            ImportOutcome::Done => {}
        }
        self.follow_templates(site, &plan.rematched).await?;
        info!(%by, created = plan.create.len(), updated = plan.update.len(), "imported students");
        Ok((plan, true))
    }

    async fn import_once(
        &self,
        site: SiteId,
        file: &ImportFile,
        options: &Arc<ImportOptions>,
    ) -> Result<(ImportPlan, ImportOutcome), ServiceError> {
        let planned = |students| {
            let (file, options, this) = (file.clone(), Arc::clone(options), self.clone());
            async move {
                blocking(move || {
                    let plan = ImportPlan::new(students, file, &options);
                    if !plan.is_wanted(&options) {
                        return Ok((plan, None));
                    }
                    let (create, update) = (plan.create.clone(), plan.update.clone());
                    let keys = this.new_keys(site, &create)?;
                    Ok((plan, Some(StudentChanges { create, keys, update })))
                })
                .await?
            }
        };
        self.store.import(site, planned).await
    }

    /// Has the gallery here look again at the templates of students.
    async fn follow_templates(&self, site: SiteId, students: &[StudentId]) -> Result<(), ServiceError> {
        for students in students.chunks(FOLLOWED) {
            let templates = self.biometrics.templates_of(site, students).await?;
            self.galleries.bring_into_force(site, &templates).await?;
        }
        Ok(())
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

/// What is said where the database has another student with the same.
fn taken(error: DatabaseError, profile: &StudentProfile) -> ServiceError {
    let DatabaseError::Taken(constraint) = &error else { return error.into() };
    let (reason, what, value) = match constraint.as_str() {
        "students_email" => (ErrorReason::StudentEmailTaken, "e-mail address", &profile.email),
        "students_external_id" => (ErrorReason::StudentExternalIdTaken, "external id", &profile.external_id),
        _ => (ErrorReason::StudentExists, "student number", &profile.number),
    };
    ServiceError::refused(reason, format!("{what} {value:?} is taken"))
}

fn overtaken() -> ServiceError {
    let message =
        "somebody has changed students while the file was looked at; nothing was changed: import it again";
    ServiceError::refused(ErrorReason::StudentChanged, message)
}
