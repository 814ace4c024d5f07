//! Neck, shoulders and clothes.

use crate::identity::colour;
use crate::math::{
    Lanes, Mask, Mat3, Random, Real, Vec3, box_exit, ellipsoid, lerp, rounded_cone, smooth_max, smooth_min,
    vec3,
};

/// The kind of clothes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutfitKind {
    /// Round neck, plain.
    Tee,
    /// Round neck, horizontal stripes.
    Striped,
    /// Collar and button placket.
    Shirt,
    /// Thick collar all round.
    Hoodie,
}

/// What somebody wears on a day.
#[derive(Clone, Copy, Debug)]
pub struct Outfit {
    /// The kind of clothes.
    pub kind: OutfitKind,
    /// Linear RGB of the cloth.
    pub colour: Vec3,
    /// Linear RGB of stripes and trimmings.
    pub accent: Vec3,
}

impl Outfit {
    /// Random clothes.
    pub(crate) fn sample(random: &mut Random) -> Outfit {
        use OutfitKind::{Hoodie, Shirt, Striped, Tee};
        Outfit {
            kind: random.pick([Tee, Tee, Striped, Shirt, Shirt, Hoodie]),
            colour: colour::muted(random, 0.02, 0.55, 0.45),
            accent: colour::muted(random, 0.02, 0.60, 0.35),
        }
    }
}

/// The centre about which head and body turn, in the frame of the head, cm.
pub(crate) const PIVOT: Vec3 = vec3(0.0, -5.0, -2.0);

/// Where the neck leaves the shoulders, in the frame of the torso, cm.
const NECK_BASE: Vec3 = vec3(0.0, -15.0, -3.2);

/// No collar reaches higher in the torso's frame, cm.
const COLLAR_TOP: f32 = -12.0;

/// Corners of a box around neck and torso in the torso's frame, cm: the neck leans forward with the head, but
/// never over the chin; sleeves reach 24 cm to the side.
const BOX: [Vec3; 2] = [vec3(-24.5, -1e6, -16.0), vec3(24.5, -5.0, 9.0)];

/// Neck and torso of one person in one pose. The torso's frame has the origin of the head's frame and
/// turns with it only in part.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    torso: Mat3,
    neck: [Vec3; 2],
    neck_radius: f32,
    shoulder: f32,
    /// Inverse radii of the chest.
    chest: Vec3,
    kind: OutfitKind,
}

impl Body {
    /// A body under a head; `head` and `torso` are rotations about [`PIVOT`] into the person's frame, whose
    /// origin is that pivot.
    pub(crate) fn new(
        neck_radius: f32,
        masculinity: f32,
        kind: OutfitKind,
        head: &Mat3,
        torso: &Mat3,
    ) -> Body {
        let shoulder = lerp(13.2, 15.6, masculinity);
        Body {
            torso: *torso,
            neck: [head.apply(vec3(0.0, -6.5, -2.4) - PIVOT), torso.apply(NECK_BASE - PIVOT)],
            neck_radius,
            shoulder,
            chest: vec3(shoulder + 1.6, 20.0, 9.6).recip(),
            kind,
        }
    }

    /// A point of the person's frame in the torso's.
    #[inline]
    pub(crate) fn torso_point<R: Real>(&self, p: Vec3<R>) -> Vec3<R> {
        self.torso.apply_inverse(p) + PIVOT
    }

    /// A point of the torso's frame in the person's, which has the camera's axes.
    #[cfg(test)]
    pub(crate) fn camera_point(&self, torso: Vec3) -> Vec3 {
        self.torso.apply(torso - PIVOT)
    }

    /// Never more than the distance from `p` (person's frame) to neck and clothes: the distance to a box
    /// around them.
    #[inline]
    pub(crate) fn lower_bound<R: Real>(&self, p: Vec3<R>) -> R {
        let t = self.torso_point(p);
        let x = (t.x.abs() - BOX[1].x).at_least(0.0);
        let y = (t.y - BOX[1].y).at_least(0.0);
        let z = (t.z - BOX[1].z).max(-t.z + BOX[0].z).at_least(0.0);
        vec3(x, y, z).length()
    }

    /// Where rays from `origin` (person's frame) leave the box of neck and clothes.
    pub(crate) fn exit(&self, origin: Vec3, way: Vec3<Lanes>) -> Lanes {
        box_exit(self.torso_point(origin), self.torso.apply_inverse(way), BOX)
    }

