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
/// Most memory, the longest file that it may write, and the most in its folder.
const MEMORY: u64 = 1 << 30;
const FILE: u64 = 64 << 20;
const FILES: u64 = 160 << 20;

/// What its folders' names begin with.
const PREFIX: &str = "cavs-heif-";

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
    /// The program of this machine (Debian's package `libheif-examples`), where it is installed. Removes what a
    /// conversion left behind whose process was killed.
    #[must_use]
    pub fn find() -> Option<Self> {
        let installed = |name: &str| {
            FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
        };
        clear(&place());
        let program = PROGRAMS.into_iter().find_map(installed)?;
        Some(Self { program, prlimit: installed("prlimit") })
    }

    /// The main picture of a file as a JPEG, turned and mirrored as the file says.
    ///
    /// # Errors
    /// `Corrupt`: it could not be converted; `ConverterFailed`.
    pub(crate) fn to_jpeg(&self, bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
        let failed = |problem: io::Error| ImageError::ConverterFailed(problem.to_string());
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place()).map_err(failed)?;
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
        let mut child = command.spawn().map_err(failed)?;
        let ended = wait(&mut child, folder.path());
        // Whatever came of it.
        let _ = child.kill();
        let _ = child.wait();
        // Several pictures in a file are numbered.
        let written = [to, folder.path().join("picture-1.jpg")].into_iter().find(|path| path.is_file());
        match (ended.map_err(failed)?, written) {
            (Ended::Well, Some(path)) => fs::read(path).map_err(failed),
            (Ended::Stopped(problem), _) => Err(ImageError::Corrupt(problem.into())),
            (Ended::Well | Ended::Badly, _) => {
                Err(ImageError::Corrupt("libheif finds no picture in it".into()))
            }
        }
    }
}

/// How a program came to its end.
enum Ended {
    Well,
    Badly,
    /// It has to be ended.
    Stopped(&'static str),
}

fn wait(child: &mut Child, folder: &Path) -> io::Result<Ended> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if status.success() { Ended::Well } else { Ended::Badly });
        }
        if begun.elapsed() > TIME {
            return Ok(Ended::Stopped("converting it takes longer than 15 seconds"));
        }
        let written: u64 = fs::read_dir(folder)?.filter_map(|e| Some(e.ok()?.metadata().ok()?.len())).sum();
        if written > FILES {
            return Ok(Ended::Stopped("it holds too many pictures"));
        }
        thread::sleep(STEP);
    }
}

/// In memory, where there is a place for it: a face must not stay on a disk.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}

/// Removes what a process left behind that was killed meanwhile; what is another user's stays.
fn clear(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let is_old = entry
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > 4 * TIME));
        if is_old && entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_writes_nothing_is_no_picture() {
        let programs = [
            ("/bin/false", "IMAGE_CORRUPT"),
            ("/bin/true", "IMAGE_CORRUPT"),
            ("/none", "IMAGE_CONVERTER_FAILED"),
        ];
        for (program, reason) in programs {
            let converter = HeifConverter { program: program.into(), prlimit: None };
            assert_eq!(converter.to_jpeg(b"x").unwrap_err().reason(), reason);
        }
    }
}
