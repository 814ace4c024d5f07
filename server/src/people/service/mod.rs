mod accounts;
mod enrollment;
mod students;

pub use accounts::{Accounts, LoggedIn, create_user};
pub use enrollment::{Enrolled, Enrollment, EnrollmentLimits, Refusal, portrait};
pub use students::Students;
