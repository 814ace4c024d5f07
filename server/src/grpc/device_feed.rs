//! Devices as they change, told to those who watch.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use cavs_proto::v1;
use cavs_types::{DeviceId, ErrorReason, SiteId};
use futures_util::{Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{convert::page_request, layer::in_time};
use crate::{
    error::ServiceError,
    fleet::{DeviceKey, DeviceStreams, Devices},
    page::ListName,
};

/// How often is looked for heartbeats, which nothing announces.
const LOOK: Duration = Duration::from_secs(5);
/// How long a stream lasts: then it is asked for again, by somebody who still may.
const WATCHED: Duration = Duration::from_secs(3600);
/// Most who watch at a time, of all sites.
const WATCHERS: usize = 32;
/// When it is worth while to try again where there are so many.
const RETRY: Duration = Duration::from_secs(30);
/// Devices of one message, which are some 100 kB.
const TOLD: usize = 200;
/// Devices that are read at once.
const READ: u32 = 1000;

pub(super) type DeviceMessages = Pin<Box<dyn Stream<Item = Result<v1::WatchDevicesResponse, Status>> + Send>>;

/// Tells of devices as they change.
pub(super) struct DeviceFeed {
    devices: Devices,
    streams: DeviceStreams,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl DeviceFeed {
    pub(super) fn new(devices: Devices, streams: DeviceStreams, shutdown: CancellationToken) -> Self {
        Self { devices, streams, places: Arc::new(Semaphore::new(WATCHERS)), shutdown }
    }

    /// The devices of a site, or one of them: as they are, and then as they change.
    pub(super) fn watch(&self, site: SiteId, only: Option<DeviceId>) -> Result<DeviceMessages, ServiceError> {
        let busy = |_| ServiceError::Busy { what: "watching", retry_in: RETRY };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(busy)?;
        let watch = DeviceWatch {
            devices: self.devices.clone(),
            site,
            only,
            // Something may have changed: the first look comes at once.
            changes: self.streams.changes(),
            told: HashMap::new(),
            untold: Vec::new(),
            until: Instant::now() + WATCHED,
            shutdown: self.shutdown.clone(),
            _place: place,
        };
        Ok(Box::pin(stream::try_unfold(watch, DeviceWatch::next)))
    }
}

struct DeviceWatch {
    devices: Devices,
    site: SiteId,
    only: Option<DeviceId>,
    changes: watch::Receiver<()>,
    /// What was last told of each.
    told: HashMap<String, v1::Device>,
    untold: Vec<v1::Device>,
    until: Instant,
    shutdown: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl DeviceWatch {
    async fn next(mut self) -> Result<Option<(v1::WatchDevicesResponse, Self)>, Status> {
        while self.untold.is_empty() {
            tokio::select! {
                () = self.shutdown.cancelled() => {
                    return Err(cavs_proto::status(ErrorReason::ShuttingDown, "the server is stopping"));
                }
                () = sleep_until(self.until) => return Ok(None),
                // Both mean that it is time to look.
                _ = timeout_at(Instant::now() + LOOK, self.changes.changed()) => {}
            }
            let found = in_time(self.read()).await?;
            self.untold =
                found.into_iter().filter(|device| self.told.get(&device.id) != Some(device)).collect();
            self.told.extend(self.untold.iter().map(|device| (device.id.clone(), device.clone())));
        }
        let rest = self.untold.split_off(self.untold.len().min(TOLD));
        let devices = std::mem::replace(&mut self.untold, rest);
        Ok(Some((v1::WatchDevicesResponse { devices }, self)))
    }

    async fn read(&self) -> Result<Vec<v1::Device>, Status> {
        if let Some(id) = self.only {
            return Ok(vec![self.devices.device(self.site, &DeviceKey::Id(id)).await?.into()]);
        }
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let page = page_request(READ, &token, false, ListName::new("watched devices"))?;
            let found = self.devices.devices(self.site, &page).await?;
            all.extend(found.items.into_iter().map(v1::Device::from));
            token = found.next;
            if token.is_empty() {
                return Ok(all);
            }
        }
    }
}
