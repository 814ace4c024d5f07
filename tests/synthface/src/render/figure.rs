//! One person standing before the camera: head, neck and clothes in one distance function.

use std::sync::Arc;

use crate::head::{Body, BoundingGrid, Head, Material, Outfit, PIVOT};
use crate::identity::Identity;
use crate::math::{DEGREE, Mat3, Vec3, smooth_min};
use crate::view::{Expression, Pose};

/// A person made ready to be rendered many times.
#[derive(Clone, Debug)]
pub struct Sculpture {
    identity: Arc<Identity>,
    grid: Arc<BoundingGrid>,
}

impl Sculpture {
    /// Samples the person's distance function; about ten milliseconds.
    pub fn new(identity: Identity) -> Sculpture {
        let grid = BoundingGrid::new(&identity);
        Sculpture { identity: Arc::new(identity), grid: Arc::new(grid) }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Where and how a figure stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stance {
    /// The pivot of head and body in the camera's frame, cm.
    pub(crate) at: Vec3,
    /// Turn of the head with respect to the camera.
    pub(crate) pose: Pose,
    /// Yaw of the shoulders with respect to the camera, degrees.
    pub(crate) torso_yaw: f32,
    /// How far the camera looks down, degrees: upright bodies lean by as much in the picture.
    pub(crate) tilt: f32,
}

/// A person with pose, expression and clothes. The person's frame has the camera's axes and its origin at
/// the pivot between head and neck.
#[derive(Debug)]
pub(crate) struct Figure<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) body: Body,
    pub(crate) outfit: Outfit,
    pub(crate) expression: Expression,
    pub(crate) stance: Stance,
    /// Upwards in the room, in the camera's frame.
    pub(crate) up: Vec3,
    grid: &'a BoundingGrid,
    rotation: Mat3,
}

/// Half of the depth in which a figure lies, cm.
const REACH: f32 = 36.0;
/// Width of the blend between head and neck, cm.
const NECK_BLEND: f32 = 1.6;

