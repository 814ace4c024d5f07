//! `cavs thresholds`

use cavs_proto::v1;

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    printer::Printer,
    view::{SuggestionView, ThresholdChangeView, ThresholdList},
};

/// What `cavs thresholds` does.
#[derive(Debug, clap::Subcommand)]
pub enum ThresholdsCommand {
    /// List the versions of the thresholds, newest first
    #[command(visible_alias = "ls")]
    List,
    /// Set thresholds of the model pack in use, on all servers and without a restart
    #[command(after_help = "What is not given stays. Every set of thresholds is a version, each decision \
records the version that made it, and earlier decisions stay as they are. With --dry-run nothing is set: \
the output shows how many of the latest 10,000 sightings would be accepted, pending and unknown, and how \
many strangers of 1,000 would be accepted. An accept threshold that is set stays; a rate is followed: \
the servers set a new version where the gallery has changed so much that it asks for another threshold, \
never below the model pack's. Where somebody else has set thresholds since, or other ones \
than those of --if-version are in force, nothing is set. To go back, set the values of an earlier version; \
see `cavs thresholds list`.")]
    Set {
        /// Lowest similarity that is accepted without a person: 0.05 to 0.95
        #[arg(long, value_name = "SIMILARITY", required_unless_present_any = ["false_matches_per_1000", "review", "margin", "liveness"])]
        accept: Option<f32>,
        /// Instead of --accept: strangers, of 1,000, that may be taken for somebody, 0.001 to 100; the accept
        /// threshold follows as the gallery changes
        #[arg(long, value_name = "RATE", conflicts_with = "accept")]
        false_matches_per_1000: Option<f64>,
        /// Lowest similarity that is worth a reviewer's time: 0 to the accept threshold
        #[arg(long, value_name = "SIMILARITY")]
        review: Option<f32>,
        /// Least distance to any other student: 0 to 0.5
        #[arg(long, value_name = "DIFFERENCE")]
        margin: Option<f32>,
        /// Least liveness of a face that is accepted without a person, 0 to 1: faces that have none go to a person,
        /// too; 0 for nobody asks
        #[arg(long, value_name = "SCORE")]
        liveness: Option<f32>,
        /// Set them only where this version is in force, as --dry-run or `cavs thresholds list` has shown it
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u32>,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Suggest an accept threshold for a rate of false matches
    #[command(after_help = "The suggestion is not set: try it with `cavs thresholds set --dry-run`.")]
    Suggest {
        /// Strangers, of 1,000, that may be taken for somebody: 0.001 to 100
        #[arg(long, value_name = "RATE")]
        false_matches_per_1000: f64,
    },
}

pub(crate) async fn run(
    command: ThresholdsCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        ThresholdsCommand::Suggest { false_matches_per_1000 } => {
            let request = v1::SuggestThresholdRequest { false_matches_per_thousand: false_matches_per_1000 };
            let found = api.call(api.galleries().suggest_threshold(request)).await?;
            printer.report(&SuggestionView::from(found))
        }
        ThresholdsCommand::Set {
            accept,
            false_matches_per_1000: false_matches_per_thousand,
            review,
            margin,
            liveness,
            if_version,
            dry_run,
        } => {
            let request =
                v1::PreviewThresholdsRequest { accept, review, margin, false_matches_per_thousand, liveness };
            let effect = api.call(api.galleries().preview_thresholds(request)).await?;
            let seen = effect.before.as_ref().map_or(0, |before| before.version);
            let mut view = ThresholdChangeView::from(effect);
            if dry_run {
                printer.report(&view)?;
                printer.note("nothing was changed");
                return Ok(());
            }
            let expected_version = Some(if_version.unwrap_or(seen));
            let request = v1::SetThresholdsRequest {
                accept,
                review,
                margin,
                expected_version,
                false_matches_per_thousand,
                liveness,
            };
            let done = api.call(api.galleries().set_thresholds(request)).await?;
            view.after.thresholds = done.after.unwrap_or_default().into();
            printer.report(&view)
        }
        ThresholdsCommand::List => {
            let found = api.call(api.galleries().list_thresholds(v1::ListThresholdsRequest {})).await?;
            printer.report(&ThresholdList::from(found))
        }
    }
}
