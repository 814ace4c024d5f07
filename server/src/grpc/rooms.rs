use cavs_proto::{enum_from_wire, enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::{ProtocolError, RoomId};
use tonic::{Request, Response, Status};

use super::convert::{caller, masked, optional_id, page_request, required_id, total_to_wire};
use crate::{
    page::ListName,
    schedule::{Room, RoomDevice, Rooms, ScheduleKey, ScheduleRef, ScheduleVersion, room_name},
    text::lookup_name,
};

pub(super) struct RoomApi(Rooms);

impl RoomApi {
    pub(super) fn new(rooms: Rooms) -> Self {
        Self(rooms)
    }
}

#[tonic::async_trait]
impl v1::room_service_server::RoomService for RoomApi {
    async fn create_room(
        &self,
        request: Request<v1::CreateRoomRequest>,
    ) -> Result<Response<v1::CreateRoomResponse>, Status> {
        let site = caller(&request)?.site;
        let name = room_name("name", &request.into_inner().name).map_err(status_of)?;
        Ok(Response::new(v1::Room::from(self.0.create(site, &name).await?).into()))
    }

    async fn get_room(
        &self,
        request: Request<v1::GetRoomRequest>,
    ) -> Result<Response<v1::GetRoomResponse>, Status> {
        use v1::get_room_request::Key;
        let site = caller(&request)?.site;
        let key = match request.into_inner().key {
            Some(Key::Id(id)) => ScheduleKey::Id(required_id("id", &id).map_err(status_of)?),
            Some(Key::Name(name)) => ScheduleKey::Name(lookup_name("name", &name).map_err(status_of)?),
            None => return Err(status_of(ProtocolError::Missing { field: "key" })),
        };
        Ok(Response::new(v1::Room::from(self.0.get(site, &key).await?).into()))
    }

    async fn list_rooms(
        &self,
        request: Request<v1::ListRoomsRequest>,
    ) -> Result<Response<v1::ListRoomsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListRoomsRequest { page_size, page_token, with_total_size } = request.into_inner();
        let page = page_request(page_size, &page_token, with_total_size, ListName::new("rooms"))?;
        let found = self.0.list(site, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListRoomsResponse {
            rooms: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn update_room(
        &self,
        request: Request<v1::UpdateRoomRequest>,
    ) -> Result<Response<v1::UpdateRoomResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::UpdateRoomRequest { room, update_mask } = request.into_inner();
        let room = room.ok_or(ProtocolError::Missing { field: "room" }).map_err(status_of)?;
        let id = required_id("room.id", &room.id).map_err(status_of)?;
        let seen = ScheduleVersion::from_etag(&room.etag).map_err(status_of)?;
        masked(update_mask, &[("name", true)]).map_err(status_of)?;
        let name = room_name("room.name", &room.name).map_err(status_of)?;
        Ok(Response::new(v1::Room::from(self.0.rename(site, id, seen, &name).await?).into()))
    }

    async fn delete_room(
        &self,
        request: Request<v1::DeleteRoomRequest>,
    ) -> Result<Response<v1::DeleteRoomResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("room_id", &request.into_inner().room_id).map_err(status_of)?;
        self.0.delete(site, id).await?;
        Ok(Response::new(v1::DeleteRoomResponse {}))
    }

    async fn place_device(
        &self,
        request: Request<v1::PlaceDeviceRequest>,
    ) -> Result<Response<v1::PlaceDeviceResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::PlaceDeviceRequest { device_id, room_id, role } = request.into_inner();
        let device = required_id("device_id", &device_id).map_err(status_of)?;
        let room = optional_id("room_id", &room_id).map_err(status_of)?;
        let role = match role {
            0 => None,
            role => Some(enum_from_wire("role", role).map_err(status_of)?),
        };
        let room = self.0.place_device(site, device, room, role).await?.map(Into::into);
        Ok(Response::new(v1::PlaceDeviceResponse { room }))
    }
}

impl From<Room> for v1::Room {
    fn from(room: Room) -> Self {
        let Room { id, name, devices, version, created_at, updated_at } = room;
        Self {
            id: id.to_string(),
            name,
            devices: devices.into_iter().map(Into::into).collect(),
            create_time: Some(to_timestamp(created_at)),
            update_time: Some(to_timestamp(updated_at)),
            etag: version.etag(),
        }
    }
}

impl From<RoomDevice> for v1::RoomDevice {
    fn from(device: RoomDevice) -> Self {
        let RoomDevice { id, name, kind, room: _, role, proxy } = device;
        Self {
            device_id: id.to_string(),
            name,
            kind: enum_to_wire(kind),
            role: enum_to_wire(role),
            proxy_id: proxy.map(|proxy| proxy.to_string()).unwrap_or_default(),
        }
    }
}

impl From<ScheduleRef<RoomId>> for v1::RoomRef {
    fn from(room: ScheduleRef<RoomId>) -> Self {
        Self { id: room.id.to_string(), name: room.name }
    }
}
