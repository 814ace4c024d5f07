use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use thiserror::Error;

use super::{
    Lesson,
    photographs::{SharedData, people},
};
use crate::{
    RENDERED_FACES, RenderError,
    rendered::{entries, render_once},
};

/// Pictures of one person that are enrolled at most.
const PORTRAITS: usize = 3;
/// A detector can't be expected to find less of a face than this share,
const LEAST_VISIBLE: f64 = 0.8;
/// nor one that is turned by more than this, in degrees.
const WIDEST_TURN: f64 = 45.0;

/// What the demonstration works with: the students with their portraits, and the frames with the truth about them.
#[derive(Debug)]
pub struct DemoData {
    /// The students who are enrolled.
    pub students: Vec<Student>,
    /// The folder of the frames.
    pub frames: PathBuf,
    /// Who is in which frame; a frame without an entry is not judged.
    pub truth: BTreeMap<String, Vec<TrueFace>>,
    /// Lines of the server's configuration that go with these faces.
    pub server_toml: String,
    /// A lesson that is filmed and attended, of made-up classes.
    pub lesson: Option<Lesson>,
}

/// Somebody who is enrolled.
#[derive(Debug)]
pub struct Student {
    /// The student's number, unique on the site.
    pub number: String,
    /// As people call them.
    pub name: String,
    /// The class in which the student is.
    pub section: String,
    /// The pictures that are enrolled.
    pub portraits: Vec<PathBuf>,
}

/// A face that is really in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueFace {
    /// The student's number; `None` for somebody who is not enrolled.
    pub student: Option<String>,
    /// Left, top, width, height in pixels; `None` where whoever is in the frame is alone in it.
    pub bounds: Option<[f64; 4]>,
    /// Whether it is seen well enough to be found.
    pub expected: bool,
}

/// A made-up class: the same arguments always give the same people and pictures.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    /// Enrolled students.
    pub students: u32,
    /// People in the room who are not enrolled.
    pub strangers: u32,
    /// Length of the film, in seconds.
    pub seconds: u32,
    /// Pictures of the film, evenly spread.
    pub frames: u32,
    /// Seed of the made-up people.
    pub seed: u64,
}

/// Why there is no data to work with.
#[derive(Debug, Error)]
pub enum DemoDataError {
    /// Pictures can't be rendered, read or written.
    #[error(transparent)]
    Pictures(#[from] RenderError),
    /// A folder of pictures is not laid out as it must be.
    #[error("{}: {problem}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        problem: &'static str,
    },
}

impl DemoData {
    /// A made-up class, rendered once and kept beside the binaries.
    ///
    /// # Errors
    /// `Pictures`.
    pub fn of_class(class: Class) -> Result<Self, DemoDataError> {
        let directory = render(class)?;
        let roster = read(&directory.join("roster.csv"))?;
        let students = roster
            .lines()
            .skip(1)
            .map(|line| {
                let mut fields = line.split(',').map(str::to_owned);
                let mut field = || fields.next().unwrap_or_default();
                let (number, name, section) = (field(), field(), field());
                let portraits = entries(&directory.join("portraits").join(&number))?;
                Ok(Student { number, name, section, portraits })
            })
            .collect::<Result<_, DemoDataError>>()?;
        let frames = directory.join("frames");
        let truth = read(&frames.join("truth.jsonl"))?.lines().filter_map(true_faces).collect();
        Ok(Self { students, frames, truth, server_toml: RENDERED_FACES.to_owned(), lesson: None })
    }

    /// With a lesson of the class.
    ///
    /// # Errors
    /// `Pictures`.
    pub fn with_lesson(self, class: Class) -> Result<Self, DemoDataError> {
        let lesson = Some(Lesson::of_class(class, &self.students)?);
        Ok(Self { lesson, ..self })
    }

    /// The class, for the networks of `--imported`, which tell renders apart better.
    #[must_use]
    pub fn for_imported_pack(self) -> Self {
        let thresholds = "recognition.accept = 0.65\nrecognition.review = 0.6";
        Self { server_toml: thresholds.to_owned(), ..self }
    }

    /// The people of the photographs beside the checkout: some of their pictures are enrolled, the
    /// others are played, together with those of people who are not enrolled.
    ///
    /// # Errors
    /// `Pictures`.
    pub fn of_photographs(shared: &SharedData, frames: PathBuf) -> Result<Self, DemoDataError> {
        fs::create_dir_all(&frames).map_err(RenderError::file(&frames))?;
        let mut data = Self {
            students: Vec::new(),
            frames,
            truth: BTreeMap::new(),
            server_toml: String::new(),
            lesson: None,
        };
        let (people, strangers) = people(shared);
        for person in people {
            let (enrolled, played) = split(&person.photographs);
            for photograph in played {
                data.add_frame(photograph, Some(person.name))?;
            }
            data.students.push(Student {
                number: person.name.to_owned(),
                name: person.name.trim_end_matches('-').to_owned(),
                section: "A".into(),
                portraits: enrolled.into_iter().cloned().collect(),
            });
        }
        for photograph in &strangers {
            data.add_frame(photograph, None)?;
        }
        Ok(data)
    }

