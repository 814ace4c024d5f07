//! Whole-system tests: the server, the agent and the command line as processes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod attendance;
mod bad_input;
mod camera;
mod classroom;
mod clients;
mod connections;
mod devices;
mod documents;
mod enrollment;
mod esp32;
mod gallery;
mod json;
mod main_job;
#[path = "../../models/tests/onnx_writer/mod.rs"]
mod onnx_writer;
mod operation;
mod outages;
mod privacy;
mod proxy;
mod readme;
mod records;
mod review;
mod runs;
mod schedule;
mod secrets;
mod security;
mod service;
mod setup;
mod several_servers;
mod sites;
mod sync;
mod term;
mod torture;
mod turned;
mod watch;
mod webhooks;
