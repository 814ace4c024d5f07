//! Cameras that mean harm, or are broken.

mod mutate;
mod mutated;
mod mutated_grpc;
mod stall;

pub use mutate::{SeededRandom, mutate};
pub use mutated::{Flood, FloodReport, flood};
pub use stall::{STALLS, Stall, StallReport, stall};
