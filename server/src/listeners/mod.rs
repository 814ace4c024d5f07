//! Who is on the other end: TLS, and what certificates say.

mod shares;
mod tls;

pub use shares::{Shares, listen};
pub use tls::{Certificates, TlsError};
