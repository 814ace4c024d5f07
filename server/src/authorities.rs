//! Who is believed that a server is who it says: the machine's authorities, or those of a file.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Where the machine's authorities are, by distribution.
const OF_MACHINE: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The file of the machine's authorities, where it knows any.
pub(crate) fn of_machine() -> Option<&'static Path> {
    OF_MACHINE.iter().map(Path::new).find(|file| file.exists())
}

/// Adds those of a PEM file; at least one.
pub(crate) fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let (known, _) = roots.add_parsable_certificates(certificates);
    if known == 0 { Err(format!("{}: holds no certificate", file.display())) } else { Ok(()) }
}
