use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{SharedData, people};

/// Pictures of one person that are enrolled at most.
const PORTRAITS: usize = 3;

/// Who plays: the students with their portraits, and the frames with the truth about them.
#[derive(Debug)]
pub struct Cast {
    /// Who is enrolled.
    pub students: Vec<Student>,
    /// The folder of the frames.
    pub frames: PathBuf,
    /// Who is in which frame; a frame without an entry is not judged.
    pub truth: BTreeMap<String, Truth>,
}

/// Somebody who is enrolled.
#[derive(Debug)]
pub struct Student {
    /// The site's number.
    pub number: String,
    /// As people call them.
    pub name: String,
    /// The class.
    pub section: String,
    /// The pictures that are enrolled.
    pub portraits: Vec<PathBuf>,
}

/// Who is in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// This student, alone.
    Student(String),
    /// Nobody who is enrolled.
    Stranger,
}

/// Why there is nobody to play.
#[derive(Debug, Error)]
pub enum CastError {
    /// A folder can't be read or written.
    #[error("{}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A folder of pictures is not laid out as it must be.
    #[error("{}: {problem}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        problem: &'static str,
    },
}

impl Cast {
    /// The people of the photographs beside the checkout: some of their pictures are enrolled, the
    /// others are played, together with those of people who are not enrolled.
    ///
    /// # Errors
    /// `Folder`.
    pub fn of_photographs(shared: &SharedData, frames: PathBuf) -> Result<Self, CastError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |cause| CastError::Folder { path, cause }
        };
        fs::create_dir_all(&frames).map_err(failed(&frames))?;
        let mut cast = Self { students: Vec::new(), frames, truth: BTreeMap::new() };
        let (people, strangers) = people(shared);
        for person in people {
            let (enrolled, played) = split(&person.photographs);
            for photograph in played {
                cast.add_frame(photograph, Truth::Student(person.name.to_owned()))
                    .map_err(failed(photograph))?;
            }
            cast.students.push(Student {
                number: person.name.to_owned(),
                name: person.name.trim_end_matches('-').to_owned(),
                section: "A".into(),
                portraits: enrolled.into_iter().cloned().collect(),
            });
        }
        for photograph in &strangers {
            cast.add_frame(photograph, Truth::Stranger).map_err(failed(photograph))?;
        }
        Ok(cast)
    }

    /// A user's own pictures: `DIR/students/NUMBER/*` is enrolled, `DIR/frames/*` is played. A
    /// frame whose name begins with a student's number and a dash shows that student, and is judged.
    ///
    /// # Errors
    /// `Folder`, `Layout`.
    pub fn of_folder(directory: &Path) -> Result<Self, CastError> {
        let layout = |problem| CastError::Layout { path: directory.to_owned(), problem };
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
            .collect::<Result<_, CastError>>()?;
        if students.is_empty() {
            return Err(layout("has no student: make a folder students/NUMBER/ for each"));
        }
        let truth = entries(&frames)?
            .iter()
            .filter_map(|frame| {
                let name = file_name(frame);
                let student = students.iter().find(|s| name.starts_with(&format!("{}-", s.number)))?;
                Some((name, Truth::Student(student.number.clone())))
            })
            .collect();
        Ok(Self { students, frames, truth })
    }

    fn add_frame(&mut self, photograph: &Path, truth: Truth) -> io::Result<()> {
        let name = file_name(photograph);
        fs::copy(photograph, self.frames.join(&name))?;
        self.truth.insert(name, truth);
        Ok(())
    }
}

/// Splits somebody's pictures, spread over all of them, into those to enroll and those to play.
#[must_use]
pub fn split(photographs: &[PathBuf]) -> (Vec<&PathBuf>, Vec<&PathBuf>) {
    let enrolled = PORTRAITS.min(photographs.len() / 2).max(1);
    let step = (photographs.len() / enrolled).max(1);
    let (enroll, play): (Vec<_>, Vec<_>) =
        photographs.iter().enumerate().partition(|(i, _)| i % step == 0 && i / step < enrolled);
    let paths = |list: Vec<(usize, _)>| list.into_iter().map(|(_, path)| path).collect();
    (paths(enroll), paths(play))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, CastError> {
    let failed = |cause| CastError::Folder { path: directory.to_owned(), cause };
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
