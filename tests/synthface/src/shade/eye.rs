//! Eyeballs.

use super::Surface;
use crate::math::{Vec3, lerp, lerp3, noise, power, smoothstep, vec3};
use crate::render::Figure;
use crate::view::Light;

pub(super) fn shade(figure: &Figure<'_>, light: &Light, at: &Surface) -> Vec3 {
    let head = &figure.head;
    let p = &head.identity.shape;
    let s = at.model.mirrored();
    let side = if at.model.x < 0.0 { -1.0 } else { 1.0 };
    let out = (s - head.eyes.centre).normalized();
    let [right, up] = figure.expression.gaze;
    let gaze = vec3(right * side, up, 1.0).normalized();
    let along = out.dot(gaze).clamp(-1.0, 1.0);
    let from_axis = (1.0 - along * along).max(0.0).sqrt() * p.eye_radius;
    let iris = p.iris_radius;

    let veins = lerp3(Vec3::splat(1.0), vec3(0.95, 0.80, 0.76), smoothstep(0.7, 1.25, from_axis));
    let mut colour = vec3(0.66, 0.62, 0.59) * veins;
    let (dx, dy) = (out.x - gaze.x, out.y - gaze.y);
    let spoke = at.fine(0.15, || noise(vec3(dx * 14.0, dy * 14.0, 0.0), head.identity.pattern() + 71));
    let inner = lerp(0.8, 1.25, smoothstep(0.2, 0.5, from_axis / iris));
    let ring = lerp(1.0, 0.30, smoothstep(iris * 0.80, iris, from_axis));
    let iris_colour = head.identity.iris * ((1.05 + 0.4 * spoke) * inner * ring);
    colour = lerp3(colour, iris_colour, smoothstep(iris + 0.05, iris - 0.03, from_axis));
    colour = lerp3(colour, Vec3::splat(0.008), smoothstep(iris * 0.42, iris * 0.36, from_axis));

    // Lids and lashes shade the ball, most under the upper lid.
    let lids = smoothstep(0.0, -0.32, head.eyes.opening(s));
    let under = smoothstep(0.30, -0.05, s.y - head.eyes.centre.y - p.lid_upper * 0.6);
    colour = colour * (lerp(0.42, 1.0, lids) * lerp(0.66, 1.0, under));

    let key = ((at.key(light) + 0.25) / 1.25).max(0.0);
    let glint = power(at.normal.dot(at.halfway(light.key_from)).max(0.0), 180) * 1.1 * at.lit.max(0.3)
        + power(at.normal.dot(at.halfway(light.fill_from)).max(0.0), 160) * 0.15;
    let arriving =
        light.key * (key * (0.35 + 0.65 * at.lit)) + light.ambient * at.open.max(0.45) + light.fill;
    colour * arriving * 0.85 + Vec3::splat(glint)
}
