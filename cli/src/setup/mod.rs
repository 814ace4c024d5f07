//! A first site on this machine: what it is to be, the files that it needs, and the server that they are tried with.

mod files;
mod plan;
mod server;

pub(crate) use files::{agent_toml, server_toml, unit};
pub(crate) use plan::{Answers, Plan, host_of};
pub(crate) use server::{Running, ServerProgram};
