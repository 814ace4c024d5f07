//! What light does on a surface.

mod eye;
mod hair;
mod other;
mod skin;

use crate::head::Material;
use crate::math::{LANES, Lanes, Mask, Real, Vec3, lerp, power, vec3};
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

    /// A pattern whose features are of `size` cm, 0 where the pixels do not resolve it.
    #[inline]
    fn fine(&self, size: f32, pattern: impl FnOnce() -> f32) -> f32 {
        let resolved = self.resolves(size);
        if resolved > 0.0 { pattern() * resolved } else { 0.0 }
    }

    /// 1 for patterns of `size` cm that the pixels resolve, 0 for those that they do not.
    #[inline]
    fn resolves(&self, size: f32) -> f32 {
        (2.0 - 2.0 * self.pixel / size).clamp(0.0, 1.0)
    }
}

/// A point of a surface that a ray has met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Met {
    /// Where, in the person's frame, cm.
    pub(crate) at: Vec3,
    /// Where the ray goes, in the camera's frame.
    pub(crate) ray: Vec3,
    pub(crate) material: Material,
    /// How far along the ray, cm.
    pub(crate) depth: f32,
}

/// Light that leaves surfaces towards the camera. Points that lie together are shaded together; `spread` is the
/// width of a pixel at unit distance.
pub(crate) fn shade(
    figure: &Figure<'_>,
    light: &Light,
    met: [Option<Met>; LANES],
    spread: f32,
) -> [Vec3; LANES] {
    let normals = met.map(|met| {
        met.map_or(Vec3::default(), |met| {
            let most = if met.material == Material::Skin { 0.05 } else { 0.12 };
            figure.normal(met.at, met.material, (0.4 * spread * met.depth).clamp(0.02, most))
        })
    });
    let Some(some) = met.iter().flatten().next() else { return [Vec3::default(); LANES] };
    let (at, normal) =
        (Vec3::gather(|lane| met[lane].unwrap_or(*some).at), Vec3::gather(|lane| normals[lane]));
    let facing = normal.dot(light.key_from).above(-0.3);
    let mut lit = Lanes::of(0.0);
    if facing.any() {
        lit = Lanes::choose(facing, figure.lit(at, normal, light.key_from, spread), lit);
    }
    let open = figure.openness(at, normal);
    let head = figure.head_point(at);
    let model = figure.head.model(head);
    std::array::from_fn(|lane| {
        let Some(met) = met[lane] else { return Vec3::default() };
        let surface = Surface {
            head: head.lane(lane),
            model: model.lane(lane),
            person: met.at,
            normal: normals[lane],
            eye: -met.ray,
            lit: lit.0[lane],
            open: open.0[lane],
            pixel: spread * met.depth,
        };
        let colour = match met.material {
            Material::Skin => skin::shade(figure, light, surface),
            Material::Eye => eye::shade(figure, light, &surface),
            Material::Hair => hair::shade(figure, light, &surface),
            Material::Glasses => other::glasses(figure, light, &surface),
            Material::Mouth => other::mouth(figure, light, &surface),
            Material::Cloth => other::cloth(figure, light, &surface),
        };
        vec3(colour.x.max(0.0), colour.y.max(0.0), colour.z.max(0.0))
    })
}
