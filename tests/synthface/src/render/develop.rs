//! From light to picture: exposure, tone curve, blur, noise.

use std::sync::LazyLock;

use image::RgbImage;

use crate::math::{Vec3, lerp, vec3};
use crate::view::Finish;

use super::parallel::for_each_row;

/// Factors that turn scene light into the tone curve's input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exposure(Vec3);

/// Geometric mean that a picture's light is brought towards: about middle grey before the curve.
const METER_TARGET: f32 = 0.30;

impl Exposure {
    /// An exposure for light whose geometric mean is `mean`. Cameras correct part of a deviation: dark
    /// skin stays darker than pale skin.
    pub(crate) fn metered(mean: f32, finish: &Finish) -> Exposure {
        let gain = libm::powf(METER_TARGET / mean.max(1e-4), 0.45).clamp(0.6, 2.2);
        Exposure(finish.white_balance * (0.56 * gain * finish.exposure))
    }

    /// Display light in [0, 1].
    #[inline]
    pub(crate) fn develop(&self, light: Vec3) -> Vec3 {
        let c = light * self.0;
        vec3(curve(c.x), curve(c.y), curve(c.z))
    }
}

/// The filmic curve of Narkowicz 2015 (<https://knarkowicz.wordpress.com/2016/01/06/aces-filmic-tone-mapping-curve/>),
/// softened by a third of the straight line.
#[inline]
fn curve(x: f32) -> f32 {
    let x = x.max(0.0);
    let filmic = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14);
    lerp(filmic, x.min(1.0), 0.35).clamp(0.0, 1.0)
}

/// Geometric mean of the luminance of the picture's middle, as a camera meters a portrait.
pub(crate) fn meter(light: impl Fn(usize, usize) -> Vec3, width: usize, height: usize) -> f32 {
    let (mut sum, mut count) = (0.0f32, 0u32);
    let step = (width / 96).max(1);
    for y in (height / 4..height - height / 4).step_by(step) {
        for x in (width / 4..width - width / 4).step_by(step) {
            sum += libm::logf(light(x, y).luminance() + 0.01);
            count += 1;
        }
    }
    libm::expf(sum / count.max(1) as f32)
}

/// Entries of the table from display light to sRGB. The index is the square root, which spreads the
/// darks.
const GAMMA_STEPS: usize = 4096;

static GAMMA: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..=GAMMA_STEPS)
        .map(|i| {
            let root = i as f32 / GAMMA_STEPS as f32;
            let c = root * root;
            if c <= 0.003_130_8 { 12.92 * c } else { 1.055 * libm::powf(c, 1.0 / 2.4) - 0.055 }
        })
        .collect()
});

#[inline]
fn encode(c: f32) -> f32 {
    GAMMA[((c.clamp(0.0, 1.0).sqrt() * GAMMA_STEPS as f32 + 0.5) as usize).min(GAMMA_STEPS)]
}

/// Blurs display light by a Gaussian of `sigma` pixels.
fn blur(pixels: &mut [Vec3], width: usize, sigma: f32) {
    // Less cannot be seen.
    if sigma < 0.15 || width == 0 {
        return;
    }
    let reach = (sigma * 2.5).ceil() as isize;
    let mut kernel: Vec<f32> =
        (-reach..=reach).map(|i| libm::expf(-((i * i) as f32) / (2.0 * sigma * sigma))).collect();
    let total: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= total);
    let height = pixels.len() / width;
    for vertical in [false, true] {
        let source = pixels.to_vec();
        for_each_row(pixels, width, |y, row| {
            for (x, pixel) in row.iter_mut().enumerate() {
                let mut sum = Vec3::default();
                for (k, i) in kernel.iter().zip(-reach..) {
                    let (sx, sy) = if vertical {
                        (x, y.saturating_add_signed(i).min(height - 1))
                    } else {
                        (x.saturating_add_signed(i).min(width - 1), y)
                    };
                    sum += source[sy * width + sx] * *k;
                }
                *pixel = sum;
            }
        });
    }
}

/// Four sums of random bytes, centred, with unit deviation: one of luminance, three of colour.
#[inline]
fn grain(x: usize, y: usize, seed: u64) -> [f32; 4] {
    let mut z = seed ^ ((y as u64) << 32 | x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    // The sum of two uniform bytes has a deviation of sqrt(2 (256² - 1) / 12) = 104.5.
    std::array::from_fn(|i| {
        let (a, b) = ((z >> (16 * i)) & 0xff, (z >> (16 * i + 8)) & 0xff);
        (a as f32 + b as f32 - 255.0) / 104.5
    })
}

/// Makes the picture from display light.
pub(crate) fn finish(mut pixels: Vec<Vec3>, width: u32, height: u32, look: &Finish, seed: u64) -> RgbImage {
    let w = width as usize;
    // Lenses blur before the sensor counts; display light is near enough.
    blur(&mut pixels, w, look.blur * height as f32 / 200.0);
    let mut image = RgbImage::new(width, height);
    let source = &pixels;
    for_each_row(&mut image, w * 3, |y, row| {
        for (x, out) in row.chunks_exact_mut(3).enumerate() {
            let c = source[y * w + x];
            let g = grain(x, y, seed);
            for ((out, value), colour) in out.iter_mut().zip([c.x, c.y, c.z]).zip(&g[1..]) {
                let noisy = encode(value) + look.noise * (0.7 * g[0] + 0.5 * colour);
                *out = (noisy * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
    });
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_keeps_black_and_white_and_order() {
        assert_eq!(encode(0.0), 0.0);
        assert!((encode(1.0) - 1.0).abs() < 1e-3);
        assert!((encode(0.214) - 0.5).abs() < 2e-3);
        assert!((0..100).all(|i| encode(i as f32 / 100.0) < encode((i + 1) as f32 / 100.0)));
    }

    #[test]
    fn grain_is_centred_and_has_unit_deviation() {
        let all: Vec<f32> = (0..10_000).flat_map(|i| grain(i % 100, i / 100, 3)).collect();
        let mean = all.iter().sum::<f32>() / all.len() as f32;
        let variance = all.iter().map(|g| g * g).sum::<f32>() / all.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
