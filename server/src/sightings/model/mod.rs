//! What is known of a face that was seen.

mod review;
mod sighting;
mod statistics;

pub use review::{BulkReview, BulkReviewed, NewReview, NewWithdrawal, Review, Withdrawal};
pub use sighting::{
    BoundingBox, CapturedSighting, Clock, EARLIEST, LATEST, QueueFilter, QueuePosition, Sighting,
    SightingAnswer, SightingFilter, SightingKey, SightingPosition, Track,
};
pub use statistics::{DeviceStats, Period, SightingCounts, Stats, StatsRequest};
