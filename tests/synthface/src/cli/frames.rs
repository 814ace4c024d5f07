//! `synthface frames`

use std::path::PathBuf;

use synthface::output;

use super::parse::{self, ClassroomArgs};
use super::progress::{Counter, say};

/// Film a lesson: OUT/frames/000001.jpg, ... and OUT/frames/truth.jsonl with who is where.
///
/// Each line of truth.jsonl belongs to one picture: file, time_ms, faces. A face has the student's number
/// (null for strangers), box, landmarks, pose, and the share of it that is visible.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lesson: ClassroomArgs,
    /// Frames a second.
    #[arg(long, default_value = "2", value_parser = parse::rate)]
    fps: f64,
    /// Folder to write to; made if it is not there.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let classroom = args.lesson.classroom()?;
    let folder = args.out.join("frames");
    let mut counter = Counter::new("frame");
    output::write_film(&folder, &classroom, args.fps, &mut |done, total| counter.update(done, total))?;
    say(&format!("{} frames in {}", classroom.frame_count(args.fps), folder.display()))?;
    Ok(())
}
