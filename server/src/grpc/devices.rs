use cavs_proto::{enum_from_wire, enum_to_wire, from_timestamp, status_of, to_timestamp, v1};
use cavs_types::{DeviceId, ProtocolError};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, optional_id, page_request, required_id, total_to_wire},
    device_feed::{DeviceFeed, DeviceMessages},
    heartbeat::{heartbeat_to_wire, report_to_wire, settings_to_wire},
    layer::Caller,
    watch::coverage_to_wire,
};
use crate::{
    fleet::{
        Device, DeviceChange, DeviceKey, DeviceVersion, DeviceWatches, Devices, NewDevice, SettingsChange,
        SettingsVersion, coverage,
    },
    page::ListName,
    services::Services,
    text::lookup_name,
};

/// Longest time that is asked for at once.
const LONGEST_COVERAGE: SignedDuration = SignedDuration::from_hours(32 * 24);

pub(super) struct DeviceApi {
    devices: Devices,
    watches: DeviceWatches,
    feed: DeviceFeed,
}

impl DeviceApi {
    pub(super) fn new(services: &Services, shutdown: CancellationToken) -> Self {
        let devices = services.devices.clone();
        let feed = DeviceFeed::new(devices.clone(), services.device_streams.clone(), shutdown);
        Self { devices, watches: services.watches.clone(), feed }
    }
}

#[tonic::async_trait]
impl v1::device_service_server::DeviceService for DeviceApi {
    type WatchDevicesStream = DeviceMessages;

    async fn watch_devices(
        &self,
        request: Request<v1::WatchDevicesRequest>,
    ) -> Result<Response<Self::WatchDevicesStream>, Status> {
        let site = caller(&request)?.site;
        let only = optional_id("device_id", &request.into_inner().device_id).map_err(status_of)?;
        if let Some(id) = only {
            self.devices.device(site, &DeviceKey::Id(id)).await?;
        }
        Ok(Response::new(self.feed.watch(site, only)?))
    }

