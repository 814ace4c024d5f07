//! Pictures in a folder, named so that the order of names is the order of time.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::{OutputError, jpeg};
use crate::classroom::{Classroom, PresentFace};
use crate::render::{Sculpture, render_sculpture};
use crate::roster::Roster;
use crate::view::View;

/// A line of `truth.jsonl`.
#[derive(Debug, Serialize)]
pub struct TruthLine<'a> {
    /// Name of the picture in the same folder.
    pub file: &'a str,
    /// Time since the first frame, milliseconds.
    pub time_ms: u64,
    /// Everybody in the picture.
    pub faces: &'a [PresentFace],
}

/// Called after every picture with the number done and the number to do.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> OutputError + '_ {
    move |source| OutputError::Write { path: path.to_owned(), source }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    fs::write(path, bytes).map_err(at(path))
}

/// Writes `roster.csv`, and `portraits/<student number>/1.jpg` onwards with `portraits` pictures of each
/// student, `size` pixels wide.
///
/// # Errors
/// [`OutputError`] when a file cannot be written.
pub fn write_roster(
    folder: &Path,
    roster: &Roster,
    portraits: u32,
    size: u32,
    progress: Progress<'_>,
) -> Result<(), OutputError> {
    write(&folder.join("roster.csv"), roster.to_csv().as_bytes())?;
    let total = roster.students.len() * portraits as usize;
    let mut done = 0;
    for student in roster.students.iter().filter(|_| portraits > 0) {
        let sculpture = Sculpture::new(student.identity.clone());
        let own = folder.join("portraits").join(&student.number);
        for number in 0..portraits {
            let view = View::enrollment(student.identity.seed(), number);
            let picture = render_sculpture(&sculpture, &view, size);
            write(&own.join(format!("{}.jpg", number + 1)), &jpeg(&picture.image)?)?;
            done += 1;
            progress(done, total);
        }
    }
    Ok(())
}

/// Writes one portrait of each person on the roster as `001.jpg` onwards.
///
/// # Errors
/// [`OutputError`] when a file cannot be written.
pub fn write_portraits(
    folder: &Path,
    roster: &Roster,
    size: u32,
    progress: Progress<'_>,
) -> Result<(), OutputError> {
    let total = roster.students.len();
    let digits = total.to_string().len().max(3);
    for (i, student) in roster.students.iter().enumerate() {
        let view = View::portrait(student.identity.seed());
        let picture = crate::render::render(&student.identity, &view, size);
        write(&folder.join(format!("{:0digits$}.jpg", i + 1)), &jpeg(&picture.image)?)?;
        progress(i + 1, total);
    }
    Ok(())
}

/// Writes a lesson as `000001.jpg` onwards, `rate` pictures a second, and `truth.jsonl` with a
/// [`TruthLine`] for each.
///
/// # Errors
/// [`OutputError`] when a file cannot be written.
pub fn write_film(
    folder: &Path,
    classroom: &Classroom,
    rate: f64,
    progress: Progress<'_>,
) -> Result<(), OutputError> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join("truth.jsonl");
    let mut truth = BufWriter::new(File::create(&path).map_err(at(&path))?);
    let total = classroom.frame_count(rate);
    for (i, frame) in classroom.film(rate).enumerate() {
        let file = format!("{:06}.jpg", i + 1);
        write(&folder.join(&file), &jpeg(&frame.image)?)?;
        let line = TruthLine { file: &file, time_ms: frame.at.as_millis() as u64, faces: &frame.faces };
        serde_json::to_writer(&mut truth, &line)?;
        truth.write_all(b"\n").map_err(at(&path))?;
        progress(i + 1, total);
    }
    truth.flush().map_err(at(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classroom::Settings;
    use std::time::Duration;

    #[test]
    fn a_film_is_pictures_and_a_line_of_truth_for_each() {
        let folder = tempfile::tempdir().unwrap();
        let roster = Roster::generate(1, 2, 1).unwrap();
        let settings = Settings { size: [160, 90], duration: Duration::from_secs(2), ..Settings::default() };
        let classroom = Classroom::new(&roster, &settings).unwrap();
        let mut calls = Vec::new();
        write_film(folder.path(), &classroom, 1.0, &mut |done, total| calls.push((done, total))).unwrap();
        assert_eq!(calls, [(1, 2), (2, 2)]);
        let truth = fs::read_to_string(folder.path().join("truth.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> =
            truth.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["file"], "000002.jpg");
        assert_eq!(lines[1]["time_ms"], 1000);
        assert_eq!(lines[0]["faces"][0]["landmarks"].as_array().unwrap().len(), 5);
        assert!(image::open(folder.path().join("000002.jpg")).is_ok());
    }

    #[test]
    fn a_roster_is_a_table_and_portraits_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let roster = Roster::generate(1, 1, 0).unwrap();
        write_roster(folder.path(), &roster, 2, 32, &mut |_, _| {}).unwrap();
        let table = fs::read_to_string(folder.path().join("roster.csv")).unwrap();
        assert!(table.starts_with("number,name,section\nS260001,"));
        assert!(folder.path().join("portraits/S260001/2.jpg").exists());
    }

    #[test]
    fn an_unwritable_folder_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let roster = Roster::generate(1, 1, 0).unwrap();
        let error = write_roster(&file, &roster, 0, 32, &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
