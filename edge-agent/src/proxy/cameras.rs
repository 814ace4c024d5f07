//! The cameras that this proxy speaks for, and how they prove who they are.
//!
//! The server tells them on the uplink's stream, all of them at once, and again within a moment of
//! any change. They are kept beside the spool, sealed with its key: so cameras are known while the
//! server is away, too. What it revokes meanwhile, it refuses itself when the sightings come.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use cavs_proto::v1;
use cavs_types::{DeviceId, ErrorReason};
use prost::Message;
use ring::digest::{SHA256, digest};

use super::Refusal;
use crate::{
    files::{with_suffix, write_durably},
    spool::Seal,
};

/// Largest file that can be a roster, in bytes: ten thousand cameras fit.
const MAX_BYTES: u64 = 4 << 20;

/// What the sealed roster is bound to.
const CONTEXT: &[u8] = b"cavs proxy cameras";

/// A camera as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Camera {
    /// The registered device that it is.
    pub id: DeviceId,
    /// Its name in the fleet, by which a frame may name it, too.
    pub name: String,
    /// It may not speak any more.
    pub revoked: bool,
    /// It may not speak for now.
    pub inactive: bool,
}

/// The cameras that this proxy speaks for, as the server told them last.
pub struct CameraRegistry {
    path: PathBuf,
    seal: Arc<Seal>,
    known: RwLock<RegisteredCameras>,
}

#[derive(Default)]
struct RegisteredCameras {
    /// The server has told them once.
    told: bool,
    cameras: HashMap<DeviceId, Arc<Camera>>,
    /// By SHA-256 of the token.
    tokens: HashMap<Vec<u8>, DeviceId>,
}

impl CameraRegistry {
    /// What was told last, as it is kept beside a spool. A damaged file is left out with a warning:
    /// the server tells it again.
    #[must_use]
    pub fn beside(spool: &Path, seal: Arc<Seal>) -> Self {
        let path = with_suffix(spool, ".cameras");
        let known = read(&path, &seal).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the cameras can't be read; left out");
            }
            RegisteredCameras::default()
        });
        Self { path, seal, known: RwLock::new(known) }
    }

    /// Takes what the server says in the place of all that was known. Blocks.
    pub fn replace(&self, told: &v1::ProxiedCameras) {
        let known = RegisteredCameras::new(told);
        tracing::info!(
            cameras = known.cameras.len(),
            tokens = known.tokens.len(),
            "the server told the cameras"
        );
        // In force first: a full disk must not keep anybody from being revoked.
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        let sealed = self.seal.seal_with(CONTEXT, &told.encode_to_vec()).map_err(io::Error::other);
        if let Err(error) = sealed.and_then(|sealed| write_durably(&self.path, &sealed)) {
            tracing::error!(path = %self.path.display(), %error, "the cameras can't be kept");
        }
    }

    /// The camera of an id, if it may speak through this proxy now.
    ///
    /// # Errors
    /// `CAMERA_NOT_PROXIED`, `DEVICE_REVOKED`, `DEVICE_INACTIVE`; `OVERLOADED` before the server has told any.
    pub fn by_id(&self, id: DeviceId) -> Result<Arc<Camera>, Refusal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let camera = known.cameras.get(&id).cloned().ok_or_else(|| {
            if !known.told {
                return not_told();
            }
            let message = format!("this proxy does not speak for camera {id}; see `cavs devices assign`");
            Refusal::new(ErrorReason::CameraNotProxied, message)
        })?;
        if camera.revoked {
            return Err(Refusal::new(ErrorReason::DeviceRevoked, format!("camera {id} is revoked")));
        }
        if camera.inactive {
            return Err(Refusal::new(ErrorReason::DeviceInactive, format!("camera {id} is set inactive")));
        }
        Ok(camera)
    }

    /// The camera of a token, if it may speak through this proxy now.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `DEVICE_REVOKED`; `OVERLOADED` before the server has told any.
    pub fn by_token(&self, token: &str) -> Result<Arc<Camera>, Refusal> {
        // Tokens have 256 bits of entropy: a plain hash is enough, and no look-up of one tells anything.
        let hash = digest(&SHA256, token.as_bytes());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let id = known.tokens.get(hash.as_ref()).copied().ok_or_else(|| {
            if !known.told {
                return not_told();
            }
            let message = "the token is not one of this proxy's cameras; see `cavs devices token`";
            Refusal::new(ErrorReason::Unauthenticated, message)
        })?;
        drop(known);
        self.by_id(id)
    }
}

