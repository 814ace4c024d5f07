//! `cavs attendance report`

use std::{io::Write, path::PathBuf};

use cavs_proto::v1;
use cavs_reports::{Document, Fonts, Rate, csv_document, html, missing_letters, parquet_document, pdf, xlsx};
use clap::ValueEnum;

use super::session_id;
use crate::{
    client::Api, completion, error::CliError, export::Output, lookup, printer::Printer, view::ReportView,
};

/// What `cavs attendance report --help` says of reports.
pub(crate) const ABOUT: &str = "Times and days are those of the site. How marks are counted is in docs/REPORTS.md: \
excused and undetermined ones count neither for nor against anybody.";

/// What `cavs attendance report` does.
#[derive(Debug, clap::Subcommand)]
pub enum ReportCommand {
    /// The sheet of a session
    Sheet {
        /// Its id, or the name of its group
        #[arg(value_name = "SESSION", add = completion::groups())]
        session: String,
        /// Where to.
        #[command(flatten)]
        to: FileArgs,
    },
    /// A week of a group or a section: a row a person, a column a session
    Week {
        /// Name or id of the group
        #[arg(value_name = "GROUP", required_unless_present = "section", conflicts_with = "section", add = completion::groups())]
        group: Option<String>,
        /// Of a section of students
        #[arg(long)]
        section: Option<String>,
        /// A day of the week, as 2026-11-27; without it, today
        #[arg(long, value_name = "DATE", default_value = "")]
        date: String,
        /// Where to.
        #[command(flatten)]
        to: FileArgs,
    },
    /// A person's sessions in a term, or from a day to a day
    Person {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
        /// When.
        #[command(flatten)]
        days: DaysArgs,
        /// Where to.
        #[command(flatten)]
        to: FileArgs,
    },
    /// Who was there too seldom in a term, or from a day to a day
    Warnings {
        /// Below which share of the sessions that count, in percent
        #[arg(long, value_name = "PERCENT", default_value = "80", value_parser = percent)]
        below: Rate,
        /// In a group's sessions
        #[arg(long, add = completion::groups())]
        group: Option<String>,
        /// Of students of this section
        #[arg(long, default_value = "")]
        section: String,
        /// Only sessions whose marks are final count
        #[arg(long)]
        final_only: bool,
        /// When.
        #[command(flatten)]
        days: DaysArgs,
        /// Where to.
        #[command(flatten)]
        to: FileArgs,
    },
    /// How rooms were used in a term, or from a day to a day
    Rooms {
        /// When.
        #[command(flatten)]
        days: DaysArgs,
        /// Where to.
        #[command(flatten)]
        to: FileArgs,
    },
}

/// Which days a report is of.
#[derive(Debug, clap::Args)]
pub struct DaysArgs {
    /// Those of a term: name or id; without it and --from, the shortest term that today is in
    #[arg(long, conflicts_with_all = ["from", "until"])]
    term: Option<String>,
    /// The first day, as 2026-09-01
    #[arg(long, value_name = "DATE", default_value = "", hide_default_value = true)]
    from: String,
    /// The last day; without it, today
    #[arg(long, value_name = "DATE", default_value = "", hide_default_value = true, requires = "from")]
    until: String,
}

/// Where a report goes, where it is not shown.
#[derive(Debug, clap::Args)]
pub struct FileArgs {
    /// Write a file that is not there yet; its name says what it is: .html, .pdf, .xlsx, .csv or .parquet. `-` is
    /// standard output
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What kind of file, where its name does not say it
    #[arg(long, value_enum, requires = "file")]
    format: Option<ReportFormat>,
}

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For browsers and printers: one file with nothing from elsewhere
    Html,
    /// For printers; letters are those of the fonts of this machine
    Pdf,
    /// A workbook with numbers and dates that can be computed with
    Xlsx,
    /// Comma-separated values; cells that a spreadsheet would compute begin with an apostrophe
    Csv,
    /// Apache Parquet, for analysis
    Parquet,
}

