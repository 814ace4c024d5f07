//! The spool's data key, sealed to the device.
//!
//! The key is random and lies beside the spool, wrapped under what identifies the machine. A copy of
//! the spool (a backup, a memory card in another board) is of no use without that. It does not
//! protect from somebody who runs programs on the device itself; where the device has a TPM or a
//! secure element, an operator gives the key as a systemd credential instead. A machine that nothing
//! identifies gets a random identity, which is kept beside the spool: it protects from nobody, but it
//! is the same after every start.
//!
//! What can't be read for the moment is no other machine: only what is certainly not there is left out.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use cavs_secrets::{FileError, read_secret};
use ring::{
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand::{SecureRandom, SystemRandom},
};

use super::{
    SpoolError,
    seal::{KEY_BYTES, Seal},
};
use crate::files::{with_suffix, write_durably};

/// Name of the systemd credential that goes before everything else.
const CREDENTIAL: &str = "cavs-spool-key";

/// What tells machines apart and every program on them may read: the installation's id, and the
/// board's serial number, which is not on the memory card.
const IDENTITIES: [&str; 2] = ["/etc/machine-id", "/proc/device-tree/serial-number"];

/// What a machine writes into its id before it has one (machine-id(5)).
const UNINITIALIZED: &[u8] = b"uninitialized";

/// First bytes of a key file.
const MAGIC: &[u8] = b"CAVSKEY1";

const SALT_BYTES: usize = 16;

/// Salt, nonce, key and tag.
const COPY_BYTES: usize = SALT_BYTES + 12 + KEY_BYTES + 16;

/// A key given from outside needs this many bytes to be one.
const LEAST_GIVEN: usize = 32;

/// A spool's seal, and the key file that had to be moved aside because it can't be opened here.
pub(super) struct DeviceKey {
    pub(super) seal: Seal,
    pub(super) aside: Option<PathBuf>,
}

/// The seal of the spool at `path`; a new one for a new spool.
pub(super) fn load(path: &Path, key_file: Option<&Path>, mark: &str) -> Result<DeviceKey, SpoolError> {
    match given(key_file)? {
        Some(seal) => Ok(DeviceKey { seal, aside: None }),
        None => load_sealed(path, &identity(&IDENTITIES.map(Path::new))?, mark),
    }
}

/// The seal of the spool at `path`, which is there already.
pub(super) fn existing(path: &Path, key_file: Option<&Path>) -> Result<Seal, SpoolError> {
    if let Some(seal) = given(key_file)? {
        return Ok(seal);
    }
    let file = with_suffix(path, ".key");
    let bytes = read_secret(&file).map_err(refused)?;
    unseal_any(&bytes, path, &identity(&IDENTITIES.map(Path::new))?)?.ok_or(SpoolError::OtherKey)
}

/// The seal from a key that the operator gave.
fn given(key_file: Option<&Path>) -> Result<Option<Seal>, SpoolError> {
    let given = match key_file {
        Some(file) => Some(file.to_path_buf()),
        None => credential()?,
    };
    let Some(given) = given else { return Ok(None) };
    let secret = read_secret(&given).map_err(refused)?;
    if secret.len() < LEAST_GIVEN {
        return Err(SpoolError::KeyTooShort { path: given, least: LEAST_GIVEN });
    }
    derived(b"given", &secret).map(Some)
}

fn refused(FileError { path, problem }: FileError) -> SpoolError {
    SpoolError::File { path, source: problem.into() }
}

fn credential() -> Result<Option<PathBuf>, SpoolError> {
    let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY") else { return Ok(None) };
    let path = PathBuf::from(folder).join(CREDENTIAL);
    let there = path.try_exists().map_err(SpoolError::file(&path))?;
    Ok(there.then_some(path))
}

/// What identifies a machine.
struct Identity {
    bytes: Vec<u8>,
    /// No file says who the machine is.
    anonymous: bool,
}

fn identity(files: &[&Path]) -> Result<Identity, SpoolError> {
    let mut identity = Identity { bytes: Vec::new(), anonymous: true };
    for path in files {
        // Not every machine has every one; the lengths keep them apart.
        let mut value = read_if_there(path)?.unwrap_or_default();
        if value.trim_ascii() == UNINITIALIZED {
            value.clear();
        }
        identity.anonymous &= value.trim_ascii().is_empty();
        identity.bytes.extend_from_slice(&value.len().to_be_bytes());
        identity.bytes.extend_from_slice(&value);
    }
    Ok(identity)
}

