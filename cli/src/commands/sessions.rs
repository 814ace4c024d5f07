//! `cavs sessions`

use cavs_proto::{enum_to_wire, to_timestamp, v1};
use cavs_types::SessionState;
use clap::builder::PossibleValue;
use jiff::Timestamp;

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
    view::{PlannedSessionsView, SessionList, SessionView},
};

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

async fn room_ids(api: &Api, rooms: &[String]) -> Result<Vec<String>, CliError> {
    let mut ids = Vec::with_capacity(rooms.len());
    for room in rooms {
        ids.push(lookup::room(api, room).await?.id);
    }
    Ok(ids)
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
