//! What sessions say of people, and what is said of that.

mod claims;
mod explanation;
mod false_matches;
mod marks;
mod policy;

pub use claims::{AppealList, AppealView, ExcuseList, ExcuseView, ProposalList};
pub use explanation::ExplanationView;
pub use marks::{MarkChangeList, MarkChangeView, MarkList, SheetView};
pub use policy::AttendancePolicyView;
