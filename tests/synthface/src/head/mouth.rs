//! Lips, their surroundings, and what shows between them.

use crate::identity::Shape;
use crate::math::{Mask, Real, Vec3, bump, ellipsoid, lerp, power, smooth_max, smoothstep, vec3};
use crate::view::Expression;

/// The mouth of one head in one expression.
#[derive(Clone, Debug)]
pub(crate) struct Mouth {
    /// Height of the middle of the mouth, cm.
    pub(crate) y: f32,
    /// Half-width, cm.
    pub(crate) width: f32,
    /// How far the lips are apart in the middle, cm.
    pub(crate) open: f32,
    curve: f32,
    upper: f32,
    pub(crate) lower: f32,
    fullness: f32,
    bow: f32,
    philtrum: f32,
    nose_y: f32,
    nose_width: f32,
    fold: f32,
    smile: f32,
}

/// Where a point lies with respect to the lips.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lips<R = f32> {
    /// Height over the opening in heights of the upper lip.
    pub(crate) upper: R,
    /// Depth under the opening in heights of the lower lip.
    pub(crate) lower: R,
    /// Heights of the upper and the lower lip here, cm.
    heights: (R, R),
    /// Height of the opening here, cm.
    pub(crate) gap: R,
    /// Distance from the middle in half-widths of the mouth, at most 1.2.
    pub(crate) across: R,
    /// Height of the line between the lips here, cm.
    pub(crate) line: R,
}

impl Mouth {
    pub(crate) fn new(p: &Shape, expression: &Expression) -> Mouth {
        let (smile, open) = (expression.smile, expression.open);
        Mouth {
            y: p.mouth_y,
            width: p.mouth_width * (1.0 + 0.16 * smile - 0.05 * open),
            open: 0.75 * open,
            curve: p.mouth_curve + 0.055 * smile,
            upper: p.lip_upper * (1.0 - 0.15 * smile),
            lower: p.lip_lower * (1.0 - 0.12 * smile),
            fullness: p.lip_fullness,
            bow: p.cupid_bow,
            philtrum: p.philtrum,
            nose_y: p.nose_y,
            nose_width: p.nose_width,
            fold: 0.06 + 0.10 * p.age + 0.13 * smile.max(0.0),
            smile,
        }
    }

    /// Height of the line between the closed lips.
    #[inline]
    pub(crate) fn line<R: Real>(&self, x: R) -> R {
        x * x * self.curve + self.y - bump(x, 0.35) * 0.06
    }

    /// Where a corner of the mouth is, across and up.
    pub(crate) fn corner(&self) -> (f32, f32) {
        (self.width, self.line(self.width))
    }

    /// Position of a point with respect to the lips.
    #[inline]
    pub(crate) fn lips<R: Real>(&self, s: Vec3<R>) -> Lips<R> {
        let one = R::of(1.0);
        let across = (s.x * (1.0 / self.width)).at_most(1.2);
        let line = self.line(s.x);
        let inner = (one - across * across).at_least(0.0);
        let opening = inner * self.open;
        let bow =
            one - bump(across, 0.11) * (0.30 * self.bow) + bump(across - 0.24, 0.13) * (0.12 * self.bow);
        let upper = inner * self.upper * bow;
        let lower = (one - across * across * across).at_least(0.0) * self.lower;
        Lips {
            upper: (s.y - line - opening * 0.35) / upper.at_least(0.02),
            lower: (line - opening - s.y) / lower.at_least(0.02),
            heights: (upper, lower),
            gap: opening * 1.35,
            across,
            line,
        }
    }

    /// Shapes the lips, the groove above and the folds beside them.
    #[inline]
    pub(crate) fn shape<R: Real>(&self, d: R, s: Vec3<R>) -> R {
        let d = d + self.nasolabial(s) * self.fold;
        let near = s.y.below(self.y + 2.6) & s.y.above(self.y - 3.0) & s.x.below(self.width + 1.2);
        if !near.any() {
            return d;
        }
        let lips = self.lips(s);
        let mut shaped = R::choose(lips.across.below(1.15), self.vermilion(d, s, &lips), d);
        let (above, below) = (self.y + 0.5, self.nose_y - 0.5);
        shaped += bump(s.x, 0.28)
            * (0.10 * self.philtrum)
            * smoothstep(above, above + 0.4, s.y)
            * smoothstep(below, below - 0.4, s.y);
        let (x, y) = self.corner();
        let (x, y) = (s.x - (x + 0.12), s.y - y);
        shaped += bump((x * x + y * y).sqrt(), 0.40) * 0.14;
        // The relief of the lips is steep: what it adds to the distance's slope is taken off again.
        let steep = bump(s.y - self.y, 1.2) * smoothstep(1.15, 0.9, lips.across);
        R::choose(near, shaped * (R::of(1.0) - steep * 0.35), d)
    }

