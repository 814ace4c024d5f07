//! Lips, their surroundings, and what shows between them.

use crate::identity::Shape;
use crate::math::{Vec3, bump, ellipsoid, lerp, power, smooth_max, smoothstep, vec3};
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
pub(crate) struct Lips {
    /// Height over the opening in heights of the upper lip.
    pub(crate) upper: f32,
    /// Depth under the opening in heights of the lower lip.
    pub(crate) lower: f32,
    /// Heights of the upper and the lower lip here, cm.
    heights: (f32, f32),
    /// Height of the opening here, cm.
    pub(crate) gap: f32,
    /// Distance from the middle in half-widths of the mouth, at most 1.2.
    pub(crate) across: f32,
    /// Height of the line between the lips here, cm.
    pub(crate) line: f32,
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
    pub(crate) fn line(&self, x: f32) -> f32 {
        self.y + x * x * self.curve - 0.06 * bump(x, 0.35)
    }

    /// Where a corner of the mouth is, across and up.
    pub(crate) fn corner(&self) -> (f32, f32) {
        (self.width, self.line(self.width))
    }

    /// Position of a point with respect to the lips.
    #[inline]
    pub(crate) fn lips(&self, s: Vec3) -> Lips {
        let across = (s.x / self.width).min(1.2);
        let line = self.line(s.x);
        let opening = self.open * (1.0 - across * across).max(0.0);
        let bow = 1.0 - 0.30 * self.bow * bump(across, 0.11) + 0.12 * self.bow * bump(across - 0.24, 0.13);
        let upper = self.upper * (1.0 - across * across).max(0.0) * bow;
        let lower = self.lower * (1.0 - across * across * across).max(0.0);
        Lips {
            upper: (s.y - line - opening * 0.35) / upper.max(0.02),
            lower: (line - opening - s.y) / lower.max(0.02),
            heights: (upper, lower),
            gap: opening * 1.35,
            across,
            line,
        }
    }

    /// Shapes the lips, the groove above and the folds beside them.
    #[inline]
    pub(crate) fn shape(&self, d: f32, s: Vec3) -> f32 {
        let mut d = d + self.nasolabial(s) * self.fold;
        if s.y > self.y + 2.6 || s.y < self.y - 3.0 || s.x > self.width + 1.2 {
            return d;
        }
        let lips = self.lips(s);
        if lips.across < 1.15 {
            d = self.vermilion(d, s, &lips);
        }
        let (above, below) = (self.y + 0.5, self.nose_y - 0.5);
        d += 0.10
            * self.philtrum
            * bump(s.x, 0.28)
            * smoothstep(above, above + 0.4, s.y)
            * smoothstep(below, below - 0.4, s.y);
        let (x, y) = self.corner();
        d += 0.14 * bump(vec3(s.x - x - 0.12, s.y - y, 0.0).length(), 0.40);
        // The relief of the lips is steep: what it adds to the distance's slope is taken off again.
        d * (1.0 - 0.35 * bump(s.y - self.y, 1.2) * smoothstep(1.15, 0.9, lips.across))
    }

    /// The red of the lips and the cut between them.
    #[inline]
    fn vermilion(&self, d: f32, s: Vec3, lips: &Lips) -> f32 {
        let mut d = d;
        let fade = smoothstep(1.12, 0.75, lips.across);
        // Lips do not stand out further than they are high, least of all where they end.
        let relief = |share: f32, height: f32| (self.fullness * share).min(height * 0.6) * fade;
        let (u, l) = (lips.upper, lips.lower);
        if u > -0.3 && u < 1.3 {
            d -= relief(0.62, lips.heights.0) * smoothstep(1.25, 0.45, u) * smoothstep(-0.35, 0.25, u);
        }
        if l > -0.3 && l < 1.5 {
            d -= relief(0.78, lips.heights.1) * smoothstep(1.45, 0.55, l) * smoothstep(-0.35, 0.35, l);
        }
        d += 0.20 * bump(s.y - self.y + self.lower * 1.45 + lips.gap, 0.28) * bump(s.x, 1.3);
        if lips.gap > 0.01 {
            let (up, low) = (lips.line + lips.gap * 0.26, lips.line - lips.gap * 0.74);
            let slit = ((s.y - up).max(low - s.y) * 0.9).max(5.2 - s.z);
            smooth_max(d, -slit, 0.12)
        } else {
            d + 0.22 * bump(s.y - lips.line, 0.085) * smoothstep(1.06, 0.9, lips.across)
        }
    }

    /// Strength of the fold from the nose's wing to the mouth's corner, 0 to 1.
    #[inline]
    pub(crate) fn nasolabial(&self, s: Vec3) -> f32 {
        let (top, bottom) = (self.nose_y + 0.1, self.y - 0.3);
        let t = (top - s.y) / (top - bottom);
        if !(-0.2..=1.25).contains(&t) {
            return 0.0;
        }
        let run = t.max(0.0);
        let x = self.nose_width + 0.15 + (self.width + 0.75 - self.nose_width) * run * (1.1 - 0.1 * run);
        bump(s.x - x, 0.30) * smoothstep(-0.2, 0.15, t) * smoothstep(1.25, 0.8, t)
    }

    /// Distance to teeth, tongue and the dark behind them; far when the lips are closed.
    #[inline]
    pub(crate) fn inside(&self, s: Vec3) -> f32 {
        if self.open < 0.02 {
            return f32::MAX;
        }
        let dark = ellipsoid(s - vec3(0.0, self.y - 0.1, 4.8), vec3(1.0 / 2.7, 1.0 / 1.6, 1.0 / 2.1));
        dark.min(self.teeth(s))
    }

    /// Distance to the upper row of teeth.
    #[inline]
    pub(crate) fn teeth(&self, s: Vec3) -> f32 {
        let edge = self.tooth_edge();
        let (x, z) = (s.x, (s.z - 5.1) * 0.86);
        let arch = ((x * x + z * z).sqrt() - 2.2).abs() - 0.16;
        let row = (s.y - edge - 0.5).abs() - 0.5;
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
