//! `cavs attendance`

mod appeals;
mod excuses;
mod export;
mod mails;
mod own;
mod policy;
mod proposals;
mod report;
mod sync;

use cavs_proto::{enum_to_wire, to_timestamp, v1};
use cavs_types::{CheckInKind, Mark};
use clap::builder::PossibleValue;
use jiff::Timestamp;

use super::watching;
use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    list::ListWriter,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    timespec::TimeSpec,
    view::{ExplanationView, MarkChangeList, MarkChangeView, MarkList, SheetView, StudentRefView},
};

/// What `cavs attendance --help` says of sessions.
pub(crate) const ABOUT_ATTENDANCE: &str = "A session is said by its id (`cavs sessions list`), or by its group's name: \
then the one that goes on is meant, or else the one that began last. A mark is one of present, late, left_early, \
absent, excused and undetermined; docs/ATTENDANCE.md has the rules that lead to it.";

/// What `cavs attendance` does.
#[derive(Debug, clap::Subcommand)]
pub enum AttendanceCommand {
    /// Show the sheet of a session: everybody's mark, and who came without being expected
    Show {
        /// Its id, or the name of its group
        #[arg(value_name = "SESSION", add = completion::groups())]
        session: String,
    },
    /// List marks of many sessions by their start: of a person, a group, a section
    #[command(visible_alias = "ls")]
    List(Box<ListArgs>),
    /// Say why somebody has a mark: the rules that applied, what proves it, and what people said
    Explain(PersonArgs),
    /// Watch a session's marks as they change
    Watch {
        /// Its id, or the name of its group
        #[arg(value_name = "SESSION", add = completion::groups())]
        session: String,
    },
    /// Say what a mark is; the machine's stays beside it
    Correct {
        /// Whose mark.
        #[command(flatten)]
        of: PersonArgs,
        /// What it is
        #[arg(value_name = "MARK", value_parser = words(Mark::ALL, mark))]
        mark: Mark,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Take back what somebody said of a mark (`cavs attendance explain` has the ids)
    Withdraw {
        /// Id of the correction
        #[arg(value_name = "CORRECTION")]
        correction: String,
    },
    /// Say what the marks of a session are after its names were called: all or none
    RollCall {
        /// Its id, or the name of its group
        #[arg(value_name = "SESSION", add = completion::groups())]
        session: String,
        /// Number and mark, as 1001=present; whoever is not named keeps their mark
        #[arg(value_name = "STUDENT=MARK", required = true, value_parser = entry)]
        entries: Vec<(String, Mark)>,
    },
    /// Record that somebody has shown that they are there by a card, a code or a PIN
    CheckIn {
        /// Who.
        #[command(flatten)]
        of: PersonArgs,
        /// How
        #[arg(long, default_value = "card", value_parser = words(CheckInKind::ALL, check_in))]
        kind: CheckInKind,
        /// When, as 2026-09-01T08:00:00Z; without it, now
        #[arg(long, value_name = "TIME")]
        at: Option<Timestamp>,
    },
    /// Check in whose card was read: for card readers
    Card(own::CardArgs),
    /// Check in who has a number and a PIN: for kiosks
    Pin(own::PinArgs),
    /// Check oneself in with the code that is shown in the room; nobody has to be logged in
    Code(own::CodeArgs),
    /// Make the marks of a session that is over final: what comes to be known later is proposed only
    Finalise {
        /// Its id, or the name of its group
        #[arg(value_name = "SESSION", add = completion::groups())]
        session: String,
        /// Do it without asking
        #[arg(long, short)]
        yes: bool,
    },
    /// Attendance in numbers: on the screen, or as a file to be printed or worked with
    #[command(subcommand, after_help = report::ABOUT)]
    Report(report::ReportCommand),
    /// Mails to those who were there too seldom, after marks are final
    #[command(subcommand)]
    Mails(mails::MailsCommand),
    /// Write attendance as another system takes it
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Send final marks to another system, each once
    #[command(after_help = sync::ABOUT)]
    Sync(sync::SyncArgs),
    /// Times in which people need not be there
    #[command(subcommand)]
    Excuses(excuses::ExcusesCommand),
    /// What people say against their marks
    #[command(subcommand)]
    Appeals(appeals::AppealsCommand),
    /// What came to be known after marks were final
    #[command(subcommand)]
    Proposals(proposals::ProposalsCommand),
    /// What somebody must do to be present: of the site, a group, or a session
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
}

/// A person in a session.
#[derive(Debug, clap::Args)]
pub struct PersonArgs {
    /// Id of the session, or the name of its group
    #[arg(value_name = "SESSION", add = completion::groups())]
    session: String,
    /// Number or id
    #[arg(value_name = "STUDENT", add = completion::students())]
    student: String,
}

/// Options of `cavs attendance list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Of a person: number or id
    #[arg(long, value_name = "STUDENT", add = completion::students())]
    student: Option<String>,
    /// Of a group's sessions
    #[arg(long, add = completion::groups())]
    group: Option<String>,
    /// Of students of this section
    #[arg(long, default_value = "")]
    section: String,
    /// Only this mark
    #[arg(long, value_parser = words(Mark::ALL, mark))]
    mark: Option<Mark>,
    /// Of sessions that begin then or later; a date or a time
    #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
    from: Option<TimeSpec>,
    /// Of sessions that begin no later; a date or a time
    #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
    until: Option<TimeSpec>,
    /// How many.
    #[command(flatten)]
    extent: Extent,
}

