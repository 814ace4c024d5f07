//! `synthface portraits`

use std::path::PathBuf;

use synthface::{Roster, output};

use super::progress::{Counter, say};

/// Render many different people: portraits, with truth.jsonl that says whose face is where.
///
/// Each line of truth.jsonl belongs to one picture and has the fields that `frames` writes. The pictures
/// are OUT/001.jpg, 002.jpg, ..., or with several views OUT/001/1.jpg, 001/2.jpg, ..., 002/1.jpg, ...
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of people.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=2000))]
    count: u16,
    /// Seed: who they are.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pictures of each person: a portrait, then any pose, light and surroundings.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    views: u32,
    /// Edge of a picture, pixels.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(16..=4096))]
    size: u32,
    /// Folder to write to; made if it is not there.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let roster = Roster::generate(args.seed, args.count.into(), 0)?;
    let mut counter = Counter::new("portrait");
    output::write_portraits(&args.out, &roster, args.views, args.size, &mut |done, total| {
        counter.update(done, total);
    })?;
    let pictures = roster.students.len() * args.views as usize;
    say(&format!("{pictures} portraits in {}", args.out.display()))?;
    Ok(())
}
