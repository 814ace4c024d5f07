use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a certificate could not be made, read or written.
#[derive(Debug, Error)]
pub enum CertError {
    /// A file can't be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there already, and keys are never overwritten.
    #[error("{}: exists already and is not overwritten; choose another folder or move it away", .0.display())]
    Exists(PathBuf),
    /// A file does not hold what it should.
    #[error("{path}: {problem}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Others than its owner may read the root's key.
    #[error("{path}: others may read this private key (mode {mode:04o}); run: chmod 600 {path}", path = path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The root's time is over.
    #[error("the site's root certificate expired at {0}; create a new one")]
    RootExpired(jiff::Timestamp),
    /// A site name that can't be written into a certificate.
    #[error("site name {0:?}: must have 1 to 64 characters, none of them a control character")]
    SiteName(String),
    /// Something that is neither a DNS name nor an IP address.
    #[error("server name {0:?}: is neither a DNS name nor an IP address")]
    ServerName(String),
    /// A server certificate for no name at all.
    #[error("a server certificate needs at least one DNS name or IP address")]
    NoServerName,
    /// A signing request that can't be granted.
    #[error("certificate signing request: {0}")]
    Request(&'static str),
    /// The system gave no random numbers.
    #[error("the system's random number generator failed")]
    Random,
    /// Making a key or a signature failed.
    #[error("certificate generation failed: {0}")]
    Generate(#[from] rcgen::Error),
}
