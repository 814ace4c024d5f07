//! Hair and headscarves.
//!
//! Hair is a shell over the skull's own distance, never a solid of its own: however the forehead bulges
//! and whatever the deformation field does, the shell stays outside the skin.

use crate::identity::{Hair, HairCut, Shape};
use crate::math::{
    Mask, Real, Vec3, capsule, ellipsoid, fractal_noise, rounded_cone, smooth_max, smooth_min, smoothstep,
    vec3,
};

/// Hair of one head.
#[derive(Clone, Debug)]
pub(crate) struct HairModel {
    cut: HairCut,
    thickness: f32,
    line: f32,
    recede: f32,
    parting: f32,
    curl: f32,
    volume: f32,
    strand: f32,
    lock_end: f32,
    face_width: f32,
    turns: Turns,
    seed: u32,
}

/// A vertical plane through the axis of the head, from which hairlines step down from front to back. Planes
/// have true distances; an angle about the axis would spin where the neck is.
#[derive(Clone, Copy, Debug)]
struct Turn {
    x: f32,
    z: f32,
}

impl Turn {
    /// The plane that leaves the axis to (`x`, `z`) of the mirrored half.
    fn towards(x: f32, z: f32) -> Turn {
        let length = (x * x + z * z).sqrt();
        Turn { x: z / length, z: -x / length }
    }

    /// How far `s`, mirrored to the right half, lies behind the plane, cm; negative before it.
    #[inline]
    fn behind<R: Real>(self, s: Vec3<R>) -> R {
        s.x * self.x + (s.z + 1.0) * self.z
    }
}

/// The planes of one cut, from the temples to the nape.
#[derive(Clone, Copy, Debug)]
struct Turns {
    temple: Turn,
    side: Turn,
    ear: Turn,
    nape: Turn,
}

impl HairModel {
    /// Share of a height over the hairline that is a distance from it: temples recede at up to 45 degrees.
    pub(crate) const SLOPE: f32 = 0.55;

    pub(crate) fn new(hair: &Hair, p: &Shape, seed: u32) -> Option<HairModel> {
        let v = hair.volume;
        let thickness = match hair.cut {
            HairCut::Bald => return None,
            HairCut::Buzz => 0.20,
            HairCut::Receding => 0.38,
            HairCut::Short => 0.50 + 0.55 * v,
            HairCut::Parted => 0.80 + 0.60 * v,
            HairCut::Fringe => 0.65 + 0.45 * v,
            HairCut::Long | HairCut::LongFringe | HairCut::Bob => 0.60 + 0.50 * v,
            HairCut::Afro => 2.0 + 1.5 * v,
            HairCut::Bun => 0.45,
            HairCut::Scarf => 0.65,
        };
        let strand = if hair.cut == HairCut::Buzz {
            0.02
        } else if hair.cut == HairCut::Afro {
            0.5
        } else if hair.cut == HairCut::Bun {
            0.07
        } else {
            (0.10 + 0.20 * hair.curl) * (0.4 + 0.6 * thickness).min(1.0)
        };
        Some(HairModel {
            cut: hair.cut,
            thickness,
            line: if hair.cut.has_fringe() { p.brow_y + 1.1 + 0.6 * hair.recede } else { hair.line },
            recede: if hair.cut.has_fringe() { -0.3 } else { hair.recede },
            parting: hair.parting,
            curl: hair.curl,
            volume: v,
            strand,
            lock_end: if hair.cut == HairCut::Bob { -8.5 } else { -14.0 - 2.5 * hair.parting },
            face_width: p.face_width,
            turns: Turns {
                temple: Turn::towards(0.455, 0.545),
                side: Turn::towards(0.63, 0.37),
                ear: Turn::towards(0.755, 0.245),
                nape: if hair.cut == HairCut::Afro {
                    Turn::towards(0.97, 0.03)
                } else {
                    Turn::towards(0.765, -0.235)
                },
            },
            seed,
        })
    }

    /// How far `q` lies outside of where hair grows, negative within: a distance along the skin that is
    /// shortened to [`Self::SLOPE`], for lines that climb.
    #[inline]
    pub(crate) fn past_hairline<R: Real>(&self, q: Vec3<R>) -> R {
        let s = q.mirrored();
        let rounded = (s.x - 4.0) * (1.0 / 1.6);
        let temples = (R::of(1.0) - rounded * rounded * 0.25).at_least(0.0) * (self.recede * 0.9);
        let mut front = temples + self.line - s.x * s.x * 0.03;
        if matches!(self.cut, HairCut::Parted | HairCut::Long) {
            let side = if self.parting < 0.0 { -q.x } else { q.x };
            front = front - smoothstep(0.5, 3.5, side) * (1.1 * (0.6 + 0.4 * self.recede.min(1.0)));
        }
        let (loose, afro) = (self.cut.is_long(), self.cut == HairCut::Afro);
        let below = |line: R| (line - q.y) * Self::SLOPE;
        let step = |line: f32, turn: Turn| smooth_max(below(R::of(line)), -turn.behind(s), 0.5);
        let temple = step(if self.cut.has_fringe() { 2.0 } else { 4.2 }, self.turns.temple);
        let outside = smooth_min(below(front), temple, 0.5);
        if loose {
            return smooth_min(outside, -self.turns.side.behind(s), 0.5);
        }
        let burns = step(if afro { -3.0 } else { -2.6 - 0.5 * self.recede }, self.turns.side);
        let nape = step(-7.5, self.turns.nape);
        let outside = smooth_min(outside, burns, 0.5);
        if afro {
            return smooth_min(outside, nape, 0.5);
        }
        let ear = below(R::of(0.9)).min(self.turns.ear.behind(s));
        smooth_min(smooth_max(outside, ear, 0.5), nape, 0.5)
    }