/// A file's content; `None` where it is certainly not there.
fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, SpoolError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(SpoolError::File { path: path.to_path_buf(), source }),
    }
}

/// As [`read_if_there`], of what nobody else may read.
fn secret_if_there(path: &Path) -> Result<Option<Vec<u8>>, SpoolError> {
    match read_secret(path) {
        Ok(bytes) => Ok(Some(bytes.to_vec())),
        Err(error) if error.problem.is_not_found() => Ok(None),
        Err(error) => Err(refused(error)),
    }
}

/// Where the identity of a machine that has none is kept.
fn random_identity_file(spool: &Path) -> PathBuf {
    with_suffix(spool, ".identity")
}

/// The random identity that is kept beside a spool; a new one where there is none.
fn random_identity(spool: &Path) -> Result<Vec<u8>, SpoolError> {
    let file = random_identity_file(spool);
    if let Some(identity) = secret_if_there(&file)? {
        return Ok(identity);
    }
    let mut identity = vec![0; KEY_BYTES];
    SystemRandom::new().fill(&mut identity).map_err(|_| SpoolError::Crypto("random numbers"))?;
    write_durably(&file, &identity).map_err(SpoolError::file(&file))?;
    Ok(identity)
}

/// The key in a key file, under whatever identified this machine when it was made; `None` where it is
/// another machine's.
fn unseal_any(bytes: &[u8], spool: &Path, identity: &Identity) -> Result<Option<Seal>, SpoolError> {
    // Keys of nobody's machines from before there were random identities are sealed like others.
    if let Some(seal) = unseal(bytes, &identity.bytes)? {
        return Ok(Some(seal));
    }
    match secret_if_there(&random_identity_file(spool))? {
        Some(kept) => unseal(bytes, &kept),
        None => Ok(None),
    }
}

fn load_sealed(path: &Path, identity: &Identity, mark: &str) -> Result<DeviceKey, SpoolError> {
    let file = with_suffix(path, ".key");
    let aside = match secret_if_there(&file)? {
        Some(bytes) => match unseal_any(&bytes, path, identity)? {
            Some(seal) => return Ok(DeviceKey { seal, aside: None }),
            None => {
                let aside = with_suffix(&file, mark);
                fs::rename(&file, &aside).map_err(SpoolError::file(&file))?;
                Some(aside)
            }
        },
        None => None,
    };
    let random = if identity.anonymous { Some(random_identity(path)?) } else { None };
    let identity = random.as_deref().unwrap_or(&identity.bytes);
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| SpoolError::Crypto("random numbers"))?;
    let mut bytes = MAGIC.to_vec();
    // Twice: a few damaged bytes of this file must not cost the whole spool.
    for _ in 0..2 {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| SpoolError::Crypto("random numbers"))?;
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(&derived(&salt, identity)?.seal_with(MAGIC, &key)?);
    }
    write_durably(&file, &bytes).map_err(SpoolError::file(&file))?;
    Ok(DeviceKey { seal: Seal::new(&key)?, aside })
}

/// The key in a key file, `None` where no copy of it can be opened on this machine.
fn unseal(bytes: &[u8], identity: &[u8]) -> Result<Option<Seal>, SpoolError> {
    let copies = bytes.get(MAGIC.len()..).unwrap_or_default();
    for copy in copies.chunks_exact(COPY_BYTES) {
        let (salt, sealed) = copy.split_at(SALT_BYTES);
        let opened = derived(salt, identity)?.open_with(MAGIC, sealed.to_vec());
        if let Some(key) = opened.and_then(|key| <[u8; KEY_BYTES]>::try_from(key).ok()) {
            return Seal::new(&key).map(Some);
        }
    }
    Ok(None)
}

