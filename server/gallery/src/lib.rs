//! The gallery: exact and graph search over the templates of enrolled students.
//!
//! [`open`] gives a [`Gallery`] for one model pack's embeddings. All of them rest on the same exact
//! store; the graph is a hint that can only make an answer come sooner: identities, similarities and
//! removals are always the store's. This crate knows no database, no clock and no runtime.

mod calibration;
mod code;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod erasure;
mod exact;
mod follower;
mod gallery;
mod graph;
mod hybrid;
mod ranking;
mod simd;
mod store;
mod types;
mod worker;

pub use calibration::Calibration;
pub use cavs_types::{GalleryMode, Grouping};
pub use exact::ExactGallery;
pub use follower::{Follower, Step};
pub use gallery::{Gallery, Options, open};
pub use hybrid::HybridGallery;
pub use types::{
    Answer, Applied, Candidate, Change, Counters, Decisive, GalleryError, GraphStats, MAX_CANDIDATES, Query,
    Roster, Source, Stats, StudentKey, Template, TemplateId,
};
