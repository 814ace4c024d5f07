//! People: those who are recognised, and those who log in.

mod model;
mod service;
mod store;

pub use model::{Credentials, NewStudent, Student, StudentFilter, StudentKey, StudentRef, User, pseudonym};
pub use service::{
    Accounts, Enrolled, Enrollment, EnrollmentLimits, LoggedIn, Refusal, Students, create_user, portrait,
};
#[cfg(test)]
pub(crate) use store::{BY_NUMBER, SORTED};
pub use store::{StudentStore, UserStore};
