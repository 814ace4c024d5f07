//! `cavs sightings`

use cavs_proto::{enum_to_wire, to_timestamp, v1};
use cavs_types::{Decision, SightingId};
use clap::builder::PossibleValue;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    timespec::TimeSpec,
    view::{SightingList, SightingView},
};

/// What `cavs sightings` does.
#[derive(Debug, clap::Subcommand)]
pub enum SightingsCommand {
    /// List sightings, newest first
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show a sighting: what the machine said, when the person came and left, how right the clock was
    Show {
        /// Id
        #[arg(value_name = "SIGHTING-ID")]
        id: SightingId,
    },
}

/// Options of `cavs sightings list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only this student
    #[arg(long, value_name = "NUMBER|ID", add = completion::students())]
    student: Option<String>,
    /// Only this device
    #[arg(long, value_name = "NAME|ID", add = completion::devices())]
    device: Option<String>,
    /// Only this room
    #[arg(long)]
    classroom: Option<String>,
    /// Only what the machine decided so
    #[arg(long, value_parser = words(Decision::ALL, explained))]
    decision: Option<Decision>,
    /// Only from this time or day on
    #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
    from: Option<TimeSpec>,
    /// Only before this time, or up to the end of this day
    #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
    until: Option<TimeSpec>,
    #[command(flatten)]
    extent: Extent,
}

fn explained(decision: Decision) -> PossibleValue {
    PossibleValue::new(decision.as_str()).help(match decision {
        Decision::Accepted => "It was sure enough",
        Decision::Pending => "A person has to say",
        Decision::Unknown => "Nobody who is enrolled",
    })
}

pub(crate) async fn run(
    command: SightingsCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    match command {
        SightingsCommand::List(args) => list(args, config, printer).await,
        SightingsCommand::Show { id } => {
            let api = Api::connect(config).await?;
            let request = v1::GetSightingRequest { id: id.to_string() };
            printer.report(&SightingView::from(api.one(api.sightings().get_sighting(request)).await?))
        }
    }
}

async fn list(args: ListArgs, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let (from, until) = range(args.from, args.until, &TimeZone::system())?;
    let api = Api::connect(config).await?;
    let filter = v1::SightingFilter {
        device_id: lookup::device_id(&api, args.device.as_deref()).await?,
        classroom: args.classroom.unwrap_or_default(),
        student_id: lookup::student_id(&api, args.student.as_deref()).await?,
        decision: args.decision.map(enum_to_wire).unwrap_or_default(),
        start_time: from.map(to_timestamp),
        end_time: until.map(to_timestamp),
    };
    paging::list::<SightingList, _>(args.extent, printer, async |query| {
        let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
        let filter = Some(filter.clone());
        let request = v1::ListSightingsRequest { page_size, page_token, filter, with_total_size };
        let page = api.call(api.sightings().list_sightings(request)).await?;
        Ok(Page {
            items: page.sightings,
            next: page.next_page_token,
            total: page.total_size,
            total_exact: page.total_size_exact,
        })
    })
    .await
}

pub(super) fn range(
    from: Option<TimeSpec>,
    until: Option<TimeSpec>,
    zone: &TimeZone,
) -> Result<(Option<Timestamp>, Option<Timestamp>), CliError> {
    let wrong = |option| move |problem| CliError::usage(format!("{option}: {problem}"));
    let from = from.map(|from| from.start(zone)).transpose().map_err(wrong("--from"))?;
    let until = until.map(|until| until.end(zone)).transpose().map_err(wrong("--until"))?;
    match (from, until) {
        (Some(from), Some(until)) if from >= until => Err(CliError::usage("--from must be before --until")),
        range => Ok(range),
    }
}
