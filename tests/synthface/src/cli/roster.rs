//! `synthface roster`

use std::path::PathBuf;

use synthface::{Roster, output};

use super::progress::{Counter, say};

/// Make a class: roster.csv (number,name,section) and enrollment portraits of every student.
///
/// Portraits go to OUT/portraits/<student number>/1.jpg, 2.jpg, ... The first students of a seed are the
/// same for every count.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of students.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=2000))]
    count: u16,
    /// Seed: who the students are.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Enrollment portraits of each student; 0 writes the table alone.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    portraits: u32,
    /// The last so many students are identical twins of the first.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    twins: u16,
    /// Edge of a portrait, pixels.
    #[arg(long, default_value_t = 320, value_parser = clap::value_parser!(u32).range(16..=4096))]
    size: u32,
    /// Folder to write to; made if it is not there.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let roster = Roster::generate(args.seed, args.count.into(), 0)?.with_twins(args.twins.into());
    let mut counter = Counter::new("portrait");
    output::write_roster(&args.out, &roster, args.portraits, args.size, &mut |done, total| {
        counter.update(done, total);
    })?;
    say(&format!(
        "{} students with {} portraits each in {}",
        roster.students.len(),
        args.portraits,
        args.out.display()
    ))?;
    Ok(())
}
