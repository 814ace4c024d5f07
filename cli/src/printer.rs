//! The one place that writes to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::{
    error::{CliError, FieldViolation},
    output::{Format, OutputArgs, render},
    text::{sanitised, sanitised_json},
};

/// The result of a command.
pub trait Report: Serialize {
    /// The JSON field that has the entries, where the result is about several: they are the lines of CSV and JSONL.
    const ROWS: Option<&'static str> = None;

    /// The result for people. Text from elsewhere must have gone through [`sanitised`].
    fn table(&self, style: &Style) -> String;
}

/// How tables look.
#[derive(Debug, Clone)]
pub struct Style {
    /// Columns of the terminal; `None` where there is no terminal to fit.
    pub width: Option<u16>,
    /// The zone that times are shown in.
    pub zone: TimeZone,
    /// Whether tables have a line with the names of their columns.
    pub header: bool,
    /// For programs: times as RFC 3339, and nothing said with words where there is no value.
    pub exact: bool,
}

/// Writes results, remarks and errors.
#[derive(Debug, Clone)]
pub struct Printer {
    output: OutputArgs,
    quiet: bool,
    may_ask: bool,
    style: Style,
}

/// An error as programs read it.
#[derive(Serialize)]
struct ErrorReport<'a> {
    reason: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    field_violations: &'a [FieldViolation],
}

impl Printer {
    /// A printer for this process.
    #[must_use]
    pub fn new(output: OutputArgs, quiet: bool) -> Self {
        let width = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
        let style = Style {
            width: width.map(|(width, _)| width.0),
            zone: TimeZone::system(),
            header: !output.no_header,
            exact: output.output == Format::Csv,
        };
        Self { output, quiet, may_ask: true, style }
    }

    /// The same, that asks nobody.
    #[must_use]
    pub fn without_input(self) -> Self {
        Self { may_ask: false, ..self }
    }

    /// Whether a person can be asked.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        self.may_ask && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Shows how far a work on images is, where a person is watching.
    #[must_use]
    pub fn progress_bar(&self, images: usize) -> ProgressBar {
        if !self.shows_progress() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(images as u64), ProgressDrawTarget::stderr());
        // The template is a constant; should it ever be wrong, the library's own style is no loss.
        match ProgressStyle::with_template("{bar:30} {pos}/{len} images {eta} {msg}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }

    /// Shows how many of something there are so far, where a person is watching.
    #[must_use]
    pub fn counter(&self, what: &'static str) -> ProgressBar {
        if !self.shows_progress() {
            return ProgressBar::hidden();
        }
        let counter = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what);
        match ProgressStyle::with_template("{spinner} {human_pos} {msg} {per_sec}") {
            Ok(style) => counter.with_style(style),
            Err(_) => counter,
        }
    }

    /// Whether a person is watching: then a progress bar is welcome.
    fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// How results are written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.output.output
    }

    /// How results are written, and what of them.
    #[must_use]
    pub const fn output(&self) -> &OutputArgs {
        &self.output
    }

    /// How tables look.
    #[must_use]
    pub const fn style(&self) -> &Style {
        &self.style
    }

    /// Writes a command's result.
    ///
    /// # Errors
    /// Where standard output can't be written. A reader that has seen enough is no error.
    pub fn report(&self, report: &impl Report) -> Result<(), CliError> {
        self.report_again(report).map(drop)
    }

    /// As [`Self::report`], where more results follow. `false`: the reader has seen enough.
    ///
    /// # Errors
    /// Where standard output can't be written.
    pub fn report_again(&self, report: &impl Report) -> Result<bool, CliError> {
        let text = render(report, &self.output, &self.style)?;
        read_on(write_line(io::stdout().lock(), &text))
    }

    /// Writes a part of a result, as it is. `false`: the reader has seen enough.
    ///
    /// # Errors
    /// Where standard output can't be written.
    pub fn write(&self, text: &str) -> Result<bool, CliError> {
        let mut out = io::stdout().lock();
        read_on(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Asks a person whether something is meant that nobody can undo.
    ///
    /// # Errors
    /// `Usage`: nobody is there to be asked, or they said no.
    pub fn confirm(&self, question: &str) -> Result<(), CliError> {
        self.agree(question, "nobody can undo it")
    }

    /// Asks a person whether something is meant, of which `warning` says why it should be thought over.
    ///
    /// # Errors
    /// `Usage`: nobody is there to be asked, or they said no.
    pub fn agree(&self, question: &str, warning: &str) -> Result<(), CliError> {
        if !self.may_ask() {
            return Err(CliError::usage(format!("{question} Say --yes if it is meant: {warning}")));
        }
        let answer = self.ask(&format!("{question} ({warning}) [y/N] "))?;
        match answer.to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CliError::usage("nothing was done")),
        }
    }

    /// The line that a person answers, without blanks around it.
    ///
    /// # Errors
    /// Standard input or error can't be used.
    pub fn ask(&self, question: &str) -> Result<String, CliError> {
        let failed = |error: io::Error| CliError::failure("INPUT", format!("standard input: {error}"));
        let mut err = io::stderr().lock();
        write!(err, "{}", sanitised(question)).map_err(failed)?;
        err.flush().map_err(failed)?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(failed)?;
        Ok(answer.trim().to_owned())
    }

    /// Writes a remark to a person, beside the result. Whoever reads one document gets all that there is in it.
    pub fn note(&self, text: &str) {
        let has_remarks = match self.format() {
            Format::Table | Format::Jsonl | Format::Csv => true,
            Format::Json | Format::Yaml => false,
        };
        if has_remarks && !self.quiet {
            // Nobody can be told that standard error is gone.
            let _ = write_line(io::stderr().lock(), &sanitised(text));
        }
    }

    /// Writes why a command failed.
    pub fn error(&self, error: &CliError) {
        if !matches!(error, CliError::Reported) {
            let _ = write_line(io::stderr().lock(), &render_error(error, self.format()));
        }
    }
}

