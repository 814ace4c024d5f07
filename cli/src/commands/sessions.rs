//! `cavs sessions`

use std::{path::PathBuf, time::Duration};

use cavs_proto::{
    enum_to_wire, to_timestamp,
    v1::{self, import_class_sessions_request::Message},
};
use cavs_types::{SessionFormat, SessionState};
use clap::builder::PossibleValue;
use jiff::Timestamp;

use super::students::{IMPORT_LIMIT, parts};
use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    output::Format,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    timespec::TimeSpec,
    view::{PlannedSessionsView, SessionCodeView, SessionImportView, SessionList, SessionView},
};

/// How long a code is shown at most.
const CODE_SHOWN: Duration = Duration::from_secs(15);

/// What `cavs sessions --help` says of sessions.
pub(crate) const ABOUT_SESSIONS: &str = "A session is when a group is expected somewhere; attendance is taken of it. \
Times are given as the clocks of the site show them (2026-09-01T08:00; `cavs sites show` has the time zone) or with \
their offset (2026-09-01T08:00:00+02:00), and shown in the zone of this machine. (What `cavs login` begins is another \
thing.)";

fn state(state: SessionState) -> PossibleValue {
    let help = match state {
        SessionState::Planned => "It has not begun",
        SessionState::Open => "People are expected",
        SessionState::Closing => "It is over, and what was seen may still come",
        SessionState::Finalised => "Its attendance is final",
        SessionState::Cancelled => "It does not take place",
    };
    PossibleValue::new(state.as_str()).help(help)
}