    /// The red of the lips and the cut between them.
    #[inline]
    fn vermilion<R: Real>(&self, d: R, s: Vec3<R>, lips: &Lips<R>) -> R {
        let fade = smoothstep(1.12, 0.75, lips.across);
        // Lips do not stand out further than they are high, least of all where they end.
        let relief = |share: f32, height: R| (height * 0.6).at_most(self.fullness * share) * fade;
        let (u, l) = (lips.upper, lips.lower);
        let upper = relief(0.62, lips.heights.0) * smoothstep(1.25, 0.45, u) * smoothstep(-0.35, 0.25, u);
        let lower = relief(0.78, lips.heights.1) * smoothstep(1.45, 0.55, l) * smoothstep(-0.35, 0.35, l);
        let none = R::of(0.0);
        let mut d = d - R::choose(u.above(-0.3) & u.below(1.3), upper, none);
        d = d - R::choose(l.above(-0.3) & l.below(1.5), lower, none);
        d += bump(lips.gap + s.y - (self.y - self.lower * 1.45), 0.28) * 0.20 * bump(s.x, 1.3);
        let cut = d + bump(s.y - lips.line, 0.085) * 0.22 * smoothstep(1.06, 0.9, lips.across);
        let open = lips.gap.above(0.01);
        if !open.any() {
            return cut;
        }
        let (up, low) = (lips.line + lips.gap * 0.26, lips.line - lips.gap * 0.74);
        let slit = ((s.y - up).max(low - s.y) * 0.9).max(-s.z + 5.2);
        R::choose(open, smooth_max(d, -slit, 0.12), cut)
    }

    /// Strength of the fold from the nose's wing to the mouth's corner, 0 to 1.
    #[inline]
    pub(crate) fn nasolabial<R: Real>(&self, s: Vec3<R>) -> R {
        let (top, bottom) = (self.nose_y + 0.1, self.y - 0.3);
        let t = (-s.y + top) * (1.0 / (top - bottom));
        let run = t.at_least(0.0);
        let x = run * (self.width + 0.75 - self.nose_width) * (R::of(1.1) - run * 0.1);
        // The two ends: beyond -0.2 and 1.25 there is nothing left.
        bump(s.x - x - (self.nose_width + 0.15), 0.30) * smoothstep(-0.2, 0.15, t) * smoothstep(1.25, 0.8, t)
    }

    /// Distance to teeth, tongue and the dark behind them; far when the lips are closed.
    #[inline]
    pub(crate) fn inside<R: Real>(&self, s: Vec3<R>) -> R {
        if self.open < 0.02 {
            return R::of(f32::MAX);
        }
        let dark = ellipsoid(s - vec3(0.0, self.y - 0.1, 4.8), vec3(1.0 / 2.7, 1.0 / 1.6, 1.0 / 2.1));
        dark.min(self.teeth(s))
    }

    /// Distance to the upper row of teeth.
    #[inline]
    pub(crate) fn teeth<R: Real>(&self, s: Vec3<R>) -> R {
        let edge = self.tooth_edge();
        let (x, z) = (s.x, (s.z - 5.1) * 0.86);
        let arch = ((x * x + z * z).sqrt() - 2.2).abs() - 0.16;
        let row = (s.y - (edge + 0.5)).abs() - 0.5;
        smooth_max(arch * 0.9, row, 0.12)
    }

    /// Height of the lower edge of the upper teeth.
    pub(crate) fn tooth_edge(&self) -> f32 {
        self.y + self.open * 0.35 - lerp(0.28, 0.42, self.smile.clamp(0.0, 1.0))
    }

    /// 0 in the gaps between teeth, 1 in the middle of a tooth.
    pub(crate) fn tooth(&self, s: Vec3) -> f32 {
        // Teeth are narrower towards the corners: arc length instead of width.
        let arc = s.x * (1.0 + 0.05 * s.x * s.x) / 0.78;
        let within = (arc - arc.floor() - 0.5).abs() * 2.0;
        1.0 - power(within, 6)
    }
}
