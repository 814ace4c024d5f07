//! Whole-system tests: real processes on free ports, each test with its own database and certificates.
//! They run everywhere: their people are rendered, their networks are the built-in ones. This library is
//! their harness; the tests are in `system/`.
//!
//! Every function of it panics where what it was asked for fails: a test has nothing better to do.
//!
//! The harness runs the binaries beside its own, so they must be built first:
//! `cargo build --workspace --bins`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a harness of tests")]

pub mod demo;
pub mod flood;
mod postgres;
mod process;
mod proxy;
mod pseudo_terminal;
mod rendered;
pub mod review_site;
mod site;
pub mod term;
mod test_site;
pub mod turned;

pub use postgres::Postgres;
pub use process::{Cli, Process, binary};
pub use proxy::{Camera, Proxy, ProxyOptions, proxy_address};
pub use pseudo_terminal::{LeftTerminal, PseudoTerminal};
pub use rendered::{Person, RENDERED_FACES, RenderError, lay_out, people, rendered_class};
pub use site::{Device, Site, SiteOptions};
pub use test_site::{TestSite, jpeg_without_face};
