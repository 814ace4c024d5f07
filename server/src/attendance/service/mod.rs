mod appeals;
mod check_ins;
mod corrections;
mod excuses;
mod feed;
mod keeping;
mod policies;
mod reports;
mod sheets;

pub use appeals::Appeals;
pub use check_ins::CheckIns;
pub use corrections::Corrections;
pub use excuses::Excuses;
pub use feed::{MarkFeed, MarkNews, MarkWatch};
pub use keeping::MarksKeeper;
pub use policies::Policies;
pub use reports::Reports;
pub use sheets::Sheets;
