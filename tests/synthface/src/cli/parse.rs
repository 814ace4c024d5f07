//! Values of options.

use std::time::Duration;

use clap::{Args, ValueEnum};
use synthface::{Attendance, Classroom, Preset, Roster, Settings};

/// `WIDTHxHEIGHT`, each edge from 64 to 8192.
pub(super) fn frame_size(text: &str) -> Result<[u32; 2], String> {
    let wrong = || format!("`{text}` is not a size like 1280x720");
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    let edge = |edge: &str| edge.parse::<u32>().map_err(|_| wrong());
    let size = [edge(width)?, edge(height)?];
    if size.iter().all(|edge| (64..=8192).contains(edge)) {
        Ok(size)
    } else {
        Err("each edge must have 64 to 8192 pixels".to_owned())
    }
}

/// Frames a second, from one in 100 seconds to 60.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=60.0).contains(&rate) => Ok(rate),
        _ => Err("frames a second must be a number from 0.01 to 60".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PresetName {
    /// Soft light, moderate poses, a good camera.
    Classroom,
    /// Hard light, strong poses, motion blur, hidden faces.
    Stress,
}

/// Which lesson to film.
#[derive(Debug, Args)]
pub(super) struct ClassroomArgs {
    /// Seed of the roster: who the students are, as in `synthface roster --seed`.
    #[arg(long, default_value_t = 1)]
    roster_seed: u64,
    /// Number of students.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(0..=2000))]
    count: u16,
    /// The last so many students are identical twins of the first, as in `synthface roster --twins`.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    twins: u16,
    /// Only these students of the roster belong to the room, counted from 1.
    #[arg(long, value_name = "PLACE", value_delimiter = ',')]
    only: Vec<usize>,
    /// Number of people in the room who are not on the roster.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=120))]
    strangers: u16,
    /// How hard the lesson is.
    #[arg(long, value_enum, default_value = "classroom")]
    preset: PresetName,
    /// Number of people who hold up the picture of a student.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=120))]
    spoofs: u16,
    /// Length of the lesson.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Size of a frame, WIDTHxHEIGHT.
    #[arg(long, default_value = "1280x720", value_parser = frame_size)]
    size: [u32; 2],
    /// Seed of what happens: places, movements, light.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When a student is there, in seconds: NUMBER=FROM-UNTIL, each of which may be left out, or NUMBER=absent.
    ///
    /// May be said for several; the others come and go as the seed has it.
    #[arg(long, value_name = "NUMBER=FROM-UNTIL", value_parser = attendance)]
    attend: Vec<(String, Attendance)>,
}

/// `NUMBER=FROM-UNTIL` or `NUMBER=absent`.
fn attendance(text: &str) -> Result<(String, Attendance), String> {
    let wrong = || format!("`{text}` is nothing like 1003=20-90, 1003=20-, 1003=-90 or 1003=absent");
    let (number, times) = text.rsplit_once('=').ok_or_else(wrong)?;
    if times == "absent" {
        return Ok((number.to_owned(), Attendance::Absent));
    }
    let (from, until) = times.split_once('-').ok_or_else(wrong)?;
    let seconds = |text: &str| match text {
        "" => Ok(None),
        text => text.parse().map(|seconds| Some(Duration::from_secs(seconds))).map_err(|_| wrong()),
    };
    Ok((number.to_owned(), Attendance::Present { from: seconds(from)?, until: seconds(until)? }))
}

impl ClassroomArgs {
    pub(super) fn classroom(&self) -> anyhow::Result<Classroom> {
        let mut roster = Roster::generate(self.roster_seed, self.count.into(), self.strangers.into())?
            .with_twins(self.twins.into());
        if !self.only.is_empty() {
            roster = roster.only(&self.only);
        }
        let settings = Settings {
            size: self.size,
            duration: Duration::from_secs(self.seconds.into()),
            preset: match self.preset {
                PresetName::Classroom => Preset::Classroom,
                PresetName::Stress => Preset::Stress,
            },
            spoofs: self.spoofs.into(),
            seed: self.seed,
            attendance: self.attend.iter().cloned().collect(),
        };
        Ok(Classroom::new(&roster, &settings)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_come_and_go_as_it_is_said() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let present = |from, until| ("7".to_owned(), Attendance::Present { from, until });
        assert_eq!(attendance("7=20-90"), Ok(present(seconds(20), seconds(90))));
        assert_eq!(attendance("7=20-"), Ok(present(seconds(20), None)));
        assert_eq!(attendance("7=-90"), Ok(present(None, seconds(90))));
        assert_eq!(attendance("7=-"), Ok(present(None, None)));
        assert_eq!(attendance("7=absent"), Ok(("7".to_owned(), Attendance::Absent)));
        for wrong in ["7", "7=", "7=a-", "7=20", "7=1-2-3"] {
            assert!(attendance(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!(frame_size("640x480"), Ok([640, 480]));
        for wrong in ["", "x", "640", "640x", "-1x4", "63x64", "64x9000", "4294967297x64", "64x64x64"] {
            assert!(frame_size(wrong).is_err(), "{wrong}");
        }
    }
}
