use cavs_types::{DeviceId, DeviceStatus, ErrorReason};

/// Tokens of a camera that are good at a time: the newest, so that it can be given a new one before
/// the old one ends.
pub const TOKENS: i64 = 2;

/// A camera as its proxy is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxiedCamera {
    /// Ours.
    pub id: DeviceId,
    /// Unique.
    pub name: String,
    /// The room it watches.
    pub classroom: String,
    /// Whether it may speak.
    pub status: DeviceStatus,
    /// SHA-256 of the tokens that are good.
    pub token_hashes: Vec<Vec<u8>>,
}

/// The proxy of a camera, as lists name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyRef {
    /// Ours.
    pub id: DeviceId,
    /// Unique.
    pub name: String,
}

/// What is known of a camera when somebody speaks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CameraStanding {
    /// Whether it may speak.
    pub status: DeviceStatus,
    /// Who speaks for it.
    pub proxy: Option<DeviceId>,
}

/// Why nobody may speak so for a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CameraRefusal {
    /// There is no such camera, or another proxy speaks for it.
    NotProxied,
    /// The camera was revoked.
    Revoked,
}

impl CameraRefusal {
    /// The stable reason.
    #[must_use]
    pub const fn reason(self) -> ErrorReason {
        match self {
            Self::NotProxied => ErrorReason::CameraNotProxied,
            Self::Revoked => ErrorReason::DeviceRevoked,
        }
    }

    /// The reason in words.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotProxied => "this device does not speak for it; see `cavs devices assign`",
            Self::Revoked => "it was revoked",
        }
    }
}

impl CameraStanding {
    /// Whether a proxy may speak for a camera; `None` is one that is not registered.
    ///
    /// # Errors
    /// Why not. A proxy learns of a camera's revocation only where it is its own.
    pub fn judge(found: Option<Self>, proxy: DeviceId) -> Result<(), CameraRefusal> {
        match found {
            Some(Self { proxy: Some(own), status }) if own == proxy => match status {
                // What was captured before it was set inactive may be on its way; its proxy takes no more.
                DeviceStatus::Active | DeviceStatus::Maintenance | DeviceStatus::Inactive => Ok(()),
                DeviceStatus::Revoked => Err(CameraRefusal::Revoked),
            },
            Some(_) | None => Err(CameraRefusal::NotProxied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_speaks_for_its_own_cameras_only() {
        let (own, other) = (DeviceId::generate(), DeviceId::generate());
        let standing = |status, proxy| Some(CameraStanding { status, proxy });
        let (active, revoked) = (DeviceStatus::Active, DeviceStatus::Revoked);
        for (found, expected) in [
            (standing(active, Some(own)), Ok(())),
            (standing(revoked, Some(own)), Err(CameraRefusal::Revoked)),
            (standing(active, Some(other)), Err(CameraRefusal::NotProxied)),
            (standing(revoked, Some(other)), Err(CameraRefusal::NotProxied)),
            (standing(active, None), Err(CameraRefusal::NotProxied)),
            (None, Err(CameraRefusal::NotProxied)),
        ] {
            assert_eq!(CameraStanding::judge(found, own), expected, "{found:?}");
        }
    }
}