    async fn list_device_settings(
        &self,
        request: Request<v1::ListDeviceSettingsRequest>,
    ) -> Result<Response<v1::ListDeviceSettingsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListDeviceSettingsRequest { device_id, page_size, page_token } = request.into_inner();
        let id = required_id("device_id", &device_id).map_err(status_of)?;
        let list = ListName::new("device settings").with("device", Some(&device_id));
        let page = page_request(page_size, &page_token, false, list)?;
        let found = self.devices.settings_versions(site, id, &page).await?;
        Ok(Response::new(v1::ListDeviceSettingsResponse {
            versions: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
        }))
    }

    async fn create_device(
        &self,
        request: Request<v1::CreateDeviceRequest>,
    ) -> Result<Response<v1::CreateDeviceResponse>, Status> {
        let site = caller(&request)?.site;
        let new = NewDevice::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Device::from(self.devices.create_device(site, &new).await?).into()))
    }

    async fn get_device(
        &self,
        request: Request<v1::GetDeviceRequest>,
    ) -> Result<Response<v1::GetDeviceResponse>, Status> {
        let site = caller(&request)?.site;
        let key = DeviceKey::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Device::from(self.devices.device(site, &key).await?).into()))
    }

    async fn list_devices(
        &self,
        request: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListDevicesRequest { page_size, page_token, with_total_size } = request.into_inner();
        let page = page_request(page_size, &page_token, with_total_size, ListName::new("devices"))?;
        let found = self.devices.devices(site, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListDevicesResponse {
            devices: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn update_device(
        &self,
        request: Request<v1::UpdateDeviceRequest>,
    ) -> Result<Response<v1::UpdateDeviceResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let (id, seen, change) = changed_fields(request.into_inner()).map_err(status_of)?;
        let device = self.devices.update_device(site, id, seen, &change, by).await?;
        Ok(Response::new(v1::Device::from(device).into()))
    }

    async fn replace_device(
        &self,
        request: Request<v1::ReplaceDeviceRequest>,
    ) -> Result<Response<v1::ReplaceDeviceResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let old = required_id("device_id", &request.into_inner().device_id).map_err(status_of)?;
        Ok(Response::new(v1::Device::from(self.devices.replace_device(site, old, by).await?).into()))
    }

    async fn configure_device(
        &self,
        request: Request<v1::ConfigureDeviceRequest>,
    ) -> Result<Response<v1::ConfigureDeviceResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let request = request.into_inner();
        let id = required_id("device_id", &request.device_id).map_err(status_of)?;
        let change = SettingsChange::try_from(request).map_err(status_of)?;
        Ok(Response::new(
            v1::Device::from(self.devices.configure_device(site, id, &change, by).await?).into(),
        ))
    }

    async fn assign_camera(
        &self,
        request: Request<v1::AssignCameraRequest>,
    ) -> Result<Response<v1::AssignCameraResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let v1::AssignCameraRequest { device_id, proxy_id } = request.into_inner();
        let camera = required_id("device_id", &device_id).map_err(status_of)?;
        let proxy = optional_id("proxy_id", &proxy_id).map_err(status_of)?;
        Ok(Response::new(v1::Device::from(self.devices.assign_camera(site, camera, proxy, by).await?).into()))
    }

    async fn issue_device_token(
        &self,
        request: Request<v1::IssueDeviceTokenRequest>,
    ) -> Result<Response<v1::IssueDeviceTokenResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let camera = required_id("device_id", &request.into_inner().device_id).map_err(status_of)?;
        let token = self.devices.issue_device_token(site, camera, by).await?;
        let token = token.expose_secret().to_owned();
        Ok(Response::new(v1::IssueDeviceTokenResponse { token }))
    }

    async fn revoke_device_tokens(
        &self,
        request: Request<v1::RevokeDeviceTokensRequest>,
    ) -> Result<Response<v1::RevokeDeviceTokensResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let camera = required_id("device_id", &request.into_inner().device_id).map_err(status_of)?;
        let revoked = self.devices.revoke_device_tokens(site, camera, by).await?;
        let revoked = u32::try_from(revoked).unwrap_or(u32::MAX);
        Ok(Response::new(v1::RevokeDeviceTokensResponse { revoked }))
    }

    async fn get_device_coverage(
        &self,
        request: Request<v1::GetDeviceCoverageRequest>,
    ) -> Result<Response<v1::GetDeviceCoverageResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let id = required_id("device_id", &request.device_id).map_err(status_of)?;
        let window = coverage_window(&request).map_err(status_of)?;
        self.devices.device(site, &DeviceKey::Id(id)).await?;
        let watch = self.watches.of_devices(site, &[id], window).await?.remove(&id).unwrap_or_default();
        let coverage = Some(coverage_to_wire(coverage(&watch, window.0, window.1)));
        Ok(Response::new(v1::GetDeviceCoverageResponse { coverage }))
    }

    async fn revoke_device(
        &self,
        request: Request<v1::RevokeDeviceRequest>,
    ) -> Result<Response<v1::RevokeDeviceResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let id = required_id("device_id", &request.into_inner().device_id).map_err(status_of)?;
        Ok(Response::new(v1::Device::from(self.devices.revoke_device(site, id, by).await?).into()))
    }
}

fn coverage_window(request: &v1::GetDeviceCoverageRequest) -> Result<(Timestamp, Timestamp), ProtocolError> {
    let start = from_timestamp("start_time", request.start_time.as_ref())?;
    let end = from_timestamp("end_time", request.end_time.as_ref())?;
    let length = end.duration_since(start);
    if !length.is_positive() || length > LONGEST_COVERAGE {
        return Err(ProtocolError::invalid("end_time", "must be after start_time, by 32 days at most"));
    }
    Ok((start, end))
}

/// Fields of a device that people may change.
const CHANGEABLE: [&str; 6] = ["name", "classroom", "status", "description", "noted_address", "mac_address"];