/// What `cavs sessions` does.
#[derive(Debug, clap::Subcommand)]
pub enum SessionsCommand {
    /// Add a session
    Add {
        /// Name or id of the group
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
        /// When it begins, as 2026-09-01T08:00
        #[arg(long, value_name = "TIME")]
        start: String,
        /// When it is over
        #[arg(long, value_name = "TIME")]
        end: String,
        /// Name or id of a room; may be said several times
        #[arg(long = "room", value_name = "ROOM", add = completion::rooms())]
        rooms: Vec<String>,
        /// What it is called
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Add sessions on days of the week, but not on holidays
    Plan(Box<PlanArgs>),
    /// List sessions by start
    #[command(visible_alias = "ls")]
    List {
        /// That begin on this day, by the clocks of the site
        #[arg(long, value_name = "DATE", default_value = "")]
        on: String,
        /// That begin then or later; a date or a time
        #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
        from: Option<TimeSpec>,
        /// That begin no later; a date or a time
        #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
        until: Option<TimeSpec>,
        /// Only in this room
        #[arg(long, add = completion::rooms())]
        room: Option<String>,
        /// Only of this group
        #[arg(long, add = completion::groups())]
        group: Option<String>,
        /// Only in this state
        #[arg(long, value_parser = words(SessionState::ALL, state))]
        state: Option<SessionState>,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a session
    Show {
        /// Its id
        #[arg(value_name = "SESSION")]
        session: String,
    },
    /// Change a session that is not finalised
    Update {
        /// Its id
        #[arg(value_name = "SESSION")]
        session: String,
        /// Name or id of another group
        #[arg(long, add = completion::groups())]
        group: Option<String>,
        /// When it begins
        #[arg(long, value_name = "TIME")]
        start: Option<String>,
        /// When it is over
        #[arg(long, value_name = "TIME")]
        end: Option<String>,
        /// Name or id of a room, instead of those that there are; may be said several times
        #[arg(long = "room", value_name = "ROOM", add = completion::rooms())]
        rooms: Vec<String>,
        /// In no room
        #[arg(long, conflicts_with = "rooms")]
        no_room: bool,
        /// What it is called
        #[arg(long)]
        name: Option<String>,
    },
    /// Add and change sessions as a file says
    #[command(after_help = ABOUT_IMPORT)]
    Import(Box<ImportArgs>),
    /// Show the code of a session, anew every quarter of a minute: who is there checks in with it, their number and PIN
    Code {
        /// Its id, or the name of its group
        #[arg(value_name = "SESSION", add = completion::groups())]
        session: String,
        /// Once; also where it is no table
        #[arg(long)]
        once: bool,
    },
    /// Have a session not take place
    Cancel {
        /// Its id
        #[arg(value_name = "SESSION")]
        session: String,
    },
    /// Have a cancelled session take place after all
    Reinstate {
        /// Its id
        #[arg(value_name = "SESSION")]
        session: String,
    },
    /// Delete a session that has not begun, or was cancelled
    Rm {
        /// Its id
        #[arg(value_name = "SESSION")]
        session: String,
    },
}

const ABOUT_IMPORT: &str = "A CSV file has a header: group, date (2026-09-01), start and end (08:00, by the clocks of \
the site), and room (several parted by |) and name where they are known. An end that is not after the start is on the \
day after.\n\n\
Of an iCalendar file come its events with their recurrences, but those of whole days: from the first to the last day of \
their group's term, else from today to 400 days on. An event is of the group that --map names for its summary or a \
category, else of the one that is called like one of them, else of --group. Its location names the room, or several \
parted by commas.\n\n\
With --calendar, the next file of that name changes the sessions of this one: what is no longer in it and has not begun \
is cancelled. A calendar's file has its own name, where it is given no other.\n\n\
Where anything is wrong, nothing is changed (exit code 1).";

/// Options of `cavs sessions import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Form of the file; by its name (.ics is iCalendar) where it is not given
    #[arg(long, value_name = "FORMAT", value_parser = words(SessionFormat::ALL, format))]
    format: Option<SessionFormat>,
    /// How the text of a table is encoded, as latin1 or windows-1252
    #[arg(long, value_name = "NAME", default_value = "")]
    encoding: String,
    /// What stands between two fields of a table
    #[arg(long, value_name = "CHARACTER", default_value = "")]
    delimiter: String,
    /// Change nothing; say what would be changed
    #[arg(long)]
    dry_run: bool,
    /// By which the file is known when it is imported again
    #[arg(long, value_name = "NAME")]
    calendar: Option<String>,
    /// Of which group sessions are of which the file says none; name or id
    #[arg(long, add = completion::groups())]
    group: Option<String>,
    /// Of which group events are whose summary, or a category, is a text; may be said several times
    #[arg(long = "map", value_name = "TEXT=GROUP", value_parser = mapping)]
    mappings: Vec<(String, String)>,
    /// Leave out events that are of no group
    #[arg(long)]
    skip_unknown: bool,
    /// Make rooms that the file names and that are not there
    #[arg(long)]
    create_rooms: bool,
}

fn format(format: SessionFormat) -> PossibleValue {
    let help = match format {
        SessionFormat::Csv => "Comma-separated values with a header, also with semicolons or tabs",
        SessionFormat::Icalendar => "A calendar (RFC 5545), as programs export it",
    };
    PossibleValue::new(format.as_str()).help(help)
}

fn mapping(text: &str) -> Result<(String, String), String> {
    let (text, group) = text.rsplit_once('=').ok_or_else(|| "expected TEXT=GROUP".to_owned())?;
    Ok((text.trim().to_owned(), group.trim().to_owned()))
}

/// Options of `cavs sessions plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Name or id of the group
    #[arg(value_name = "GROUP", add = completion::groups())]
    group: String,
    /// Days of the week, as mon,wed,fri
    #[arg(long, value_name = "DAYS", value_delimiter = ',', required = true, value_parser = weekday)]
    days: Vec<u32>,
    /// From when until when by the clocks of the site, as 08:00-09:30; of a night shift, as 22:00-06:00
    #[arg(long, value_name = "TIMES", value_parser = clocks)]
    at: (String, String),
    /// The first day; without it, that of the group's term
    #[arg(long, value_name = "DATE", default_value = "")]
    from: String,
    /// The last day; without it, that of the group's term
    #[arg(long, value_name = "DATE", default_value = "")]
    until: String,
    /// Only each so many weeks, counted from that of the first day
    #[arg(long, value_name = "WEEKS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=52))]
    every: u32,
    /// Name or id of a room; may be said several times
    #[arg(long = "room", value_name = "ROOM", add = completion::rooms())]
    rooms: Vec<String>,
    /// What each is called
    #[arg(long, default_value = "")]
    name: String,
    /// On holidays, too
    #[arg(long)]
    on_holidays: bool,
    /// Add nothing; say what would be added
    #[arg(long)]
    dry_run: bool,
}

/// A day of the week by its first letters: 1 is Monday.
fn weekday(text: &str) -> Result<u32, String> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let text = text.trim().to_lowercase();
    let found = (1..).zip(DAYS).find(|(_, day)| text.len() >= 2 && day.starts_with(&text));
    found.map(|(number, _)| number).ok_or_else(|| "expected days as mon,wed,fri".to_owned())
}

