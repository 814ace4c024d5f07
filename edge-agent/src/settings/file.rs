use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

use super::SettingsState;
use crate::files::{with_suffix, write_durably};

/// Largest file that can be a ledger, in bytes: it holds three times twenty short settings.
const MAX_BYTES: u64 = 64 << 10;

/// The ledger on disk: `SPOOL.settings`, replaced as a whole.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    /// What is in it and in force.
    pub state: SettingsState,
}

impl SettingsFile {
    /// Reads the ledger beside a spool. A damaged one is left out with a warning: the server pushes
    /// its settings again.
    #[must_use]
    pub fn beside(spool: &Path) -> Self {
        let path = with_suffix(spool, ".settings");
        let state = read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the pushed settings can't be read; left out");
            }
            SettingsState::default()
        });
        Self { path, state }
    }

    /// Makes the ledger durable, off the async threads: a disk may hang. On a full disk the agent goes on
    /// without: then a trial that ends the process is not known of, and pushed settings come again with
    /// the next welcome.
    pub async fn save(&self) {
        let bytes = serde_json::to_vec_pretty(&self.state).map_err(io::Error::other);
        let path = self.path.clone();
        let write = move || bytes.and_then(|bytes| write_durably(&path, &bytes));
        let written = spawn_blocking(write).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "the pushed settings can't be kept");
        }
    }
}

fn read(path: &Path) -> io::Result<SettingsState> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is too large"));
    }
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PushedSettings;

    #[tokio::test]
    async fn a_ledger_survives_a_restart_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool.db");
        let mut file = SettingsFile::beside(&spool);
        file.state.offer(PushedSettings { version: 3, ..PushedSettings::default() });
        file.save().await;
        let again = SettingsFile::beside(&spool);
        assert_eq!(again.state, file.state);
        fs::write(dir.path().join("spool.db.settings"), "{").unwrap();
        assert_eq!(SettingsFile::beside(&spool).state, SettingsState::default());
        fs::write(dir.path().join("spool.db.settings"), vec![b' '; 70_000]).unwrap();
        assert_eq!(SettingsFile::beside(&spool).state, SettingsState::default());
    }
}