/// `80`, or `79.5`.
pub(super) fn percent(text: &str) -> Result<Rate, String> {
    let wrong = || format!("{text:?} is no percentage from 0.1 to 100 with one decimal at most");
    let (whole, tenths) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str, most: usize| {
        let good = !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
        good.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (whole, tenths) = (digits(whole, 3).ok_or_else(wrong)?, digits(tenths, 1).ok_or_else(wrong)?);
    Rate::of_permille(whole * 10 + tenths).filter(|rate| rate.permille() > 0).ok_or_else(wrong)
}

pub(super) async fn run(api: &Api, command: ReportCommand, printer: &Printer) -> Result<(), CliError> {
    match command {
        ReportCommand::Sheet { session, to } => {
            let format = to.checked()?;
            let session_id = session_id(api, &session).await?;
            let request = v1::GetSheetReportRequest { session_id };
            let report = api.call(api.reports().get_sheet_report(request)).await?;
            tell(&ReportView::sheet(report)?, &to, format, printer)
        }
        ReportCommand::Week { group, section, date, to } => {
            use v1::get_week_report_request::Of;
            let format = to.checked()?;
            let of = match (group, section) {
                (Some(group), _) => Of::GroupId(lookup::group(api, &group).await?.id),
                (None, section) => Of::Section(section.unwrap_or_default()),
            };
            let request = v1::GetWeekReportRequest { of: Some(of), date };
            let report = api.call(api.reports().get_week_report(request)).await?;
            tell(&ReportView::week(report)?, &to, format, printer)
        }
        ReportCommand::Person { student, days, to } => {
            let format = to.checked()?;
            let student_id = lookup::student(api, &student).await?.id;
            let days = Some(days.to_wire(api).await?);
            let request = v1::GetPersonReportRequest { student_id, days };
            let report = api.call(api.reports().get_person_report(request)).await?;
            tell(&ReportView::person(report)?, &to, format, printer)
        }
        ReportCommand::Warnings { below, group, section, final_only, days, to } => {
            let format = to.checked()?;
            let group_id = match group {
                Some(group) => lookup::group(api, &group).await?.id,
                None => String::new(),
            };
            let days = Some(days.to_wire(api).await?);
            let below_permille = below.permille().into();
            let section_name = section.clone();
            let request = v1::GetWarningReportRequest { days, below_permille, group_id, section, final_only };
            let report = api.call(api.reports().get_warning_report(request)).await?;
            tell(&ReportView::warnings(report, below, section_name, final_only)?, &to, format, printer)
        }
        ReportCommand::Rooms { days, to } => {
            let format = to.checked()?;
            let request = v1::GetRoomReportRequest { days: Some(days.to_wire(api).await?) };
            let report = api.call(api.reports().get_room_report(request)).await?;
            tell(&ReportView::rooms(report)?, &to, format, printer)
        }
    }
}

impl DaysArgs {
    async fn to_wire(&self, api: &Api) -> Result<v1::ReportDays, CliError> {
        Ok(v1::ReportDays {
            term_id: lookup::term_id(api, self.term.as_deref()).await?,
            start_date: self.from.clone(),
            end_date: self.until.clone(),
        })
    }
}

impl FileArgs {
    /// What kind of file it is to be; said before anything is asked of the server.
    fn checked(&self) -> Result<Option<ReportFormat>, CliError> {
        let Some(file) = &self.file else { return Ok(None) };
        let of_name = || ReportFormat::from_str(file.extension()?.to_str()?, true).ok();
        let format = self.format.or_else(of_name).ok_or_else(|| {
            let file = file.display();
            CliError::usage(format!(
                "{file}: ends with none of .html, .pdf, .xlsx, .csv and .parquet: say --format"
            ))
        })?;
        Ok(Some(format))
    }
}

/// Shows a report, or writes it.
fn tell(
    report: &ReportView,
    to: &FileArgs,
    format: Option<ReportFormat>,
    printer: &Printer,
) -> Result<(), CliError> {
    let (Some(file), Some(format)) = (&to.file, format) else { return printer.report(report) };
    let document = report.document();
    let content = written(document, format, printer)?;
    let (mut out, _) = Output::open(file)?;
    out.write_all(&content).and_then(|()| out.flush()).map_err(|error| CliError::file(file, error))?;
    if out.keep(file)? {
        printer.note(&format!("{} written to {}", document.title, file.display()));
    }
    Ok(())
}

fn written(document: &Document, format: ReportFormat, printer: &Printer) -> Result<Vec<u8>, CliError> {
    Ok(match format {
        ReportFormat::Html => html(document)?,
        ReportFormat::Xlsx => xlsx(document)?,
        ReportFormat::Csv => csv_document(document)?,
        ReportFormat::Parquet => parquet_document(document)?,
        ReportFormat::Pdf => {
            let fonts = Fonts::installed();
            let content = pdf(document, &fonts)?;
            let missing = missing_letters(document, &fonts);
            if !missing.is_empty() {
                let named: Vec<_> =
                    missing.iter().take(20).map(|c| format!("U+{:04X}", u32::from(*c))).collect();
                printer.note(&format!(
                    "no font of this machine has {}: they are written as ?; Debian's fonts-noto-core has most \
                     letters, and HTML takes them from whoever reads it",
                    named.join(", ")
                ));
            }
            content
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_a_decimal_at_most() {
        for (text, permille) in [("80", 800), ("79.5", 795), ("100", 1000), ("0.1", 1), ("100.0", 1000)] {
            assert_eq!(percent(text).unwrap().permille(), permille, "{text}");
        }
        for wrong in ["", "0", "0.0", "100.1", "101", "-5", "8e1", "80.55", "80.", ".5", "80 %", "99999"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
