//! What was sent, on the disk: a line for each step, synchronised before the next one is taken, so that whatever is
//! interrupted is known to have been under way.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    /// It may have been sent, and may not.
    Sending,
    /// The other system has it.
    Sent,
    /// It was not taken, and may be sent again.
    Refused,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: String,
    value: String,
    step: Step,
}

/// What was sent to a target.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, (String, Step)>,
}

impl Ledger {
    /// Opens the file of a target, for this process alone.
    ///
    /// # Errors
    /// It can't be read or written, or another process sends to the target.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        let failed = |error| CliError::file(path, error);
        let file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::failure(
                    "SYNC_UNDER_WAY",
                    format!("{}: another process sends to this target now", path.display()),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut entries = BTreeMap::new();
        let mut lines = BufReader::new(&file).lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            match serde_json::from_str::<Entry>(&line.map_err(failed)?) {
                Ok(Entry { key, value, step }) => drop(entries.insert(key, (value, step))),
                // A line that was being written when the machine lost its power: what it was of was not sent.
                Err(_) if lines.peek().is_none() => {}
                Err(error) => {
                    let problem = format!("line {}: {error}", number + 1);
                    return Err(failed(io::Error::new(io::ErrorKind::InvalidData, problem)));
                }
            }
        }
        drop(lines);
        let mut ledger = Self { path: path.to_owned(), file, entries };
        ledger.end_torn_line().map_err(failed)?;
        Ok(ledger)
    }

    /// What is known of an item: what was told, and how far that is.
    pub(crate) fn get(&self, key: &str) -> Option<(&str, Step)> {
        self.entries.get(key).map(|(value, step)| (value.as_str(), *step))
    }

    /// Notes a step; it is on the disk when this returns.
    ///
    /// # Errors
    /// It can't be written: then nothing must be sent.
    pub(crate) fn note(&mut self, key: &str, value: &str, step: Step) -> Result<(), CliError> {
        let entry = Entry { key: key.to_owned(), value: value.to_owned(), step };
        let written = serde_json::to_string(&entry).map_err(io::Error::from).and_then(|line| {
            self.file.write_all(format!("{line}\n").as_bytes())?;
            self.file.sync_data()
        });
        written.map_err(|error| CliError::file(&self.path, error))?;
        self.entries.insert(entry.key, (entry.value, step));
        Ok(())
    }

    /// Sees to it that the next line begins as one.
    fn end_torn_line(&mut self) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let length = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            self.file.read_exact_at(&mut last, length - 1)?;
        }
        if last == [b'\n'] {
            return Ok(());
        }
        // Whatever is cut off there is forgotten: rewritten without it, the file is whole again.
        let mut text = String::new();
        for (key, (value, step)) in &self.entries {
            let entry = Entry { key: key.clone(), value: value.clone(), step: *step };
            text.push_str(&format!("{}\n", serde_json::to_string(&entry)?));
        }
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_noted_is_known_after_anything() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sync-erp.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        assert!(Ledger::open(&path).unwrap_err().to_string().contains("another process"));
        ledger.note("a", "in", Step::Sending).unwrap();
        ledger.note("a", "in", Step::Sent).unwrap();
        ledger.note("b", "in", Step::Sending).unwrap();
        drop(ledger);
        let whole = fs::read_to_string(&path).unwrap();
        // Cut off anywhere in the last line, it is as if that had not been written.
        for cut in whole.len() - 20..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut ledger = Ledger::open(&path).unwrap();
            assert_eq!(ledger.get("a"), Some(("in", Step::Sent)), "{cut}");
            // The line may be whole but for its end.
            assert_eq!(ledger.get("b").is_some(), cut == whole.len() - 1, "{cut}");
            ledger.note("c", "out", Step::Refused).unwrap();
            drop(ledger);
            let ledger = Ledger::open(&path).unwrap();
            assert_eq!(
                (ledger.get("a"), ledger.get("c")),
                (Some(("in", Step::Sent)), Some(("out", Step::Refused)))
            );
        }
        fs::write(&path, format!("no JSON\n{whole}")).unwrap();
        assert!(Ledger::open(&path).unwrap_err().to_string().contains("line 1"));
    }
}
