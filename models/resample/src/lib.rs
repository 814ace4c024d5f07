//! Resizes RGB pictures.
//!
//! A crate of its own because the generic code of `fast_image_resize` is compiled where it is
//! called, for every instruction set, and takes longer than all of `cavs-models`.

use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer as Engine,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};

/// A resizer that keeps its buffers.
#[derive(Default)]
pub struct Resizer(Engine);

impl Resizer {
    /// Resizes a picture of RGB rows from the top, three bytes a pixel, into another of the same
    /// kind. Shrinking averages over what a pixel covers.
    ///
    /// # Errors
    /// In words, where a length is not `width * height * 3` (width first in both sizes).
    pub fn resize(&mut self, from: (u32, u32, &[u8]), to: (u32, u32, &mut [u8])) -> Result<(), String> {
        self.run(from, to, ResizeAlg::Convolution(FilterType::Bilinear))
    }

    /// As [`resize`](Self::resize), but each pixel is made of the four nearest ones only, as
    /// OpenCV's default does; shrinking far loses detail between them.
    ///
    /// # Errors
    /// As [`resize`](Self::resize).
    pub fn sample(&mut self, from: (u32, u32, &[u8]), to: (u32, u32, &mut [u8])) -> Result<(), String> {
        self.run(from, to, ResizeAlg::Interpolation(FilterType::Bilinear))
    }

    fn run(
        &mut self,
        from: (u32, u32, &[u8]),
        to: (u32, u32, &mut [u8]),
        algorithm: ResizeAlg,
    ) -> Result<(), String> {
        // The typed interface: the other one compiles the resizer for every pixel type there is.
        let source = TypedImageRef::<U8x3>::from_buffer(from.0, from.1, from.2).map_err(|e| e.to_string())?;
        let mut target = TypedImage::<U8x3>::from_buffer(to.0, to.1, to.2).map_err(|e| e.to_string())?;
        let options = ResizeOptions::new().resize_alg(algorithm);
        self.0.resize_typed(&source, &mut target, &options).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_averages() {
        let from: Vec<u8> = (0..16).flat_map(|i| [if i % 2 == 0 { 0 } else { 200 }; 3]).collect();
        let mut out = [0; 3];
        Resizer::default().resize((4, 4, &from), (1, 1, &mut out)).unwrap();
        assert!(out.iter().all(|v| v.abs_diff(100) < 3), "{out:?}");
    }

    #[test]
    fn wrong_lengths_are_refused() {
        assert!(Resizer::default().resize((2, 2, &[0; 11]), (1, 1, &mut [0; 3])).is_err());
        assert!(Resizer::default().resize((2, 2, &[0; 12]), (1, 1, &mut [0; 2])).is_err());
    }
}
