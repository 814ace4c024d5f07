//! Whom the server knows.

mod student;
mod user;

pub use student::{NewStudent, Student, StudentFilter, StudentKey, StudentRef, pseudonym};
pub use user::{Credentials, User};
