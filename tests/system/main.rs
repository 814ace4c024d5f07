//! Whole-system tests: the server, the agent and the command line as processes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod classroom;
mod devices;
mod documents;
mod esp32;
mod gallery;
mod main_job;
mod outages;
mod privacy;
mod proxy;
mod runs;
mod service;
mod several_servers;
mod torture;
