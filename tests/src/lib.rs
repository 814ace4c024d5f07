//! Whole-system tests: real processes on free ports, each test with its own database, certificates
//! and model pack. This library is their harness; the tests are in `system/`.
//!
//! The harness runs the binaries beside its own, so they must be built first:
//! `cargo build --workspace --bins`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a harness of tests")]

mod data;
pub mod demo;
mod process;
mod proxy;
mod site;

pub use data::{Person, SharedData, TestSite, jpeg_without_face, people};
pub use process::{Cli, Process, binary};
pub use proxy::{Camera, Proxy, ProxyOptions};
pub use site::{Device, Site, SiteOptions};