impl<'a> Figure<'a> {
    pub(crate) fn new(
        sculpture: &'a Sculpture,
        expression: &Expression,
        outfit: &Outfit,
        stance: Stance,
    ) -> Figure<'a> {
        let identity = sculpture.identity();
        let Pose { yaw, pitch, roll } = stance.pose;
        let rotation = Mat3::rotation(yaw * DEGREE, pitch * DEGREE, roll * DEGREE);
        let lean = Mat3::rotation(0.0, stance.tilt * DEGREE, 0.0);
        let torso = lean.compose(&Mat3::rotation(stance.torso_yaw * DEGREE, 0.0, 0.0));
        let body =
            Body::new(identity.shape.neck_radius, identity.masculinity, outfit.kind, &rotation, &torso);
        Figure {
            head: Head::new(identity, expression),
            body,
            outfit: *outfit,
            expression: *expression,
            stance,
            up: lean.apply(Vec3 { x: 0.0, y: 1.0, z: 0.0 }),
            grid: &sculpture.grid,
            rotation,
        }
    }

    /// A point of the person's frame in the head's.
    #[inline]
    pub(crate) fn head_point(&self, p: Vec3) -> Vec3 {
        self.rotation.apply_inverse(p) + PIVOT
    }

    /// A point of the head's frame in the camera's.
    pub(crate) fn camera_point(&self, head: Vec3) -> Vec3 {
        self.rotation.apply(head - PIVOT) + self.stance.at
    }

    /// The distance from `p` to the surface and the material there, or, with no material, a bound that is
    /// never more than it.
    #[inline]
    fn step(&self, p: Vec3) -> (f32, Option<Material>) {
        let h = self.head_point(p);
        let bound = self.grid.lower_bound(h);
        let bulk = self.body.lower_bound(p);
        if bound.min(bulk) > NECK_BLEND {
            return (bound.min(bulk), None);
        }
        let (neck, cloth) = self.body.distances(p);
        let body = neck.min(cloth);
        if bound > NECK_BLEND {
            let material = if cloth <= neck { Material::Cloth } else { Material::Skin };
            // Where the head is nearer than the body, only its bound is known.
            return if body < bound { (body, Some(material)) } else { (bound, None) };
        }
        let blend = if neck < NECK_BLEND { NECK_BLEND * 0.25 } else { 0.0 };
        let coarse = bound.min(body * Head::SAFETY) - blend;
        if coarse > 0.3 {
            return (coarse, None);
        }
        let mut parts = self.head.distances(h);
        parts.skin = smooth_min(parts.skin, neck, NECK_BLEND);
        let (d, material) = parts.nearest();
        if cloth < d { (cloth, Some(Material::Cloth)) } else { (d, Some(material)) }
    }

    /// How far the cone around a ray of the camera's frame is empty; `radius` is its radius at unit distance.
    /// `None` when it passes the figure.
    pub(crate) fn approach(&self, ray: Vec3, radius: f32) -> Option<f32> {
        /// A cone that has not arrived by then grazes the figure: its rays start where it is.
        const STEPS: u32 = 40;
        let middle = self.stance.at.length();
        let mut t = (middle - REACH).max(1.0);
        for _ in 0..STEPS {
            let p = ray * t - self.stance.at;
            let mut bound = self.grid.lower_bound(self.head_point(p)).min(self.body.lower_bound(p));
            if bound < NECK_BLEND {
                let (neck, cloth) = self.body.distances(p);
                let head = self.grid.lower_bound(self.head_point(p));
                let blend = if neck.max(head) < NECK_BLEND { NECK_BLEND * 0.25 } else { 0.0 };
                bound = head.min(neck.min(cloth) * Head::SAFETY) - blend;
            }
            let free = bound - radius * t;
            if free < 0.15 {
                return Some(t);
            }
            t += free / (1.0 + radius);
            if t > middle + REACH {
                return None;
            }
        }
        Some(t)
    }

    /// Follows a ray of the camera's frame from `start`; `spread` is the width of a pixel at unit distance,
    /// and nothing beyond `depth` is of interest. Gives the distance to the surface and what it is made of.
    pub(crate) fn trace(&self, ray: Vec3, spread: f32, start: f32, depth: f32) -> Option<(f32, Material)> {
        /// Grazing rays need most; beyond this they have missed by less than anybody sees.
        const STEPS: u32 = 90;
        /// So near, nothing thin can be passed by a step that is a little too long, and a step into the
        /// surface is taken back at once.
        const NEAR: f32 = 0.8;
        let middle = self.stance.at.length();
        let mut t = start;
        let end = depth.min(middle + REACH);
        for _ in 0..STEPS {
            let (d, material) = self.step(ray * t - self.stance.at);
            let pixel = spread * t;
            let step = match material {
                None => d,
                Some(material) if d < 0.25 * pixel => return Some((t + d * 0.8, material)),
                // Rims are thinner than a step too long.
                Some(Material::Glasses) => d * Head::SAFETY,
                Some(_) if d < NEAR => d * 0.95,
                Some(_) => d * Head::SAFETY,
            };
            t += step.max(0.1 * pixel);
            if t > end {
                return None;
            }
        }
        None
    }

    /// An estimate of the distance to anything of this figure, for soft shadows.
    #[inline]
    fn smooth_distance(&self, p: Vec3) -> f32 {
        self.grid.smooth(self.head_point(p)).min(self.body.smooth_distance(p))
    }

    /// Direction out of the surface at `p` (person's frame).
    pub(crate) fn normal(&self, p: Vec3, material: Material, step: f32) -> Vec3 {
        let distance = |p: Vec3| {
            let (neck, cloth) = self.body.distances(p);
            match material {
                Material::Cloth => cloth,
                Material::Skin => smooth_min(self.head.skin(self.head_point(p)), neck, NECK_BLEND),
                Material::Eye | Material::Hair | Material::Glasses | Material::Mouth => {
                    let parts = self.head.distances(self.head_point(p));
                    match material {
                        Material::Eye => parts.eye,
                        Material::Hair => parts.hair,
                        Material::Glasses => parts.glasses,
                        Material::Mouth => parts.mouth,
                        Material::Skin | Material::Cloth => parts.skin,
                    }
                }
            }
        };
        // Differences towards the corners of a tetrahedron: four samples instead of six.
        let corners = [(1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0)];
        let mut n = Vec3::default();
        for (x, y, z) in corners {
            let corner = Vec3 { x, y, z };
            n += corner * distance(p + corner * step);
        }
        n.normalized()
    }

    /// How much of the surroundings `p` sees, 0 to 1.
    pub(crate) fn openness(&self, p: Vec3, normal: Vec3) -> f32 {
        let (mut hidden, mut weight) = (0.0, 1.0);
        for i in 0..3 {
            let height = 0.4 + 0.75 * i as f32;
            hidden += (height - self.smooth_distance(p + normal * height)).max(0.0) * weight;
            weight *= 0.62;
        }
        (1.0 - 0.42 * hidden).clamp(0.0, 1.0)
    }

    /// How much of a light from `towards` reaches `p`, 0 to 1, with the soft edge of a large lamp; `pixel` is the width of a
    /// pixel, cm (<https://iquilezles.org/articles/rmshadows/>).
    pub(crate) fn lit(&self, p: Vec3, normal: Vec3, towards: Vec3, pixel: f32) -> f32 {
        // Where pixels are wide, so may be the steps.
        let steps = if pixel > 0.12 { 7 } else { 11 };

        let start = p + normal * 0.25;
        let (mut t, mut lit) = (0.5f32, 1.0f32);
        for _ in 0..steps {
            let d = self.smooth_distance(start + towards * t);
            lit = lit.min(6.5 * (d + 0.04) / t);
            t += d.clamp(0.4, 3.0);
            if lit < 0.02 || t > 20.0 {
                break;
            }
        }
        let lit = lit.clamp(0.0, 1.0);
        lit * lit * (3.0 - 2.0 * lit)
    }
}
