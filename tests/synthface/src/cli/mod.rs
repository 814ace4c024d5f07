//! The command line of `synthface`.

mod frames;
mod parse;
mod portraits;
mod progress;
mod roster;
mod sheet;
mod stream;

use clap::{Parser, Subcommand};

/// People who do not exist: renders faces, classes and whole lessons to test a face product with.
///
/// The same seeds always give the same people and the same pictures.
#[derive(Debug, Parser)]
#[command(name = "synthface", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Roster(roster::Args),
    Portraits(portraits::Args),
    Frames(frames::Args),
    Stream(stream::Args),
    Sheet(sheet::Args),
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Roster(args) => roster::run(&args),
            Command::Portraits(args) => portraits::run(&args),
            Command::Frames(args) => frames::run(&args),
            Command::Stream(args) => stream::run(&args),
            Command::Sheet(args) => sheet::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn hostile_arguments_are_errors_and_not_panics() {
        let long = "9".repeat(400);
        for line in [
            "",
            "portraits",
            "portraits --count -1 --out x",
            "portraits --count 0 --out x",
            "portraits --count 99999999999999999999 --out x",
            "portraits --count 3 --size 0 --out x",
            "portraits --count 3 --size 100000 --out x",
            "frames --out x --fps 0",
            "frames --out x --fps NaN",
            "frames --out x --fps inf",
            "frames --out x --fps -2",
            "frames --out x --seconds 0",
            "frames --out x --size 0x0",
            "frames --out x --size 1280",
            "frames --out x --size 99999x99999",
            "frames --out x --size x",
            "frames --out x --preset moon",
            "stream --listen nowhere",
            "sheet --out x --columns 0",
            &format!("roster --out x --seed {long}"),
        ] {
            let words = std::iter::once("synthface").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "`{line}` was taken");
        }
    }

    #[test]
    fn the_documented_lines_are_taken() {
        for line in [
            "roster --count 24 --seed 7 --portraits 3 --out x",
            "portraits --count 10 --seed 1 --views 20 --size 224 --out x",
            "frames --roster-seed 7 --count 24 --strangers 2 --preset classroom --seconds 120 --fps 2 --out x",
            "stream --roster-seed 7 --count 24 --listen 127.0.0.1:8081",
            "sheet --count 40 --out sheet.png",
        ] {
            let words = std::iter::once("synthface").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_ok(), "`{line}` was refused");
        }
    }
}