fn mark(mark: Mark) -> PossibleValue {
    let help = match mark {
        Mark::Present => "There, and in time",
        Mark::Late => "There, and not in time",
        Mark::LeftEarly => "There, and gone before the end",
        Mark::Absent => "Not there",
        Mark::Excused => "Not there, for a reason that was accepted",
        Mark::Undetermined => "Nobody can say",
    };
    PossibleValue::new(mark.as_str()).help(help)
}

fn check_in(kind: CheckInKind) -> PossibleValue {
    let help = match kind {
        CheckInKind::Qr => "They scanned a code that is shown in the room",
        CheckInKind::Card => "They have a card",
        CheckInKind::Pin => "They know a number",
    };
    PossibleValue::new(kind.as_str()).help(help)
}

/// A number and a mark.
fn entry(text: &str) -> Result<(String, Mark), String> {
    let (number, mark) = text.rsplit_once('=').ok_or("expected a number and a mark, as 1001=present")?;
    Ok((number.to_owned(), mark.parse().map_err(|error: cavs_types::UnknownWord| error.to_string())?))
}

pub(crate) async fn run(
    command: AttendanceCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    if let AttendanceCommand::Code(args) = command {
        return own::code(args, config, printer).await;
    }
    let api = Api::connect(config).await?;
    match command {
        AttendanceCommand::Show { session } => {
            let session_id = session_id(&api, &session).await?;
            let sheet = api.one(api.attendance().get_sheet(v1::GetSheetRequest { session_id })).await?;
            printer.report(&SheetView::from(sheet))
        }
        AttendanceCommand::List(args) => list(&api, *args, printer).await,
        AttendanceCommand::Explain(of) => {
            let (session_id, student_id) = person(&api, &of).await?;
            let request = v1::ExplainMarkRequest { session_id, student_id };
            printer.report(&ExplanationView::from(api.one(api.attendance().explain_mark(request)).await?))
        }
        AttendanceCommand::Watch { session } => watch(api, &session, config, printer).await,
        AttendanceCommand::Correct { of, mark, reason } => {
            let (session_id, student_id) = person(&api, &of).await?;
            let request = v1::CorrectMarkRequest { session_id, student_id, mark: enum_to_wire(mark), reason };
            printer.report(&ExplanationView::from(api.one(api.attendance().correct_mark(request)).await?))
        }
        AttendanceCommand::Withdraw { correction } => {
            let request = v1::WithdrawCorrectionRequest { correction_id: correction };
            printer
                .report(&ExplanationView::from(api.one(api.attendance().withdraw_correction(request)).await?))
        }
        AttendanceCommand::RollCall { session, entries } => {
            let session_id = session_id(&api, &session).await?;
            let mut said = Vec::with_capacity(entries.len());
            for (number, mark) in entries {
                let student_id = lookup::student(&api, &number).await?.id;
                said.push(v1::RollCallEntry { student_id, mark: enum_to_wire(mark) });
            }
            let request = v1::TakeRollCallRequest { session_id, entries: said };
            printer.report(&SheetView::from(api.one(api.attendance().take_roll_call(request)).await?))
        }
        AttendanceCommand::CheckIn { of, kind, at } => {
            let (session_id, student_id) = person(&api, &of).await?;
            let (kind, check_in_time) = (enum_to_wire(kind), at.map(to_timestamp));
            let request = v1::CheckInRequest { session_id, student_id, kind, check_in_time };
            printer.report(&SheetView::from(api.one(api.attendance().check_in(request)).await?))
        }
        AttendanceCommand::Finalise { session, yes } => {
            let session_id = session_id(&api, &session).await?;
            if !yes {
                let warning =
                    "what comes to be known later changes no mark by itself any more, and nobody can undo it";
                printer.agree("Make the marks of the session final?", warning)?;
            }
            let request = v1::FinaliseSessionRequest { session_id };
            printer.report(&SheetView::from(api.one(api.attendance().finalise_session(request)).await?))
        }
        AttendanceCommand::Report(command) => report::run(&api, command, printer).await,
        AttendanceCommand::Card(args) => own::card(&api, args, printer).await,
        AttendanceCommand::Pin(args) => own::pin(&api, args, printer).await,
        AttendanceCommand::Code(args) => own::code(args, config, printer).await,
        AttendanceCommand::Mails(command) => mails::run(&api, command, printer).await,
        AttendanceCommand::Export(command) => export::run(&api, command, printer).await,
        AttendanceCommand::Sync(args) => sync::run(&api, &args, config, printer).await,
        AttendanceCommand::Excuses(command) => excuses::run(&api, command, printer).await,
        AttendanceCommand::Appeals(command) => appeals::run(&api, command, printer).await,
        AttendanceCommand::Proposals(command) => proposals::run(&api, command, printer).await,
        AttendanceCommand::Policy(command) => policy::run(&api, command, printer).await,
    }
}

