mod accounts;
mod enrollment;
mod pairs;
mod sites;
mod students;

pub use accounts::{Accounts, LoggedIn, Session, create_user, grant};
pub use enrollment::{
    EmbeddedFace, Enrolled, Enrollment, EnrollmentLimits, EnrollmentTerms, Picture, PictureFace, Refusal,
    StopAtDuplicate, portrait,
};
pub use pairs::Pairs;
pub use sites::Sites;
pub use students::Students;
