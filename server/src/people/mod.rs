//! People: those who are recognised, those who log in, and the sites that they belong to.

mod model;
mod service;
mod store;

pub(crate) use model::{Bundle, Table};
pub use model::{
    ConfusablePair, Credentials, Grant, ImportFile, ImportOptions, ImportPlan, ImportProblem, NoSite,
    PairPosition, Place, QualityShortfall, Site, SiteKey, SiteRole, Student, StudentChange, StudentFilter,
    StudentKey, StudentProfile, StudentRef, StudentSearch, StudentState, StudentVersion, Unreadable, User,
    only_site, pseudonym, same_person, shortfall, site_name, unlike_at, unlike_below,
};
pub use service::{
    Accounts, EmbeddedFace, Enrolled, Enrollment, EnrollmentLimits, EnrollmentTerms, LoggedIn, Pairs,
    Picture, PictureFace, Refusal, Session, Sites, StopAtDuplicate, Students, create_user, grant, portrait,
};
#[cfg(test)]
pub(crate) use store::{BY_NUMBER, SORTED};
pub use store::{ImportOutcome, PairStore, SiteStore, StudentChanges, StudentStore, UserStore};
