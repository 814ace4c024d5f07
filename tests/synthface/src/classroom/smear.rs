//! Motion blur.

use image::RgbImage;

/// How far somebody moves during the exposure, pixels across and down.
pub(crate) type Motion = [f32; 2];

/// Shorter motion than this cannot be seen, pixels.
const VISIBLE: f32 = 1.5;

/// Smears every figure of a picture along its own motion. `owners` holds, for every pixel, 0 or one more
/// than the index of its figure in `motions`.
pub(crate) fn smear(image: &mut RgbImage, owners: &[u16], motions: &[Motion]) {
    let moves = |motion: &Motion| squared(motion) > VISIBLE * VISIBLE;
    if !motions.iter().any(moves) {
        return;
    }
    let source = image.clone();
    let (width, height) = (image.width() as i64, image.height() as i64);
    for (pixel, owner) in image.enumerate_pixels_mut().zip(owners) {
        let Some(motion) = usize::from(*owner).checked_sub(1).and_then(|i| motions.get(i)) else { continue };
        if !moves(motion) {
            continue;
        }
        let (x, y, out) = pixel;
        let length = squared(motion).sqrt();
        let samples = (length.ceil() as i64).clamp(2, 24);
        let mut sum = [0u32; 3];
        for i in 0..samples {
            let along = i as f32 / (samples - 1) as f32 - 0.5;
            let at = |from: u32, by: f32, edge: i64| {
                (i64::from(from) + (by * along).round() as i64).clamp(0, edge - 1) as u32
            };
            let there = source.get_pixel(at(x, motion[0], width), at(y, motion[1], height));
            sum.iter_mut().zip(there.0).for_each(|(sum, value)| *sum += u32::from(value));
        }
        out.0 = sum.map(|sum| (sum / samples as u32) as u8);
    }
}

/// Squared length of a motion.
fn squared(motion: &Motion) -> f32 {
    motion[0] * motion[0] + motion[1] * motion[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_moves_is_smeared() {
        let mut image = RgbImage::from_fn(20, 2, |x, _| image::Rgb([if x % 2 == 0 { 0 } else { 200 }; 3]));
        let still = image.clone();
        let owners: Vec<u16> = (0..40).map(|i| if i % 20 < 10 { 1 } else { 2 }).collect();
        smear(&mut image, &owners, &[[0.0, 0.0], [8.0, 0.0]]);
        assert_eq!(image.get_pixel(4, 0), still.get_pixel(4, 0));
        assert!((60..140).contains(&image.get_pixel(14, 0).0[0]));
    }
}
