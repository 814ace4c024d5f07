//! SQL of students and users.

mod students;
mod users;

pub use students::StudentStore;
#[cfg(test)]
pub(crate) use students::{BY_NUMBER, SORTED};
pub use users::UserStore;
