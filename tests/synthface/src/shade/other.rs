//! Clothes, teeth, spectacle frames.

use super::Surface;
use crate::head::OutfitKind;
use crate::identity::colour::srgb;
use crate::math::{Vec3, fractal_noise, lerp, lerp3, noise, power, smoothstep, vec3};
use crate::render::Figure;
use crate::view::Light;

pub(super) fn cloth(figure: &Figure<'_>, light: &Light, at: &Surface) -> Vec3 {
    let outfit = &figure.outfit;
    let t = figure.body.torso_point(at.person);
    let seed = figure.head.identity.pattern();
    let mut colour = outfit.colour;
    match outfit.kind {
        OutfitKind::Striped => {
            let phase = t.y * 0.28;
            let stripe = ((phase - phase.floor()) - 0.5).abs();
            colour = lerp3(colour, outfit.accent, smoothstep(0.22, 0.28, stripe));
        }
        OutfitKind::Shirt => {
            // The placket and its buttons.
            if t.z > 0.0 && t.x.abs() < 0.9 {
                colour = colour * lerp(0.72, 1.0, smoothstep(0.02, 0.12, (t.x - 0.85).abs()));
                let phase = t.y * 0.22;
                let button = vec3(t.x, ((phase - phase.floor()) - 0.5) / 0.22, 0.0).length();
                colour = lerp3(colour, outfit.accent * 0.6, smoothstep(0.42, 0.34, button));
            }
        }
        OutfitKind::Tee | OutfitKind::Hoodie => {}
    }
    let fold = 0.92 + 0.20 * fractal_noise(vec3(t.x * 0.35, t.y * 0.16, t.z * 0.35), 3, seed + 91);
    let weave = 1.0 + 0.06 * at.fine(0.2, || noise(t * 9.0, seed + 92));
    let key = ((at.key(light) + 0.12) / 1.12).max(0.0);
    let arriving = light.key * (key * at.lit) + at.ambient(light, figure.up) + at.fill(light);
    colour * arriving * (0.8 * fold * weave)
}

pub(super) fn mouth(figure: &Figure<'_>, light: &Light, at: &Surface) -> Vec3 {
    let mouth = &figure.head.mouth;
    let s = at.model.mirrored();
    let across = (s.x / mouth.width).min(1.2);
    let colour = if mouth.teeth(s) < 0.05 {
        let gap = lerp(1.0, lerp(0.55, 1.0, mouth.tooth(s)), at.resolves(0.25));
        // Gums above, slightly yellower towards them.
        let gum = smoothstep(mouth.tooth_edge() + 0.78, mouth.tooth_edge() + 0.92, s.y);
        lerp3(vec3(0.66, 0.62, 0.53) * gap, srgb(150.0, 80.0, 78.0), gum)
    } else {
        let tongue = smoothstep(mouth.y - mouth.open - 0.1, mouth.y - mouth.open * 0.55, s.y);
        lerp3(srgb(135.0, 62.0, 60.0), srgb(38.0, 10.0, 12.0), tongue)
    };
    let arriving = light.key * (at.key(light).max(0.0) * at.lit * 0.6)
        + light.ambient * (0.35 + 0.4 * at.open)
        + light.fill * 0.3;
    colour * arriving * smoothstep(1.05, 0.55, across)
}

pub(super) fn glasses(figure: &Figure<'_>, light: &Light, at: &Surface) -> Vec3 {
    let colour = figure.head.identity.glasses.map_or(Vec3::splat(0.02), |glasses| glasses.colour);
    let glint = power(at.normal.dot(at.halfway(light.key_from)).max(0.0), 60) * 0.5 * at.lit;
    let arriving =
        light.key * (at.key(light).max(0.0) * at.lit) + at.ambient(light, figure.up) + at.fill(light);
    colour * arriving * 0.9 + Vec3::splat(glint)
}
