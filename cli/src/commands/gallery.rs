//! `cavs gallery`

use cavs_proto::v1;

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{GalleryView, PairList, PairView, SuggestionView, ThresholdChangeView, ThresholdList},
};

/// What `cavs gallery` does.
#[derive(Debug, clap::Subcommand)]
pub enum GalleryCommand {
    /// Show size, memory and counters of the server's gallery, and the false matches to be expected
    #[command(after_help = "The false matches are those that this gallery's own faces suggest: a sample of \
templates is looked up among all other students', as strangers before a camera would be.")]
    Stats,
    /// Suggest an accept threshold for a rate of false matches
    #[command(after_help = "The suggestion is not set: try it with `cavs gallery set-threshold --dry-run`.")]
    SuggestThreshold {
        /// Strangers, of 1,000, that may be taken for somebody: 0.001 to 100
        #[arg(long, value_name = "RATE")]
        false_matches_per_1000: f64,
    },
    /// Set thresholds of the model pack in use, on all servers and without a restart
    #[command(after_help = "What is not given stays. Every set of thresholds is a version, each decision \
records the version that made it, and earlier decisions stay as they are. With --dry-run nothing is set: \
the output shows how many of the latest 10,000 sightings would be accepted, pending and unknown, and how \
many strangers of 1,000 would be accepted. An accept threshold that is set stays; a rate is followed: \
the servers set a new version where the gallery has changed so much that it asks for another threshold, \
never below the model pack's. Where somebody else has set thresholds since, or other ones \
than those of --if-version are in force, nothing is set. To go back, set the values of an earlier version; \
see `cavs gallery thresholds`.")]
    SetThreshold {
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
        /// Set them only where this version is in force, as --dry-run or `cavs gallery thresholds` has shown it
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u32>,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List the versions of the thresholds, newest first
    Thresholds,
    /// List students who are taken for one another: a face that may be either's goes to a person
    #[command(
        after_help = "Pairs are noted when a reviewer corrects one student to another (confused), and when somebody \
says that two look alike (twins): `cavs gallery add-pair`, or `cavs enroll --twin-of`."
    )]
    Pairs {
        /// Only pairs with this student: number or id
        #[arg(long, value_name = "STUDENT")]
        student: Option<String>,
        /// How many entries are listed.
        #[command(flatten)]
        extent: Extent,
    },
    /// Say that two students look alike, as twins do: each can be enrolled, and their faces go to a person
    AddPair(PairArgs),
    /// Take back that two students look alike
    RemovePair(PairArgs),
}

/// Two students.
#[derive(Debug, clap::Args)]
pub struct PairArgs {
    /// Number or id
    #[arg(value_name = "STUDENT")]
    student: String,
    /// Number or id of the other
    #[arg(value_name = "OTHER")]
    other: String,
}

pub(crate) async fn run(command: GalleryCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        GalleryCommand::Stats => {
            let gallery = api.one(api.galleries().get_gallery(v1::GetGalleryRequest {})).await?;
            printer.report(&GalleryView::from(gallery))
        }
        GalleryCommand::SuggestThreshold { false_matches_per_1000 } => {
            let request = v1::SuggestThresholdRequest { false_matches_per_thousand: false_matches_per_1000 };
            let found = api.call(api.galleries().suggest_threshold(request)).await?;
            printer.report(&SuggestionView::from(found))
        }
        GalleryCommand::SetThreshold {
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
        GalleryCommand::Thresholds => {
            let found = api.call(api.galleries().list_thresholds(v1::ListThresholdsRequest {})).await?;
            printer.report(&ThresholdList::from(found))
        }
        GalleryCommand::Pairs { student, extent } => {
            let student_id = lookup::student_id(&api, student.as_deref()).await?;
            paging::list::<PairList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let student_id = student_id.clone();
                let request =
                    v1::ListConfusablePairsRequest { page_size, page_token, with_total_size, student_id };
                let page = api.call(api.galleries().list_confusable_pairs(request)).await?;
                Ok(Page {
                    items: page.pairs,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await
        }
        GalleryCommand::AddPair(PairArgs { student, other }) => {
            let student = lookup::student(&api, &student).await?;
            let other = lookup::student(&api, &other).await?;
            printer.report(&note_twins(&api, student.id, other.id).await?)
        }
        GalleryCommand::RemovePair(PairArgs { student, other }) => {
            let student_id = lookup::student(&api, &student).await?.id;
            let other_student_id = lookup::student(&api, &other).await?.id;
            let request = v1::DeleteConfusablePairRequest { student_id, other_student_id };
            api.call(api.galleries().delete_confusable_pair(request)).await?;
            printer.note("the students are no pair any more");
            Ok(())
        }
    }
}

/// Says that two students look alike.
pub(crate) async fn note_twins(
    api: &Api,
    student_id: String,
    other_student_id: String,
) -> Result<PairView, CliError> {
    let request = v1::CreateConfusablePairRequest { student_id, other_student_id };
    Ok(PairView::from(api.one(api.galleries().create_confusable_pair(request)).await?))
}
