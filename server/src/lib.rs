//! The CAVS server: ingest, matching, enrollment and review over gRPC.
//!
//! A room for each capability, from the bottom up: `biometrics` (faces and keys), `recognition` (who somebody is),
//! `fleet` (devices), `people`, `sightings`. Each has a `model` (plain), a `service` (what it does) and a `store`
//! (its SQL), and none imports one above it. `grpc` (thin) calls the services, [`run`] puts them together, and
//! `monitoring` tells the operator.

pub mod attendance;
mod authorities;
pub mod biometrics;
mod check;
pub mod config;
pub mod db;
pub mod error;
pub mod fleet;
pub mod grpc;
pub mod listeners;
pub mod mail;
pub mod matching;
pub mod monitoring;
pub mod page;
pub mod people;
pub mod recognition;
pub mod requests;
mod run;
pub mod schedule;
pub mod services;
pub mod sightings;
#[cfg(test)]
mod testing;
mod text;
mod token;
pub mod webhooks;

pub use check::{Finding, Level, check};
pub use run::{Addresses, Backend, Control, StartError, rotate_keys, run};
