use std::{collections::BTreeMap, net::IpAddr};

use cavs_embedding::PackDigest;
use cavs_types::{DeviceId, DeviceStatus, SiteId, UserId};
use serde_json::Value;
use tokio_postgres::{
    Row,
    types::{Json, ToSql, Type},
};
use uuid::Uuid;

use super::DeviceStore;
use crate::{
    db::{Conditions, DatabaseError, read_digest, read_json, read_text, to_bigint},
    fleet::{
        ConnectedTwice, Device, DeviceChange, DeviceKey, DeviceNotes, DevicePosition, DeviceReport,
        DeviceVersion, Heartbeat, NewDevice, ProxyRef, PushedSettings, RunId, SettingsChange, SettingsReport,
        SettingsVersion,
    },
    page::{Page, PageRequest},
};

/// A device with the newest settings that were pushed to it, and who speaks for it.
const SELECT: &str = "
    SELECT d.site_id, d.id, d.name, d.kind, d.classroom, d.status, d.created_at, d.last_seen_at, d.agent_version,
        d.pack_digest, d.spooled, d.lost, d.heartbeat, d.settings_running, d.settings_on_trial,
        d.settings_rejected, d.settings_rejection, d.proxy_id, d.description, d.noted_address,
        d.mac_address, d.seen_address, d.version AS device_version, d.twice_at, d.twice_count,
        p.version, p.settings, p.pushed_at, p.pushed_by, x.name AS proxy_name,
        (SELECT count(*) FROM device_tokens t
            WHERE t.site_id = d.site_id AND t.device_id = d.id AND t.revoked_at IS NULL) AS tokens,
        (SELECT s.archived_at IS NOT NULL FROM sites s WHERE s.id = d.site_id) AS archived
    FROM devices d LEFT JOIN devices x ON x.site_id = d.site_id AND x.id = d.proxy_id LEFT JOIN LATERAL (
        SELECT s.version, s.settings, s.pushed_at, u.username AS pushed_by
        FROM device_settings s JOIN users u ON u.id = s.pushed_by
        WHERE s.site_id = d.site_id AND s.device_id = d.id ORDER BY s.version DESC LIMIT 1
    ) p ON true";

impl DeviceStore {
    /// Registers a device.
    ///
    /// # Errors
    /// `Taken`: the name.
    pub async fn create_device(&self, site: SiteId, new: &NewDevice) -> Result<Device, DatabaseError> {
        let id = DeviceId::generate();
        let sql = "INSERT INTO devices (site_id, id, name, kind, classroom) VALUES ($1, $2, $3, $4, $5)";
        let (client, site) = (self.db.client().await?, site.uuid());
        client.execute(sql, &[&site, &id.uuid(), &new.name, &new.kind.as_str(), &new.classroom]).await?;
        let sql = format!("{SELECT} WHERE d.site_id = $1 AND d.id = $2");
        device(&client.query_one(&sql, &[&site, &id.uuid()]).await?)
    }

