//! `cavs completions`, `cavs man`

use std::{fs, io, path::PathBuf};

use clap::ValueEnum;

use crate::{completion, error::CliError, printer::Printer};

/// Options of `cavs completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Where packages have not done it:\n  bash        source <(cavs completions bash)\n  \
zsh         source <(cavs completions zsh)\n  fish        cavs completions fish | source\n  \
powershell  cavs completions powershell | Out-String | Invoke-Expression\n\nNumbers of students, names of \
devices, sites and contexts are asked of the server that is configured; where it does not answer within a second, \
nothing is completed.")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Shells that complete.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// Options of `cavs man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn completions(args: &CompletionsArgs, printer: &Printer) -> Result<(), CliError> {
    printer.write(&completion::script(args.shell)?).map(drop)
}

pub(crate) fn man(args: ManArgs, printer: &Printer) -> Result<(), CliError> {
    let Some(out) = args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(crate::command()).render(&mut page).map_err(unwritten)?;
        return printer.write(&String::from_utf8_lossy(&page)).map(drop);
    };
    let failed = |error| CliError::file(&out, error);
    fs::create_dir_all(&out).map_err(failed)?;
    clap_mangen::generate_to(crate::command(), &out).map_err(failed)
}

fn unwritten(error: io::Error) -> CliError {
    CliError::failure("OUTPUT", error.to_string())
}