    /// Distance to the hair; `bone` is the skull's distance at the same point. Where it is more than `limit`,
    /// any number between the two.
    #[inline]
    pub(crate) fn distance<R: Real>(&self, q: Vec3<R>, bone: R, limit: R) -> R {
        if self.cut == HairCut::Scarf {
            return self.scarf(q, bone);
        }
        // Volume sits on the crown; at the sides and the nape hair lies flat.
        let crown = smoothstep(0.0, 9.0, q.y);
        let mut d = bone - (crown * (1.0 - 0.72) + 0.72) * self.thickness;
        if self.cut.is_long() {
            d = self.locks(d, q);
        } else if self.cut == HairCut::Bun {
            let knot = vec3(0.0, 10.2 + self.parting, -6.0);
            d = smooth_min(d, (q - knot).length() - (2.4 + 0.5 * self.volume), 0.7);
        }
        let (far, bound) = (d.above(1.5), d - 0.7);
        if far.all() {
            return bound;
        }
        let cut = self.past_hairline(q);
        // Noise costs most: first what is there without it.
        let steep = if self.cut == HairCut::Afro { 0.75 } else { 1.0 };
        let least = (d - self.strand).max(cut - 0.25) * steep;
        let beyond = far | limit.less(least);
        let bound = R::choose(far, bound, least);
        if beyond.all() {
            return bound;
        }
        d = d - self.strands(q) * self.strand;
        let ragged = R::noise(vec3(q.x * 1.6, q.y * 0.6, q.z * 1.2), self.seed + 5);
        let cut = cut + ragged * 0.25;
        let edge = (0.15 + 0.6 * self.thickness).min(0.9);
        d = smooth_max(d, cut, edge);
        if self.cut.is_long() || self.cut == HairCut::Afro {
            let height = if self.cut.has_fringe() { 6.0 } else { 7.4 };
            let oval = vec3(self.face_width * 0.90, height, 8.0).recip();
            d = smooth_max(d, -ellipsoid(q - vec3(0.0, -3.4, 7.5), oval), 0.7);
        }
        // Tight curls are the steepest relief there is.
        R::choose(beyond, bound, d * steep)
    }

    /// Hair that hangs: a lock on each side and a curtain behind.
    #[inline]
    fn locks<R: Real>(&self, d: R, q: Vec3<R>) -> R {
        let s = q.mirrored();
        let zero = R::of(0.0);
        let wave = R::noise(vec3(zero, q.y * (0.25 + 0.3 * self.curl), zero), self.seed + 6);
        let wave = wave * (0.30 * self.curl);
        let (top, end) = (vec3(5.5, 2.0, -1.2), Vec3::of(vec3(6.5, self.lock_end, -1.4)));
        let end = vec3(end.x + wave, end.y, end.z);
        let lock = rounded_cone(s, top, end, 2.5 + 0.3 * self.volume, 1.6 + 0.3 * self.volume);
        let curtain = capsule(q, vec3(0.0, 0.0, -4.6), vec3(0.0, self.lock_end + 1.0, -5.0), 5.9);
        let d = smooth_min(smooth_min(d, lock, 1.6), curtain, 1.5);
        // The ends stay within the bounding grid.
        smooth_max(d, -q.y - 19.0, 0.8)
    }

    /// Relief of the strands, -1 to 1.
    #[inline]
    fn strands<R: Real>(&self, q: Vec3<R>) -> R {
        if self.cut == HairCut::Afro {
            return R::each(q, |q| fractal_noise(q * 0.9, 3, self.seed));
        }
        let around = self.around(q) * 18.0 + q.y * (self.curl * 0.3);
        // Strands crowd together towards the crown that they fall from; there they are flatter.
        let apart = ((q.z + 14.0).max(q.x.abs()) * 0.1).within(0.2, 1.0);
        apart * R::noise(vec3(around, q.y * (0.25 + 0.7 * self.curl), q.z * 0.45), self.seed)
    }

    /// Position across the strands as they fall from a crown behind the head.
    #[inline]
    pub(crate) fn around<R: Real>(&self, q: Vec3<R>) -> R {
        let z = q.z + 14.0;
        q.x / (q.x * q.x + z * z).sqrt().at_least(1e-3)
    }

    /// Cloth round head and neck with an oval opening for the face.
    #[inline]
    fn scarf<R: Real>(&self, q: Vec3<R>, bone: R) -> R {
        let drape = rounded_cone(q, vec3(0.0, -8.5, -0.8), Vec3::of(vec3(0.0, -15.0, -2.5)), 6.7, 9.0);
        let d = smooth_min(bone - self.thickness, drape, 2.2);
        let (far, bound) = (d.above(1.5), d - 0.3);
        if far.all() {
            return bound;
        }
        let folds = R::noise(vec3(q.x * 0.35, q.y * 0.9, q.z * 0.35), self.seed);
        // The hem ends within the bounding grid.
        let d = smooth_max(d, -q.y - 18.5, 0.8) + folds * 0.10;
        let (x, y) = (q.x * (1.0 / 5.5), (q.y + 2.7) * (1.0 / 8.3));
        let oval = ((x * x + y * y).sqrt() - 1.0) * 5.0;
        R::choose(far, bound, smooth_max(d, -oval.max(-q.z + 1.0), 0.7))
    }
}
