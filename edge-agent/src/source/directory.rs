use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

use super::{Cursor, Frame, MAX_FRAME_BYTES, Source, SourceError};
use crate::clock::Stamp;

/// File name extensions that are taken for images, in lower case.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "jfif", "png", "webp"];

/// The images of one directory (not of its subdirectories), in byte order of their names.
///
/// The list is made once per pass; a frame's time is when it is read.
#[derive(Debug)]
pub struct DirectorySource {
    path: PathBuf,
    id: String,
    repeat: bool,
    names: VecDeque<String>,
}

impl DirectorySource {
    /// Which cursor belongs to a directory: its real path, however it is written.
    ///
    /// # Errors
    /// `Directory` where there is none.
    pub fn cursor_id(path: &Path) -> Result<String, SourceError> {
        let real = fs::canonicalize(path).map_err(failed(path))?;
        Ok(format!("directory:{}", real.display()))
    }

    /// Lists a directory, from the file after `position` on. With `repeat`, it begins again at the
    /// end, for ever.
    ///
    /// # Errors
    /// `Directory` where it can't be listed.
    pub fn open(path: &Path, position: Option<&str>, repeat: bool) -> Result<Self, SourceError> {
        let id = Self::cursor_id(path)?;
        let mut names = list(path)?;
        names.retain(|name| position.is_none_or(|position| name.as_str() > position));
        Ok(Self { path: path.to_path_buf(), id, repeat, names })
    }

    /// Frames that are left in this pass.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.names.len()
    }
}

impl Source for DirectorySource {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.names.is_empty() && self.repeat {
            let path = self.path.clone();
            let listed = spawn_blocking(move || list(&path)).await;
            self.names = listed.map_err(|error| failed(&self.path)(io::Error::other(error)))??;
        }
        let Some(name) = self.names.pop_front() else { return Ok(None) };
        let file = self.path.join(&name);
        let image = match spawn_blocking(move || read_bounded(&file)).await {
            Ok(image) => image,
            Err(error) => Err(io::Error::other(error)),
        };
        let cursor = Cursor { source: self.id.clone(), position: name.clone() };
        Ok(Some(Frame { name, taken: Stamp::now(), image, cursor: Some(cursor) }))
    }
}

fn list(path: &Path) -> Result<VecDeque<String>, SourceError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let entry = entry.map_err(failed(path))?;
        // A name that is not UTF-8 can be no cursor and no name on the wire.
        let Ok(name) = entry.file_name().into_string() else {
            tracing::warn!("a file name that is not UTF-8 was left out");
            continue;
        };
        if is_image_name(&name) && fs::metadata(entry.path()).is_ok_and(|m| m.is_file()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names.into())
}

fn is_image_name(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    !name.starts_with('.') && extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// Reads a file, one byte over the limit at most: enough for the decoder to refuse it by its size.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    File::open(path)?.take(MAX_FRAME_BYTES + 1).read_to_end(&mut data)?;
    Ok(data)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> SourceError + '_ {
    |source| SourceError::Directory { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn names(mut source: DirectorySource, limit: usize) -> Vec<String> {
        let mut names = Vec::new();
        while names.len() < limit {
            let Some(frame) = source.next_frame().await.unwrap() else { break };
            assert_eq!(frame.cursor.unwrap().position, frame.name);
            names.push(frame.name);
        }
        names
    }

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.jpg", "a.PNG", "c.webp", ".hidden.jpg", "notes.txt", "jpg"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("d.jpg")).unwrap();
        dir
    }

    #[tokio::test]
    async fn images_come_in_name_order() {
        let dir = directory();
        let source = DirectorySource::open(dir.path(), None, false).unwrap();
        assert_eq!(source.remaining(), 3);
        assert_eq!(names(source, 99).await, ["a.PNG", "b.jpg", "c.webp"]);
    }

    #[tokio::test]
    async fn a_cursor_resumes_even_where_its_file_is_gone() {
        let dir = directory();
        let source = DirectorySource::open(dir.path(), Some("a.PNG"), false).unwrap();
        assert_eq!(names(source, 99).await, ["b.jpg", "c.webp"]);
        let source = DirectorySource::open(dir.path(), Some("bb"), false).unwrap();
        assert_eq!(names(source, 99).await, ["c.webp"]);
    }

    #[tokio::test]
    async fn repetition_begins_again_after_a_resumed_pass() {
        let dir = directory();
        let source = DirectorySource::open(dir.path(), Some("b.jpg"), true).unwrap();
        assert_eq!(names(source, 3).await, ["c.webp", "a.PNG", "b.jpg"]);
    }

    #[tokio::test]
    async fn a_file_that_vanishes_is_a_bad_frame_and_no_end() {
        let dir = directory();
        let mut source = DirectorySource::open(dir.path(), None, false).unwrap();
        fs::remove_file(dir.path().join("a.PNG")).unwrap();
        assert!(source.next_frame().await.unwrap().unwrap().image.is_err());
        assert_eq!(source.next_frame().await.unwrap().unwrap().image.unwrap(), b"b.jpg");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = DirectorySource::open(Path::new("/no/such/place"), None, false).unwrap_err();
        assert!(error.to_string().contains("/no/such/place"), "{error}");
    }
}
