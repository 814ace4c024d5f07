//! Requests that say of themselves which they are, so that a repeat changes nothing.

mod service;
mod store;

pub use service::{Answers, Begun, GIVEN_UP, RequestKey};
pub use store::AnswerStore;