    /// A user's own pictures: `DIR/students/NUMBER/*` is enrolled, `DIR/frames/*` is played. A
    /// frame whose name begins with a student's number and a dash shows that student, and is judged.
    ///
    /// # Errors
    /// `Pictures`, `Layout`.
    pub fn of_folder(directory: &Path) -> Result<Self, DemoDataError> {
        let layout = |problem| DemoDataError::Layout { path: directory.to_owned(), problem };
        let (students, frames) = (directory.join("students"), directory.join("frames"));
        if !students.is_dir() || !frames.is_dir() {
            return Err(layout("must have the folders students/NUMBER/ and frames/"));
        }
        let students: Vec<Student> = entries(&students)?
            .into_iter()
            .filter(|path| path.is_dir())
            .map(|path| {
                let number = file_name(&path);
                let portraits = entries(&path)?;
                Ok(Student { name: number.clone(), number, section: String::new(), portraits })
            })
            .collect::<Result<_, DemoDataError>>()?;
        if students.is_empty() {
            return Err(layout("has no student: make a folder students/NUMBER/ for each"));
        }
        let truth = entries(&frames)?
            .iter()
            .filter_map(|frame| {
                let name = file_name(frame);
                let student = students.iter().find(|s| name.starts_with(&format!("{}-", s.number)))?;
                Some((name, vec![alone(Some(&student.number))]))
            })
            .collect();
        Ok(Self { students, frames, truth, server_toml: String::new(), lesson: None })
    }

    fn add_frame(&mut self, photograph: &Path, student: Option<&str>) -> Result<(), DemoDataError> {
        let name = file_name(photograph);
        fs::copy(photograph, self.frames.join(&name)).map_err(RenderError::file(photograph))?;
        self.truth.insert(name, vec![alone(student)]);
        Ok(())
    }
}

fn alone(student: Option<&str>) -> TrueFace {
    TrueFace { student: student.map(str::to_owned), bounds: None, expected: true }
}

/// Reads a line of `truth.jsonl`.
fn true_faces(line: &str) -> Option<(String, Vec<TrueFace>)> {
    let truth: Value = serde_json::from_str(line).ok()?;
    let faces = truth["faces"].as_array()?.iter().map(|face| {
        let number = |key: &str, at: usize| face[key][at].as_f64().unwrap_or_default();
        let visible = face["visible"].as_f64().unwrap_or(1.0);
        let yaw = face["pose"]["yaw"].as_f64().unwrap_or_else(|| number("pose", 0));
        TrueFace {
            student: face["student"].as_str().map(str::to_owned),
            bounds: Some(std::array::from_fn(|i| number("box", i))),
            expected: visible >= LEAST_VISIBLE && yaw.abs() <= WIDEST_TURN,
        }
    });
    Some((truth["file"].as_str()?.to_owned(), faces.collect()))
}

fn render(class: Class) -> Result<PathBuf, RenderError> {
    let Class { students, strangers, seconds, frames, seed } = class;
    let rate = f64::from(frames) / f64::from(seconds);
    render_once(&[
        format!("roster --count {students} --seed {seed} --portraits {PORTRAITS}"),
        format!(
            "frames --roster-seed {seed} --count {students} --strangers {strangers} --preset classroom \
             --seconds {seconds} --fps {rate}"
        ),
    ])
}

/// Splits somebody's pictures, spread over all of them, into those to enroll and those to play.
fn split(photographs: &[PathBuf]) -> (Vec<&PathBuf>, Vec<&PathBuf>) {
    let enrolled = PORTRAITS.min(photographs.len() / 2).max(1);
    let step = (photographs.len() / enrolled).max(1);
    let (enroll, play): (Vec<_>, Vec<_>) =
        photographs.iter().enumerate().partition(|(i, _)| i % step == 0 && i / step < enrolled);
    let paths = |list: Vec<(usize, _)>| list.into_iter().map(|(_, path)| path).collect();
    (paths(enroll), paths(play))
}

fn read(path: &Path) -> Result<String, RenderError> {
    fs::read_to_string(path).map_err(RenderError::file(path))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