fn clocks(text: &str) -> Result<(String, String), String> {
    let (start, end) = text.split_once('-').ok_or_else(|| "expected times as 08:00-09:30".to_owned())?;
    Ok((start.trim().to_owned(), end.trim().to_owned()))
}

/// A point in time, or what the clocks of the site show.
fn moment(text: Option<&str>) -> (Option<prost_types::Timestamp>, String) {
    match text.map(|text| (text, text.parse::<Timestamp>())) {
        None => (None, String::new()),
        Some((_, Ok(time))) => (Some(to_timestamp(time)), String::new()),
        // The server says what is wrong with it.
        Some((text, Err(_))) => (None, text.to_owned()),
    }
}

pub(crate) async fn run(
    command: SessionsCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    let session = match command {
        SessionsCommand::Add { group, start, end, rooms, name } => {
            let ((start_time, local_start), (end_time, local_end)) =
                (moment(Some(&start)), moment(Some(&end)));
            let request = v1::CreateClassSessionRequest {
                request_id: String::new(),
                group_id: lookup::group(&api, &group).await?.id,
                name,
                start_time,
                end_time,
                room_ids: room_ids(&api, &rooms).await?,
                local_start,
                local_end,
            };
            api.one(api.class_sessions().create_class_session(request)).await?
        }
        SessionsCommand::Import(args) => return import(&api, *args, printer).await,
        SessionsCommand::Plan(args) => return plan(&api, *args, printer).await,
        SessionsCommand::List { on, from, until, room, group, state, extent } => {
            let zone = &printer.style().zone;
            let start = from.map(|from| from.start(zone)).transpose().map_err(CliError::usage)?;
            let end = until.map(|until| until.end(zone)).transpose().map_err(CliError::usage)?;
            let chosen = v1::ListClassSessionsRequest {
                date: on,
                start_time: start.map(to_timestamp),
                end_time: end.map(to_timestamp),
                room_id: match room {
                    Some(room) => lookup::room(&api, &room).await?.id,
                    None => String::new(),
                },
                group_id: match group {
                    Some(group) => lookup::group(&api, &group).await?.id,
                    None => String::new(),
                },
                state: state.map(enum_to_wire).unwrap_or_default(),
                ..v1::ListClassSessionsRequest::default()
            };
            return paging::list::<SessionList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request =
                    v1::ListClassSessionsRequest { page_size, page_token, with_total_size, ..chosen.clone() };
                let page = api.call(api.class_sessions().list_class_sessions(request)).await?;
                Ok(Page {
                    items: page.sessions,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await;
        }
        SessionsCommand::Show { session } => {
            let request = v1::GetClassSessionRequest { session_id: session };
            api.one(api.class_sessions().get_class_session(request)).await?
        }
        SessionsCommand::Update { session, group, start, end, rooms, no_room, name } => {
            let said = [
                ("group_id", group.is_some()),
                ("start_time", start.is_some()),
                ("end_time", end.is_some()),
                ("room_ids", no_room || !rooms.is_empty()),
                ("name", name.is_some()),
            ];
            let update_mask = Some(super::mask(said)?);
            let (start_time, local_start) = moment(start.as_deref());
            let (end_time, local_end) = moment(end.as_deref());
            let request = v1::UpdateClassSessionRequest {
                session_id: session,
                etag: String::new(),
                name,
                group_id: match group {
                    Some(group) => lookup::group(&api, &group).await?.id,
                    None => String::new(),
                },
                start_time,
                end_time,
                room_ids: room_ids(&api, &rooms).await?,
                update_mask,
                local_start,
                local_end,
            };
            api.one(api.class_sessions().update_class_session(request)).await?
        }
        SessionsCommand::Code { session, once } => return code(&api, &session, once, printer).await,
        SessionsCommand::Cancel { session } => {
            let request = v1::CancelClassSessionRequest { session_id: session, etag: String::new() };
            api.one(api.class_sessions().cancel_class_session(request)).await?
        }
        SessionsCommand::Reinstate { session } => {
            let request = v1::ReinstateClassSessionRequest { session_id: session, etag: String::new() };
            api.one(api.class_sessions().reinstate_class_session(request)).await?
        }
        SessionsCommand::Rm { session } => {
            let request = v1::DeleteClassSessionRequest { session_id: session };
            api.call(api.class_sessions().delete_class_session(request)).await?;
            printer.note("deleted the session");
            return Ok(());
        }
    };
    printer.report(&SessionView::from(session))
}

async fn plan(api: &Api, args: PlanArgs, printer: &Printer) -> Result<(), CliError> {
    let (start_clock, end_clock) = args.at;
    let request = v1::CreateClassSessionsRequest {
        request_id: String::new(),
        group_id: lookup::group(api, &args.group).await?.id,
        name: args.name,
        room_ids: room_ids(api, &args.rooms).await?,
        weekdays: args.days,
        start_clock,
        end_clock,
        start_date: args.from,
        end_date: args.until,
        week_interval: args.every,
        on_holidays: args.on_holidays,
        dry_run: args.dry_run,
    };
    let made = api.call(api.class_sessions().create_class_sessions(request)).await?;
    printer.report(&PlannedSessionsView::new(made, args.dry_run))
}

async fn import(api: &Api, args: ImportArgs, printer: &Printer) -> Result<(), CliError> {
    let is_calendar = args.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ics"));
    let by_name = if is_calendar { SessionFormat::Icalendar } else { SessionFormat::Csv };
    let format = args.format.unwrap_or(by_name);
    let calendar = match (args.calendar, format) {
        (Some(name), _) => name,
        (None, SessionFormat::Icalendar) => {
            args.file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        (None, SessionFormat::Csv) => String::new(),
    };
    let mut mappings = Vec::with_capacity(args.mappings.len());
    for (text, group) in args.mappings {
        mappings.push(v1::GroupMapping { text, group_id: lookup::group(api, &group).await?.id });
    }
    let options = v1::SessionImportOptions {
        format: enum_to_wire(format),
        encoding: args.encoding,
        delimiter: if args.delimiter == "\\t" { "\t".to_owned() } else { args.delimiter },
        dry_run: args.dry_run,
        create_rooms: args.create_rooms,
        calendar,
        group_id: match args.group {
            Some(group) => lookup::group(api, &group).await?.id,
            None => String::new(),
        },
        mappings,
        skip_unknown: args.skip_unknown,
    };
    let parts = parts(&args.file)?.map(Message::Data);
    let messages: Vec<_> = std::iter::once(Message::Options(options)).chain(parts).collect();
    let messages =
        messages.into_iter().map(|message| v1::ImportClassSessionsRequest { message: Some(message) });
    let mut sessions = api.class_sessions();
    let imported = sessions.import_class_sessions(tokio_stream::iter(messages));
    let done = SessionImportView::new(api.call_within(IMPORT_LIMIT, imported).await?, args.dry_run);
    printer.report(&done)?;
    if done.problem_count > 0 { Err(CliError::Reported) } else { Ok(()) }
}

async fn room_ids(api: &Api, rooms: &[String]) -> Result<Vec<String>, CliError> {
    let mut ids = Vec::with_capacity(rooms.len());
    for room in rooms {
        ids.push(lookup::room(api, room).await?.id);
    }
    Ok(ids)
}

/// Shows codes until nobody looks any more.
async fn code(api: &Api, session: &str, once: bool, printer: &Printer) -> Result<(), CliError> {
    let session_id = super::attendance::session_id(api, session).await?;
    loop {
        let request = v1::CreateSessionCodeRequest { session_id: session_id.clone() };
        let shown = SessionCodeView::from(api.call(api.check_ins().create_session_code(request)).await?);
        if once || printer.format() != Format::Table {
            return printer.report(&shown);
        }
        // The one before is not to be scanned any more.
        if !printer.write("\x1b[2J\x1b[H")? || !printer.report_again(&shown)? {
            return Ok(());
        }
        let wait = shown.renew_time.map(|at| at.duration_since(Timestamp::now()));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or(CODE_SHOWN);
        tokio::time::sleep(wait.min(CODE_SHOWN)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read_as_people_write_them() {
        assert_eq!(["mon", "WED", "Sunday", "th"].map(weekday), [Ok(1), Ok(3), Ok(7), Ok(4)]);
        for wrong in ["", "m", "monday!", "8"] {
            assert!(weekday(wrong).is_err(), "{wrong}");
        }
        assert_eq!(clocks("22:00 - 6:00"), Ok(("22:00".into(), "6:00".into())));
        assert!(clocks("22:00").is_err());
        assert_eq!(moment(Some("2026-09-01T08:00")), (None, "2026-09-01T08:00".to_owned()));
        let (time, local) = moment(Some("2026-09-01T08:00:00+02:00"));
        assert_eq!((time.map(|time| time.seconds), local.as_str()), (Some(1_788_242_400), ""));
    }
}
