//! Hair and headscarves.

use super::Surface;
use crate::identity::HairCut;
use crate::math::{Vec3, lerp3, noise, power, vec3};
use crate::render::Figure;
use crate::view::Light;

pub(super) fn shade(figure: &Figure<'_>, light: &Light, at: &Surface) -> Vec3 {
    let identity = figure.head.identity;
    let (hair, seed, q) = (&identity.hair, identity.pattern(), at.model);
    let ambient = at.ambient(light, figure.up);
    let key = at.key(light);
    if hair.cut == HairCut::Scarf {
        let weave = 0.95 + 0.10 * at.fine(0.3, || noise(at.head * 6.0, seed));
        let arriving = light.key * (((key + 0.1) / 1.1).max(0.0) * at.lit) + ambient + at.fill(light);
        return hair.colour * arriving * (0.8 * weave);
    }
    let around = figure.head.hair.as_ref().map_or(q.x, |model| model.around(q));
    let wave = hair.curl * 1.2 * noise(vec3(0.0, q.y * 0.8, q.z * 0.3), seed + 80);
    let fine = at.fine(0.18, || {
        noise(vec3(around * 95.0 + wave, q.y * (0.30 + 1.2 * hair.curl), q.z * 2.2), seed + 81)
    });
    let broad = noise(vec3(around * 30.0, q.y * 0.3, q.z * 0.9), seed + 82);
    let dense = matches!(hair.cut, HairCut::Afro | HairCut::Buzz);
    let pattern = if hair.cut == HairCut::Afro {
        let curls = at.fine(0.3, || noise(at.head * 5.0, seed + 83));
        0.8 + 0.6 * curls + 0.4 * noise(at.head * 2.0, seed + 84)
    } else {
        0.78 + 0.40 * fine + 0.30 * broad
    };
    let colour = hair.colour * pattern.max(0.15);

    // Highlights lie across the strands (Kajiya and Kay 1989).
    let down = vec3(q.x * 0.25, -1.0, 0.35).normalized();
    let strand = (down - at.normal * at.normal.dot(down)).normalized();
    let along = strand.dot(at.halfway(light.key_from));
    let across = (1.0 - along * along).max(0.0).sqrt();
    let gloss = power(across, 50) * 0.15 * (0.6 + 0.7 * fine) + power(across, 12) * 0.05;
    let gloss = if dense { gloss * 0.2 } else { gloss };

    let soft = ((key + 0.25) / 1.25).max(0.0);
    let arriving = light.key * (soft * (0.15 + 0.85 * at.lit)) + ambient * 0.9 + at.fill(light);
    let tint = lerp3(Vec3::splat(1.0), hair.colour * 2.0, 0.5);
    colour * arriving * 0.85 + light.key * tint * (gloss * at.lit * key.max(0.0).sqrt())
}
