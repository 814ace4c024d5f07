//! What light does on a surface.

mod eye;
mod hair;
mod other;
mod skin;

use crate::head::Material;
use crate::math::{Vec3, lerp, power, vec3};
use crate::render::Figure;
use crate::view::Light;

/// A point of a figure's surface under its light. Directions are in the camera's frame.
#[derive(Clone, Copy, Debug)]
struct Surface {
    /// In the head's frame, cm: patterns on the skin are anchored here.
    head: Vec3,
    /// In the undeformed head's frame, cm: features are placed here.
    model: Vec3,
    /// In the person's frame, cm.
    person: Vec3,
    normal: Vec3,
    /// Towards the camera.
    eye: Vec3,
    /// How much of the key light arrives, 0 to 1.
    lit: f32,
    /// How much of the surroundings is seen, 0 to 1.
    open: f32,
    /// Width of a pixel on the surface, cm; finer patterns are left out.
    pixel: f32,
}

impl Surface {
    /// Cosine of the key light.
    #[inline]
    fn key(&self, light: &Light) -> f32 {
        self.normal.dot(light.key_from)
    }

    /// Direction halfway between camera and `light`.
    #[inline]
    fn halfway(&self, light: Vec3) -> Vec3 {
        (light + self.eye).normalized()
    }

    /// Light from everywhere, less from below and in corners.
    #[inline]
    fn ambient(&self, light: &Light, up: Vec3) -> Vec3 {
        light.ambient * (lerp(0.55, 1.0, 0.5 + 0.5 * self.normal.dot(up)) * self.open)
    }

    /// Light from the fill.
    #[inline]
    fn fill(&self, light: &Light) -> Vec3 {
        light.fill * (self.normal.dot(light.fill_from).max(0.0) * (0.4 + 0.6 * self.open))
    }

    /// Reflectance towards grazing (Schlick 1994), for skin and cornea.
    #[inline]
    fn fresnel(&self) -> f32 {
        0.03 + 0.35 * power((1.0 - self.eye.dot(self.normal)).max(0.0), 5)
    }

    /// 1 for patterns of `size` cm that the pixels resolve, 0 for those that they do not.
    #[inline]
    fn resolves(&self, size: f32) -> f32 {
        (2.0 - 2.0 * self.pixel / size).clamp(0.0, 1.0)
    }
}

/// Light that leaves the surface at `p` (person's frame) towards the camera; `ray` comes from the camera
/// and `pixel` is the width of a pixel on the surface, cm.
pub(crate) fn shade(
    figure: &Figure<'_>,
    light: &Light,
    p: Vec3,
    ray: Vec3,
    material: Material,
    pixel: f32,
) -> Vec3 {
    let step = (0.4 * pixel).clamp(0.02, if material == Material::Skin { 0.05 } else { 0.12 });
    let normal = figure.normal(p, material, step);
    let head = figure.head_point(p);
    let facing = normal.dot(light.key_from);
    let lit = if facing > -0.3 { figure.lit(p, normal, light.key_from, pixel) } else { 0.0 };
    let surface = Surface {
        head,
        model: figure.head.model(head),
        person: p,
        normal,
        eye: -ray,
        lit,
        open: figure.openness(p, normal),
        pixel,
    };
    let colour = match material {
        Material::Skin => skin::shade(figure, light, surface),
        Material::Eye => eye::shade(figure, light, &surface),
        Material::Hair => hair::shade(figure, light, &surface),
        Material::Glasses => other::glasses(figure, light, &surface),
        Material::Mouth => other::mouth(figure, light, &surface),
        Material::Cloth => other::cloth(figure, light, &surface),
    };
    vec3(colour.x.max(0.0), colour.y.max(0.0), colour.z.max(0.0))
}
