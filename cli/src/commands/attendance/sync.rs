//! `cavs attendance sync`

use std::collections::BTreeMap;

use cavs_proto::{enum_from_wire, from_timestamp, to_timestamp, v1};
use cavs_types::{Mark, SessionState};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    lookup,
    printer::Printer,
    sync::{Attended, Client, Fate, Ledger, PersonKey, Plan, TargetName, send},
    timespec::TimeSpec,
    view::SyncView,
};

/// What `cavs attendance sync --help` says of targets.
pub(crate) const ABOUT: &str = "Targets are sections [targets.NAME] of the configuration file; docs/EXPORTS.md has \
them. Only final marks are sent. What was sent is remembered beside the configuration file: the command can be \
interrupted and run again at any time.";

/// How far back sessions are looked at where nobody says it.
const LOOKED_BACK: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Options of `cavs attendance sync`.
#[derive(Debug, clap::Args)]
pub struct SyncArgs {
    /// Name of the target
    #[arg(value_name = "TARGET")]
    target: TargetName,
    /// Of sessions that begin then or later, a date or a time; without it, of the last 31 days
    #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
    since: Option<TimeSpec>,
    /// Send nothing; say what would be sent
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(
    api: &Api,
    args: &SyncArgs,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let target = config.targets.target(&args.target)?;
    let client = Client::new(&target.url, &target.key, &target.secret, target.ca.as_deref())?;
    let mut ledger = Ledger::open(&target.ledger)?;
    let zone = zone(api, config).await?;
    let since = match args.since {
        Some(since) => {
            since.start(&zone).map_err(|problem| CliError::usage(format!("--since: {problem}")))?
        }
        None => Timestamp::now().checked_sub(LOOKED_BACK).unwrap_or(Timestamp::MIN),
    };
    // Of a part of a day nobody can say what the day was.
    let since = since.to_zoned(zone.clone()).start_of_day().map_or(since, |day| day.timestamp());
    let attended = attended(api, target.person, since).await?;
    let today = Timestamp::now().to_zoned(zone.clone()).date();
    let Plan { items, unknown } = Plan::of(target.kind, &attended, &zone, today);
    let progress = printer.counter("items");
    let told = |count| progress.set_position(count);
    let outcomes = send(items, &target, &client, &mut ledger, args.dry_run, told).await?;
    progress.finish_and_clear();
    let stopped = outcomes.iter().any(|outcome| outcome.fate == Fate::Left) && !args.dry_run;
    let view = SyncView::new(target.name.as_str(), args.dry_run, outcomes, unknown);
    printer.report(&view)?;
    if stopped || view.has_refusals() { Err(CliError::Reported) } else { Ok(()) }
}

/// What the clocks of the site in use show.
async fn zone(api: &Api, config: &Config) -> Result<TimeZone, CliError> {
    let site = match &config.site {
        Some(site) => lookup::site(api, site).await?,
        None => {
            let request = v1::ListSitesRequest { page_size: 2, ..v1::ListSitesRequest::default() };
            let mut sites = api.call(api.sites().list_sites(request)).await?.sites;
            match (sites.pop(), sites.pop()) {
                (Some(only), None) => only,
                _ => return Err(CliError::usage("there are several sites: say --site")),
            }
        }
    };
    TimeZone::get(&site.time_zone).map_err(|_| {
        let message = format!("this machine knows no time zone {:?}: install tzdata", site.time_zone);
        CliError::failure("TIME_ZONE", message)
    })
}

/// The final marks of sessions that began since.
pub(super) async fn attended(
    api: &Api,
    person: PersonKey,
    since: Timestamp,
) -> Result<Vec<Attended>, CliError> {
    let mut names = match person {
        PersonKey::Number => None,
        PersonKey::ExternalId => Some(names(api, |student| student.external_id).await?),
        PersonKey::Email => Some(names(api, |student| student.email).await?),
    };
    let mut request = v1::ListMarksRequest {
        page_size: 1000,
        start_time: Some(to_timestamp(since)),
        end_time: Some(to_timestamp(Timestamp::now())),
        ..v1::ListMarksRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = api.call(api.attendance().list_marks(request.clone())).await?;
        for listed in page.marks {
            let (session, mark) = (listed.session.unwrap_or_default(), listed.mark.unwrap_or_default());
            let state = enum_from_wire::<SessionState>("state", session.state);
            let wrong = |_| CliError::protocol("the server's answer: a mark is none");
            let moment = |time: Option<&prost_types::Timestamp>| from_timestamp("time", time).map_err(wrong);
            let student = mark.student.clone().unwrap_or_default();
            let person = match &mut names {
                None => student.number.clone(),
                Some(names) => names.get(&student.id).cloned().unwrap_or_default(),
            };
            found.push(Attended {
                starts_at: moment(session.start_time.as_ref())?,
                ends_at: moment(session.end_time.as_ref())?,
                is_final: state == Ok(SessionState::Finalised),
                session: session.id,
                group: session.group_id,
                group_name: session.group_name,
                student: student.id,
                number: student.number,
                person,
                mark: enum_from_wire::<Mark>("mark", mark.mark).map_err(wrong)?,
                first_seen_at: from_timestamp("time", mark.first_seen_time.as_ref()).ok(),
                last_seen_at: from_timestamp("time", mark.last_seen_time.as_ref()).ok(),
            });
        }
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = page.next_page_token;
    }
}

/// What another system knows each student by.
pub(super) async fn names(
    api: &Api,
    name: fn(v1::Student) -> String,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut request = v1::ListStudentsRequest { page_size: 1000, ..v1::ListStudentsRequest::default() };
    let mut names = BTreeMap::new();
    loop {
        let page = api.call(api.students().list_students(request.clone())).await?;
        names.extend(page.students.into_iter().map(|student| (student.id.clone(), name(student))));
        if page.next_page_token.is_empty() {
            return Ok(names);
        }
        request.page_token = page.next_page_token;
    }
}
