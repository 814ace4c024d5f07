//! `cavs devices`

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use cavs_proto::{enum_to_wire, to_timestamp, v1};
use cavs_types::{DeviceKind, DeviceStatus, SETTINGS, SettingKind};
use clap::builder::PossibleValue;
use jiff::{SignedDuration, Zoned};

use super::watching;
use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    list::ListWriter,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{CoverageView, DeviceList, DeviceTokenView, DeviceView, RevokedTokensView, SettingsHistory},
};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// What `cavs devices` does.
#[derive(Debug, clap::Subcommand)]
pub enum DevicesCommand {
    /// Register a device
    Add {
        /// Name of the device; unique among those that are not revoked
        name: String,
        /// What it is
        #[arg(long, value_parser = words(DeviceKind::ALL, explained), default_value = DeviceKind::Agent.as_str())]
        kind: DeviceKind,
        /// The room it watches
        #[arg(long, default_value = "")]
        classroom: String,
    },
    /// List devices by name
    #[command(visible_alias = "ls")]
    List {
        /// How many entries are listed.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a device: how it is, what its spool holds and has lost, which settings it runs with
    Show {
        /// Name or id
        #[arg(value_name = "DEVICE", add = completion::devices())]
        device: String,
    },
    /// Push settings to a device, on top of its own configuration
    ///
    /// The device tries them, keeps them where it goes on working, and goes back by itself where it does
    /// not; `cavs devices show` says what became of them.
    #[command(after_help = settings_help())]
    Configure(ConfigureArgs),
    /// Say which proxy speaks for a camera; proxies learn it at once
    #[command(group = clap::ArgGroup::new("to").required(true))]
    Assign {
        /// Name or id of the camera
        #[arg(value_name = "CAMERA", add = completion::devices())]
        camera: String,
        /// Name or id of an agent that runs in proxy mode
        #[arg(long, value_name = "DEVICE", add = completion::devices(), group = "to")]
        proxy: Option<String>,
        /// Take the camera from its proxy
        #[arg(long, group = "to")]
        none: bool,
    },
    /// Make a token for a camera, or end its tokens
    ///
    /// The token is printed once, and the server keeps a hash of it only. The newest two of a camera are
    /// good, so that it can be given a new one before the old one ends.
    Token {
        /// Name or id of the camera
        #[arg(value_name = "CAMERA", add = completion::devices())]
        camera: String,
        /// End all tokens of the camera
        #[arg(long)]
        revoke: bool,
        /// Says that the end is meant: nobody can undo it
        #[arg(long, requires = "revoke")]
        yes: bool,
    },
    /// Change what is said of a device: its name, its room, whether it may speak, what is noted of it
    ///
    /// An inactive device may not speak until it is active again; it keeps what it sees, and nothing is lost. One in
    /// maintenance may: what it sees is left to people, and that it does not see somebody proves nothing.
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Update {
        /// Name or id
        #[arg(value_name = "DEVICE", add = completion::devices())]
        device: String,
        /// Its new name
        #[arg(long, group = "change")]
        name: Option<String>,
        /// The room that it watches; empty for none
        #[arg(long, group = "change")]
        classroom: Option<String>,
        /// Whether it may speak
        #[arg(long, group = "change", value_parser = settable_status)]
        status: Option<DeviceStatus>,
        /// A note, such as where it hangs; empty for none
        #[arg(long, group = "change")]
        description: Option<String>,
        /// Its IP address, as a note; empty for none
        #[arg(long, value_name = "IP", group = "change")]
        address: Option<String>,
        /// Its hardware address, as a note; empty for none
        #[arg(long, value_name = "MAC", group = "change")]
        mac: Option<String>,
    },
    /// Tell of devices as they change: status, last heartbeat, the settings that they run with
    Watch {
        /// Name or id of the only one
        #[arg(value_name = "DEVICE", add = completion::devices())]
        device: Option<String>,
    },
    /// What was pushed to devices
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Put another machine in a device's place, and take the old one's right to speak, for ever
    ///
    /// The new one has the old one's name and room, the settings that were pushed to it, its proxy and its
    /// cameras. It needs a certificate or a token of its own.
    Replace {
        /// Name or id of the old one
        #[arg(value_name = "DEVICE", add = completion::devices())]
        device: String,
        /// Says that it is meant: nobody can undo it
        #[arg(long)]
        yes: bool,
    },
    /// Take a device's right to speak, for ever; its name is free again
    Revoke {
        /// Name or id
        #[arg(value_name = "DEVICE", add = completion::devices())]
        device: String,
        /// Says that it is meant: nobody can undo it
        #[arg(long)]
        yes: bool,
    },
}

/// What `cavs devices settings` does.
#[derive(Debug, clap::Subcommand)]
pub enum SettingsCommand {
    /// List what was ever pushed to a device, the newest first: who did, when, and what it changed
    History {
        /// Name or id
        #[arg(value_name = "DEVICE", add = completion::devices())]
        device: String,
        /// How many entries are listed.
        #[command(flatten)]
        extent: Extent,
    },
}

/// A status that people can give; a device is revoked by a command of its own.
fn settable_status(text: &str) -> Result<DeviceStatus, String> {
    match text.parse() {
        Ok(DeviceStatus::Revoked) => Err("for ever: run cavs devices revoke".to_owned()),
        Ok(status) => Ok(status),
        Err(_) => Err("active, inactive or maintenance".to_owned()),
    }
}

/// Options of `cavs devices configure`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct ConfigureArgs {
    /// Name or id
    #[arg(value_name = "DEVICE", add = completion::devices())]
    device: String,
    /// A setting to push; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, group = "change")]
    set: Vec<(String, String)>,
    /// A setting to leave to the device again; may be repeated
    #[arg(long, value_name = "KEY", group = "change")]
    unset: Vec<String>,
    /// Leave all settings to the device again, but for those of --set
    #[arg(long, group = "change")]
    reset: bool,
    /// Push the settings of a TOML file in the place of all that were pushed before
    #[arg(long, value_name = "FILE", group = "change", conflicts_with_all = ["unset", "reset"])]
    file: Option<PathBuf>,
}

