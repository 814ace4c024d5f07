//! `cavs rooms`

use cavs_proto::{enum_to_wire, v1};
use cavs_types::DeviceRole;
use clap::builder::PossibleValue;

use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{ClassroomList, ClassroomView},
};

fn role(role: DeviceRole) -> PossibleValue {
    let help = match role {
        DeviceRole::Entry => "It sees who comes in",
        DeviceRole::Exit => "It sees who goes out",
        DeviceRole::Inside => "It sees who is there",
    };
    PossibleValue::new(role.as_str()).help(help)
}

/// What `cavs rooms` does.
#[derive(Debug, clap::Subcommand)]
pub enum RoomsCommand {
    /// Add a room
    Add {
        /// Its name; unique
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List rooms by name, with their devices
    #[command(visible_alias = "ls")]
    List {
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a room with its devices
    Show {
        /// Name or id
        #[arg(value_name = "ROOM", add = completion::rooms())]
        room: String,
    },
    /// Give a room another name, and with it its devices another classroom
    Update {
        /// Name or id
        #[arg(value_name = "ROOM", add = completion::rooms())]
        room: String,
        /// Its new name; unique
        #[arg(long)]
        name: String,
    },
    /// Delete a room that no device and no session is in
    Rm {
        /// Name or id
        #[arg(value_name = "ROOM", add = completion::rooms())]
        room: String,
    },
    /// Say in which room a device is, and what it sees there
    Place {
        /// Name or id
        #[arg(value_name = "DEVICE", add = completion::devices())]
        device: String,
        /// Name or id of the room
        #[arg(value_name = "ROOM", add = completion::rooms(), required_unless_present = "nowhere")]
        room: Option<String>,
        /// What it sees; without it, as before, and `inside` at first
        #[arg(long, value_parser = words(DeviceRole::ALL, role))]
        role: Option<DeviceRole>,
        /// Take the device out of its room
        #[arg(long, conflicts_with = "room")]
        nowhere: bool,
    },
}

pub(crate) async fn run(command: RoomsCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    let room = match command {
        RoomsCommand::Add { name } => {
            api.one(api.rooms().create_room(v1::CreateRoomRequest { name, request_id: String::new() }))
                .await?
        }
        RoomsCommand::List { extent } => {
            return paging::list::<ClassroomList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request = v1::ListRoomsRequest { page_size, page_token, with_total_size };
                let page = api.call(api.rooms().list_rooms(request)).await?;
                Ok(Page {
                    items: page.rooms,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await;
        }
        RoomsCommand::Show { room } => lookup::room(&api, &room).await?,
        RoomsCommand::Update { room, name } => {
            let id = lookup::room(&api, &room).await?.id;
            let room = Some(v1::Room { id, name, ..v1::Room::default() });
            let request = v1::UpdateRoomRequest { room, update_mask: Some(super::mask([("name", true)])?) };
            api.one(api.rooms().update_room(request)).await?
        }
        RoomsCommand::Rm { room } => {
            let v1::Room { id, name, .. } = lookup::room(&api, &room).await?;
            api.call(api.rooms().delete_room(v1::DeleteRoomRequest { room_id: id })).await?;
            printer.note(&format!("deleted the room {name}"));
            return Ok(());
        }
        RoomsCommand::Place { device, room, role, nowhere: _ } => {
            let request = v1::PlaceDeviceRequest {
                device_id: lookup::device(&api, &device).await?.id,
                room_id: match room {
                    Some(room) => lookup::room(&api, &room).await?.id,
                    None => String::new(),
                },
                role: role.map(enum_to_wire).unwrap_or_default(),
            };
            match api.call(api.rooms().place_device(request)).await?.room {
                Some(room) => room,
                None => {
                    printer.note(&format!("{device} is in no room"));
                    return Ok(());
                }
            }
        }
    };
    printer.report(&ClassroomView::from(room))
}
