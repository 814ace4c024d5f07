use cavs_types::{DeviceId, DeviceRole, ErrorReason, RoomId, SiteId};
use tracing::info;

use super::{ATTEMPTS, changed, in_use, is_outdated, none_of};
use crate::{
    db::{Database, DatabaseError},
    error::ServiceError,
    fleet::{DeviceKey, Devices},
    page::{Page, PageRequest},
    schedule::{Room, ScheduleKey, ScheduleStore, ScheduleVersion},
};

/// Rooms, and which devices see what of them.
#[derive(Clone)]
pub struct Rooms {
    store: ScheduleStore,
    devices: Devices,
}

impl Rooms {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, devices: &Devices) -> Self {
        Self { store: ScheduleStore::new(db), devices: devices.clone() }
    }

    /// Adds a room.
    ///
    /// # Errors
    /// `ROOM_EXISTS`.
    pub async fn create(&self, site: SiteId, name: &str) -> Result<Room, ServiceError> {
        let id = self.store.create_room(site, name).await.map_err(|error| taken(error, name))?;
        info!(room = %id, "added a room");
        self.get(site, &ScheduleKey::Id(id)).await
    }

    /// One room, with its devices.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`.
    pub async fn get(&self, site: SiteId, key: &ScheduleKey<RoomId>) -> Result<Room, ServiceError> {
        let found = self.store.room(site, key).await?;
        found.ok_or_else(|| none_of(ErrorReason::RoomNotFound, "room", key))
    }

    /// Rooms by name, with their devices.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(&self, site: SiteId, page: &PageRequest<String>) -> Result<Page<Room>, ServiceError> {
        Ok(self.store.rooms(site, page).await?)
    }

    /// Renames a room, and with it the classroom of its devices; with a version, only that one.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `SCHEDULE_CHANGED`, `ROOM_EXISTS`.
    pub async fn rename(
        &self,
        site: SiteId,
        id: RoomId,
        seen: Option<ScheduleVersion>,
        name: &str,
    ) -> Result<Room, ServiceError> {
        let key = ScheduleKey::Id(id);
        for _ in 0..ATTEMPTS {
            let found = self.get(site, &key).await?;
            if is_outdated(seen, found.version) {
                break;
            }
            let done = self.store.rename_room(site, id, found.version, name).await;
            if done.map_err(|error| taken(error, name))? {
                info!(room = %id, "renamed a room");
                return self.get(site, &key).await;
            }
        }
        Err(changed("room"))
    }

    /// Deletes a room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`. `IN_USE`: a device or a session is in it.
    pub async fn delete(&self, site: SiteId, id: RoomId) -> Result<(), ServiceError> {
        let deleted = self.store.delete_room(site, id).await;
        if !deleted.map_err(|error| in_use(error, "devices or sessions are in the room"))? {
            return Err(none_of(ErrorReason::RoomNotFound, "room", &ScheduleKey::Id(id)));
        }
        info!(room = %id, "deleted a room");
        Ok(())
    }

    /// Says in which room a device is, if in any, and what it sees there, where that is said.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `ROOM_NOT_FOUND`.
    pub async fn place_device(
        &self,
        site: SiteId,
        device: DeviceId,
        room: Option<RoomId>,
        role: Option<DeviceRole>,
    ) -> Result<Option<Room>, ServiceError> {
        // Names the one that is not there.
        self.devices.device(site, &DeviceKey::Id(device)).await?;
        let no_room = |error: DatabaseError| match room.filter(|_| matches!(error, DatabaseError::NotFound)) {
            Some(room) => none_of(ErrorReason::RoomNotFound, "room", &ScheduleKey::Id(room)),
            None => error.into(),
        };
        self.store.place_device(site, device, room, role).await.map_err(no_room)?;
        info!(%device, "placed a device");
        match room {
            Some(room) => self.get(site, &ScheduleKey::Id(room)).await.map(Some),
            None => Ok(None),
        }
    }
}

fn taken(error: DatabaseError, name: &str) -> ServiceError {
    ServiceError::taken(error, ErrorReason::RoomExists, || format!("a room is named {name:?} already"))
}
