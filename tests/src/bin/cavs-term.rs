//! Plays a term against the truth: `scripts/term` builds everything and runs this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what a benchmark does")]

use std::{path::PathBuf, process::ExitCode};

use cavs_tests::term::{Cast, Plan, play};
use clap::Parser;

/// Plays a term of three rooms, sixty people and forty lessons against the truth: one line per bar,
/// `name figure bar ok|SHORT`; ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/term")]
struct Arguments {
    /// People of each room
    #[arg(long, default_value_t = 20)]
    people: usize,
    /// Different lessons of each room
    #[arg(long, default_value_t = 4)]
    films: usize,
    /// One lesson of half a minute in each room, and less that goes wrong
    #[arg(long)]
    short: bool,
    /// An empty folder to work in, which is kept; one that is deleted otherwise
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = if arguments.short { Plan::short() } else { Plan::whole() };
    println!(
        "# rendering {} people and {} lessons (once)",
        plan.rooms * arguments.people,
        plan.rooms * arguments.films
    );
    let cast = Cast::render(plan.rooms, arguments.people, arguments.films)?;
    let temporary = tempfile::tempdir()?;
    let directory = arguments.directory.as_deref().unwrap_or(temporary.path()).canonicalize()?;
    let verdict = play(&plan, &cast, &directory);
    Ok(if verdict.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
