//! Pictures in a folder, named so that the order of names is the order of time.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{OutputError, jpeg};
use crate::classroom::{Classroom, PresentFace};
use crate::render::{HeadMesh, render_head};
use crate::roster::Roster;
use crate::view::View;

/// A line of `truth.jsonl`.
#[derive(Debug, Serialize)]
pub struct TruthLine<'a> {
    /// Name of the picture in the same folder.
    pub file: &'a str,
    /// Time since the first frame of a film, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Everybody in the picture.
    pub faces: &'a [PresentFace],
}

/// `truth.jsonl` while it is written.
struct Truth {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Truth {
    fn create(folder: &Path) -> Result<Truth, OutputError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        let path = folder.join("truth.jsonl");
        let file = BufWriter::new(File::create(&path).map_err(at(&path))?);
        Ok(Truth { path, file })
    }

    fn line(&mut self, line: &TruthLine<'_>) -> Result<(), OutputError> {
        serde_json::to_writer(&mut self.file, line)?;
        self.file.write_all(b"\n").map_err(at(&self.path))
    }

    fn finish(mut self) -> Result<(), OutputError> {
        self.file.flush().map_err(at(&self.path))
    }
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
        let head = HeadMesh::new(student.identity.clone());
        let own = folder.join("portraits").join(&student.number);
        for number in 0..portraits {
            let view = View::enrollment(student.identity.seed(), number);
            let picture = render_head(&head, &view, size);
            write(&own.join(format!("{}.jpg", number + 1)), &jpeg(&picture.image)?)?;
            done += 1;
            progress(done, total);
        }
    }
    Ok(())
}

/// Writes `views` pictures of each person on the roster, and `truth.jsonl` with a [`TruthLine`] for each.
/// The first is a portrait, the others show any pose, light and surroundings. One picture of each are
/// `001.jpg` onwards; several are `001/1.jpg` onwards.
///
/// # Errors
/// [`OutputError`] when a file cannot be written.
pub fn write_portraits(
    folder: &Path,
    roster: &Roster,
    views: u32,
    size: u32,
    progress: Progress<'_>,
) -> Result<(), OutputError> {
    let mut truth = Truth::create(folder)?;
    let people = roster.students.len();
    let (total, digits) = (people * views as usize, people.to_string().len().max(3));
    let mut done = 0;
    for (i, student) in roster.students.iter().enumerate() {
        let head = HeadMesh::new(student.identity.clone());
        for number in 0..views {
            let view = match number {
                0 => View::portrait(student.identity.seed()),
                _ => View::random(student.identity.seed().wrapping_add(number.into())),
            };
            let file = match views {
                1 => format!("{:0digits$}.jpg", i + 1),
                _ => format!("{:0digits$}/{}.jpg", i + 1, number + 1),
            };
            let picture = render_head(&head, &view, size);
            write(&folder.join(&file), &jpeg(&picture.image)?)?;
            let face = PresentFace {
                student: Some(student.number.clone()),
                truth: picture.truth,
                visible: 1.0,
                spoof: None,
                shows: None,
            };
            truth.line(&TruthLine { file: &file, time_ms: None, faces: &[face] })?;
            done += 1;
            progress(done, total);
        }
    }
    truth.finish()
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
    let mut truth = Truth::create(folder)?;
    let total = classroom.frame_count(rate);
    for (i, frame) in classroom.film(rate).enumerate() {
        let file = format!("{:06}.jpg", i + 1);
        write(&folder.join(&file), &jpeg(&frame.image)?)?;
        let time_ms = Some(frame.at.as_millis() as u64);
        truth.line(&TruthLine { file: &file, time_ms, faces: &frame.faces })?;
        progress(i + 1, total);
    }
    truth.finish()
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
    fn portraits_are_pictures_of_one_person_each_and_their_truth() {
        let folder = tempfile::tempdir().unwrap();
        let roster = Roster::generate(1, 2, 0).unwrap();
        write_portraits(folder.path(), &roster, 3, 32, &mut |_, _| {}).unwrap();
        let truth = fs::read_to_string(folder.path().join("truth.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> =
            truth.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let person = |i: usize| lines[i]["faces"][0]["student"].as_str().unwrap();
        assert_eq!((lines.len(), lines[5]["file"].as_str()), (6, Some("002/3.jpg")));
        assert!(person(0) == person(2) && person(2) != person(3));
        assert_ne!(lines[0]["faces"][0]["box"], lines[1]["faces"][0]["box"]);
        assert!(image::open(folder.path().join("002/3.jpg")).is_ok());

        write_portraits(folder.path(), &roster, 1, 32, &mut |_, _| {}).unwrap();
        assert!(image::open(folder.path().join("002.jpg")).is_ok());
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
