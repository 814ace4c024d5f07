//! From sightings to attendance: exactly one mark for each person of a class session.
//!
//! [`evaluate`] is a pure function of what a session's [`Records`] say, under a [`Policy`], up to a time. It reads no
//! clock and keeps nothing, so that whoever plays the same records again, in any order and as often as they like,
//! gets the same marks, each with the rules that led to it. The rules in words: `docs/ATTENDANCE.md`.

mod coverage;
mod engine;
mod excuses;
mod outcome;
mod policy;
mod records;

pub use coverage::{Period, Watched};
pub use engine::evaluate;
pub use outcome::{Attendance, Evidence, LeavingProof, OpenReason, PersonMark, Rule, Visitor};
pub use policy::{Policy, PolicyError, PolicyOverride};
pub use records::{CheckIn, Correction, Excuse, Neighbour, Records, Session, Sighting, Standing};
