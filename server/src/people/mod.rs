//! People: those who are recognised, those who log in, and the sites that they belong to.

mod model;
mod service;
mod store;

pub use model::{
    Credentials, Grant, NewStudent, NoSite, Site, SiteKey, SiteRole, Student, StudentFilter, StudentKey,
    StudentRef, User, only_site, pseudonym, site_name,
};
pub use service::{
    Accounts, Enrolled, Enrollment, EnrollmentLimits, LoggedIn, Picture, Refusal, Session, Sites, Students,
    create_user, grant, portrait, unlike_below,
};
#[cfg(test)]
pub(crate) use store::{BY_NUMBER, SORTED};
pub use store::{SiteStore, StudentStore, UserStore};
