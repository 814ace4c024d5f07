//! The program against a server of its own, over TLS.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod certs;
mod completions;
mod context;
mod enroll;
mod fake;
mod gallery;
mod matching;
mod models;
mod output;
mod program;
mod records;
mod reference;
mod retention;
mod session;
mod sites;
mod templates;
mod usage;
