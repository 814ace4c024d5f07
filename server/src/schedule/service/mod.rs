mod expected;
mod groups;
mod rooms;
mod sessions;
mod terms;

use std::fmt::Display;

use cavs_types::ErrorReason;

pub use expected::Expected;
pub use groups::Groups;
pub use rooms::Rooms;
pub use sessions::{MadeFromPattern, Sessions};
pub use terms::Terms;

use crate::{
    db::DatabaseError,
    error::ServiceError,
    schedule::{ScheduleKey, ScheduleVersion},
};

/// How often a change is tried anew where somebody else was first, and nobody asked for the version that there was.
const ATTEMPTS: usize = 5;

/// What is said of what is not there.
fn none_of<I: Display>(reason: ErrorReason, what: &str, key: &ScheduleKey<I>) -> ServiceError {
    let message = match key {
        ScheduleKey::Id(id) => format!("no {what} has the id {id}"),
        ScheduleKey::Name(name) => format!("no {what} has the name {name:?}"),
    };
    ServiceError::refused(reason, message)
}

/// What is said where something else refers to what was to be deleted.
fn in_use(error: DatabaseError, message: &str) -> ServiceError {
    if matches!(error, DatabaseError::NotFound) {
        return ServiceError::refused(ErrorReason::InUse, message);
    }
    error.into()
}

/// Whether somebody has seen another version than there is.
fn is_outdated(seen: Option<ScheduleVersion>, found: ScheduleVersion) -> bool {
    seen.is_some_and(|seen| seen != found)
}

fn changed(what: &str) -> ServiceError {
    let message = format!("somebody has changed the {what} since");
    ServiceError::refused(ErrorReason::ScheduleChanged, message)
}
