//! Pictures that stay on the device, for who wants to look into what it saw: off unless the operator
//! turns it on.
//!
//! Every picture is a file of its own, sealed with the spool's key to its name. Old ones go as new
//! ones come; nothing here is synchronised to the disk, and a failure never costs a sighting.

mod index;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{clock::Stamp, spool::Seal, vision::Face};
use index::BackupIndex;

/// From one line about failures in the log to the next.
const LOG_EVERY: Duration = Duration::from_secs(600);

/// Which pictures are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupContent {
    /// Frames in which faces were found, as they came.
    Frames,
    /// The face crops that reviewers would see.
    Crops,
}

/// What is kept, where and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupConfig {
    /// Whole frames, or the faces alone.
    pub content: BackupContent,
    /// The folder, of this agent alone.
    pub path: PathBuf,
    /// Most pictures; the oldest go first.
    pub max_files: usize,
    /// Most bytes of them together.
    pub max_bytes: u64,
    /// How long they are kept.
    pub retention: Duration,
}

/// The folder, open for more pictures.
#[derive(Debug)]
pub struct Backup {
    content: BackupContent,
    folder: PathBuf,
    seal: Arc<Seal>,
    index: BackupIndex,
    last_warning: Option<Instant>,
}

impl Backup {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// It can't be made or listed.
    pub fn open(config: &BackupConfig, seal: Arc<Seal>) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.path)?;
        let index = BackupIndex::new(list(&config.path)?, config);
        Ok(Self { content: config.content, folder: config.path.clone(), seal, index, last_warning: None })
    }

    /// Keeps what is to be kept of a frame with faces, and gives up what is too much or too old.
    pub(crate) fn keep(&mut self, taken: Stamp, frame: &[u8], faces: &[Face]) {
        let result = match self.content {
            BackupContent::Frames if faces.is_empty() => Ok(()),
            BackupContent::Frames => self.write(taken, frame),
            BackupContent::Crops => {
                let mut crops = faces.iter().filter_map(|face| face.evidence.as_ref());
                crops.try_for_each(|crop| self.write(taken, &crop.0))
            }
        };
        let quiet = self.last_warning.is_some_and(|last| last.elapsed() < LOG_EVERY);
        if let Err(error) = result
            && !quiet
        {
            tracing::warn!(folder = %self.folder.display(), %error, "no pictures can be kept there");
            self.last_warning = Some(Instant::now());
        }
    }

    fn write(&mut self, taken: Stamp, picture: &[u8]) -> io::Result<()> {
        let sealed_length = picture.len() as u64 + Seal::OVERHEAD;
        let (name, gone) = self.index.place(taken.wall.as_millisecond(), sealed_length);
        for gone in gone {
            remove(&self.folder.join(gone))?;
        }
        let sealed = self.seal.seal_with(&context(&name), picture).map_err(io::Error::other)?;
        let path = self.folder.join(&name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        // Half a file can't be opened again; it is better gone.
        file.write_all(&sealed).inspect_err(|_| drop(fs::remove_file(&path)))
    }
}

/// A picture that was read back.
#[derive(Debug)]
pub struct Picture {
    /// When it was taken by the device's clock, and a number; with the extension of what it holds.
    pub name: String,
    /// The picture as it was written, decrypted.
    pub data: Vec<u8>,
}

/// Names of the pictures in a folder, the oldest first.
///
/// # Errors
/// The folder can't be listed.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    Ok(list(folder)?.into_iter().map(|(name, _)| name).collect())
}

/// Reads a picture back; `None` where it is damaged or was sealed with another key.
///
/// # Errors
/// The file can't be read.
pub fn read(folder: &Path, name: &str, seal: &Seal) -> io::Result<Option<Picture>> {
    let sealed = fs::read(folder.join(name))?;
    Ok(seal.open_with(&context(name), sealed).map(|data| {
        let stem = name.strip_suffix(index::EXTENSION).unwrap_or(name);
        Picture { name: format!("{stem}.{}", extension(&data)), data }
    }))
}

fn list(folder: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && index::taken_at(&name).is_some()
        {
            files.push((name, entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn context(name: &str) -> Vec<u8> {
    [b"cavs backup ".as_slice(), name.as_bytes()].concat()
}

fn extension(picture: &[u8]) -> &'static str {
    match picture {
        [0xFF, 0xD8, ..] => "jpg",
        [0x89, b'P', b'N', b'G', ..] => "png",
        [b'R', b'I', b'F', b'F', ..] => "webp",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::fake;

    fn config(path: &Path, content: BackupContent) -> BackupConfig {
        let (max_files, max_bytes) = (3, 1 << 20);
        BackupConfig {
            content,
            path: path.join("backup"),
            max_files,
            max_bytes,
            retention: Duration::from_secs(60),
        }
    }

    #[test]
    fn the_newest_pictures_are_kept_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), BackupContent::Frames);
        let seal = Arc::new(Seal::new(&[5; 32]).unwrap());
        let frame = |index: u8| [0xFF, 0xD8, b'f', b'a', b'c', b'e', index];
        for index in 0..5 {
            // Each opens the folder anew, as after a restart.
            let mut backup = Backup::open(&config, Arc::clone(&seal)).unwrap();
            let taken = Stamp::default().after(Duration::from_secs(u64::from(index)));
            backup.keep(taken, &frame(index), &[fake::face(0)]);
            backup.keep(taken, &frame(99), &[]);
        }
        let names = names(&config.path).unwrap();
        assert_eq!(names.len(), 3);
        for (name, index) in names.iter().zip(2..) {
            let sealed = fs::read(config.path.join(name)).unwrap();
            assert!(!sealed.windows(4).any(|window| window == b"face"), "nothing is readable");
            let picture = read(&config.path, name, &seal).unwrap().unwrap();
            assert_eq!(picture.data, frame(index));
            assert!(picture.name.ends_with(".jpg"));
        }
        let other = Seal::new(&[6; 32]).unwrap();
        assert!(read(&config.path, &names[0], &other).unwrap().is_none());
        fs::rename(config.path.join(&names[0]), config.path.join(&names[1])).unwrap();
        assert!(read(&config.path, &names[1], &seal).unwrap().is_none(), "a name can't be changed");
    }

    #[test]
    fn crops_are_those_that_reviewers_see() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), BackupContent::Crops);
        let mut backup = Backup::open(&config, Arc::new(Seal::new(&[5; 32]).unwrap())).unwrap();
        backup.keep(Stamp::default(), b"frame", &[fake::face(0), fake::face(1)]);
        assert_eq!(names(&config.path).unwrap().len(), 2);
    }

    #[test]
    fn a_full_disk_costs_the_picture_only() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), BackupContent::Frames);
        let mut backup = Backup::open(&config, Arc::new(Seal::new(&[5; 32]).unwrap())).unwrap();
        fs::remove_dir(&config.path).unwrap();
        backup.keep(Stamp::default(), b"frame", &[fake::face(0)]);
        fs::create_dir(&config.path).unwrap();
        backup.keep(Stamp::default(), b"frame", &[fake::face(0)]);
        assert_eq!(names(&config.path).unwrap().len(), 1);
    }
}
