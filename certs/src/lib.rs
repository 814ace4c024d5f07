//! The site's small CA: root, server and device certificates.
//!
//! A site has one root. It signs the certificate of the server (which clients check against the
//! root alone) and one certificate per device, whose URI name `urn:cavs:device:UUID` says which
//! device is speaking. Everything is ECDSA on P-256, and keys never overwrite other keys.
//!
//! ```
//! # fn main() -> Result<(), cavs_certs::CertError> {
//! let ca = cavs_certs::SiteCa::create("Hill School")?;
//! let server = ca.issue_server(&["cavs.hill.example".to_owned(), "10.0.0.4".to_owned()])?;
//! let device = ca.issue_device(uuid::Uuid::now_v7())?;
//! # let _ = (server, device);
//! # Ok(())
//! # }
//! ```

mod ca;
mod csr;
mod dev;
mod error;
mod examine;
mod fault;
mod files;
mod identity;
mod profile;

pub use ca::{CA_CERTIFICATE_FILE, CA_KEY_FILE, Issued, SiteCa};
pub use csr::{DeviceRequest, MAX_CSR_BYTES};
pub use dev::{DevSet, machine_names, write_dev_set};
pub use error::CertError;
pub use examine::{Examined, Validity, check_chain, examine};
pub use fault::{TlsFault, tls_fault};
pub use files::CertFiles;
pub use identity::{DEVICE_URI_PREFIX, IdentityError, device_id_of};
