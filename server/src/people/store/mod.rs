//! SQL of sites, users and students.

mod pairs;
mod sites;
mod students;
mod users;

pub use pairs::PairStore;
pub use sites::SiteStore;
#[cfg(test)]
pub(crate) use students::{BY_NUMBER, SORTED};
pub use students::{ImportOutcome, StudentChanges, StudentStore};
pub use users::UserStore;
