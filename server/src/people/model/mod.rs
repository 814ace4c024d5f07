//! Whom the server knows.

mod gate;
mod import;
mod pair;
mod site;
mod student;
mod user;

pub use gate::{QualityShortfall, same_person, shortfall, unlike_at, unlike_below};
pub(crate) use import::{Bundle, Table};
pub use import::{ImportFile, ImportOptions, ImportPlan, ImportProblem, Place, Unreadable};
pub use pair::{ConfusablePair, PairPosition};
pub use site::{NoSite, Site, SiteKey, SiteRole, only_site, site_name};
pub use student::{
    Student, StudentChange, StudentFilter, StudentKey, StudentProfile, StudentRef, StudentSearch,
    StudentState, StudentVersion, pseudonym,
};
pub use user::{Credentials, Grant, User};
