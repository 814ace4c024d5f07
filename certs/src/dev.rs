//! A complete set of certificates for development and tests.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::{CertError, CertFiles, SiteCa, files};

/// Where the files of a development set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevSet {
    /// `ca.pem`, `ca.key`.
    pub ca: CertFiles,
    /// `server.pem`, `server.key`.
    pub server: CertFiles,
    /// `devices/UUID.pem`, `devices/UUID.key`, in the order that was asked for.
    pub devices: Vec<CertFiles>,
}

impl DevSet {
    /// The folder of the device certificates in a set's folder.
    #[must_use]
    pub fn devices_dir(dir: &Path) -> PathBuf {
        dir.join("devices")
    }
}

/// Writes a new root, a server certificate and device certificates into a folder.
///
/// Keep the folder out of version control: whoever has `ca.key` can be any device.
///
/// # Errors
/// `Exists` where the folder has such files already, `ServerName` for a name that is none.
pub fn write_dev_set(dir: &Path, server_names: &[String], devices: &[Uuid]) -> Result<DevSet, CertError> {
    let root = SiteCa::create("CAVS development")?;
    let server = root.issue_server(server_names)?;
    // Nothing is written before everything that can be refused was.
    for name in ["server.pem", "server.key"] {
        files::refuse_existing(&dir.join(name))?;
    }
    let ca = root.save(dir)?;
    let server = server.save(dir, "server")?;
    let devices = devices
        .iter()
        .map(|&id| root.issue_device(id)?.save(&DevSet::devices_dir(dir), &id.to_string()))
        .collect::<Result<_, _>>()?;
    Ok(DevSet { ca, server, devices })
}
