//! The `cavs` command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // It fails only where a provider is installed already, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cavs_cli::run(std::env::args_os()).into()
}
