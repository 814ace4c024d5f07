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
use crate::math::{Lanes, Mask, Real, Vec3, bump, vec3};
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

/// Distances from a point, or from several, to all parts of a person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distances<R = f32> {
    pub(crate) skin: R,
    pub(crate) eye: R,
    pub(crate) hair: R,
    pub(crate) glasses: R,
    pub(crate) mouth: R,
    pub(crate) cloth: R,
}

impl<R: Real> Distances<R> {
    /// Distance to the nearest part.
    #[inline]
    pub(crate) fn minimum(&self) -> R {
        self.skin.min(self.eye).min(self.hair).min(self.glasses).min(self.mouth).min(self.cloth)
    }
}

impl Distances<Lanes> {
    /// What the part is made of that is nearest to the point of a lane.
    #[inline]
    pub(crate) fn nearest(&self, lane: usize) -> Material {
        let mut best = (self.skin.0[lane], Material::Skin);
        for (part, material) in [
            (self.eye, Material::Eye),
            (self.hair, Material::Hair),
            (self.glasses, Material::Glasses),
            (self.mouth, Material::Mouth),
            (self.cloth, Material::Cloth),
        ] {
            if part.0[lane] < best.0 {
                best = (part.0[lane], material);
            }
        }
        best.1
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
    pub(crate) fn model<R: Real>(&self, p: Vec3<R>) -> Vec3<R> {
        self.identity.deformation.apply(p)
    }

    /// Distances from `p`, in the frame of the head.
    #[inline]
    pub(crate) fn distances<R: Real>(&self, p: Vec3<R>) -> Distances<R> {
        self.distances_within(p, f32::MAX)
    }

    /// Distances from `p`, in the frame of the head. Where hair is further than `limit` or than other parts,
    /// it may be a smaller number, yet not smaller than these.
    #[inline]
    pub(crate) fn distances_within<R: Real>(&self, p: Vec3<R>, limit: f32) -> Distances<R> {
        let q = self.model(p);
        let s = q.mirrored();
        let bone = self.skull.bone(s);
        let skin = self.skin_over(bone, s);
        let front = q.z.above(3.0) & skin.below(2.5);
        let nothing = R::of(f32::MAX);
        let (mut eye, mut mouth) = (nothing, nothing);
        if front.any() {
            eye = R::choose(front, self.eyes.ball(s), nothing);
            mouth = R::choose(front, self.mouth.inside(s), nothing);
        }
        let limit = skin.min(eye).min(mouth).at_most(limit);
        Distances {
            skin,
            eye,
            hair: self.hair.as_ref().map_or(nothing, |hair| hair.distance(q, bone, limit)),
            glasses: self.spectacles.as_ref().map_or(nothing, |spectacles| spectacles.distance(s)),
            mouth,
            cloth: nothing,
        }
    }

    /// Distance from `p` to the part that is made of `material`, for normals.
    pub(crate) fn distance_to<R: Real>(&self, p: Vec3<R>, material: Material) -> R {
        let q = self.model(p);
        let s = q.mirrored();
        let nothing = R::of(f32::MAX);
        match material {
            Material::Skin => self.skin_over(self.skull.bone(s), s),
            Material::Eye => self.eyes.ball(s),
            Material::Hair => {
                self.hair.as_ref().map_or(nothing, |hair| hair.distance(q, self.skull.bone(s), nothing))
            }
            Material::Glasses => {
                self.spectacles.as_ref().map_or(nothing, |spectacles| spectacles.distance(s))
            }
            Material::Mouth => self.mouth.inside(s),
            Material::Cloth => nothing,
        }
    }

    #[inline]
    fn skin_over<R: Real>(&self, bone: R, s: Vec3<R>) -> R {
        let ear = self.ears.as_ref().map_or(R::of(f32::MAX), |ears| ears.bound(s));
        let nose = self.nose.bound(s);
        // Cheeks and ridge stand out from the bone by less than this; nose and ears have their own bounds.
        const RELIEF: f32 = 1.6;
        let far = bone.above(RELIEF + 1.4) & ear.above(1.0) & nose.above(1.0);
        let bound = (bone - RELIEF).min(ear).min(nose);
        if far.all() {
            return bound;
        }
        let mut d = self.skull.flesh(bone, s);
        if let Some(ears) = self.ears.as_ref() {
            let near = !far & ear.below(1.0);
            if near.any() {
                d = R::choose(near, ears.join(d, s), d);
            }
        }
        let front = !far & s.z.above(2.0);
        if front.any() {
            d = R::choose(front, self.face(d, nose, s), d);
        }
        R::choose(far, bound, d)
    }

    /// Adds brow, eyes, nose and mouth to the front of the head; `nose` is the distance to the bound of the
    /// nose.
    #[inline]
    fn face<R: Real>(&self, mut d: R, nose: R, s: Vec3<R>) -> R {
        let upper = s.y.above(-3.5);
        if upper.any() {
            d = R::choose(upper, self.eyes.sockets(self.skull.ridge(d, s), s), d);
        }
        let near = nose.below(1.0);
        if near.any() {
            d = R::choose(near, self.nose.join(d, s), d);
        }
        let level = s.y.above(-4.0) & s.y.below(4.0);
        if level.any() {
            d = R::choose(level, self.eyes.lids(d, s), d);
        }
        // Lips stand out by up to 0.6 cm.
        let lower = d.below(1.6) & s.y.below(-2.0);
        if lower.any() {
            let p = &self.identity.shape;
            let cleft = bump(s.x, 0.2) * bump(s.y - p.chin_y, 0.7) * p.cleft;
            d = R::choose(lower, self.mouth.shape(d, s) + cleft, d);
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