/// A proxy that was just set up must not send its cameras' owners to look for a wrong token.
fn not_told() -> Refusal {
    Refusal::overloaded("the server has not told this proxy its cameras yet")
}

impl RegisteredCameras {
    fn new(told: &v1::ProxiedCameras) -> Self {
        let mut known = Self { told: true, ..Self::default() };
        for camera in &told.cameras {
            let Ok(id) = camera.device_id.parse::<DeviceId>() else {
                tracing::warn!("a camera without an id was left out");
                continue;
            };
            known.tokens.extend(camera.token_hashes.iter().map(|hash| (hash.to_vec(), id)));
            let v1::ProxiedCamera { name, revoked, inactive, .. } = camera.clone();
            known.cameras.insert(id, Arc::new(Camera { id, name, revoked, inactive }));
        }
        known
    }
}

fn read(path: &Path, seal: &Seal) -> io::Result<RegisteredCameras> {
    let damaged = |problem: &'static str| io::Error::new(io::ErrorKind::InvalidData, problem);
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(damaged("is too large"));
    }
    let plain = seal.open_with(CONTEXT, fs::read(path)?).ok_or_else(|| damaged("can't be opened"))?;
    let told = v1::ProxiedCameras::decode(plain.as_slice()).map_err(|_| damaged("can't be decoded"))?;
    Ok(RegisteredCameras::new(&told))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A camera whose only token is its name.
    pub(in crate::proxy) fn camera(id: DeviceId, name: &str, revoked: bool) -> v1::ProxiedCamera {
        let hash = digest(&SHA256, name.as_bytes()).as_ref().to_vec();
        let (device_id, name) = (id.to_string(), name.to_owned());
        v1::ProxiedCamera { device_id, name, revoked, token_hashes: vec![hash.into()], ..Default::default() }
    }

    #[test]
    fn cameras_are_known_by_id_and_token_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, seal) = (dir.path().join("spool.db"), Arc::new(Seal::new(&[7; 32]).unwrap()));
        let cameras = CameraRegistry::beside(&spool, Arc::clone(&seal));
        let reason = |found: Result<Arc<Camera>, Refusal>| found.map_err(|refusal| refusal.reason);
        let (door, hall) = (DeviceId::generate(), DeviceId::generate());
        assert_eq!(reason(cameras.by_token("door")), Err(ErrorReason::Overloaded), "not told yet");
        let told =
            v1::ProxiedCameras { cameras: vec![camera(door, "door", false), camera(hall, "hall", true)] };
        cameras.replace(&told);
        let file = dir.path().join("spool.db.cameras");
        assert!(!fs::read(&file).unwrap().windows(4).any(|window| window == b"door"), "sealed");

        let again = CameraRegistry::beside(&spool, Arc::clone(&seal));
        for cameras in [&cameras, &again] {
            assert_eq!(cameras.by_token("door").unwrap().id, door);
            assert_eq!(cameras.by_id(door).unwrap().name, "door");
            assert_eq!(reason(cameras.by_token("hall")), Err(ErrorReason::DeviceRevoked));
            assert_eq!(reason(cameras.by_id(DeviceId::generate())), Err(ErrorReason::CameraNotProxied));
        }
        cameras.replace(&v1::ProxiedCameras { cameras: vec![] });
        assert_eq!(reason(cameras.by_token("door")), Err(ErrorReason::Unauthenticated));
        assert_eq!(reason(cameras.by_id(door)), Err(ErrorReason::CameraNotProxied));
        fs::write(&file, "damaged").unwrap();
        assert_eq!(reason(CameraRegistry::beside(&spool, seal).by_id(door)), Err(ErrorReason::Overloaded));
    }
}
