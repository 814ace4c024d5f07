//! Distance functions of simple solids and the ways to join them, after Inigo Quilez
//! (<https://iquilezles.org/articles/distfunctions/>, <https://iquilezles.org/articles/smin/>).

use super::{Real, Vec3};

/// The smaller of two distances, blended over a width of `k`; never more than `k/4` below either.
#[inline(always)]
pub(crate) fn smooth_min<R: Real>(a: R, b: R, k: f32) -> R {
    let h = (R::of(k) - (a - b).abs()).at_least(0.0);
    a.min(b) - h * h * (0.25 / k)
}

/// The larger of two distances, blended over a width of `k`.
#[inline(always)]
pub(crate) fn smooth_max<R: Real>(a: R, b: R, k: f32) -> R {
    let h = (R::of(k) - (a - b).abs()).at_least(0.0);
    a.max(b) + h * h * (0.25 / k)
}

/// Distance to the ellipsoid about the origin whose inverse radii are `inverse`: exact on the surface
/// and to first order around it.
#[inline(always)]
pub(crate) fn ellipsoid<R: Real>(p: Vec3<R>, inverse: Vec3) -> R {
    let q = p * inverse;
    let k0 = q.length();
    let k1 = (q * inverse).length();
    k0 * (k0 - 1.0) / k1.at_least(1e-6)
}

/// Distance to the capsule around the segment `a`-`b`.
#[inline(always)]
pub(crate) fn capsule<R: Real>(p: Vec3<R>, a: Vec3, b: Vec3, radius: f32) -> R {
    rounded_cone(p, a, Vec3::of(b), radius, radius)
}

/// Like [`capsule`], the radius running from `ra` at `a` to `rb` at `b`, which may differ from lane to lane.
#[inline(always)]
pub(crate) fn rounded_cone<R: Real>(p: Vec3<R>, a: Vec3, b: Vec3<R>, ra: f32, rb: f32) -> R {
    let (pa, ba) = (p - a, b - a);
    let h = (pa.dot(ba) / ba.dot(ba)).within(0.0, 1.0);
    (pa - ba.scaled(h)).length() - (h * (rb - ra) + ra)
}

/// How far along `way` from `origin` rays leave the box between two corners; less than nothing or anything
/// before it where they miss it.
pub(crate) fn box_exit<R: Real>(origin: Vec3, way: Vec3<R>, [low, high]: [Vec3; 2]) -> R {
    let slab = |origin: f32, way: R, low: f32, high: f32| {
        (R::of(low - origin) / way).max(R::of(high - origin) / way)
    };
    let x = slab(origin.x, way.x, low.x, high.x);
    let y = slab(origin.y, way.y, low.y, high.y);
    x.min(y).min(slab(origin.z, way.z, low.z, high.z))
}

/// From 0 at `a` to 1 at `b`, smooth at both ends; `a` may be the larger.
#[inline(always)]
pub(crate) fn smoothstep<R: Real>(a: f32, b: f32, x: R) -> R {
    let t = ((x - a) * (1.0 / (b - a))).within(0.0, 1.0);
    t * t * (R::of(3.0) - t * 2.0)
}

/// From `a` at 0 to `b` at 1.
#[inline(always)]
pub(crate) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// [`lerp`] of each component.
#[inline(always)]
pub(crate) fn lerp3(a: Vec3, b: Vec3, t: f32) -> Vec3 {
    a + (b - a) * t
}

/// A bell of height 1 and width `s`: `(1 - x²/4s²)⁴`, which is close to `exp(-x²/s²)`, ends at `2s`, and
/// needs no exponential.
#[inline(always)]
pub(crate) fn bump<R: Real>(x: R, s: f32) -> R {
    let u = (R::of(1.0) - x * x * (0.25 / (s * s))).at_least(0.0);
    let u = u * u;
    u * u
}

/// `x` to a whole power, by squaring: the platform's `powi` may round differently elsewhere.
#[inline(always)]
pub(crate) fn power(x: f32, mut n: u32) -> f32 {
    let (mut base, mut result) = (x, 1.0);
    while n > 0 {
        if n & 1 == 1 {
            result *= base;
        }
        // Processors take long over products that are almost nothing.
        base = if base.abs() < 1e-18 { 0.0 } else { base * base };
        n >>= 1;
    }
    result
}