    /// Distance to the neck alone.
    #[inline]
    fn neck<R: Real>(&self, p: Vec3<R>) -> R {
        rounded_cone(p, self.neck[0], Vec3::of(self.neck[1]), self.neck_radius, self.neck_radius * 1.06)
    }

    /// Distances from `p` (person's frame) to the neck's skin and to the cloth.
    #[inline]
    pub(crate) fn distances<R: Real>(&self, p: Vec3<R>) -> (R, R) {
        let t = self.torso_point(p);
        // The body lies below the jaw: far above, a lower bound will do.
        let above = t.y.above(-1.0);
        let (far_neck, far_cloth) = (t.y + 5.0, t.y + 9.0);
        if above.all() {
            return (far_neck, far_cloth);
        }
        let neck = self.neck(p);
        let bare = t.y.above(COLLAR_TOP + 3.0);
        let (skin, cloth) = (R::choose(above, far_neck, neck), R::choose(above, far_cloth, t.y - COLLAR_TOP));
        if bare.all() {
            return (skin, cloth);
        }
        let torso = self.torso(t);
        let chest = smooth_min(neck, torso + 0.5, 2.2);
        (R::choose(bare, skin, chest), R::choose(bare, cloth, self.neckline(t, neck, chest, torso)))
    }

    /// Distance to neck and torso without trimmings, for soft shadows.
    #[inline]
    pub(crate) fn smooth_distance<R: Real>(&self, p: Vec3<R>) -> R {
        let t = self.torso_point(p);
        let above = t.y.above(-1.0);
        if above.all() {
            return t.y + 5.0;
        }
        let neck = self.neck(p);
        let bare = t.y.above(-11.0);
        let mut rest = t.y + 14.0;
        if !bare.all() {
            rest = R::choose(bare, rest, self.chest(t.mirrored()));
        }
        R::choose(above, t.y + 5.0, neck.min(rest))
    }

    /// Shoulders and chest of the right half.
    #[inline]
    fn chest<R: Real>(&self, s: Vec3<R>) -> R {
        let end = Vec3::of(vec3(self.shoulder, -21.5, -4.2));
        let slope = rounded_cone(s, vec3(2.5, -15.6, -3.6), end, 3.0, 4.3);
        let chest = ellipsoid(s + vec3(0.0, 37.0, 3.2), self.chest);
        smooth_min(slope, chest, 4.5)
    }

    /// Shoulders, chest and arms.
    #[inline]
    fn torso<R: Real>(&self, t: Vec3<R>) -> R {
        let s = t.mirrored();
        let w = self.shoulder;
        let hand = Vec3::of(vec3(w + 3.2, -50.0, -2.5));
        let arm = rounded_cone(s, vec3(w + 0.6, -22.5, -4.4), hand, 4.4, 3.6);
        smooth_min(self.chest(s), arm, 1.8)
    }

    /// The cloth: an offset of the skin itself below the neckline, so that no turn of the head opens a gap
    /// between the two, with a collar around the neck.
    #[inline]
    fn neckline<R: Real>(&self, t: Vec3<R>, neck: R, skin: R, torso: R) -> R {
        /// How far the cloth lies over the skin, cm.
        const SHELL: f32 = 0.22;
        // Height over the neckline, which is lower in front.
        let over = (t.z + 3.2).at_least(-4.0) * 0.20 + t.y + 14.6;
        let (gap, top, bottom) = match self.kind {
            OutfitKind::Tee | OutfitKind::Striped => (0.42, 0.3, -0.7),
            OutfitKind::Shirt => (0.62, 1.7, -0.9),
            OutfitKind::Hoodie => (1.25, 1.5, -2.2),
        };
        let shell = smooth_max(torso.min(skin - SHELL), over * 0.8, 0.25);
        let band = (over - top).max(-over + bottom);
        let cover = |gap: f32| smooth_max(skin - gap, band * 0.8, 0.35);
        // It is thick near the neck: on the shoulders its lower edge would be a seam from arm to arm.
        let mut collar = smooth_max(cover(gap), neck - (gap + 1.0), 1.2).min(cover(SHELL));
        if self.kind == OutfitKind::Shirt {
            // An open notch between the collar's points.
            let notch = ((over + 1.0).at_least(0.0) * 0.55 + 0.25 - t.x.abs()).min(t.z + 1.0);
            collar = smooth_max(collar, notch * 0.7, 0.15);
        }
        smooth_min(shell, collar, if self.kind == OutfitKind::Hoodie { 0.8 } else { 0.15 })
    }
}
