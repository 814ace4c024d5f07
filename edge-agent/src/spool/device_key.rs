//! The spool's data key, sealed to the device.
//!
//! The key is random and lies beside the spool, wrapped under what identifies the machine. A copy of
//! the spool (a backup, a memory card in another board) is of no use without that. It does not
//! protect from somebody who runs programs on the device itself; where the device has a TPM or a
//! secure element, an operator gives the key as a systemd credential instead.

use std::{
    env, fs,
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
        None => load_sealed(path, &identity(), mark),
    }
}

/// The seal of the spool at `path`, which is there already.
pub(super) fn existing(path: &Path, key_file: Option<&Path>) -> Result<Seal, SpoolError> {
    if let Some(seal) = given(key_file)? {
        return Ok(seal);
    }
    let file = with_suffix(path, ".key");
    let bytes = read_secret(&file).map_err(refused)?;
    unseal(&bytes, &identity())?.ok_or(SpoolError::OtherKey)
}

/// The seal from a key that the operator gave.
fn given(key_file: Option<&Path>) -> Result<Option<Seal>, SpoolError> {
    let Some(given) = key_file.map(Path::to_path_buf).or_else(credential) else { return Ok(None) };
    let secret = read_secret(&given).map_err(refused)?;
    if secret.len() < LEAST_GIVEN {
        return Err(SpoolError::KeyTooShort { path: given, least: LEAST_GIVEN });
    }
    derived(b"given", &secret).map(Some)
}

fn refused(FileError { path, problem }: FileError) -> SpoolError {
    SpoolError::File { path, source: problem.into() }
}

fn credential() -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
    path.exists().then_some(path)
}

fn identity() -> Vec<u8> {
    let mut identity = Vec::new();
    for path in IDENTITIES {
        // Not every machine has every one; the lengths keep them apart.
        let value = fs::read(path).unwrap_or_default();
        identity.extend_from_slice(&value.len().to_be_bytes());
        identity.extend_from_slice(&value);
    }
    identity
}

fn load_sealed(path: &Path, identity: &[u8], mark: &str) -> Result<DeviceKey, SpoolError> {
    let file = with_suffix(path, ".key");
    let aside = match read_secret(&file) {
        Ok(bytes) => match unseal(&bytes, identity)? {
            Some(seal) => return Ok(DeviceKey { seal, aside: None }),
            None => {
                let aside = with_suffix(&file, mark);
                fs::rename(&file, &aside).map_err(SpoolError::file(&file))?;
                Some(aside)
            }
        },
        Err(error) if error.problem.is_not_found() => None,
        Err(error) => return Err(refused(error)),
    };
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

    #[test]
    fn the_key_stays_with_the_machine_and_survives_damage_to_one_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        let first = load_sealed(&path, b"this board", ".x").unwrap();
        let sealed = first.seal.seal_with(b"", b"").unwrap();
        assert!(opens(&load_sealed(&path, b"this board", ".x").unwrap().seal, &sealed));
        let file = dir.path().join("spool.db.key");
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x10;
            assert!(unseal(&damaged, b"this board").unwrap().is_some_and(|seal| opens(&seal, &sealed)));
        }
        let elsewhere = load_sealed(&path, b"another board", ".x").unwrap();
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