/// Which device is to be changed, of which state of it, and how.
fn changed_fields(
    request: v1::UpdateDeviceRequest,
) -> Result<(DeviceId, Option<DeviceVersion>, DeviceChange), ProtocolError> {
    let v1::UpdateDeviceRequest { device_id, name, classroom, device, update_mask } = request;
    let Some(device) = device else {
        let change = DeviceChange { name, classroom, ..DeviceChange::default() };
        return Ok((required_id("device_id", &device_id)?, None, change.checked()?));
    };
    let mask = update_mask.map(|mask| mask.paths).unwrap_or_default();
    if let Some(path) = mask.iter().find(|path| !CHANGEABLE.contains(&path.as_str())) {
        let shown: String = path.chars().take(64).collect();
        return Err(ProtocolError::invalid("update_mask", format_args!("{shown:?} can't be changed")));
    }
    let is_named = |field: &str| mask.iter().any(|path| path == field);
    let text = |field, value: &String| {
        let wanted = if mask.is_empty() { !value.is_empty() } else { is_named(field) };
        wanted.then(|| value.clone())
    };
    let is_status_wanted = if mask.is_empty() { device.status != 0 } else { is_named("status") };
    let status = is_status_wanted.then(|| enum_from_wire("device.status", device.status)).transpose()?;
    let change = DeviceChange {
        name: text("name", &device.name),
        classroom: text("classroom", &device.classroom),
        status,
        description: text("description", &device.description),
        address: text("noted_address", &device.noted_address),
        mac_address: text("mac_address", &device.mac_address),
    };
    let (id, seen) = (required_id("device.id", &device.id)?, DeviceVersion::from_etag(&device.etag)?);
    Ok((id, seen, change.checked()?))
}

impl From<SettingsVersion> for v1::DeviceSettingsVersion {
    fn from(version: SettingsVersion) -> Self {
        let SettingsVersion { pushed, set, unset } = version;
        Self {
            version: pushed.version,
            settings: pushed.settings.into_iter().collect(),
            push_time: Some(to_timestamp(pushed.pushed_at)),
            pushed_by: pushed.pushed_by,
            set: set.into_iter().collect(),
            unset,
        }
    }
}

impl TryFrom<v1::ConfigureDeviceRequest> for SettingsChange {
    type Error = ProtocolError;

    fn try_from(request: v1::ConfigureDeviceRequest) -> Result<Self, ProtocolError> {
        Self::new(request.reset, request.unset, request.set)
    }
}

impl TryFrom<v1::CreateDeviceRequest> for NewDevice {
    type Error = ProtocolError;

    fn try_from(request: v1::CreateDeviceRequest) -> Result<Self, ProtocolError> {
        Self::new(&request.name, enum_from_wire("kind", request.kind)?, &request.classroom)
    }
}

impl TryFrom<v1::GetDeviceRequest> for DeviceKey {
    type Error = ProtocolError;

    fn try_from(request: v1::GetDeviceRequest) -> Result<Self, ProtocolError> {
        use v1::get_device_request::Key;
        match request.key {
            Some(Key::Id(id)) => Ok(Self::Id(required_id("id", &id)?)),
            Some(Key::Name(name)) => Ok(Self::Name(lookup_name("name", &name)?)),
            None => Err(ProtocolError::Missing { field: "key" }),
        }
    }
}

impl From<Device> for v1::Device {
    fn from(device: Device) -> Self {
        let online = device.is_online(Timestamp::now());
        let (wanted_time, wanted_by) =
            device.wanted.as_ref().map(|wanted| (wanted.pushed_at, wanted.pushed_by.clone())).unzip();
        Self {
            id: device.id.to_string(),
            name: device.name,
            kind: enum_to_wire(device.kind),
            classroom: device.classroom,
            status: enum_to_wire(device.status),
            create_time: Some(to_timestamp(device.created_at)),
            last_seen_time: device.last_seen_at.map(to_timestamp),
            agent_version: device.report.agent_version,
            pack_digest: device.report.pack.map(|digest| digest.to_string()).unwrap_or_default(),
            spooled: device.report.spooled,
            lost: device.report.lost,
            online,
            heartbeat: device.report.heartbeat.map(heartbeat_to_wire),
            wanted: device.wanted.map(settings_to_wire),
            wanted_time: wanted_time.map(to_timestamp),
            wanted_by: wanted_by.unwrap_or_default(),
            running: Some(report_to_wire(device.report.settings)),
            proxy_id: device.proxy.as_ref().map(|proxy| proxy.id.to_string()).unwrap_or_default(),
            proxy_name: device.proxy.map(|proxy| proxy.name).unwrap_or_default(),
            token_count: device.tokens,
            connected_twice: device.twice.map(|twice| v1::ConnectedTwice {
                now: twice.is_now(Timestamp::now()),
                last_time: Some(to_timestamp(twice.last_at)),
                count: twice.count,
            }),
            description: device.notes.description,
            noted_address: device.notes.address,
            seen_address: device.seen_address,
            mac_address: device.notes.mac_address,
            etag: device.version.etag(),
        }
    }
}
