//! `cavs retention`

use std::str::FromStr;

use cavs_proto::v1;
use cavs_types::MOST_RETENTION_DAYS;

use crate::{client::Api, config::Config, error::CliError, printer::Printer, view::RetentionView};

/// What `cavs retention` does.
#[derive(Debug, clap::Subcommand)]
pub enum RetentionCommand {
    /// Show how long the site keeps what, and what was deleted lately
    Show,
    /// Change how long the site keeps what. What is kept no longer then is deleted soon, and nothing brings it back
    Set(SetArgs),
}

/// Options of `cavs retention set`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
#[command(
    after_help = "DAYS are whole days (UTC) after reception, 1 to 36500; or `forever`; or `default`, for as the \
server's configuration says."
)]
pub struct SetArgs {
    /// Probes of faces that were taken for nobody, and that nobody has judged
    #[arg(long, value_name = "DAYS")]
    unknown_probes: Option<Days>,
    /// Probes of faces that were accepted or judged
    #[arg(long, value_name = "DAYS")]
    reviewed_probes: Option<Days>,
    /// Face crops of sightings
    #[arg(long, value_name = "DAYS")]
    evidence: Option<Days>,
    /// Pictures that templates were made of
    #[arg(long, value_name = "DAYS")]
    portraits: Option<Days>,
    /// Sightings, with whatever face is left of them
    #[arg(long, value_name = "DAYS")]
    sightings: Option<Days>,
}

/// How long something is kept, as people type it: 0 for ever, `None` for as the server's configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Days(Option<u32>);

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "forever" => Ok(Self(Some(0))),
            "default" => Ok(Self(None)),
            _ => match text.parse() {
                Ok(days @ 1..=MOST_RETENTION_DAYS) => Ok(Self(Some(days))),
                _ => Err("is none of 1 to 36500, `forever`, `default`".to_owned()),
            },
        }
    }
}

impl From<SetArgs> for v1::UpdateRetentionRequest {
    fn from(args: SetArgs) -> Self {
        let SetArgs { unknown_probes, reviewed_probes, evidence, portraits, sightings } = args;
        let mut paths = Vec::new();
        let mut days = |path: &str, given: Option<Days>| {
            let Days(days) = given?;
            paths.push(path.to_owned());
            days
        };
        let policy = v1::RetentionPolicy {
            unknown_probes_days: days("unknown_probes_days", unknown_probes),
            reviewed_probes_days: days("reviewed_probes_days", reviewed_probes),
            evidence_days: days("evidence_days", evidence),
            portraits_days: days("portraits_days", portraits),
            sightings_days: days("sightings_days", sightings),
        };
        Self { policy: Some(policy), update_mask: Some(prost_types::FieldMask { paths }) }
    }
}

pub(crate) async fn run(
    command: RetentionCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    let retention = match command {
        RetentionCommand::Show => api.call(api.retention().get_retention(v1::GetRetentionRequest {})).await?,
        RetentionCommand::Set(args) => {
            let request = v1::UpdateRetentionRequest::from(args);
            api.call(api.retention().update_retention(request)).await?
        }
    };
    printer.report(&RetentionView::from(retention))
}