/// A seal from a secret of any length (HKDF, RFC 5869).
fn derived(salt: &[u8], secret: &[u8]) -> Result<Seal, SpoolError> {
    let failed = |_| SpoolError::Crypto("key derivation");
    let prk = Salt::new(HKDF_SHA256, salt).extract(secret);
    let info = [b"cavs spool key".as_slice()];
    let mut key = [0; KEY_BYTES];
    prk.expand(&info, KeyBytes).map_err(failed)?.fill(&mut key).map_err(failed)?;
    Seal::new(&key)
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn opens(seal: &Seal, sealed: &[u8]) -> bool {
        seal.open_with(b"", sealed.to_vec()).is_some()
    }

    fn board(name: &str) -> Identity {
        Identity { bytes: name.into(), anonymous: false }
    }

    #[test]
    fn an_identity_that_cannot_be_read_stops_the_start_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, id) = (dir.path().join("spool.db"), dir.path().join("machine-id"));
        let (serial, key) = (dir.path().join("none/serial-number"), dir.path().join("spool.db.key"));
        fs::write(&id, "0123456789abcdef\n").unwrap();
        let load = || load_sealed(&path, &identity(&[&id, &serial])?, ".aside");
        let sealed = load().unwrap().seal.seal_with(b"", b"").unwrap();
        let before = fs::read(&key).unwrap();
        // Reading a folder fails, as reading a file does on a card that is about to.
        fs::remove_file(&id).unwrap();
        fs::create_dir(&id).unwrap();
        let Err(SpoolError::File { path: named, .. }) = load() else { panic!("it started") };
        assert_eq!(named, id, "the message says which file");
        assert_eq!(fs::read(&key).unwrap(), before);
        // And with the next start all is well again.
        fs::remove_dir(&id).unwrap();
        fs::write(&id, "0123456789abcdef\n").unwrap();
        let again = load().unwrap();
        assert!(again.aside.is_none() && opens(&again.seal, &sealed));
    }

    #[test]
    fn a_machine_that_nothing_identifies_gets_a_random_identity_and_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let (id, serial) = (dir.path().join("machine-id"), dir.path().join("serial-number"));
        let load = |spool: &str| {
            load_sealed(&dir.path().join(spool), &identity(&[&id, &serial]).unwrap(), ".aside").unwrap()
        };
        let sealed = load("a.db").seal.seal_with(b"", b"").unwrap();
        assert!(opens(&load("a.db").seal, &sealed));
        load("b.db");
        let random = |spool: &str| fs::read(dir.path().join(spool)).unwrap();
        assert_ne!(random("a.db.identity"), random("b.db.identity"));
        let bytes = fs::read(dir.path().join("a.db.key")).unwrap();
        let nothing = identity(&[&id, &serial]).unwrap().bytes;
        assert!(unseal(&bytes, &nothing).unwrap().is_none(), "what everybody knows opens nothing");
        // One that comes later, or says that it is none yet, changes nothing.
        fs::write(&id, "uninitialized\n").unwrap();
        assert!(opens(&load("a.db").seal, &sealed));
        fs::write(&id, "0123456789abcdef\n").unwrap();
        let later = load("a.db");
        assert!(later.aside.is_none() && opens(&later.seal, &sealed));
    }

    #[test]
    fn the_key_stays_with_the_machine_and_survives_damage_to_one_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        let first = load_sealed(&path, &board("this board"), ".x").unwrap();
        let sealed = first.seal.seal_with(b"", b"").unwrap();
        assert!(opens(&load_sealed(&path, &board("this board"), ".x").unwrap().seal, &sealed));
        let file = dir.path().join("spool.db.key");
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x10;
            assert!(unseal(&damaged, b"this board").unwrap().is_some_and(|seal| opens(&seal, &sealed)));
        }
        let elsewhere = load_sealed(&path, &board("another board"), ".x").unwrap();
        assert!(!opens(&elsewhere.seal, &sealed));
        assert_eq!(fs::read(elsewhere.aside.unwrap()).unwrap(), good, "kept for the board it belongs to");
    }

    #[test]
    fn a_key_from_outside_is_used_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (path, given) = (dir.path().join("spool.db"), dir.path().join("key"));
        fs::write(&given, [5; 32]).unwrap();
        let set_mode = |mode| fs::set_permissions(&given, fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o644);
        let error = load(&path, Some(&given), "").err().unwrap().to_string();
        assert!(error.contains("can be read by others") && error.contains("key"), "{error}");
        set_mode(0o600);
        let sealed = load(&path, Some(&given), "").unwrap().seal.seal_with(b"", b"").unwrap();
        assert!(opens(&load(&path, Some(&given), "").unwrap().seal, &sealed));
        assert!(!dir.path().join("spool.db.key").exists());
        fs::write(&given, [5; 31]).unwrap();
        assert!(matches!(load(&path, Some(&given), ""), Err(SpoolError::KeyTooShort { .. })));
    }
}
