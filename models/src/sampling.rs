//! Which pixels of a picture a resized one is made of.

use crate::graph::{Coordinates, Sampling};

/// The two positions of the original that a position of the result lies between, and how far.
pub(crate) fn source(
    at: usize,
    from: usize,
    to: usize,
    scale: Option<f32>,
    sampling: Sampling,
    coordinates: Coordinates,
) -> (usize, usize, f32) {
    let factor = scale.unwrap_or(to as f32 / from as f32);
    let position = match coordinates {
        Coordinates::Asymmetric => at as f32 / factor,
        Coordinates::HalfPixel => (at as f32 + 0.5) / factor - 0.5,
        Coordinates::AlignCorners if to > 1 => at as f32 * (from - 1) as f32 / (to - 1) as f32,
        Coordinates::AlignCorners => 0.0,
    };
    let last = from - 1;
    let position = position.clamp(0.0, last as f32);
    match sampling {
        Sampling::NearestFloor => (position as usize, position as usize, 0.0),
        Sampling::NearestRound => {
            let nearest = (position - 0.5).ceil() as usize;
            (nearest, nearest, 0.0)
        }
        Sampling::Linear => {
            let low = position as usize;
            (low, (low + 1).min(last), position - low as f32)
        }
    }
}
