//! Whole-system tests: the server, the agent and the command line as processes.

mod bad_input;
mod main_job;
mod outages;
mod privacy;