    /// One device.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn device(&self, site: SiteId, key: &DeviceKey) -> Result<Option<Device>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let row = match key {
            DeviceKey::Id(id) => {
                let sql = format!("{SELECT} WHERE d.site_id = $1 AND d.id = $2");
                client.query_opt(&sql, &[&site, &id.uuid()]).await?
            }
            DeviceKey::Name(name) => {
                let order = "ORDER BY d.status, d.id DESC LIMIT 1";
                let sql = format!("{SELECT} WHERE d.site_id = $1 AND d.name = $2 {order}");
                client.query_opt(&sql, &[&site, name]).await?
            }
        };
        row.as_ref().map(device).transpose()
    }

    /// The device that a certificate names, of whichever site: it says which, and whether that was archived.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn certified_device(&self, id: DeviceId) -> Result<Option<(Device, bool)>, DatabaseError> {
        let sql = format!("{SELECT} WHERE d.id = $1");
        let row = self.db.client().await?.query_opt(&sql, &[&id.uuid()]).await?;
        row.map(|row| Ok((device(&row)?, row.try_get("archived")?))).transpose()
    }

    /// Devices by name.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn devices(
        &self,
        site: SiteId,
        request: &PageRequest<DevicePosition>,
    ) -> Result<Page<Device>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let after = request.after.as_ref().map(|after| (after.name.as_str(), after.id.uuid()));
        let mut chosen = Conditions::default();
        chosen.with("d.site_id = ?", &[(&site, Type::UUID)]);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "devices d").await?),
            false => None,
        };
        if let Some((name, id)) = &after {
            chosen.with("(d.name, d.id) > (?, ?)", &[(name, Type::TEXT), (id, Type::UUID)]);
        }
        let rows = chosen.rows(&client, SELECT, "d.name, d.id", request.fetch()).await?;
        let items = rows.iter().map(device).collect::<Result<_, _>>()?;
        Ok(Page { total, ..request.page(items, Device::position) })
    }

    /// Changes what people say of a device, if it is in the version that they have seen; whether it was.
    ///
    /// # Errors
    /// `Taken`: the name.
    pub async fn update_device(
        &self,
        site: SiteId,
        id: DeviceId,
        seen: DeviceVersion,
        change: &DeviceChange,
    ) -> Result<bool, DatabaseError> {
        let DeviceChange { name, classroom, status, description, address, mac_address } = change;
        let sql = "UPDATE devices SET name = coalesce($4, name), classroom = coalesce($5, classroom),
                       status = coalesce($6, status), description = coalesce($7, description),
                       noted_address = coalesce($8, noted_address), mac_address = coalesce($9, mac_address),
                       version = version + 1
                   WHERE site_id = $1 AND id = $2 AND version = $3";
        let status = status.map(DeviceStatus::as_str);
        let (site, id) = (site.uuid(), id.uuid());
        let parameters: [&(dyn ToSql + Sync); 9] =
            [&site, &id, &seen.0, name, classroom, &status, description, address, mac_address];
        Ok(self.db.client().await?.execute(sql, &parameters).await? > 0)
    }

    /// Notes from where a device connects.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn device_seen_at(&self, id: DeviceId, address: IpAddr) -> Result<(), DatabaseError> {
        let sql = "UPDATE devices SET seen_address = $2 WHERE id = $1 AND seen_address <> $2";
        self.db.client().await?.execute(sql, &[&id.uuid(), &address.to_string()]).await?;
        Ok(())
    }

    /// What was ever pushed to a device, the newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn settings_versions(
        &self,
        site: SiteId,
        id: DeviceId,
        request: &PageRequest<u64>,
    ) -> Result<Page<SettingsVersion>, DatabaseError> {
        let sql = "SELECT s.version, s.settings, s.pushed_at, u.username AS pushed_by,
                       coalesce(b.settings, '{}') AS before
                   FROM device_settings s JOIN users u ON u.id = s.pushed_by
                   LEFT JOIN device_settings b ON b.site_id = s.site_id AND b.device_id = s.device_id
                       AND b.version = s.version - 1
                   WHERE s.site_id = $1 AND s.device_id = $2 AND s.version < $3
                   ORDER BY s.version DESC LIMIT $4";
        let before = request.after.map_or(i64::MAX, to_bigint);
        let parameters: [&(dyn ToSql + Sync); 4] = [&site.uuid(), &id.uuid(), &before, &request.fetch()];
        let rows = self.db.client().await?.query(sql, &parameters).await?;
        let version = |row: &Row| {
            let pushed = PushedSettings {
                version: row.try_get::<_, i64>("version")?.unsigned_abs(),
                settings: read_json(row, "device_settings", "settings")?,
                pushed_at: row.try_get("pushed_at")?,
                pushed_by: row.try_get("pushed_by")?,
            };
            let before = read_json(row, "device_settings", "before")?;
            Ok::<_, DatabaseError>(SettingsVersion::new(pushed, &before))
        };
        let items = rows.iter().map(version).collect::<Result<_, _>>()?;
        Ok(request.page(items, |version: &SettingsVersion| version.pushed.version))
    }

    /// Revokes a device and puts another one in its place: with its name, room, proxy and cameras, and the
    /// settings that were last pushed to it. The id of the new one.
    ///
    /// # Errors
    /// `NotFound`: the device. `Taken`: another active device has its name meanwhile.
    pub async fn replace_device(
        &self,
        site: SiteId,
        old: DeviceId,
        by: UserId,
    ) -> Result<DeviceId, DatabaseError> {
        let new = DeviceId::generate();
        let (site, old, fresh) = (site.uuid(), old.uuid(), new.uuid());
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        // First, as the new one takes the name that this frees.
        let sql =
            "UPDATE devices SET status = 'revoked', version = version + 1 WHERE site_id = $1 AND id = $2";
        if transaction.execute(sql, &[&site, &old]).await? == 0 {
            return Err(DatabaseError::NotFound);
        }
        let sql = "INSERT INTO devices (site_id, id, name, kind, classroom, room_role, proxy_id, description)
                   SELECT site_id, $3, name, kind, classroom, room_role, proxy_id, description FROM devices
                   WHERE site_id = $1 AND id = $2";
        transaction.execute(sql, &[&site, &old, &fresh]).await?;
        let sql = "UPDATE devices SET proxy_id = $3 WHERE site_id = $1 AND proxy_id = $2";
        transaction.execute(sql, &[&site, &old, &fresh]).await?;
        let sql = "INSERT INTO device_settings (site_id, device_id, version, settings, pushed_by)
                   SELECT site_id, $3, 1, settings, $4 FROM device_settings
                   WHERE site_id = $1 AND device_id = $2 ORDER BY version DESC LIMIT 1";
        transaction.execute(sql, &[&site, &old, &fresh, &by.uuid()]).await?;
        transaction.commit().await?;
        Ok(new)
    }

    /// Records that a device has come with a pack that is not served.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn device_mismatched(
        &self,
        id: DeviceId,
        agent_version: &str,
        pack: PackDigest,
        settings: &SettingsReport,
    ) -> Result<(), DatabaseError> {
        record_greeting(&self.db.client().await?, id, agent_version, pack, settings).await
    }

    /// Records a heartbeat of the start that speaks for the device; gives back whether the device may go
    /// on, and the version of the settings that it is to run with (0 for its own). `None`: there is no
    /// such device, or another start has taken the place.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn device_alive(
        &self,
        id: DeviceId,
        run: RunId,
        heartbeat: &Heartbeat,
        settings: &SettingsReport,
    ) -> Result<Option<(DeviceStatus, u64)>, DatabaseError> {
        let sql = "UPDATE devices SET last_seen_at = now(), spooled = $2, lost = $3, heartbeat = $4,
                   settings_running = $5, settings_on_trial = $6, settings_rejected = $7,
                   settings_rejection = $8
                   WHERE id = $1 AND run_id = $9 RETURNING status,
                   (SELECT coalesce(max(version), 0) FROM device_settings s
                       WHERE s.site_id = devices.site_id AND s.device_id = devices.id)";
        let (spooled, lost) = (to_bigint(heartbeat.spooled), to_bigint(heartbeat.lost));
        let SettingsReport { running, on_trial, rejected, rejection } = settings;
        let (running, rejected) = (to_bigint(*running), to_bigint(*rejected));
        let heartbeat = Json(heartbeat);
        let run = run.uuid();
        let parameters: [&(dyn ToSql + Sync); 9] =
            [&id.uuid(), &spooled, &lost, &heartbeat, &running, on_trial, &rejected, rejection, &run];
        let row = self.db.client().await?.query_opt(sql, &parameters).await?;
        row.map(|row| {
            let status = read_text(&row, "devices", "status")?;
            Ok((status, row.try_get::<_, i64>(1)?.unsigned_abs()))
        })
        .transpose()
    }

    /// Changes what is pushed to a device; a change of nothing makes no version. `None` where there
    /// is no such device, else the version that it is to run with.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn configure_device(
        &self,
        site: SiteId,
        id: DeviceId,
        change: &SettingsChange,
        by: UserId,
    ) -> Result<Option<u64>, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        // Two changes at once take turns.
        let lock = "SELECT FROM devices WHERE site_id = $1 AND id = $2 FOR UPDATE";
        if transaction.query_opt(lock, &[&site.uuid(), &id.uuid()]).await?.is_none() {
            return Ok(None);
        }
        let newest = "SELECT version, settings FROM device_settings WHERE site_id = $1 AND device_id = $2
                      ORDER BY version DESC LIMIT 1";
        let (version, before) = match transaction.query_opt(newest, &[&site.uuid(), &id.uuid()]).await? {
            Some(row) => (row.try_get(0)?, read_json(&row, "device_settings", "settings")?),
            None => (0_i64, BTreeMap::new()),
        };
        let after = change.apply(before.clone());
        if after == before {
            return Ok(Some(version.unsigned_abs()));
        }
        let sql = "INSERT INTO device_settings (site_id, device_id, version, settings, pushed_by) VALUES ($1, $2, $3, $4, $5)";
        let next = version + 1;
        transaction.execute(sql, &[&site.uuid(), &id.uuid(), &next, &Json(&after), &by.uuid()]).await?;
        transaction.commit().await?;
        Ok(Some(next.unsigned_abs()))
    }
}

