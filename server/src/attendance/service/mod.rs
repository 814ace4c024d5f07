mod appeals;
mod corrections;
mod excuses;
mod feed;
mod keeping;
mod policies;
mod sheets;

pub use appeals::Appeals;
pub use corrections::Corrections;
pub use excuses::Excuses;
pub use feed::{MarkFeed, MarkWatch};
pub use keeping::MarksKeeper;
pub use policies::Policies;
pub use sheets::Sheets;
