//! `cavs devices`

use cavs_proto::v1;

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page},
    printer::Printer,
    view::{DeviceList, DeviceView},
};

/// What `cavs devices` does.
#[derive(Debug, clap::Subcommand)]
pub enum DevicesCommand {
    /// Register a device
    Add {
        /// Name of the device; unique
        name: String,
        /// What it is
        #[arg(long, value_enum, default_value_t)]
        kind: Kind,
        /// The room it watches
        #[arg(long, default_value = "")]
        classroom: String,
    },
    /// List devices by name
    List {
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a device
    Get {
        /// Name or id
        #[arg(value_name = "DEVICE")]
        device: String,
    },
}

/// Kinds of devices.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum Kind {
    /// A Raspberry Pi or the like that runs the agent
    #[default]
    Agent,
    /// A camera that sends pictures to an agent
    #[value(name = "esp32-cam")]
    Esp32Cam,
}

impl From<Kind> for v1::DeviceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Agent => Self::Agent,
            Kind::Esp32Cam => Self::Esp32Cam,
        }
    }
}

pub(crate) async fn run(command: DevicesCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        DevicesCommand::Add { name, kind, classroom } => {
            let request =
                v1::CreateDeviceRequest { name, kind: v1::DeviceKind::from(kind).into(), classroom };
            let device = DeviceView::from(api.call(api.devices().create_device(request)).await?);
            printer.report(&device)?;
            printer.note(&format!(
                "next, its certificate: cavs certs device --ca DIR --device-id {} --out DIR",
                device.id
            ));
            Ok(())
        }
        DevicesCommand::List { extent } => {
            let devices = paging::collect(extent, async |page_size, page_token| {
                let request = v1::ListDevicesRequest { page_size, page_token };
                let page = api.call(api.devices().list_devices(request)).await?;
                Ok(Page { items: page.devices, next: page.next_page_token, total: page.total_size })
            })
            .await?;
            let remark = devices.remark("devices");
            printer.report(&DeviceList::from(devices))?;
            remark.iter().for_each(|remark| printer.note(remark));
            Ok(())
        }
        DevicesCommand::Get { device } => {
            printer.report(&DeviceView::from(lookup::device(&api, &device).await?))
        }
    }
}
