use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cavs_secrets::Locked;
use cavs_types::{ErrorReason, StudentId};
use jiff::civil::Date;

use crate::{
    biometrics::{BiometricStore, Key, Owner, SealError},
    error::ServiceError,
};

/// The key-encryption key, and the data keys under it.
pub struct Keys {
    master: Locked<Key>,
    /// A handful: one a month since the start.
    months: Mutex<HashMap<Date, Arc<Locked<Key>>>>,
}

impl Keys {
    /// Takes the key-encryption key, if it is the one that the database was sealed with.
    ///
    /// # Errors
    /// `Vault(DoesNotOpen)`: it is another one. `Database`.
    pub async fn verified(master: Key, store: &BiometricStore) -> Result<Self, ServiceError> {
        let master = Locked::new(master);
        const PROOF: &[u8] = b"CAVS";
        let proof = store.vault_proof(&master.seal(Owner::Proof, PROOF)?).await?;
        if master.open(Owner::Proof, &proof)?.as_slice() != PROOF {
            return Err(SealError::DoesNotOpen.into());
        }
        Ok(Self { master, months: Mutex::default() })
    }

    /// What a name is called in logs: the same each time, and of no use without the key.
    #[must_use]
    pub fn pseudonym(&self, name: &str) -> String {
        self.master.pseudonym(name)
    }

    /// A new data key for a student, and its wrapped form.
    pub(crate) fn new_student_key(&self, id: StudentId) -> Result<Vec<u8>, ServiceError> {
        Ok(self.master.new_data_key(Owner::StudentKey(id))?.1)
    }

    /// Opens a student's wrapped data key.
    pub(crate) fn open_student_key(&self, id: StudentId, wrapped: &[u8]) -> Result<Key, SealError> {
        self.master.open_data_key(Owner::StudentKey(id), wrapped)
    }

    /// A student's data key.
    pub(crate) async fn student_key(
        &self,
        store: &BiometricStore,
        id: StudentId,
    ) -> Result<Key, ServiceError> {
        let wrapped = store.student_key(id).await?.ok_or_else(|| {
            ServiceError::refused(ErrorReason::StudentNotFound, format!("no student has the id {id}"))
        })?;
        Ok(self.open_student_key(id, &wrapped)?)
    }

    /// The data key of the sightings of a month, named by its first day; made where it is missing.
    pub(crate) async fn month_key(
        &self,
        store: &BiometricStore,
        month: Date,
    ) -> Result<Arc<Locked<Key>>, ServiceError> {
        let cached = self.months.lock().unwrap_or_else(PoisonError::into_inner).get(&month).cloned();
        if let Some(key) = cached {
            return Ok(key);
        }
        let (_, fresh) = self.master.new_data_key(Owner::MonthKey(month))?;
        let key = self.open_month_key(month, &store.sighting_key(month, &fresh).await?)?;
        let key = Arc::new(Locked::new(key));
        self.months.lock().unwrap_or_else(PoisonError::into_inner).insert(month, Arc::clone(&key));
        Ok(key)
    }

    /// Opens the wrapped data key of a month.
    pub(crate) fn open_month_key(&self, month: Date, wrapped: &[u8]) -> Result<Key, SealError> {
        self.master.open_data_key(Owner::MonthKey(month), wrapped)
    }
}
