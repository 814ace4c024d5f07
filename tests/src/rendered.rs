use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

use crate::binary;

/// The class that all tests share: its first student is student 17's pictures of the documents.
const SEED: u64 = 17;
/// Students of that class.
const STUDENTS: usize = 24;
/// Enrollment pictures of each: front, half left, half right.
const PORTRAITS: u32 = 3;

/// Lines of a server's configuration for rendered faces: they are more alike than people, so that they
/// need thresholds of their own.
pub const RENDERED_FACES: &str = "recognition.accept = 0.65\nrecognition.review = 0.55\n\
     recognition.margin = 0.1\nenrollment.same_person = 0.95";

/// Somebody who does not exist.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their student number on the roster.
    pub number: String,
    /// Their portraits: front, half left, half right.
    pub portraits: Vec<PathBuf>,
}

/// Why there are no pictures.
#[derive(Debug, Error)]
pub enum RenderError {
    /// A file or folder can't be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The renderer ended with an error.
    #[error("synthface {0} failed")]
    Command(String),
}

impl RenderError {
    /// Names the file in an error of the system.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::File { path, cause }
    }
}

/// The first people of a class of 24, the same in every test. It is rendered once and kept beside the binaries.
///
/// # Panics
/// It can't be rendered, or has fewer people.
#[must_use]
pub fn people(count: usize) -> Vec<Person> {
    assert!(count <= STUDENTS, "the class has {STUDENTS} students");
    let mut people = class(STUDENTS);
    people.truncate(count);
    people
}

/// A class of any size, for benchmarks: its first people are those of [`people`].
///
/// # Panics
/// It can't be rendered.
#[must_use]
pub fn rendered_class(count: u16) -> Vec<Person> {
    class(count.into())
}

fn class(count: usize) -> Vec<Person> {
    let command = format!("roster --count {count} --seed {SEED} --portraits {PORTRAITS}");
    let portraits = render_once(&[command]).unwrap().join("portraits");
    let people = entries(&portraits).unwrap().into_iter();
    people
        .map(|folder| Person {
            number: folder.file_name().unwrap().to_string_lossy().into_owned(),
            portraits: entries(&folder).unwrap(),
        })
        .collect()
}

/// Copies pictures into a new folder, each under the name that stands beside it.
pub fn lay_out<'a>(folder: &Path, pictures: impl IntoIterator<Item = (String, &'a PathBuf)>) {
    fs::create_dir_all(folder).unwrap();
    for (name, picture) in pictures {
        fs::copy(picture, folder.join(name)).unwrap();
    }
}

/// Runs commands of the renderer into one folder beside the binaries, if this renderer has not done so
/// before: processes that want the same pictures wait for the first of them.
pub(crate) fn render_once(commands: &[String]) -> Result<PathBuf, RenderError> {
    let renderer = binary("synthface");
    let mut hasher = DefaultHasher::new();
    (commands, fs::read(&renderer).map_err(RenderError::file(&renderer))?).hash(&mut hasher);
    let directory = renderer.with_file_name(format!("rendered-{:016x}", hasher.finish()));
    let lock = directory.with_extension("lock");
    let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _locked = locked.map_err(RenderError::file(&lock))?;
    if directory.exists() {
        return Ok(directory);
    }
    // Complete or not at all.
    let fresh = directory.with_extension("new");
    let _ = fs::remove_dir_all(&fresh);
    for command in commands {
        let status = Command::new(&renderer).args(command.split(' ')).arg("--out").arg(&fresh).status();
        if !status.map_err(RenderError::file(&renderer))?.success() {
            return Err(RenderError::Command(command.clone()));
        }
    }
    fs::rename(&fresh, &directory).map_err(RenderError::file(&directory))?;
    Ok(directory)
}

/// The files and folders of a folder, in name order.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, RenderError> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect())
        .map_err(RenderError::file(directory))?;
    paths.sort();
    Ok(paths)
}
