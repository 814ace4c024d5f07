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
    #[command(
        after_help = "DAYS are whole days (UTC) after reception, 1 to 36500; or `forever`; or `default`, for as the \
server's configuration says."
    )]
    Set {
        /// How long.
        #[command(flatten)]
        change: Change,
        /// Says that it is meant where something is kept for less than now: nobody can undo it
        #[arg(long)]
        yes: bool,
    },
}

/// Options of `cavs retention set`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Change {
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

impl Change {
    /// What may be kept for less than now, in words.
    fn shortened(&self, now: &v1::RetentionPolicy) -> Vec<String> {
        let of = [
            ("unknown probes", self.unknown_probes, now.unknown_probes_days),
            ("reviewed probes", self.reviewed_probes, now.reviewed_probes_days),
            ("evidence", self.evidence, now.evidence_days),
            ("portraits", self.portraits, now.portraits_days),
            ("sightings", self.sightings, now.sightings_days),
        ];
        of.into_iter()
            .filter_map(|(what, given, now)| match (given?, now.unwrap_or(0)) {
                (Days(None), _) => Some(format!("{what} as the server's configuration says")),
                (Days(Some(0)), _) => None,
                (Days(Some(days)), 0) => Some(format!("{what} for {days} days instead of for ever")),
                (Days(Some(days)), now) if days < now => {
                    Some(format!("{what} for {days} days instead of {now}"))
                }
                (Days(Some(_)), _) => None,
            })
            .collect()
    }
}

impl From<Change> for v1::UpdateRetentionRequest {
    fn from(change: Change) -> Self {
        let Change { unknown_probes, reviewed_probes, evidence, portraits, sightings } = change;
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
        RetentionCommand::Show => shown(&api).await?,
        RetentionCommand::Set { change, yes } => {
            if !yes {
                let shortened = change.shortened(&shown(&api).await?.in_force.unwrap_or_default());
                if !shortened.is_empty() {
                    printer.confirm(&format!("Keep {}?", shortened.join(", ")))?;
                }
            }
            let request = v1::UpdateRetentionRequest::from(change);
            api.one(api.retention().update_retention(request)).await?
        }
    };
    printer.report(&RetentionView::from(retention))
}

async fn shown(api: &Api) -> Result<v1::Retention, CliError> {
    api.one(api.retention().get_retention(v1::GetRetentionRequest {})).await
}
