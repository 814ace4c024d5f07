//! The `cavs` command line: a client of the server's API, the site's certificates, and model packs.
//!
//! [`args`] is the command line, [`commands`] has one file per command, [`view`] is how results look
//! to people and programs, and [`printer`] is the one place that writes them. Nothing here links a
//! database client: whatever the program knows, the server told it.

pub mod args;
pub mod client;
pub mod commands;
mod completion;
pub mod config;
mod enrollment;
pub mod error;
pub mod exit;
mod export;
mod files;
mod interruption;
pub mod list;
mod lookup;
pub mod output;
pub mod paging;
pub mod printer;
mod reference;
mod review_screen;
pub mod session;
mod setup;
mod sync;
pub mod text;
pub mod timespec;
pub mod view;

use std::ffi::OsString;

pub use reference::reference;

use clap::{CommandFactory, FromArgMatches, ValueEnum, error::ErrorKind};

use crate::{
    args::Cli,
    error::CliError,
    exit::Exit,
    output::{Format, OutputArgs},
    printer::Printer,
};

/// Runs one command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if completion::answer(&arguments) {
        return Exit::Success;
    }
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    let mut printer = Printer::new(cli.global.output.clone(), cli.global.quiet);
    if cli.global.no_input {
        printer = printer.without_input();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = CliError::failure("RUNTIME", format!("the async runtime did not start: {error}"));
            printer.error(&error);
            return error.exit();
        }
    };
    match runtime.block_on(commands::run(cli, &printer)) {
        Ok(()) => Exit::Success,
        Err(error) => {
            printer.error(&error);
            error.exit()
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.global.note_sources(&matches);
    Ok(cli)
}

/// The command line as documentation tools see it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn refuse(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !is_help && let Some(format) = structured(arguments) {
        // clap could not say which format was asked for.
        let message = error.to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let output = OutputArgs { output: format, ..OutputArgs::default() };
        Printer::new(output, true).error(&CliError::usage(message.trim_end()));
        return Exit::Usage;
    }
    // Where the terminal is gone there is nobody to tell.
    let _ = error.print();
    if is_help { Exit::Success } else { Exit::Usage }
}

/// The form for programs that a command line asks for, where it does.
fn structured(arguments: &[OsString]) -> Option<Format> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        let value = match argument.as_ref() {
            "-o" | "--output" => arguments.next()?.into_owned(),
            other => match other.strip_prefix("--output=").or_else(|| other.strip_prefix("-o")) {
                Some(value) => value.trim_start_matches('=').to_owned(),
                None => continue,
            },
        };
        return Format::from_str(&value, false).ok().filter(|format| format.is_structured());
    }
    None
}
