//! The key-encryption keys: one an epoch, in a file that is no part of the database.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use cavs_secrets::{Locked, Problem, read_secret};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    KEY_LEN, Key, SealError,
    seal::{KeyName, random_bytes},
};

/// The environment variable that may hold the keyring instead of a file.
const VARIABLE: &str = "CAVS_VAULT_KEY";
/// The name under which systemd may hand the keyring over (`LoadCredential=cavs-vault-key:...`).
const CREDENTIAL: &str = "cavs-vault-key";
/// What a keyring's file begins with.
const HEAD: &str = "# Keys of a CAVS server: an epoch and its key a line. The newest seals. Whoever has an old copy of this \
                    file\n# and an old copy of the database can read what was erased since.\n";

/// Why there is no keyring. No key, no start.
#[derive(Debug, Error)]
pub enum KeyError {
    /// None of the three places has a keyring.
    #[error(
        "no key-encryption key: set `vault.key_file` (make one with `cavs-server key generate FILE`), \
         the environment variable {VARIABLE}, or the systemd credential `{CREDENTIAL}`"
    )]
    Missing,
    /// The file can't be read or made.
    #[error("{}: {cause}", path.display())]
    File {
        /// The keyring's file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Others may read the file.
    #[error("{}: readable by others; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The keyring's file.
        path: PathBuf,
    },
    /// Neither a key nor epochs with their keys.
    #[error("{place}: a keyring has lines of an epoch and {} hexadecimal digits; {problem}", 2 * KEY_LEN)]
    Malformed {
        /// Where the keyring came from.
        place: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It comes from where the server can't write.
    #[error(
        "the keyring comes from {0}, where the server can't change it: give the server a `vault.key_file` that it \
         may write"
    )]
    Fixed(&'static str),
    /// No new key can be made.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Where a keyring is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Credential(PathBuf),
    Variable,
}

/// The keys of the epochs, newest last. The newest seals; the others are there until nothing lives under them.
pub struct Keyring {
    source: Source,
    epochs: RwLock<Arc<Epochs>>,
}

type Epochs = BTreeMap<u32, Locked<Key>>;

impl Keyring {
    /// Reads the keyring: from the file where one is named, else from the systemd credential, else from the
    /// environment.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(file: Option<&Path>) -> Result<Self, KeyError> {
        let credential = || {
            let path = Path::new(&env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
            path.exists().then_some(Source::Credential(path))
        };
        let source = match file {
            Some(path) => Source::File(path.to_owned()),
            None => credential().unwrap_or(Source::Variable),
        };
        let epochs = source.read()?;
        Ok(Self { source, epochs: RwLock::new(Arc::new(epochs)) })
    }

    /// A keyring in memory only.
    #[must_use]
    pub fn of_key(bytes: &[u8; KEY_LEN]) -> Self {
        let epochs = BTreeMap::from([(1, Locked::new(Key::new(KeyName::Epoch(1), bytes)))]);
        Self { source: Source::Variable, epochs: RwLock::new(Arc::new(epochs)) }
    }

    /// Makes a new keyring in a file that only its owner can read. An existing file is never overwritten: what
    /// it sealed would be lost.
    ///
    /// # Errors
    /// `File`.
    pub fn generate(path: &Path) -> Result<(), KeyError> {
        let text = Zeroizing::new(format!("{HEAD}{}", new_line(1)?.as_str()));
        let write = || {
            let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
        };
        write().map_err(|cause| KeyError::File { path: path.to_owned(), cause })
    }

