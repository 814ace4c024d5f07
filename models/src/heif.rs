//! HEIC and AVIF, the formats of telephones, through libheif's own program.
//!
//! Their decoders are large and have had their share of faults, so they run in a process of their own,
//! which has little memory, little time and no environment.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::ImageError;

/// Names of the program: libheif's before and since its version 1.19.
const PROGRAMS: [&str; 2] = ["heif-dec", "heif-convert"];
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];

/// Longest work on a picture, of the clock and of the processor.
const TIME: Duration = Duration::from_secs(15);
/// Most memory, and the longest file that it may write.
const MEMORY: u64 = 1 << 30;
const FILE: u64 = 64 << 20;

/// How often it is looked whether the program has ended.
const STEP: Duration = Duration::from_millis(10);

/// libheif's program, which turns a HEIC or AVIF file into a JPEG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeifConverter {
    program: PathBuf,
    /// util-linux's `prlimit`, which starts it with limits.
    prlimit: Option<PathBuf>,
}

impl HeifConverter {
    /// The program of this machine (Debian's package `libheif-examples`), where it is installed.
    #[must_use]
    pub fn find() -> Option<Self> {
        let installed = |name: &str| {
            FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
        };
        let program = PROGRAMS.into_iter().find_map(installed)?;
        Some(Self { program, prlimit: installed("prlimit") })
    }

    /// Its file.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The main picture of a file as a JPEG, turned and mirrored as the file says.
    ///
    /// # Errors
    /// `Corrupt`: it could not be converted.
    pub(crate) fn to_jpeg(&self, bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
        let failed = |problem: io::Error| ImageError::Corrupt(format!("heif: {problem}"));
        // In memory, where there is a place for it: a face must not stay on a disk.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("cavs-heif-").tempdir_in(parent).map_err(failed)?;
        let (from, to) = (folder.path().join("picture.heif"), folder.path().join("picture.jpg"));
        fs::write(&from, bytes).map_err(failed)?;
        let mut command = match &self.prlimit {
            Some(prlimit) => {
                let mut command = Command::new(prlimit);
                command
                    .arg(format!("--as={MEMORY}"))
                    .arg(format!("--cpu={}", TIME.as_secs()))
                    .arg(format!("--fsize={FILE}"))
                    .arg("--core=0")
                    .arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(["-q", "95"]).args([&from, &to]).env_clear().current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ended = wait(command.spawn().map_err(failed)?).map_err(failed)?;
        // Several pictures in a file are numbered.
        let written = [to, folder.path().join("picture-1.jpg")].into_iter().find(|path| path.is_file());
        match (ended, written) {
            (Some(true), Some(path)) => fs::read(path).map_err(failed),
            (None, _) => {
                Err(ImageError::Corrupt(format!("converting it took longer than {} seconds", TIME.as_secs())))
            }
            _ => Err(ImageError::Corrupt("libheif finds no picture in it".into())),
        }
    }
}

/// Whether a program has succeeded; `None` where it had to be ended.
fn wait(mut child: Child) -> io::Result<Option<bool>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if begun.elapsed() > TIME {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_writes_nothing_is_no_picture() {
        for program in ["/bin/false", "/bin/true", "/nonexistent"] {
            let converter = HeifConverter { program: program.into(), prlimit: None };
            assert_eq!(converter.to_jpeg(b"x").unwrap_err().reason(), "IMAGE_CORRUPT");
        }
    }
}
