//! The solid head: one signed distance function put together from the parts of a face.
//!
//! Everything is in the frame of the head, centimetres. A distance is negative inside, and near the
//! surface it may be too large by the slopes of the deformation field and the blends;
//! [`Head::SAFETY`] is the share of it that can be stepped without passing through anything.

mod body;
mod bound;
mod eyes;
mod glasses;
mod hair;
mod mouth;
mod nose;
mod skull;

pub(crate) use body::{Body, PIVOT};
pub use body::{Outfit, OutfitKind};
pub(crate) use bound::BoundingGrid;
pub(crate) use hair::HairModel;
pub(crate) use mouth::Mouth;

use crate::identity::Identity;
use crate::math::{Vec3, vec3};
use crate::view::Expression;
use eyes::Eyes;
use glasses::Spectacles;
use nose::Nose;
use skull::{Ears, Skull};

/// What a point of the surface is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Material {
    /// Skin of head and neck.
    Skin = 1,
    /// The eyeballs.
    Eye = 2,
    /// Hair, or a headscarf.
    Hair = 3,
    /// A spectacle frame.
    Glasses = 4,
    /// Teeth, tongue and the dark of the mouth.
    Mouth = 5,
    /// Clothes.
    Cloth = 6,
}

/// Distances from one point to all parts of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distances {
    pub(crate) skin: f32,
    pub(crate) eye: f32,
    pub(crate) hair: f32,
    pub(crate) glasses: f32,
    pub(crate) mouth: f32,
}

impl Distances {
    /// The nearest part.
    #[inline]
    pub(crate) fn nearest(&self) -> (f32, Material) {
        let mut best = (self.skin, Material::Skin);
        for part in [
            (self.eye, Material::Eye),
            (self.hair, Material::Hair),
            (self.glasses, Material::Glasses),
            (self.mouth, Material::Mouth),
        ] {
            if part.0 < best.0 {
                best = part;
            }
        }
        best
    }

    /// Distance to the nearest part.
    #[inline]
    pub(crate) fn minimum(&self) -> f32 {
        self.skin.min(self.eye).min(self.hair).min(self.glasses).min(self.mouth)
    }
}

/// A head with one expression.
#[derive(Clone, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) eyes: Eyes,
    pub(crate) mouth: Mouth,
    pub(crate) hair: Option<HairModel>,
    skull: Skull,
    nose: Nose,
    ears: Option<Ears>,
    spectacles: Option<Spectacles>,
}

impl<'a> Head<'a> {
    /// Share of a distance that is safe to step.
    pub(crate) const SAFETY: f32 = 0.7;

    pub(crate) fn new(identity: &'a Identity, expression: &Expression) -> Head<'a> {
        let p = &identity.shape;
        let covered = identity.hair.cut == crate::identity::HairCut::Scarf;
        Head {
            identity,
            eyes: Eyes::new(p, expression),
            mouth: Mouth::new(p, expression),
            hair: HairModel::new(&identity.hair, p, identity.pattern()),
            skull: Skull::new(p, expression.smile),
            nose: Nose::new(p, expression.smile),
            ears: (!covered).then(|| Ears::new(p)),
            spectacles: identity.glasses.as_ref().map(|glasses| Spectacles::new(glasses, p)),
        }
    }

    /// Takes a point of the head to the undeformed head, in which the parts are modelled.
    #[inline]
    pub(crate) fn model(&self, p: Vec3) -> Vec3 {
        self.identity.deformation.apply(p)
    }

    /// Distances from `p`, in the frame of the head.
    #[inline]
    pub(crate) fn distances(&self, p: Vec3) -> Distances {
        let q = self.model(p);
        let s = q.mirrored();
        let bone = self.skull.bone(s);
        let skin = self.skin_over(bone, s);
        let front = q.z > 3.0 && skin < 2.5;
        Distances {
            skin,
            eye: if front { self.eyes.ball(s) } else { f32::MAX },
            hair: self.hair.as_ref().map_or(f32::MAX, |hair| hair.distance(q, bone)),
            glasses: self.spectacles.as_ref().map_or(f32::MAX, |spectacles| spectacles.distance(s)),
            mouth: if front { self.mouth.inside(s) } else { f32::MAX },
        }
    }

    /// Distance to the skin alone, for normals.
    #[inline]
    pub(crate) fn skin(&self, p: Vec3) -> f32 {
        let s = self.model(p).mirrored();
        self.skin_over(self.skull.bone(s), s)
    }

    #[inline]
    fn skin_over(&self, bone: f32, s: Vec3) -> f32 {
        let ear = self.ears.as_ref().map_or(f32::MAX, |ears| ears.bound(s));
        let nose = self.nose.bound(s);
        // Cheeks and ridge stand out from the bone by less than this; nose and ears have their own bounds.
        const RELIEF: f32 = 1.6;
        if bone > RELIEF + 1.4 && ear > 1.0 && nose > 1.0 {
            return (bone - RELIEF).min(ear).min(nose);
        }
        let mut d = self.skull.flesh(bone, s);
        if let Some(ears) = self.ears.as_ref().filter(|_| ear < 1.0) {
            d = ears.join(d, s);
        }
        if s.z > 2.0 {
            if s.y > -3.5 {
                d = self.skull.ridge(d, s);
                d = self.eyes.sockets(d, s);
            }
            if nose < 1.0 {
                d = self.nose.join(d, s);
            }
            if s.y > -4.0 && s.y < 4.0 {
                d = self.eyes.lids(d, s);
            }
            // Lips stand out by up to 0.6 cm.
            if d < 1.6 && s.y < -2.0 {
                d = self.mouth.shape(d, s);
                let chin = s.y - self.identity.shape.chin_y;
                d += self.identity.shape.cleft * crate::math::bump(s.x, 0.2) * crate::math::bump(chin, 0.7);
            }
        }
        d
    }

    /// Where the skin is that lies at (`x`, `y`) of the undeformed head when seen from the front; both are
    /// in the undeformed frame.
    pub(crate) fn front_of_skin(&self, x: f32, y: f32) -> Vec3 {
        let mut z = 16.0;
        for _ in 0..60 {
            let s = vec3(x.abs(), y, z);
            let d = self.skin_over(self.skull.bone(s), s);
            if d < 0.01 || z < 0.0 {
                break;
            }
            z -= d * Self::SAFETY;
        }
        vec3(x, y, z)
    }
}