    /// The number of the newest epoch.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.epochs().last_key_value().map_or(0, |(epoch, _)| *epoch)
    }

    /// The numbers of all epochs, in order.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        self.epochs().keys().copied().collect()
    }

    /// Does something with the key of an epoch. One that is not there may have been made by another server: the
    /// keyring is read again then.
    ///
    /// # Errors
    /// `NoSuchEpoch`, and what is done.
    pub fn with<T>(
        &self,
        epoch: u32,
        act: impl FnOnce(&Key) -> Result<T, SealError>,
    ) -> Result<T, SealError> {
        let mut epochs = self.epochs();
        if !epochs.contains_key(&epoch) && self.refresh().is_ok() {
            epochs = self.epochs();
        }
        act(epochs.get(&epoch).ok_or(SealError::NoSuchEpoch(epoch))?)
    }

    /// Reads the keyring again: other servers may have changed it.
    ///
    /// # Errors
    /// [`KeyError`]; the keyring stays as it was.
    pub fn refresh(&self) -> Result<(), KeyError> {
        if self.source == Source::Variable {
            return Ok(());
        }
        let fresh = self.source.read()?;
        *self.epochs.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Makes a new epoch, the newest from now on: in the file first, so that nothing is ever sealed by a key
    /// that is only in memory.
    ///
    /// # Errors
    /// `Fixed`, `File`, `Seal`.
    pub fn add(&self) -> Result<u32, KeyError> {
        self.refresh()?;
        let epoch = self.newest() + 1;
        let line = new_line(epoch)?;
        self.rewrite(|text| text.push_str(&line))?;
        Ok(epoch)
    }

    /// Destroys all epochs before one: what is wrapped by them is noise from now on.
    ///
    /// # Errors
    /// `Fixed`, `File`.
    pub fn destroy_before(&self, epoch: u32) -> Result<(), KeyError> {
        self.rewrite(|text| {
            let kept = |line: &&str| epoch_of(line).is_none_or(|found| found >= epoch);
            let lines = text.lines().filter(kept).flat_map(|line| [line, "\n"]);
            *text = Zeroizing::new(lines.collect());
        })
    }

    /// Whether the server can make and destroy epochs.
    ///
    /// # Errors
    /// `Fixed`: it can't.
    pub fn changeable(&self) -> Result<&Path, KeyError> {
        match &self.source {
            Source::File(path) => Ok(path),
            Source::Credential(_) => Err(KeyError::Fixed("a systemd credential")),
            Source::Variable => Err(KeyError::Fixed("the environment")),
        }
    }

    fn epochs(&self) -> Arc<Epochs> {
        Arc::clone(&self.epochs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the file's text, with one that says its epochs, and takes the keyring that follows.
    fn rewrite(&self, change: impl FnOnce(&mut Zeroizing<String>)) -> Result<(), KeyError> {
        let path = self.changeable()?;
        let failed = |cause| KeyError::File { path: path.to_owned(), cause };
        let mut text = self.source.text()?;
        if epoch_of(&text).is_none() && text.lines().all(|line| epoch_of(line).is_none()) {
            // A single key, as keyrings once were.
            *text = format!("{HEAD}1 {}\n", text.trim());
        }
        change(&mut text);
        let fresh = parse(&text, &path.display().to_string())?;
        replace(path, text.as_bytes()).map_err(failed)?;
        *self.epochs.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("source", &self.source).field("epochs", &self.numbers()).finish()
    }
}

impl Source {
    fn place(&self) -> String {
        match self {
            Self::File(path) | Self::Credential(path) => path.display().to_string(),
            Self::Variable => VARIABLE.to_owned(),
        }
    }

    fn read(&self) -> Result<Epochs, KeyError> {
        parse(&self.text()?, &self.place())
    }

    fn text(&self) -> Result<Zeroizing<String>, KeyError> {
        let path = match self {
            Self::File(path) | Self::Credential(path) => path,
            Self::Variable => {
                return env::var(VARIABLE).map(Zeroizing::new).map_err(|_| KeyError::Missing);
            }
        };
        let bytes = read_secret(path).map_err(|error| match error.problem {
            Problem::Exposed { .. } => KeyError::Exposed { path: path.clone() },
            problem @ (Problem::Io(_)
            | Problem::NotAFile
            | Problem::Writable { .. }
            | Problem::Owner { .. }
            | Problem::TooLarge) => KeyError::File { path: path.clone(), cause: problem.into() },
        })?;
        match str::from_utf8(&bytes) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(KeyError::Malformed { place: self.place(), problem: "this is no text" }),
        }
    }
}

/// Puts a file with the same owner and mode in the place of another one: whoever reads it finds the one or the
/// other, whole, also after a power cut.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path)?;
    let fresh = path.with_extension("new");
    // One that is there was left behind by a power cut.
    let _ = fs::remove_file(&fresh);
    let mut file = fs::File::options().write(true).create_new(true).mode(old.mode() & 0o777).open(&fresh)?;
    fchown(&file, Some(old.uid()), Some(old.gid()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn new_line(epoch: u32) -> Result<Zeroizing<String>, SealError> {
    let bytes = random_bytes()?;
    let digits: Zeroizing<String> = Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
    Ok(Zeroizing::new(format!("{epoch} {}\n", digits.as_str())))
}

/// The epoch that a line is of; `None` of a comment, and of a key without one.
fn epoch_of(line: &str) -> Option<u32> {
    line.split_once(char::is_whitespace)?.0.parse().ok()
}

fn parse(text: &str, place: &str) -> Result<Epochs, KeyError> {
    let malformed = |problem| KeyError::Malformed { place: place.to_owned(), problem };
    let mut epochs = Epochs::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (epoch, digits) = match line.split_once(char::is_whitespace) {
            None => (1, line),
            Some((epoch, digits)) => {
                let epoch = epoch.parse().ok().filter(|epoch| *epoch > 0);
                (epoch.ok_or_else(|| malformed("a line begins with no number"))?, digits.trim())
            }
        };
        let bytes = key_bytes(digits).ok_or_else(|| malformed("a key is of another length, or no number"))?;
        if epochs.insert(epoch, Locked::new(Key::new(KeyName::Epoch(epoch), &bytes))).is_some() {
            return Err(malformed("an epoch is there twice"));
        }
    }
    if epochs.is_empty() { Err(malformed("there is none")) } else { Ok(epochs) }
}

fn key_bytes(digits: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != KEY_LEN || !rest.is_empty() {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |d: u8| char::from(d).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::biometrics::Owner;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        (directory, path)
    }

    #[test]
    fn generated_keyrings_load_and_are_never_overwritten() {
        let (_directory, path) = file();
        Keyring::generate(&path).unwrap();
        assert_eq!(Keyring::load(Some(&path)).unwrap().numbers(), [1]);
        assert!(matches!(Keyring::generate(&path), Err(KeyError::File { .. })));
    }

    #[test]
    fn exposed_and_malformed_files_are_refused_by_name() {
        let (_directory, path) = file();
        fs::write(&path, "00").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keyring::load(Some(&path)), Err(KeyError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Keyring::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("key: a keyring has lines of an epoch and 64 hexadecimal digits"), "{error}");
    }

    #[test]
    fn epochs_come_and_go_in_the_file_and_in_memory() {
        let (_directory, path) = file();
        // A keyring as they once were: one key.
        fs::write(&path, format!("{}\n", "ab".repeat(32))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let (one, other) = (Keyring::load(Some(&path)).unwrap(), Keyring::load(Some(&path)).unwrap());
        let sealed = one.with(1, |key| key.seal(Owner::Proof, b"x")).unwrap();

        assert_eq!((one.add().unwrap(), one.newest()), (2, 2));
        // Another server finds it when it needs it.
        assert_eq!(other.newest(), 1);
        let by_two = one.with(2, |key| key.seal(Owner::Proof, b"y")).unwrap();
        assert_eq!(other.with(2, |key| key.open(Owner::Proof, &by_two)).unwrap().as_slice(), b"y");
        assert_eq!(one.with(1, |key| key.open(Owner::Proof, &sealed)).unwrap().as_slice(), b"x");

        one.destroy_before(2).unwrap();
        assert_eq!(one.numbers(), [2]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with('#') && !text.contains("abab"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let gone = one.with(1, |key| key.open(Owner::Proof, &sealed));
        assert_eq!(gone.unwrap_err(), SealError::NoSuchEpoch(1));
        other.refresh().unwrap();
        assert_eq!(other.numbers(), [2]);
    }

    #[test]
    fn what_the_server_cant_write_says_so() {
        let keyring = Keyring::of_key(&[1; KEY_LEN]);
        assert!(matches!(keyring.add(), Err(KeyError::Fixed("the environment"))));
    }

    proptest! {
        #[test]
        fn any_text_is_a_keyring_or_an_error(text in "(#.{0,9}\n|[0-9]{1,3} [0-9a-f]{64}\n|[0-9a-f]{64}\n|.{0,9}\n){0,4}") {
            match parse(&text, "x") {
                Ok(epochs) => prop_assert!(!epochs.is_empty() && !epochs.contains_key(&0)),
                Err(error) => prop_assert!(error.to_string().starts_with("x: ")),
            }
        }
    }
}
