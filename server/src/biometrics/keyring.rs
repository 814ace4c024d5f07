use std::{
    env, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use cavs_secrets::{Problem, read_secret};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::biometrics::{KEY_LEN, Key};

/// The environment variable that may hold the key instead of a file.
const VARIABLE: &str = "CAVS_VAULT_KEY";
/// The name under which systemd may hand the key over (`LoadCredential=cavs-vault-key:...`).
const CREDENTIAL: &str = "cavs-vault-key";

/// Why there is no key-encryption key. No key, no start.
#[derive(Debug, Error)]
pub enum KeyError {
    /// None of the three places has a key.
    #[error(
        "no key-encryption key: set `vault.key_file` (make one with `cavs-server key generate FILE`), \
         the environment variable {VARIABLE}, or the systemd credential `{CREDENTIAL}`"
    )]
    Missing,
    /// The file can't be read or made.
    #[error("{}: {cause}", path.display())]
    File {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Others may read the file.
    #[error("{}: readable by others; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
    },
    /// Not 64 hexadecimal digits.
    #[error("{place}: a key is {} hexadecimal digits", 2 * KEY_LEN)]
    Malformed {
        /// Where the key came from.
        place: String,
    },
}

/// Reads the key-encryption key: from the file where one is named, else from the systemd
/// credential, else from the environment.
///
/// # Errors
/// [`KeyError`].
pub fn load_key(file: Option<&Path>) -> Result<Key, KeyError> {
    if let Some(path) = file {
        return read(path);
    }
    if let Some(directory) = env::var_os("CREDENTIALS_DIRECTORY") {
        let path = Path::new(&directory).join(CREDENTIAL);
        if path.exists() {
            return read(&path);
        }
    }
    match env::var(VARIABLE) {
        Ok(text) => parse(&Zeroizing::new(text), VARIABLE),
        Err(_) => Err(KeyError::Missing),
    }
}

/// Makes a new key in a file that only its owner can read. An existing file is never overwritten:
/// what it sealed would be lost.
///
/// # Errors
/// `File`.
pub fn generate_key(path: &Path) -> Result<(), KeyError> {
    let failed = |cause| KeyError::File { path: path.to_owned(), cause };
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    SystemRandom::new()
        .fill(bytes.as_mut())
        .map_err(|_| failed(std::io::Error::other("no random numbers")))?;
    let text: Zeroizing<String> =
        Zeroizing::new(bytes.iter().map(|b| format!("{b:02x}")).chain(["\n".to_owned()]).collect());
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn read(path: &Path) -> Result<Key, KeyError> {
    let failed = |cause| KeyError::File { path: path.to_owned(), cause };
    let bytes = read_secret(path).map_err(|error| match error.problem {
        Problem::Exposed { .. } => KeyError::Exposed { path: path.to_owned() },
        problem @ (Problem::Io(_)
        | Problem::NotAFile
        | Problem::Writable { .. }
        | Problem::Owner { .. }
        | Problem::TooLarge) => failed(problem.into()),
    })?;
    let place = path.display().to_string();
    let text = str::from_utf8(&bytes).map_err(|_| KeyError::Malformed { place: place.clone() })?;
    parse(text, &place)
}

fn parse(text: &str, place: &str) -> Result<Key, KeyError> {
    let malformed = || KeyError::Malformed { place: place.to_owned() };
    let (pairs, rest) = text.trim().as_bytes().as_chunks::<2>();
    if pairs.len() != KEY_LEN || !rest.is_empty() {
        return Err(malformed());
    }
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |d: u8| char::from(d).to_digit(16).ok_or_else(malformed);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Ok(Key::new(&bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn generated_keys_load_and_are_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        generate_key(&path).unwrap();
        load_key(Some(&path)).unwrap();
        assert!(matches!(generate_key(&path), Err(KeyError::File { .. })));
    }

    #[test]
    fn exposed_and_malformed_files_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "00").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_key(Some(&path)), Err(KeyError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = load_key(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("key: a key is 64 hexadecimal digits"), "{error}");
    }
}
