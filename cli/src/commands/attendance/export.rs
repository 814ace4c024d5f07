//! `cavs attendance export`

use std::{
    io::{Cursor, Write},
    path::PathBuf,
};

use cavs_proto::{enum_from_wire, from_timestamp, to_timestamp, v1};
use cavs_reports::csv_line;
use cavs_types::Mark;
use csv::Terminator;
use jiff::{Timestamp, tz::TimeZone};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{session_id, sync::names};
use crate::{
    client::Api, completion, error::CliError, export::Output, lookup, printer::Printer, timespec::TimeSpec,
};

/// What `cavs attendance export` does.
#[derive(Debug, clap::Subcommand)]
pub enum ExportCommand {
    /// A session for Moodle's import of attendance: email, status (P, L, E, A) and remarks
    Moodle {
        /// Its id, or the name of its group
        #[arg(value_name = "SESSION", add = completion::groups())]
        session: String,
        /// A file that is not there yet, or - for standard output
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// A session for Moodle's import of scan times: email and scantime, of whoever was there
    MoodleScans {
        /// Its id, or the name of its group
        #[arg(value_name = "SESSION", add = completion::groups())]
        session: String,
        /// A file that is not there yet, or - for standard output
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Final marks of a group as OneRoster's lineItems and results: a zip with CSV files
    Oneroster {
        /// Name or id of the group
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
        /// Of sessions that begin then or later; a date or a time
        #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
        from: TimeSpec,
        /// Of sessions that begin no later; a date or a time
        #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
        until: Option<TimeSpec>,
        /// A file that is not there yet, or - for standard output
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) async fn run(api: &Api, command: ExportCommand, printer: &Printer) -> Result<(), CliError> {
    let (file, content, left_out) = match command {
        ExportCommand::Moodle { session, file } => {
            let (rows, left_out) = moodle(api, &session, false).await?;
            (file, text(&["email", "status", "remarks"], rows)?, left_out)
        }
        ExportCommand::MoodleScans { session, file } => {
            let (rows, left_out) = moodle(api, &session, true).await?;
            (file, text(&["email", "scantime"], rows)?, left_out)
        }
        ExportCommand::Oneroster { group, from, until, file } => {
            let zone = &printer.style().zone;
            let from = from.start(zone).map_err(CliError::usage)?;
            let until = until.map(|until| until.end(zone)).transpose().map_err(CliError::usage)?;
            let (content, left_out) = one_roster(api, &group, from, until).await?;
            (file, content, left_out)
        }
    };
    let (mut out, _) = Output::open(&file)?;
    out.write_all(&content).and_then(|()| out.flush()).map_err(|error| CliError::file(&file, error))?;
    if out.keep(&file)? {
        printer.note(&format!("written to {}", file.display()));
    }
    if !left_out.is_empty() {
        printer.note(&format!("left out, as the other system would not know them: {}", left_out.join(", ")));
    }
    Ok(())
}

/// Rows of CSV files, and the numbers of those who are left out.
type Rows = (Vec<Vec<String>>, Vec<String>);

fn text(header: &[&str], rows: Vec<Vec<String>>) -> Result<Vec<u8>, CliError> {
    let mut text = csv_line(header.iter().map(|name| (*name).to_owned()), Terminator::CRLF)?;
    for row in rows {
        text.push_str(&csv_line(row, Terminator::CRLF)?);
    }
    Ok(text.into_bytes())
}

/// Moodle's own set of statuses: present, late, excused, absent. Who left early was there; of whom nobody can say
/// anything, nothing is said.
const fn acronym(mark: Mark) -> Option<&'static str> {
    match mark {
        Mark::Present => Some("P"),
        Mark::Late | Mark::LeftEarly => Some("L"),
        Mark::Excused => Some("E"),
        Mark::Absent => Some("A"),
        Mark::Undetermined => None,
    }
}

async fn moodle(api: &Api, session: &str, scans: bool) -> Result<Rows, CliError> {
    let session_id = session_id(api, session).await?;
    let request = v1::GetSheetReportRequest { session_id };
    let report = api.call(api.reports().get_sheet_report(request)).await?;
    let zone = report.head.unwrap_or_default().time_zone;
    let zone = TimeZone::get(&zone).map_err(|_| {
        CliError::failure("TIME_ZONE", format!("this machine knows no time zone {zone:?}: install tzdata"))
    })?;
    let emails = names(api, |student| student.email).await?;
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for mark in report.sheet.unwrap_or_default().marks {
        let student = mark.student.clone().unwrap_or_default();
        let said = enum_from_wire::<Mark>("mark", mark.mark).ok().and_then(acronym);
        let row = if scans {
            let seen = from_timestamp("time", mark.first_seen_time.as_ref()).ok();
            let was_there = matches!(said, Some("P" | "L"));
            seen.filter(|_| was_there).map(|seen| vec![local(seen, &zone)])
        } else {
            said.map(|said| vec![said.to_owned(), remarks(&mark)])
        };
        let Some(row) = row else { continue };
        match emails.get(&student.id).filter(|email| !email.is_empty()) {
            Some(email) => rows.push([vec![email.clone()], row].concat()),
            None => left_out.push(student.number),
        }
    }
    Ok((rows, left_out))
}

fn local(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%F %T").to_string()
}

fn remarks(mark: &v1::PersonMark) -> String {
    let late = (mark.minutes_late > 0).then(|| format!("{} min late", mark.minutes_late));
    let left = (mark.minutes_left_early > 0).then(|| format!("left {} min early", mark.minutes_left_early));
    [late, left].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A line item for each session, and a result for each mark: 1 for whoever was there, 0 for whoever was absent, exempt
/// for whoever was excused. (OneRoster 1.2, Gradebook, CSV binding.)
async fn one_roster(
    api: &Api,
    group: &str,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Result<(Vec<u8>, Vec<String>), CliError> {
    let group = lookup::group(api, group).await?;
    let known = names(api, |student| student.external_id).await?;
    let class = if group.external_id.is_empty() { group.id.clone() } else { group.external_id.clone() };
    let now = Timestamp::now();
    let mut request = v1::ListMarksRequest {
        page_size: 1000,
        group_id: group.id,
        start_time: Some(to_timestamp(from)),
        end_time: Some(to_timestamp(until.unwrap_or(now))),
        ..v1::ListMarksRequest::default()
    };
    let (mut items, mut results, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = String::new();
    loop {
        let page = api.call(api.attendance().list_marks(request.clone())).await?;
        for listed in page.marks {
            let (session, mark) = (listed.session.unwrap_or_default(), listed.mark.unwrap_or_default());
            if session.state() != v1::SessionState::Finalised {
                continue;
            }
            let moment = |time: Option<&prost_types::Timestamp>| {
                from_timestamp("time", time).map(|time| time.to_string()).unwrap_or_default()
            };
            let (start, changed) = (moment(session.start_time.as_ref()), moment(mark.change_time.as_ref()));
            let day = start.get(..10).unwrap_or_default().to_owned();
            if session.id != last {
                last.clone_from(&session.id);
                let title = if session.name.is_empty() { &session.group_name } else { &session.name };
                let item = [
                    session.id.as_str(),
                    "active",
                    start.as_str(),
                    title.as_str(),
                    "Attendance",
                    day.as_str(),
                    day.as_str(),
                    class.as_str(),
                    "attendance",
                    "0",
                    "1",
                ];
                items.push(item.map(str::to_owned).to_vec());
            }
            let (status, score) = match enum_from_wire::<Mark>("mark", mark.mark) {
                Ok(Mark::Present | Mark::Late | Mark::LeftEarly) => ("fully graded", "1"),
                Ok(Mark::Absent) => ("fully graded", "0"),
                Ok(Mark::Excused) => ("exempt", ""),
                Ok(Mark::Undetermined) | Err(_) => continue,
            };
            let student = mark.student.clone().unwrap_or_default();
            match known.get(&student.id).filter(|id| !id.is_empty()) {
                Some(id) => {
                    let (key, remarks) = (format!("{}-{}", session.id, student.id), remarks(&mark));
                    let result = [
                        key.as_str(),
                        "active",
                        changed.as_str(),
                        session.id.as_str(),
                        id.as_str(),
                        status,
                        score,
                        day.as_str(),
                        remarks.as_str(),
                    ];
                    results.push(result.map(str::to_owned).to_vec());
                }
                None if left_out.contains(&student.number) => {}
                None => left_out.push(student.number),
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let manifest = [
        ["manifest.version", "1.0"],
        ["oneroster.version", "1.2"],
        ["file.lineItems", "bulk"],
        ["file.results", "bulk"],
        ["source.systemName", "CAVS"],
    ];
    let manifest = manifest.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
    let files = [
        ("manifest.csv", text(&["propertyName", "value"], manifest)?),
        (
            "lineItems.csv",
            text(
                &[
                    "sourcedId",
                    "status",
                    "dateLastModified",
                    "title",
                    "description",
                    "assignDate",
                    "dueDate",
                    "classSourcedId",
                    "categorySourcedId",
                    "resultValueMin",
                    "resultValueMax",
                ],
                items,
            )?,
        ),
        (
            "results.csv",
            text(
                &[
                    "sourcedId",
                    "status",
                    "dateLastModified",
                    "lineItemSourcedId",
                    "studentSourcedId",
                    "scoreStatus",
                    "score",
                    "scoreDate",
                    "comment",
                ],
                results,
            )?,
        ),
    ];
    Ok((zipped(&files)?, left_out))
}

fn zipped(files: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::failure("OUTPUT", format!("zip: {error}"));
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, SimpleFileOptions::default()).map_err(|error| failed(&error))?;
        archive.write_all(content).map_err(|error| failed(&error))?;
    }
    Ok(archive.finish().map_err(|error| failed(&error))?.into_inner())
}
