//! Whom the server knows.

mod site;
mod student;
mod user;

pub use site::{NoSite, Site, SiteKey, SiteRole, only_site, site_name};
pub use student::{NewStudent, Student, StudentFilter, StudentKey, StudentRef, pseudonym};
pub use user::{Credentials, Grant, User};
