use std::path::Path;

use cavs_certs::{CertFiles, DevSet};
use jiff::Timestamp;
use serde::Serialize;

use super::layout::{facts, moment};
use crate::printer::{Report, Style};

/// A certificate that was made.
#[derive(Debug, Serialize)]
pub struct CertificateView {
    /// Path of the certificate.
    pub certificate: String,
    /// Path of its private key; null where the device keeps its own.
    pub key: Option<String>,
    /// Path of the root's certificate.
    pub ca_certificate: String,
    /// RFC 3339; null where it is in the certificate only.
    pub not_after: Option<Timestamp>,
}

/// A development set that was made.
#[derive(Debug, Serialize)]
pub struct DevSetView {
    /// Path of the root's certificate.
    pub ca_certificate: String,
    /// Path of the root's private key.
    pub ca_key: String,
    /// Path of the server's certificate.
    pub server_certificate: String,
    /// Path of the server's private key.
    pub server_key: String,
    /// DNS names and addresses by which the server may be reached.
    pub server_names: Vec<String>,
    /// Certificates of devices.
    pub devices: Vec<DeviceFilesView>,
}

/// The files of a device.
#[derive(Debug, Serialize)]
pub struct DeviceFilesView {
    certificate: String,
    key: String,
}

impl CertificateView {
    /// A certificate, its key, and the root's certificate.
    #[must_use]
    pub fn new(files: &CertFiles, ca_certificate: &Path, not_after: Option<Timestamp>) -> Self {
        Self {
            certificate: shown(&files.certificate),
            key: Some(shown(&files.key)),
            ca_certificate: shown(ca_certificate),
            not_after,
        }
    }

    /// A certificate for a key that is elsewhere.
    #[must_use]
    pub fn without_key(certificate: &Path, ca_certificate: &Path) -> Self {
        let (certificate, ca_certificate) = (shown(certificate), shown(ca_certificate));
        Self { certificate, key: None, ca_certificate, not_after: None }
    }
}

impl DevSetView {
    /// A set, and the names that its server's certificate carries.
    #[must_use]
    pub fn new(set: &DevSet, server_names: Vec<String>) -> Self {
        let devices = set
            .devices
            .iter()
            .map(|files| DeviceFilesView { certificate: shown(&files.certificate), key: shown(&files.key) });
        Self {
            ca_certificate: shown(&set.ca.certificate),
            ca_key: shown(&set.ca.key),
            server_certificate: shown(&set.server.certificate),
            server_key: shown(&set.server.key),
            server_names,
            devices: devices.collect(),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl Report for CertificateView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("certificate", self.certificate.clone()),
                ("key", self.key.clone().unwrap_or_default()),
                ("root certificate", self.ca_certificate.clone()),
                ("valid until", moment(style, self.not_after)),
            ],
        )
    }
}

impl Report for DevSetView {
    fn table(&self, style: &Style) -> String {
        let mut lines = vec![
            ("root certificate", self.ca_certificate.clone()),
            ("root key", self.ca_key.clone()),
            ("server certificate", self.server_certificate.clone()),
            ("server key", self.server_key.clone()),
            ("the server's names", self.server_names.join(", ")),
        ];
        for device in &self.devices {
            lines.push(("device certificate", device.certificate.clone()));
            lines.push(("device key", device.key.clone()));
        }
        facts(style, &lines)
    }
}
