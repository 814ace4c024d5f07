//! `cavs sightings`

use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    sync::atomic::Ordering::Relaxed,
};

use cavs_proto::{enum_to_wire, to_timestamp, v1};
use cavs_types::{Decision, SightingId};
use clap::builder::PossibleValue;
use jiff::{Timestamp, tz::TimeZone};

use super::watching;
use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    export::{FileFormat, Output, RowWriter},
    interruption::interruption,
    list::ListWriter,
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
    /// Tell of sightings as they come in, until it is interrupted
    #[command(
        after_help = "What was missed while the connection was broken is told when it is back. For programs: -o jsonl."
    )]
    Watch(Filter),
    /// Write all sightings into a file: .csv, .jsonl or .parquet
    Export(ExportArgs),
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
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    extent: Extent,
}

/// Options of `cavs sightings export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The file, which must not be there yet; `-` is standard output
    file: PathBuf,
    /// What the file's ending says where it is not given
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    #[command(flatten)]
    filter: Filter,
}

/// Which sightings are wanted.
#[derive(Debug, clap::Args)]
pub struct Filter {
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
        SightingsCommand::Watch(filter) => watch(filter, config, printer).await,
        SightingsCommand::Export(args) => tokio::select! {
            // Whoever interrupts it leaves no half of a file behind.
            interrupted = interruption("no file was written") => Err(interrupted),
            done = export(args, config, printer) => done,
        },
        SightingsCommand::Show { id } => {
            let api = Api::connect(config).await?;
            let request = v1::GetSightingRequest { id: id.to_string() };
            printer.report(&SightingView::from(api.one(api.sightings().get_sighting(request)).await?))
        }
    }
}

async fn list(args: ListArgs, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let (api, filter) = args.filter.connected(config).await?;
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

impl Filter {
    /// The server, and the filter as the wire has it. What can't be is told before anybody is asked.
    async fn connected(self, config: &Config) -> Result<(Api, v1::SightingFilter), CliError> {
        let (from, until) = range(self.from, self.until, &TimeZone::system())?;
        let api = Api::connect(config).await?;
        let filter = v1::SightingFilter {
            device_id: lookup::device_id(&api, self.device.as_deref()).await?,
            classroom: self.classroom.unwrap_or_default(),
            student_id: lookup::student_id(&api, self.student.as_deref()).await?,
            decision: self.decision.map(enum_to_wire).unwrap_or_default(),
            start_time: from.map(to_timestamp),
            end_time: until.map(to_timestamp),
        };
        Ok((api, filter))
    }
}

/// Sightings that are known to have been told: more than come within the time that a server tells again.
const MOST_TOLD: usize = 10_000;

/// What was told. A stream that goes on tells the last sightings before its beginning again, as some of them may have
/// been recorded out of order.
#[derive(Debug, Default)]
struct Told {
    /// The newest sighting that was there before; empty where there was none.
    before: String,
    /// The newest sighting that was told, or else was there before.
    last: String,
    ids: HashSet<String>,
    /// The same ids, the earliest told first.
    order: VecDeque<String>,
}

impl Told {
    fn after(before: String) -> Self {
        Self { last: before.clone(), before, ..Self::default() }
    }

    /// Notes a sighting; whether it is to be told.
    fn is_new(&mut self, id: &str) -> bool {
        // Ids are UUIDs of version 7: their order is that of time.
        if id <= self.before.as_str() || !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > MOST_TOLD
            && let Some(earliest) = self.order.pop_front()
        {
            self.ids.remove(&earliest);
        }
        if id > self.last.as_str() {
            id.clone_into(&mut self.last);
        }
        true
    }
}

/// The id of the newest sighting; empty where there is none.
async fn newest(api: &Api) -> Result<String, CliError> {
    let filter = Some(v1::SightingFilter::default());
    let request = v1::ListSightingsRequest { page_size: 1, filter, ..v1::ListSightingsRequest::default() };
    let page = api.call(api.sightings().list_sightings(request)).await?;
    Ok(page.sightings.into_iter().next().map(|sighting| sighting.id).unwrap_or_default())
}

async fn watch(filter: Filter, config: &Config, printer: &Printer) -> Result<(), CliError> {
    watching::endless(printer)?;
    let (api, filter) = filter.connected(config).await?;
    let mut writer = ListWriter::<SightingList>::new(printer);
    // Also where the connection breaks before anything has come, nothing is missed.
    let mut told = Told::after(newest(&api).await?);
    watching::follow_always(api, config, printer, async |api| {
        let request =
            v1::WatchSightingsRequest { filter: Some(filter.clone()), after_sighting_id: told.last.clone() };
        let mut stream = api.call(api.sightings().watch_sightings(request)).await?;
        while let Some(message) = stream.message().await.map_err(|status| api.status_error(&status))? {
            let new = message.sightings.into_iter().filter(|sighting| told.is_new(&sighting.id));
            let sightings: Vec<SightingView> = new.map(Into::into).collect();
            if !writer.page(&sightings)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

async fn export(args: ExportArgs, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let ExportArgs { file, format, filter } = args;
    let format = format.or_else(|| FileFormat::of(&file)).ok_or_else(|| {
        let file = file.display();
        CliError::usage(format!("{file}: ends with none of .csv, .jsonl and .parquet: say --format"))
    })?;
    let (api, filter) = filter.connected(config).await?;
    let (out, reader_left) = Output::open(&file)?;
    let mut rows = RowWriter::new(format, out)?;
    let mut stream = api
        .call(api.sightings().export_sightings(v1::ExportSightingsRequest { filter: Some(filter) }))
        .await?;
    let (progress, mut count) = (printer.counter("sightings"), 0_u64);
    while let Some(some) = api.bounded(stream.message()).await? {
        rows.write(&some.sightings)?;
        count += some.sightings.len() as u64;
        progress.set_position(count);
        if reader_left.load(Relaxed) {
            return Ok(());
        }
    }
    progress.finish_and_clear();
    if rows.finish()?.keep(&file)? {
        printer.note(&format!("{count} sightings written to {}", file.display()));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_is_told_once() {
        let mut told = Told::after("b".to_owned());
        let mut new = |ids: &[&str]| ids.iter().map(|id| told.is_new(id)).collect::<Vec<_>>();
        assert_eq!(new(&["a", "b", "d", "c", "d"]), [false, false, true, true, false]);
        assert_eq!(told.last, "d");
        let mut told = Told::default();
        for number in 0..MOST_TOLD + 2 {
            assert!(told.is_new(&format!("{number:06}")));
        }
        assert_eq!((told.ids.len(), told.order.len()), (MOST_TOLD, MOST_TOLD));
    }
}
