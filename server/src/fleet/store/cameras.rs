//! Cameras and the proxies that speak for them.

use std::collections::HashMap;

use cavs_types::{DeviceId, SiteId, UserId};
use deadpool_postgres::Transaction;
use uuid::Uuid;

use super::DeviceStore;
use crate::{
    db::{DatabaseError, read_text, to_bigint},
    fleet::{CameraRefusal, CameraStanding, NotAdmitted, ProxiedCamera, TOKENS},
};

impl DeviceStore {
    /// The cameras that a proxy speaks for, by name, the revoked ones too.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn proxied_cameras(
        &self,
        site: SiteId,
        proxy: DeviceId,
    ) -> Result<Vec<ProxiedCamera>, DatabaseError> {
        let sql = "SELECT d.id, d.name, d.classroom, d.status, array(
                       SELECT t.token_hash FROM device_tokens t
                       WHERE t.site_id = d.site_id AND t.device_id = d.id AND t.revoked_at IS NULL
                       ORDER BY t.token_hash) AS hashes
                   FROM devices d WHERE d.site_id = $1 AND d.proxy_id = $2 ORDER BY d.name";
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &proxy.uuid()]).await?;
        let camera = |row: &tokio_postgres::Row| {
            Ok(ProxiedCamera {
                id: row.try_get::<_, Uuid>("id")?.into(),
                name: row.try_get("name")?,
                classroom: row.try_get("classroom")?,
                status: read_text(row, "devices", "status")?,
                token_hashes: row.try_get("hashes")?,
            })
        };
        rows.iter().map(camera).collect()
    }

    /// Says who speaks for a camera, if there is such a camera.
    ///
    /// # Errors
    /// `NotFound`: the proxy.
    pub async fn assign_camera(
        &self,
        site: SiteId,
        camera: DeviceId,
        proxy: Option<DeviceId>,
    ) -> Result<(), DatabaseError> {
        let sql = "UPDATE devices SET proxy_id = $3 WHERE site_id = $1 AND id = $2 AND kind = 'esp32_cam'";
        let proxy = proxy.map(DeviceId::uuid);
        self.db.client().await?.execute(sql, &[&site.uuid(), &camera.uuid(), &proxy]).await?;
        Ok(())
    }

    /// Keeps the hash of a new token, and ends all but the newest of the camera's.
    ///
    /// # Errors
    /// `NotFound`: the camera.
    pub async fn issue_device_token(
        &self,
        site: SiteId,
        camera: DeviceId,
        hash: &[u8],
        by: UserId,
    ) -> Result<(), DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        // Two at once take turns, so that one of them counts the other's token.
        let lock = "SELECT FROM devices WHERE site_id = $1 AND id = $2 FOR NO KEY UPDATE";
        transaction.query_opt(lock, &[&site.uuid(), &camera.uuid()]).await?.ok_or(DatabaseError::NotFound)?;
        let sql = "INSERT INTO device_tokens (site_id, token_hash, device_id, issued_at, issued_by)
                   VALUES ($1, $2, $3, clock_timestamp(), $4)";
        transaction.execute(sql, &[&site.uuid(), &hash, &camera.uuid(), &by.uuid()]).await?;
        let sql = "UPDATE device_tokens SET revoked_at = now() WHERE site_id = $1 AND token_hash IN (
                       SELECT token_hash FROM device_tokens
                       WHERE site_id = $1 AND device_id = $2 AND revoked_at IS NULL
                       ORDER BY issued_at DESC OFFSET $3)";
        transaction.execute(sql, &[&site.uuid(), &camera.uuid(), &TOKENS]).await?;
        Ok(transaction.commit().await?)
    }

    /// Ends all tokens of a camera; how many were good.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn revoke_device_tokens(&self, site: SiteId, camera: DeviceId) -> Result<u64, DatabaseError> {
        let sql = "UPDATE device_tokens SET revoked_at = now()
                   WHERE site_id = $1 AND device_id = $2 AND revoked_at IS NULL";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &camera.uuid()]).await?)
    }

    /// Takes a device's right to speak, if there is such a device.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn revoke_device(&self, site: SiteId, device: DeviceId) -> Result<(), DatabaseError> {
        let sql =
            "UPDATE devices SET status = 'revoked', version = version + 1 WHERE site_id = $1 AND id = $2";
        self.db.client().await?.execute(sql, &[&site.uuid(), &device.uuid()]).await?;
        Ok(())
    }
}

/// How a device of the site and the cameras that it names stand, locked until the commit: a revocation waits for this batch,
/// or this batch sees it. The lock is the one that the batch's own update of these rows needs: two streams of one
/// device take turns, where a weaker one, which both would get, would have each wait for the other.
pub(crate) async fn lock_standings(
    transaction: &Transaction<'_>,
    site: SiteId,
    device: DeviceId,
    cameras: &[Uuid],
) -> Result<(Result<(), NotAdmitted>, HashMap<DeviceId, CameraStanding>), DatabaseError> {
    // In one order, so that two batches never wait for each other.
    let statement = transaction
        .prepare_cached(
            "SELECT d.id, d.status, d.proxy_id, d.kind = 'esp32_cam' AND d.id = ANY($2) AS is_camera,
                 s.archived_at IS NOT NULL AS archived
             FROM devices d JOIN sites s ON s.id = d.site_id
             WHERE d.site_id = $3 AND (d.id = $1 OR (d.id = ANY($2) AND d.kind = 'esp32_cam'))
             ORDER BY d.id FOR NO KEY UPDATE OF d",
        )
        .await?;
    let rows = transaction.query(&statement, &[&device.uuid(), &cameras, &site.uuid()]).await?;
    let (mut admitted, mut standings) = (Err(NotAdmitted::Unknown), HashMap::new());
    for row in &rows {
        let id = DeviceId::from(row.try_get::<_, Uuid>("id")?);
        let status = read_text(row, "devices", "status")?;
        if id == device {
            admitted = NotAdmitted::judge(status, row.try_get("archived")?);
        }
        if row.try_get("is_camera")? {
            let proxy = row.try_get::<_, Option<Uuid>>("proxy_id")?.map(DeviceId::from);
            standings.insert(id, CameraStanding { status, proxy });
        }
    }
    Ok((admitted, standings))
}

/// Notes who spoke for a camera and may not, with the batch or not at all.
pub(crate) async fn note_refusals(
    transaction: &Transaction<'_>,
    site: SiteId,
    proxy: DeviceId,
    refusals: &HashMap<(DeviceId, CameraRefusal), u64>,
) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO proxy_refusals (site_id, proxy_id, camera_id, reason, sightings)
               VALUES ($6, $1, coalesce((SELECT id FROM devices WHERE site_id = $6 AND id = $2), $5), $3, $4)
               ON CONFLICT (site_id, proxy_id, camera_id, reason, day) DO UPDATE
               SET sightings = proxy_refusals.sightings + excluded.sightings, last_at = now()";
    for ((camera, refusal), count) in refusals {
        let (camera, reason, count) = (camera.uuid(), refusal.reason().as_str(), to_bigint(*count));
        transaction
            .execute(sql, &[&proxy.uuid(), &camera, &reason, &count, &Uuid::nil(), &site.uuid()])
            .await?;
    }
    Ok(())
}
