//! Who is on the other end: TLS, and what certificates say.

mod listener;
mod tls;

pub use listener::{Shares, listen};
pub use tls::{Certificates, TlsError};
