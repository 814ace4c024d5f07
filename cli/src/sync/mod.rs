//! Attendance for other systems: what is sent, once, and what became of it.
//!
//! `plan` makes items of final marks, without I/O; `frappe` knows how Frappe and ERPNext are asked and what their
//! answers mean; `ledger` remembers on the disk what was sent; `run` brings them together.

mod frappe;
mod http;
mod ledger;
mod plan;
mod run;
mod target;

pub(crate) use plan::{Attended, Item, Plan};
pub(crate) use run::{Fate, Outcome, send};
pub(crate) use target::{PersonKey, Target, TargetKind, TargetName, TargetSection, Targets};

pub(crate) use http::Client;
pub(crate) use ledger::Ledger;
