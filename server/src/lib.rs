//! The CAVS server: ingest, matching, enrollment and review over gRPC.
//!
//! `grpc` (thin) calls `app` (what the server does), which uses `domain` (pure), `store` (Postgres),
//! the gallery, `vault` (encryption) and `security`. [`run`] puts them together; `monitoring` tells the
//! operator.

pub mod app;
mod check;
pub mod config;
pub mod domain;
pub mod grpc;
pub mod metrics;
pub mod monitoring;
mod run;
pub mod security;
pub mod store;
#[cfg(test)]
mod testing;
pub mod vault;

pub use check::{Finding, Level, check};
pub use run::{Addresses, Backend, Control, StartError, run};