async fn person(api: &Api, of: &PersonArgs) -> Result<(String, String), CliError> {
    Ok((session_id(api, &of.session).await?, lookup::student(api, &of.student).await?.id))
}

/// The id of a session that was said by its id or by its group: of a group's, the one that goes on, or else the one
/// that began last, of the last 90 days.
pub(super) async fn session_id(api: &Api, text: &str) -> Result<String, CliError> {
    const LOOKED_BACK: jiff::SignedDuration = jiff::SignedDuration::from_hours(90 * 24);
    if lookup::is_id(text) {
        return Ok(text.to_owned());
    }
    let group = lookup::group(api, text).await?;
    let now = Timestamp::now();
    let mut request = v1::ListClassSessionsRequest {
        page_size: 1000,
        group_id: group.id,
        start_time: Some(to_timestamp(now.checked_sub(LOOKED_BACK).unwrap_or(now))),
        end_time: Some(to_timestamp(now)),
        ..v1::ListClassSessionsRequest::default()
    };
    let mut last = None;
    loop {
        let page = api.call(api.class_sessions().list_class_sessions(request.clone())).await?;
        let mut held =
            page.sessions.into_iter().filter(|session| session.state() != v1::SessionState::Cancelled);
        last = held.next_back().or(last);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let none = || {
        let message =
            format!("no session of {text:?} began in the last 90 days; `cavs sessions list --group` has all");
        CliError::usage(message)
    };
    Ok(last.ok_or_else(none)?.id)
}

async fn list(api: &Api, args: ListArgs, printer: &Printer) -> Result<(), CliError> {
    let zone = &printer.style().zone;
    let start = args.from.map(|from| from.start(zone)).transpose().map_err(CliError::usage)?;
    let end = args.until.map(|until| until.end(zone)).transpose().map_err(CliError::usage)?;
    let chosen = v1::ListMarksRequest {
        start_time: start.map(to_timestamp),
        end_time: end.map(to_timestamp),
        group_id: match args.group {
            Some(group) => lookup::group(api, &group).await?.id,
            None => String::new(),
        },
        student_id: lookup::student_id(api, args.student.as_deref()).await?,
        mark: args.mark.map(enum_to_wire).unwrap_or_default(),
        section: args.section,
        ..v1::ListMarksRequest::default()
    };
    paging::list::<MarkList, _>(args.extent, printer, async |query| {
        let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
        let request = v1::ListMarksRequest { page_size, page_token, with_total_size, ..chosen.clone() };
        let page = api.call(api.attendance().list_marks(request)).await?;
        Ok(Page {
            items: page.marks,
            next: page.next_page_token,
            total: page.total_size,
            total_exact: page.total_size_exact,
        })
    })
    .await
}

async fn watch(api: Api, session: &str, config: &Config, printer: &Printer) -> Result<(), CliError> {
    watching::endless(printer)?;
    let session_id = session_id(&api, session).await?;
    let mut writer = ListWriter::<MarkChangeList>::new(printer);
    // What was told: a stream that goes on begins with all marks again.
    let mut told = std::collections::BTreeMap::new();
    watching::follow_always(api, config, printer, async |api| {
        let request = v1::WatchMarksRequest { session_id: session_id.clone() };
        let mut stream = api.call(api.attendance().watch_marks(request)).await?;
        while let Some(message) = stream.message().await.map_err(|status| api.status_error(&status))? {
            for left in message.left_students {
                told.remove(&left.id);
                printer.note(&format!("{} has left the roster", StudentRefView::from(left).label()));
            }
            let marks = message.sheet.unwrap_or_default().marks.into_iter().map(MarkChangeView::from);
            let is_new = |mark: &MarkChangeView| {
                told.insert(mark.student.id.clone(), mark.number) != Some(mark.number)
            };
            let new: Vec<MarkChangeView> = marks.filter(is_new).collect();
            if !writer.page(&new)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_call_names_numbers_and_marks() {
        assert_eq!(entry("1001=late"), Ok(("1001".to_owned(), Mark::Late)));
        assert_eq!(entry("a=b=absent"), Ok(("a=b".to_owned(), Mark::Absent)));
        for wrong in ["1001", "1001=", "1001=here"] {
            assert!(entry(wrong).is_err(), "{wrong}");
        }
    }
}