fn render_error(error: &CliError, format: Format) -> String {
    let (message, hint) = (error.to_string(), error.hint());
    match format {
        Format::Table | Format::Csv => {
            // Our own messages may have several lines; each is made harmless by itself.
            let lines: Vec<_> = message.lines().map(sanitised).collect();
            let mut text = format!("error: {}", lines.join("\n"));
            for FieldViolation { field, description } in error.violations() {
                if !message.contains(description) {
                    text.push_str(&format!("\n  {}: {}", sanitised(field), sanitised(description)));
                }
            }
            if let Some(hint) = hint {
                text.push_str(&format!("\nhint: {}", sanitised(&hint)));
            }
            text
        }
        Format::Json | Format::Jsonl | Format::Yaml => {
            let reason = error.reason();
            let report = ErrorReport { reason: &reason, message, hint, field_violations: error.violations() };
            let document = serde_json::to_string(&report).unwrap_or_else(|_| "{}".to_owned());
            sanitised_json(&document).into_owned()
        }
    }
}

/// Whether somebody still reads; not to is no error.
fn read_on(written: io::Result<()>) -> Result<bool, CliError> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::failure("OUTPUT", format!("standard output: {error}"))),
    }
}

fn write_line(mut out: impl Write, text: &str) -> io::Result<()> {
    if !text.is_empty() {
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use cavs_proto::status;
    use cavs_types::ErrorReason;

    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let error = CliError::NotLoggedIn { server: "https://cavs.example:8443".to_owned() };
        insta::assert_snapshot!(render_error(&error, Format::Table), @r"
        error: not logged in at https://cavs.example:8443
        hint: run: cavs login
        ");
        insta::assert_snapshot!(render_error(&error, Format::Json), @r#"{"reason":"NOT_LOGGED_IN","message":"not logged in at https://cavs.example:8443","hint":"run: cavs login","field_violations":[]}"#);
    }

    #[test]
    fn errors_for_programs_name_the_fields() {
        let error = CliError::rpc(&cavs_proto::invalid_argument("number", "is too long"));
        insta::assert_snapshot!(render_error(&error, Format::Json), @r#"{"reason":"INVALID_ARGUMENT","message":"number: is too long","field_violations":[{"field":"number","description":"is too long"}]}"#);
        insta::assert_snapshot!(render_error(&error, Format::Table), @"error: number: is too long");
    }

    #[test]
    fn hostile_messages_are_harmless() {
        let error = CliError::rpc(&status(ErrorReason::Internal, "\u{1b}[2Jgone\u{9b}1m"));
        assert!(!render_error(&error, Format::Table).contains(['\u{1b}', '\u{9b}']));
        let json = render_error(&error, Format::Json);
        assert!(!json.contains(['\u{1b}', '\u{9b}']), "{json}");
        assert!(json.contains("\\u001b[2Jgone\\u009b1m"), "{json}");
    }
}
