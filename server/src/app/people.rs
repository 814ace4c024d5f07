//! Students and devices.

use cavs_proto::{DeviceId, ErrorReason, StudentId, UserId};
use tracing::{info, warn};

use super::{App, AppError};
use crate::{
    domain::{
        Device, DeviceChange, DeviceKey, DevicePosition, Erased, Fleet, NewDevice, NewStudent, Page,
        PageRequest, SettingsChange, Student, StudentFilter, StudentKey,
    },
    store::StoreError,
};

impl App {
    /// Adds a student.
    ///
    /// # Errors
    /// `STUDENT_EXISTS`.
    pub async fn create_student(&self, new: &NewStudent) -> Result<Student, AppError> {
        let id = StudentId::generate();
        let wrapped = self.keys.new_student_key(id)?;
        let created = self.store.create_student(id, new, &wrapped).await;
        let student = created.map_err(|error| {
            taken(error, ErrorReason::StudentExists, || format!("student number {:?} is taken", new.number))
        })?;
        info!(student = %student.id, "added a student");
        Ok(student)
    }

    /// One student.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`.
    pub async fn student(&self, key: &StudentKey) -> Result<Student, AppError> {
        self.store.student(key).await?.ok_or_else(|| {
            let message = match key {
                StudentKey::Id(id) => format!("no student has the id {id}"),
                StudentKey::Number(number) => format!("no student has the number {number:?}"),
            };
            AppError::refused(ErrorReason::StudentNotFound, message)
        })
    }

    /// Students by number.
    ///
    /// # Errors
    /// `Store`.
    pub async fn students(
        &self,
        filter: &StudentFilter,
        page: &PageRequest<String>,
    ) -> Result<Page<Student>, AppError> {
        Ok(self.store.students(filter, page).await?)
    }

    /// Destroys a student's face, number and name for good; the sightings stay, without them. When this returns, no search here
    /// finds the student, and what the graph knew of them leaves its memory as soon as it is built anew.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`.
    pub async fn erase_student(&self, id: StudentId, by: UserId) -> Result<(Student, Erased), AppError> {
        let key = StudentKey::Id(id);
        // Names the one who is not there.
        self.student(&key).await?;
        let (erased, templates) = self.store.erase_student(id).await?;
        self.recognition.bring_into_force(&templates).await?;
        if let Err(cause) = self.store.purge_erased().await {
            warn!(%cause, student = %id, "what was erased is still in the database's files; erase again");
        }
        info!(student = %id, %by, templates = erased.templates, sightings = erased.sightings, "erased a student");
        Ok((self.student(&key).await?, erased))
    }

    /// Registers a device.
    ///
    /// # Errors
    /// `DEVICE_EXISTS`.
    pub async fn create_device(&self, new: &NewDevice) -> Result<Device, AppError> {
        let device = self.store.create_device(new).await.map_err(|error| name_taken(error, &new.name))?;
        info!(device = %device.id, "registered a device");
        Ok(device)
    }

    /// One device.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`.
    pub async fn device(&self, key: &DeviceKey) -> Result<Device, AppError> {
        self.store.device(key).await?.ok_or_else(|| {
            let message = match key {
                DeviceKey::Id(id) => format!("no device has the id {id}"),
                DeviceKey::Name(name) => format!("no device is named {name:?}"),
            };
            AppError::refused(ErrorReason::DeviceNotFound, message)
        })
    }

    /// Renames a device, or moves it to another room.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `DEVICE_EXISTS`.
    pub async fn update_device(
        &self,
        id: DeviceId,
        change: &DeviceChange,
        by: UserId,
    ) -> Result<Device, AppError> {
        let device = self.device(&DeviceKey::Id(id)).await?;
        let name = change.name.as_deref().unwrap_or(&device.name);
        self.store.update_device(id, change).await.map_err(|error| name_taken(error, name))?;
        info!(device = %id, %by, "changed a device");
        self.device(&DeviceKey::Id(id)).await
    }

    /// Revokes a device and registers another one in its place.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`; `DEVICE_EXISTS`: it was revoked before, and its name given again.
    pub async fn replace_device(&self, old: DeviceId, by: UserId) -> Result<Device, AppError> {
        let device = self.device(&DeviceKey::Id(old)).await?;
        let new = self.store.replace_device(old, by).await.map_err(|e| name_taken(e, &device.name))?;
        info!(device = %old, %new, %by, "replaced a device");
        self.device(&DeviceKey::Id(new)).await
    }

    /// Changes the settings that are pushed to a device; its stream takes them within a heartbeat.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`.
    pub async fn configure_device(
        &self,
        id: DeviceId,
        change: &SettingsChange,
        by: UserId,
    ) -> Result<Device, AppError> {
        let version = self.store.configure_device(id, change, by).await?;
        let device = self.device(&DeviceKey::Id(id)).await?;
        info!(device = %id, version, %by, "configured a device");
        Ok(device)
    }

    /// All devices together, in numbers.
    ///
    /// # Errors
    /// `Store`.
    pub async fn fleet(&self) -> Result<Fleet, AppError> {
        Ok(self.store.fleet().await?)
    }

    /// Devices by name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn devices(&self, page: &PageRequest<DevicePosition>) -> Result<Page<Device>, AppError> {
        Ok(self.store.devices(page).await?)
    }
}

fn name_taken(error: StoreError, name: &str) -> AppError {
    taken(error, ErrorReason::DeviceExists, || format!("a device is named {name:?} already"))
}

fn taken(error: StoreError, reason: ErrorReason, message: impl FnOnce() -> String) -> AppError {
    match error {
        StoreError::Taken => AppError::refused(reason, message()),
        other @ (StoreError::Unavailable(_)
        | StoreError::Busy(_)
        | StoreError::Full(_)
        | StoreError::Misconfigured(_)
        | StoreError::TooSlow(_)
        | StoreError::NotFound
        | StoreError::Damaged { .. }
        | StoreError::Migration(_)
        | StoreError::Query(_)) => other.into(),
    }
}
