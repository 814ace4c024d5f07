//! Measures how long marks take: `scripts/bench-attendance` builds everything and runs this.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "this is what a benchmark does")]

mod latency;
mod term;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Makes the marks of a term anew, and has a thousand faces a second come into the rooms of sessions that go on, with a
/// real server and its database: one line per bar, `name figure bar ok|SHORT`; ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/bench-attendance")]
struct Arguments {
    /// This one alone
    #[arg(long)]
    only: Option<Section>,
    /// Sightings of the term
    #[arg(long, default_value_t = 5_000_000)]
    sightings: u64,
    /// Students, in groups of forty
    #[arg(long, default_value_t = 2000)]
    students: u64,
    /// Sessions of the term, of an hour
    #[arg(long, default_value_t = 600)]
    sessions: u64,
    /// Sightings a second that come into sessions that go on, one of each group
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// For so many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Sightings of each of these sessions that there are before
    #[arg(long, default_value_t = 4000)]
    before: u64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// The marks of a term.
    Term,
    /// From a sighting to its mark.
    Latency,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |section| arguments.only.is_none_or(|only| only == section);
    let mut is_met = true;
    if wanted(Section::Latency) {
        is_met &= latency::measure(&arguments).await;
    }
    if wanted(Section::Term) {
        is_met &= term::measure(&arguments).await;
    }
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