pub(crate) async fn record_greeting(
    client: &impl deadpool_postgres::GenericClient,
    id: DeviceId,
    agent_version: &str,
    pack: PackDigest,
    settings: &SettingsReport,
) -> Result<(), DatabaseError> {
    let sql = "UPDATE devices SET last_seen_at = now(), agent_version = $2, pack_digest = $3,
               settings_running = $4, settings_on_trial = $5, settings_rejected = $6,
               settings_rejection = $7 WHERE id = $1";
    let (pack, SettingsReport { running, on_trial, rejected, rejection }) =
        (pack.as_bytes().as_slice(), settings);
    let (running, rejected) = (to_bigint(*running), to_bigint(*rejected));
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&id.uuid(), &agent_version, &pack, &running, on_trial, &rejected, rejection];
    client.execute(sql, &parameters).await?;
    Ok(())
}

fn device(row: &Row) -> Result<Device, DatabaseError> {
    const TABLE: &str = "devices";
    let count = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    let pack: Option<&[u8]> = row.try_get("pack_digest")?;
    let wanted = match row.try_get::<_, Option<i64>>("version")? {
        None => None,
        Some(version) => Some(PushedSettings {
            version: version.unsigned_abs(),
            settings: read_json(row, "device_settings", "settings")?,
            pushed_at: row.try_get("pushed_at")?,
            pushed_by: row.try_get("pushed_by")?,
        }),
    };
    let heartbeat: Option<Value> = row.try_get("heartbeat")?;
    let proxy = match (row.try_get::<_, Option<Uuid>>("proxy_id")?, row.try_get("proxy_name")?) {
        (Some(id), Some(name)) => Some(ProxyRef { id: id.into(), name }),
        _ => None,
    };
    Ok(Device {
        site: row.try_get::<_, Uuid>("site_id")?.into(),
        id: row.try_get::<_, Uuid>("id")?.into(),
        name: row.try_get("name")?,
        kind: read_text(row, TABLE, "kind")?,
        classroom: row.try_get("classroom")?,
        notes: DeviceNotes {
            description: row.try_get("description")?,
            address: row.try_get("noted_address")?,
            mac_address: row.try_get("mac_address")?,
        },
        seen_address: row.try_get("seen_address")?,
        version: DeviceVersion(row.try_get("device_version")?),
        status: read_text(row, TABLE, "status")?,
        created_at: row.try_get("created_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
        report: DeviceReport {
            agent_version: row.try_get("agent_version")?,
            pack: pack.map(|bytes| read_digest(TABLE, bytes)).transpose()?,
            spooled: count("spooled")?,
            lost: count("lost")?,
            // Only informative: one of another version of the server's is none.
            heartbeat: heartbeat.and_then(|heartbeat| serde_json::from_value(heartbeat).ok()),
            settings: SettingsReport {
                running: count("settings_running")?,
                on_trial: row.try_get("settings_on_trial")?,
                rejected: count("settings_rejected")?,
                rejection: row.try_get("settings_rejection")?,
            },
        },
        wanted,
        proxy,
        tokens: u32::try_from(count("tokens")?).unwrap_or(u32::MAX),
        twice: match row.try_get("twice_at")? {
            None => None,
            Some(last_at) => Some(ConnectedTwice { last_at, count: count("twice_count")? }),
        },
    })
}
