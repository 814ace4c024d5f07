mod client;
mod deliverer;
mod webhooks;

pub use client::{ReceiverClient, ReceiverError, Sent};
pub use deliverer::Deliverer;
pub use webhooks::{TestResult, Webhooks};
