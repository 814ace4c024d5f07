//! `synthface portraits`

use std::path::PathBuf;

use synthface::{Roster, output};

use super::progress::{Counter, say};

/// Render one portrait each of many different people.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of people.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=2000))]
    count: u16,
    /// Seed: who they are.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Edge of a portrait, pixels.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(16..=4096))]
    size: u32,
    /// Folder to write 001.jpg, 002.jpg, ... to; made if it is not there.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let roster = Roster::generate(args.seed, args.count.into(), 0)?;
    let mut counter = Counter::new("portrait");
    output::write_portraits(&args.out, &roster, args.size, &mut |done, total| counter.update(done, total))?;
    say(&format!("{} portraits in {}", roster.students.len(), args.out.display()))?;
    Ok(())
}