fn settings_help() -> String {
    let kind = |kind| match kind {
        SettingKind::Switch => "true or false".to_owned(),
        SettingKind::Whole { least, most } => format!("whole number, {least} to {most}"),
        SettingKind::Number { least, most } => format!("{least} to {most}"),
        SettingKind::LogFilter => "such as info,cavs_edge_agent=debug".to_owned(),
    };
    let lines = SETTINGS.iter().map(|setting| format!("  {:27}{}", setting.key, kind(setting.kind)));
    let lines: Vec<_> = lines.collect();
    format!("Settings (their meaning is in the agent's manual):\n{}", lines.join("\n"))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// The settings of a file in the form of the agent's own configuration.
fn read_settings(path: &Path) -> Result<Vec<(String, String)>, CliError> {
    let wrong = |problem: &dyn Display| CliError::usage(format!("{}: {problem}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let file: toml::Table = toml::from_str(&text).map_err(|error| wrong(&error))?;
    let mut settings = Vec::new();
    for (section, values) in file {
        let toml::Value::Table(values) = values else {
            return Err(wrong(&format!(
                "{section} is no section; settings are written [section] key = value"
            )));
        };
        for (key, value) in values {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            settings.push((format!("{section}.{key}"), value));
        }
    }
    Ok(settings)
}

fn explained(kind: DeviceKind) -> PossibleValue {
    let word = PossibleValue::new(kind.as_str());
    match kind {
        DeviceKind::Agent => word.help("A Raspberry Pi or the like that runs the agent"),
        DeviceKind::Esp32Cam => word.alias("esp32-cam").help("A camera that sends pictures to an agent"),
    }
}

pub(crate) async fn run(command: DevicesCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        DevicesCommand::Add { name, kind, classroom } => {
            let request = v1::CreateDeviceRequest {
                name,
                kind: enum_to_wire(kind),
                classroom,
                request_id: String::new(),
            };
            let device = DeviceView::from(api.one(api.devices().create_device(request)).await?);
            printer.report(&device)?;
            printer.note(&match kind {
                DeviceKind::Agent => certificate_next(&device.id),
                DeviceKind::Esp32Cam => {
                    let name = &device.name;
                    format!("next: cavs devices assign {name} --proxy DEVICE; cavs devices token {name}")
                }
            });
            Ok(())
        }
        DevicesCommand::List { extent } => {
            paging::list::<DeviceList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request = v1::ListDevicesRequest { page_size, page_token, with_total_size };
                let page = api.call(api.devices().list_devices(request)).await?;
                Ok(Page {
                    items: page.devices,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await
        }
        DevicesCommand::Show { device } => {
            let device = lookup::device(&api, &device).await?;
            let today = Some(today(&api, device.id.clone()).await?);
            printer.report(&DeviceView { today, ..device.into() })
        }
        DevicesCommand::Configure(args) => {
            let ConfigureArgs { device, set, unset, reset, file } = args;
            let reset = reset || file.is_some();
            let mut settings = file.as_deref().map(read_settings).transpose()?.unwrap_or_default();
            settings.extend(set);
            let device_id = lookup::device(&api, &device).await?.id;
            let set = settings.into_iter().collect();
            let request = v1::ConfigureDeviceRequest { device_id, reset, unset, set };
            let device = api.one(api.devices().configure_device(request)).await?;
            printer.report(&DeviceView::from(device))
        }
        DevicesCommand::Assign { camera, proxy, none: _ } => {
            let device_id = lookup::device(&api, &camera).await?.id;
            let proxy_id = lookup::device_id(&api, proxy.as_deref()).await?;
            let request = v1::AssignCameraRequest { device_id, proxy_id };
            let device = api.one(api.devices().assign_camera(request)).await?;
            printer.report(&DeviceView::from(device))
        }
        DevicesCommand::Token { camera, revoke, yes } => {
            let camera = lookup::device(&api, &camera).await?;
            if revoke {
                let device_id = confirmed("End all tokens of", camera, yes, printer)?;
                let request = v1::RevokeDeviceTokensRequest { device_id };
                let revoked = api.call(api.devices().revoke_device_tokens(request)).await?.revoked;
                return printer.report(&RevokedTokensView { revoked });
            }
            let device_id = camera.id;
            let request = v1::IssueDeviceTokenRequest { device_id: device_id.clone() };
            let token = api.call(api.devices().issue_device_token(request)).await?.token;
            printer.report(&DeviceTokenView { device_id, token })?;
            printer.note("it is shown this once; the header is: Authorization: Bearer TOKEN");
            Ok(())
        }
        DevicesCommand::Update { device, name, classroom, status, description, address, mac } => {
            let id = lookup::device(&api, &device).await?.id;
            let given = [
                ("name", name.is_some()),
                ("classroom", classroom.is_some()),
                ("status", status.is_some()),
                ("description", description.is_some()),
                ("noted_address", address.is_some()),
                ("mac_address", mac.is_some()),
            ];
            let given = given.iter().filter(|(_, given)| *given);
            let paths = given.map(|(path, _)| (*path).to_owned()).collect();
            let device = v1::Device {
                id,
                name: name.unwrap_or_default(),
                classroom: classroom.unwrap_or_default(),
                status: status.map(enum_to_wire).unwrap_or_default(),
                description: description.unwrap_or_default(),
                noted_address: address.unwrap_or_default(),
                mac_address: mac.unwrap_or_default(),
                ..Default::default()
            };
            let request = v1::UpdateDeviceRequest {
                device: Some(device),
                update_mask: Some(prost_types::FieldMask { paths }),
                ..Default::default()
            };
            let device = api.one(api.devices().update_device(request)).await?;
            printer.report(&DeviceView::from(device))
        }
        DevicesCommand::Watch { device } => watch(api, device, config, printer).await,
        DevicesCommand::Settings(SettingsCommand::History { device, extent }) => {
            let device_id = lookup::device(&api, &device).await?.id;
            paging::list::<SettingsHistory, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: _ } = query;
                let device_id = device_id.clone();
                let request = v1::ListDeviceSettingsRequest { device_id, page_size, page_token };
                let page = api.call(api.devices().list_device_settings(request)).await?;
                Ok(Page { items: page.versions, next: page.next_page_token, total: 0, total_exact: false })
            })
            .await
        }
        DevicesCommand::Replace { device, yes } => {
            let old = lookup::device(&api, &device).await?;
            let device_id = confirmed("Replace", old, yes, printer)?;
            let request = v1::ReplaceDeviceRequest { device_id, request_id: String::new() };
            let device = DeviceView::from(api.one(api.devices().replace_device(request)).await?);
            printer.report(&device)?;
            printer.note(&match device.kind {
                "agent" => certificate_next(&device.id),
                _ => format!("next: cavs devices token {}", device.name),
            });
            Ok(())
        }
        DevicesCommand::Revoke { device, yes } => {
            let device = lookup::device(&api, &device).await?;
            let device_id = confirmed("Revoke", device, yes, printer)?;
            let device = api.one(api.devices().revoke_device(v1::RevokeDeviceRequest { device_id })).await?;
            printer.report(&DeviceView::from(device))
        }
    }
}

/// Tells of devices until nobody listens any more.
async fn watch(api: Api, device: Option<String>, config: &Config, printer: &Printer) -> Result<(), CliError> {
    watching::endless(printer)?;
    let device_id = lookup::device_id(&api, device.as_deref()).await?;
    let mut writer = ListWriter::<DeviceList>::new(printer);
    watching::follow_always(api, config, printer, async |api| {
        let request = v1::WatchDevicesRequest { device_id: device_id.clone() };
        let mut stream = api.call(api.devices().watch_devices(request)).await?;
        while let Some(message) = stream.message().await.map_err(|status| api.status_error(&status))? {
            let devices: Vec<DeviceView> = message.devices.into_iter().map(Into::into).collect();
            if !writer.page(&devices)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// How much of today the device was watching.
async fn today(api: &Api, device_id: String) -> Result<CoverageView, CliError> {
    let now = Zoned::now();
    let midnight = now.start_of_day().unwrap_or_else(|_| now.clone()).timestamp();
    // At midnight there is nothing of today yet.
    let (start, end) = (midnight.min(now.timestamp() - MINUTE), now.timestamp());
    let request = v1::GetDeviceCoverageRequest {
        device_id,
        start_time: Some(to_timestamp(start)),
        end_time: Some(to_timestamp(end)),
    };
    let coverage = api.call(api.devices().get_device_coverage(request)).await?.coverage;
    Ok(CoverageView::new(start, end, coverage.unwrap_or_default()))
}

fn certificate_next(id: &str) -> String {
    format!("next, its certificate: cavs certs device --ca DIR --device-id {id} --out DIR")
}

/// The id of a device that loses its right to speak, where that is meant.
fn confirmed(verb: &str, device: v1::Device, yes: bool, printer: &Printer) -> Result<String, CliError> {
    if !yes {
        let v1::Device { id, name, classroom, .. } = &device;
        let place = if classroom.is_empty() { String::new() } else { format!(" in {classroom}") };
        printer.confirm(&format!("{verb} {name}{place} ({id})?"))?;
    }
    Ok(device.id)
}
