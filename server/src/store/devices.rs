use cavs_embedding::PackDigest;
use cavs_proto::DeviceId;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Store, StoreError,
    enums::{Column, read_digest, to_bigint},
};
use crate::domain::{
    Device, DeviceKey, DeviceKind, DeviceReport, DeviceStatus, NewDevice, Page, PageRequest,
};

const COLUMNS: &str = "id, name, kind, classroom, status, created_at, last_seen_at, agent_version, \
                       pack_digest, spooled, lost";

impl Store {
    /// Registers a device.
    ///
    /// # Errors
    /// `Taken`: the name.
    pub async fn create_device(&self, new: &NewDevice) -> Result<Device, StoreError> {
        let id = DeviceId::generate();
        let sql = format!(
            "INSERT INTO devices (id, name, kind, classroom) VALUES ($1, $2, $3, $4) RETURNING {COLUMNS}"
        );
        let row = self
            .client()
            .await?
            .query_one(&sql, &[&id.uuid(), &new.name, &new.kind.text(), &new.classroom])
            .await?;
        device(&row)
    }

    /// One device.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn device(&self, key: &DeviceKey) -> Result<Option<Device>, StoreError> {
        let client = self.client().await?;
        let row = match key {
            DeviceKey::Id(id) => {
                let sql = format!("SELECT {COLUMNS} FROM devices WHERE id = $1");
                client.query_opt(&sql, &[&id.uuid()]).await?
            }
            DeviceKey::Name(name) => {
                let sql = format!("SELECT {COLUMNS} FROM devices WHERE name = $1");
                client.query_opt(&sql, &[name]).await?
            }
        };
        row.as_ref().map(device).transpose()
    }

    /// Devices by name.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn devices(&self, request: &PageRequest<String>) -> Result<Page<Device>, StoreError> {
        let client = self.client().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM devices WHERE $1::text IS NULL OR name > $1 ORDER BY name LIMIT $2"
        );
        let rows = client.query(&sql, &[&request.after, &request.fetch()]).await?;
        let items = rows.iter().map(device).collect::<Result<_, _>>()?;
        let total: i64 = client.query_one("SELECT count(*) FROM devices", &[]).await?.try_get(0)?;
        Ok(request.page(items, total.unsigned_abs(), |device| device.name.clone()))
    }

    /// Records that a device has come, and with what.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn device_connected(
        &self,
        id: DeviceId,
        agent_version: &str,
        pack: PackDigest,
    ) -> Result<(), StoreError> {
        let sql =
            "UPDATE devices SET last_seen_at = now(), agent_version = $2, pack_digest = $3 WHERE id = $1";
        let pack = pack.as_bytes().as_slice();
        self.client().await?.execute(sql, &[&id.uuid(), &agent_version, &pack]).await?;
        Ok(())
    }

    /// Records what a device said of its spool; gives back whether it may go on.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn device_alive(
        &self,
        id: DeviceId,
        spooled: u64,
        lost: u64,
    ) -> Result<Option<DeviceStatus>, StoreError> {
        let sql =
            "UPDATE devices SET last_seen_at = now(), spooled = $2, lost = $3 WHERE id = $1 RETURNING status";
        let row =
            self.client().await?.query_opt(sql, &[&id.uuid(), &to_bigint(spooled), &to_bigint(lost)]).await?;
        row.map(|row| DeviceStatus::read("devices", "status", row.try_get(0)?)).transpose()
    }
}

fn device(row: &Row) -> Result<Device, StoreError> {
    let count = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    let pack: Option<&[u8]> = row.try_get("pack_digest")?;
    Ok(Device {
        id: row.try_get::<_, Uuid>("id")?.into(),
        name: row.try_get("name")?,
        kind: DeviceKind::read("devices", "kind", row.try_get("kind")?)?,
        classroom: row.try_get("classroom")?,
        status: DeviceStatus::read("devices", "status", row.try_get("status")?)?,
        created_at: row.try_get("created_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
        report: DeviceReport {
            agent_version: row.try_get("agent_version")?,
            pack: pack.map(|bytes| read_digest("devices", bytes)).transpose()?,
            spooled: count("spooled")?,
            lost: count("lost")?,
        },
    })
}
