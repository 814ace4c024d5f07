//! Colours of skin, hair and eyes.

use std::sync::LazyLock;

use crate::math::{Random, Vec3, lerp, lerp3, vec3};

/// Linear light of an 8-bit sRGB colour (IEC 61966-2-1).
pub(crate) fn srgb(r: f32, g: f32, b: f32) -> Vec3 {
    // Most colours are of whole numbers, and powers take long.
    let light = |c: f32| {
        let whole = c as u8;
        if f32::from(whole) == c { LINEAR[usize::from(whole)] } else { linear(c) }
    };
    vec3(light(r), light(g), light(b))
}

static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| std::array::from_fn(|c| linear(c as f32)));

fn linear(c: f32) -> f32 {
    let c = c / 255.0;
    if c <= 0.04045 { c / 12.92 } else { libm::powf((c + 0.055) / 1.055, 2.4) }
}

/// Skin from little melanin to much, 8-bit sRGB; read off the steps of the Monk Skin Tone Scale.
const SKIN: [[f32; 3]; 8] = [
    [246.0, 219.0, 201.0],
    [238.0, 203.0, 179.0],
    [228.0, 184.0, 151.0],
    [212.0, 163.0, 126.0],
    [188.0, 135.0, 98.0],
    [154.0, 105.0, 74.0],
    [128.0, 86.0, 62.0],
    [101.0, 69.0, 52.0],
];

/// The skin for an amount of melanin in [0, 1] and a warmth in [-1, 1].
pub(crate) fn skin(melanin: f32, hue: f32) -> Vec3 {
    let t = melanin.clamp(0.0, 0.999) * (SKIN.len() - 1) as f32;
    let step = t as usize;
    let (a, b) = (SKIN[step], SKIN[step + 1]);
    let f = t - step as f32;
    let base = srgb(lerp(a[0], b[0], f), lerp(a[1], b[1], f), lerp(a[2], b[2], f));
    base * vec3(1.0 + 0.05 * hue, 1.0, 1.0 - 0.10 * hue)
}

/// A hair colour that goes with the skin and the age.
pub(crate) fn hair(random: &mut Random, melanin: f32, age: f32) -> Vec3 {
    let (which, brightness, grey) = (random.unit(), random.range(0.75, 1.3), random.unit());
    let black = srgb(26.0, 21.0, 19.0);
    let colour = if grey < (age - 0.45) * 1.2 {
        srgb(150.0, 147.0, 143.0)
    } else if melanin > 0.35 {
        match which {
            w if w < 0.78 => black,
            _ => srgb(48.0, 34.0, 26.0),
        }
    } else {
        match which {
            w if w < 0.22 => srgb(30.0, 24.0, 21.0),
            w if w < 0.48 => srgb(66.0, 44.0, 31.0),
            w if w < 0.68 => srgb(108.0, 76.0, 50.0),
            w if w < 0.89 => srgb(186.0, 148.0, 96.0),
            _ => srgb(140.0, 66.0, 34.0),
        }
    };
    colour * brightness
}

/// An iris colour that goes with the skin.
pub(crate) fn iris(random: &mut Random, melanin: f32) -> Vec3 {
    let (which, light) = (random.unit(), random.unit());
    if melanin > 0.45 || which < 0.35 {
        srgb(70.0, 44.0, 27.0) * lerp(0.5, 1.5, light)
    } else if which < 0.55 {
        srgb(120.0, 88.0, 50.0) * lerp(0.8, 1.3, light)
    } else if which < 0.72 {
        srgb(98.0, 118.0, 78.0) * lerp(0.7, 1.3, light)
    } else if which < 0.9 {
        srgb(92.0, 130.0, 168.0) * lerp(0.7, 1.3, light)
    } else {
        srgb(128.0, 140.0, 146.0)
    }
}

/// Any colour, drawn towards grey by `muting` in [0, 1].
pub(crate) fn muted(random: &mut Random, low: f32, high: f32, muting: f32) -> Vec3 {
    let colour = vec3(random.range(low, high), random.range(low, high), random.range(low, high));
    lerp3(colour, Vec3::splat((colour.x + colour.y + colour.z) / 3.0), muting)
}
