//! Flat things in the room: desks, sheets, screens.

use image::RgbImage;

use super::spoof::Spoof;
use crate::identity::colour::srgb;
use crate::math::{Vec3, lerp3, vec3};
use crate::render::Cover;

/// A rectangle in the camera's frame.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    centre: Vec3,
    /// From the centre to the middle of the right edge and of the upper edge, cm.
    right: Vec3,
    up: Vec3,
    normal: Vec3,
    /// Distance of the plane from the camera, cm.
    away: f32,
    /// One over the squared lengths of `right` and `up`.
    inverse: [f32; 2],
    paint: Paint,
    /// The row before which it stands.
    row: u16,
}

/// What a panel shows.
#[derive(Clone, Debug)]
pub(crate) enum Paint {
    /// One colour, linear RGB of the light that leaves it, darker towards the lower edge.
    Plain(Vec3),
    /// A picture, linear RGB, row by row from the upper left corner; its width, and what it is shown on.
    Picture {
        /// Light that leaves each of its pixels.
        light: Vec<Vec3>,
        /// Pixels in a row, and rows.
        edge: usize,
        /// What it is shown on.
        medium: Spoof,
        /// Light of the margin or the bezel.
        margin: Vec3,
    },
}

/// Share of a picture's half-width that is margin or bezel.
const MARGIN: f32 = 0.06;
/// Periods of the moire across a screen, and its strength: the camera's pixels beat with the screen's.
const MOIRE: [f32; 2] = [23.0, 9.0];
const MOIRE_STRENGTH: f32 = 0.14;

impl Paint {
    /// A square picture as a sheet or screen shows it; `lighting` is what arrives there, linear RGB.
    pub(crate) fn picture(image: &RgbImage, medium: Spoof, lighting: Vec3) -> Paint {
        let (shine, margin) = match medium {
            // Ink on paper: less contrast, lit by the room.
            Spoof::Print => (lighting, lighting * 0.85),
            // A screen shines by itself, bluish, and does not care about the room.
            Spoof::Screen => (vec3(0.95, 1.0, 1.12) * 1.1, Vec3::splat(0.02)),
        };
        let floor = if medium == Spoof::Print { 0.05 } else { 0.01 };
        let light = image
            .pixels()
            .map(|p| {
                let colour = srgb(p.0[0].into(), p.0[1].into(), p.0[2].into());
                (colour * 0.85 + Vec3::splat(floor)) * shine
            })
            .collect();
        Paint::Picture { light, edge: image.width() as usize, medium, margin }
    }

    /// Light at a point of the panel, both coordinates from -1 to 1, right and up.
    fn light(&self, u: f32, v: f32) -> Vec3 {
        match self {
            Paint::Plain(colour) => lerp3(*colour * 0.72, *colour, 0.5 + 0.5 * v),
            Paint::Picture { light, edge, medium, margin } => {
                if u.abs().max(v.abs()) > 1.0 - MARGIN {
                    return *margin;
                }
                let at = |t: f32| ((0.5 + 0.5 * t) * *edge as f32).clamp(0.0, (*edge - 1) as f32);
                let (x, y) = (at(u), at(-v));
                let (i, j) = ((x as usize).min(edge - 2), (y as usize).min(edge - 2));
                let (fx, fy) = (x - i as f32, y - j as f32);
                let row = |j: usize| lerp3(light[j * edge + i], light[j * edge + i + 1], fx);
                let colour = lerp3(row(j), row(j + 1), fy);
                match medium {
                    Spoof::Print => colour,
                    Spoof::Screen => {
                        // Red, green and blue stripes lie side by side, so their beats do too.
                        let beat = |shift: f32| {
                            let phase = MOIRE[0] * u + MOIRE[1] * v + 1.5 * u * v + shift;
                            1.0 + MOIRE_STRENGTH * libm::sinf(std::f32::consts::TAU * phase)
                        };
                        colour * vec3(beat(0.0), beat(0.33), beat(0.67))
                    }
                }
            }
        }
    }
}

impl Panel {
    /// A panel that stands before a row of seats, the first of which is 0.
    pub(crate) fn new(centre: Vec3, right: Vec3, up: Vec3, paint: Paint, row: u16) -> Panel {
        let normal = vec3(
            right.y * up.z - right.z * up.y,
            right.z * up.x - right.x * up.z,
            right.x * up.y - right.y * up.x,
        )
        .normalized();
        let inverse = [1.0 / right.dot(right), 1.0 / up.dot(up)];
        Panel { centre, right, up, normal, away: normal.dot(centre), inverse, paint, row }
    }

    /// The nearest of `panels` along a ray from the camera, and the light that comes back.
    pub(crate) fn nearest(panels: &[Panel], ray: Vec3) -> Option<(Cover, Vec3)> {
        panels.iter().filter_map(|panel| panel.hit(ray)).min_by(|(a, _), (b, _)| a.depth.total_cmp(&b.depth))
    }

    /// The panel along a ray from the camera, and the light that comes back.
    #[inline]
    pub(crate) fn hit(&self, ray: Vec3) -> Option<(Cover, Vec3)> {
        let facing = self.normal.dot(ray);
        if facing.abs() < 1e-4 {
            return None;
        }
        let t = self.away / facing;
        if t <= 1.0 {
            return None;
        }
        let at = ray * t - self.centre;
        let v = at.dot(self.up) * self.inverse[1];
        if v.abs() > 1.0 {
            return None;
        }
        let u = at.dot(self.right) * self.inverse[0];
        if u.abs() > 1.0 {
            return None;
        }
        Some((Cover { depth: t, row: self.row }, self.paint.light(u, v)))
    }
}
