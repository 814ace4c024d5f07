use cavs_types::{DeviceId, DeviceRole, RoomId, SiteId};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::ScheduleStore;
use crate::{
    db::{Conditions, DatabaseError, read_text},
    page::{Page, PageRequest},
    schedule::{Room, RoomDevice, ScheduleKey, ScheduleRef, ScheduleVersion},
};

const SELECT: &str = "SELECT r.* FROM rooms r";

impl ScheduleStore {
    /// Adds a room.
    ///
    /// # Errors
    /// `Taken`: the name.
    pub async fn create_room(&self, site: SiteId, name: &str) -> Result<RoomId, DatabaseError> {
        let id = RoomId::generate();
        let sql = "INSERT INTO rooms (site_id, id, name) VALUES ($1, $2, $3)";
        self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid(), &name]).await?;
        Ok(id)
    }

    /// One room, with its devices.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn room(&self, site: SiteId, key: &ScheduleKey<RoomId>) -> Result<Option<Room>, DatabaseError> {
        let client = self.db.client().await?;
        let row = match key {
            ScheduleKey::Id(id) => {
                let sql = format!("{SELECT} WHERE r.site_id = $1 AND r.id = $2");
                client.query_opt(&sql, &[&site.uuid(), &id.uuid()]).await?
            }
            ScheduleKey::Name(name) => {
                let sql = format!("{SELECT} WHERE r.site_id = $1 AND r.name = $2");
                client.query_opt(&sql, &[&site.uuid(), name]).await?
            }
        };
        // Given back before another one is asked for.
        drop(client);
        let Some(mut found) = row.as_ref().map(room).transpose()? else { return Ok(None) };
        found.devices = self.devices_of_rooms(site, &[found.id]).await?;
        Ok(Some(found))
    }

    /// Rooms by name, with their devices.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn rooms(
        &self,
        site: SiteId,
        request: &PageRequest<String>,
    ) -> Result<Page<Room>, DatabaseError> {
        let (client, of_site) = (self.db.client().await?, site.uuid());
        let mut chosen = Conditions::default();
        chosen.with("r.site_id = ?", &[(&of_site, Type::UUID)]);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "rooms r").await?),
            false => None,
        };
        chosen.with_value("r.name > ?", &request.after, Type::TEXT);
        let rows = chosen.rows(&client, SELECT, "r.name", request.fetch()).await?;
        drop(client);
        let mut items = rows.iter().map(room).collect::<Result<Vec<Room>, _>>()?;
        let ids: Vec<RoomId> = items.iter().map(|room| room.id).collect();
        for device in self.devices_of_rooms(site, &ids).await? {
            if let Some(room) = items.iter_mut().find(|room| room.id == device.room) {
                room.devices.push(device);
            }
        }
        Ok(Page { total, ..request.page(items, |room: &Room| room.name.clone()) })
    }

    /// The devices that are in some rooms and not revoked, by name; cameras behind proxies, too.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn devices_of_rooms(
        &self,
        site: SiteId,
        rooms: &[RoomId],
    ) -> Result<Vec<RoomDevice>, DatabaseError> {
        let sql = "SELECT d.id, d.name, d.kind, r.id AS room_id, d.room_role, d.proxy_id
                   FROM rooms r JOIN devices d ON d.site_id = r.site_id AND d.room_name = r.name
                   WHERE r.site_id = $1 AND r.id = ANY($2) AND d.status <> 'revoked' ORDER BY d.name, d.id";
        let ids: Vec<Uuid> = rooms.iter().map(|room| room.uuid()).collect();
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &ids]).await?;
        rows.iter().map(room_device).collect()
    }

    /// Those of some rooms that there are, by name.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn rooms_by_id(
        &self,
        site: SiteId,
        rooms: &[RoomId],
    ) -> Result<Vec<ScheduleRef<RoomId>>, DatabaseError> {
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT id, name FROM rooms WHERE site_id = $1 AND id = ANY($2) ORDER BY name";
        let ids: Vec<Uuid> = rooms.iter().map(|room| room.uuid()).collect();
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &ids]).await?;
        let named = |row: &Row| {
            Ok(ScheduleRef { id: row.try_get::<_, Uuid>("id")?.into(), name: row.try_get("name")? })
        };
        rows.iter().map(named).collect()
    }

    /// Renames a room that is in a version, and with it the classroom of its devices; false where it is not.
    ///
    /// # Errors
    /// `Taken`: the name.
    pub async fn rename_room(
        &self,
        site: SiteId,
        id: RoomId,
        seen: ScheduleVersion,
        name: &str,
    ) -> Result<bool, DatabaseError> {
        let sql = "UPDATE rooms SET name = $4, version = version + 1, updated_at = now()
                   WHERE site_id = $1 AND id = $2 AND version = $3";
        let client = self.db.client().await?;
        Ok(client.execute(sql, &[&site.uuid(), &id.uuid(), &seen.0, &name]).await? == 1)
    }

    /// Deletes a room; false where there is none.
    ///
    /// # Errors
    /// `NotFound`: a device or a session is in it.
    pub async fn delete_room(&self, site: SiteId, id: RoomId) -> Result<bool, DatabaseError> {
        let sql = "DELETE FROM rooms WHERE site_id = $1 AND id = $2";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid()]).await? == 1)
    }

    /// Says in which room a device is, if in any, and what it sees there, where that is said; false where there is
    /// no such device.
    ///
    /// # Errors
    /// `NotFound`: the room.
    pub async fn place_device(
        &self,
        site: SiteId,
        device: DeviceId,
        room: Option<RoomId>,
        role: Option<DeviceRole>,
    ) -> Result<bool, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let name: String = match room {
            None => String::new(),
            Some(room) => {
                let sql = "SELECT name FROM rooms WHERE site_id = $1 AND id = $2 FOR KEY SHARE";
                let row = transaction.query_opt(sql, &[&site.uuid(), &room.uuid()]).await?;
                row.ok_or(DatabaseError::NotFound)?.try_get("name")?
            }
        };
        let sql = "UPDATE devices SET classroom = $3, room_role = coalesce($4, room_role)
                   WHERE site_id = $1 AND id = $2";
        let role = role.map(DeviceRole::as_str);
        let changed = transaction.execute(sql, &[&site.uuid(), &device.uuid(), &name, &role]).await?;
        transaction.commit().await?;
        Ok(changed == 1)
    }
}

fn room(row: &Row) -> Result<Room, DatabaseError> {
    Ok(Room {
        id: row.try_get::<_, Uuid>("id")?.into(),
        name: row.try_get("name")?,
        devices: Vec::new(),
        version: ScheduleVersion(row.try_get("version")?),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn room_device(row: &Row) -> Result<RoomDevice, DatabaseError> {
    Ok(RoomDevice {
        id: row.try_get::<_, Uuid>("id")?.into(),
        name: row.try_get("name")?,
        kind: read_text(row, "devices", "kind")?,
        room: row.try_get::<_, Uuid>("room_id")?.into(),
        role: read_text(row, "devices", "room_role")?,
        proxy: row.try_get::<_, Option<Uuid>>("proxy_id")?.map(Into::into),
    })
}
