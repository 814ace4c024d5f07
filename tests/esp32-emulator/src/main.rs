//! `esp32-emulator`: cameras that do not exist, well-behaved and hostile.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what a command does")]

mod cli;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::Cli::parse().run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("esp32-emulator: {error:#}");
            ExitCode::from(2)
        }
    }
}
