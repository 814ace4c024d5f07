use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::ffi::OsStringExt,
    path::PathBuf,
};

use thiserror::Error;

use crate::vision::LivenessSamples;

/// Why a run could not go on.
#[derive(Debug, Error)]
pub enum ListError {
    /// A list of images can't be read.
    #[error("{list}: {source}")]
    List {
        /// The list's path, or `standard input`.
        list: String,
        /// What the system said.
        source: io::Error,
    },
    /// The output can't be written.
    #[error("output: {0}")]
    Output(io::Error),
    /// A calibration needs at least [`LivenessSamples::LEAST`] faces.
    #[error("{faces} faces with a liveness score are too few: {} are needed", LivenessSamples::LEAST)]
    TooFewFaces {
        /// Faces with a liveness score in the images.
        faces: usize,
    },
}

/// The images of a command line, one after the other: lists are read as they are needed.
pub struct ImageList {
    entries: VecDeque<Entry>,
    open: Option<(String, Box<dyn BufRead>)>,
}

enum Entry {
    Image(PathBuf),
    Stdin,
    List(PathBuf),
}

impl ImageList {
    /// Arguments (`-` stands for a list on standard input), then the paths in a file, one a line.
    #[must_use]
    pub fn new(arguments: Vec<OsString>, files_from: Option<PathBuf>) -> Self {
        let entry = |argument: OsString| {
            if argument == OsStr::new("-") { Entry::Stdin } else { Entry::Image(argument.into()) }
        };
        let lists =
            files_from.map(|path| if path.as_os_str() == "-" { Entry::Stdin } else { Entry::List(path) });
        Self { entries: arguments.into_iter().map(entry).chain(lists).collect(), open: None }
    }

    fn next_line(&mut self) -> Option<Result<PathBuf, ListError>> {
        let (name, reader) = self.open.as_mut()?;
        loop {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {
                    while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
                        line.pop();
                    }
                    if !line.is_empty() {
                        return Some(Ok(OsString::from_vec(line).into()));
                    }
                }
                Err(source) => return Some(Err(ListError::List { list: name.clone(), source })),
            }
        }
    }
}

impl Iterator for ImageList {
    type Item = Result<PathBuf, ListError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.next_line() {
                return Some(line);
            }
            self.open = match self.entries.pop_front()? {
                Entry::Image(path) => return Some(Ok(path)),
                Entry::Stdin => Some(("standard input".to_owned(), Box::new(BufReader::new(io::stdin())))),
                Entry::List(path) => match File::open(&path) {
                    Ok(file) => Some((path.display().to_string(), Box::new(BufReader::new(file)))),
                    Err(source) => {
                        return Some(Err(ListError::List { list: path.display().to_string(), source }));
                    }
                },
            };
        }
    }
}
