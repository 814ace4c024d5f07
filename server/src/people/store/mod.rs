//! SQL of sites, users and students.

mod sites;
mod students;
mod users;

pub use sites::SiteStore;
pub use students::StudentStore;
#[cfg(test)]
pub(crate) use students::{BY_NUMBER, SORTED};
pub use users::UserStore;
