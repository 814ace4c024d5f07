//! SQL of students and users.

mod students;
mod users;

pub use students::StudentStore;
pub use users::UserStore;
