//! Numbers one by one and four at a time.
//!
//! What a distance function is made of is written once, for any [`Real`]: `f32` for a single point,
//! [`Lanes`] for four points side by side, which compilers turn into vector instructions. Both compute the
//! same: a branch of the one is a choice of the other, taken for each lane by itself.

use std::ops::{Add, AddAssign, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::{Vec3, noise, noises, vec3};

/// A number or several.
pub(crate) trait Real:
    Copy
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f32, Output = Self>
    + Sub<f32, Output = Self>
    + Mul<f32, Output = Self>
    + AddAssign
{
    /// Yes or no for each of the numbers.
    type Mask: Mask;

    /// The same number everywhere.
    fn of(x: f32) -> Self;
    fn min(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    fn less(self, other: Self) -> Self::Mask;
    /// `a` where the mask says yes, `b` elsewhere.
    fn choose(mask: Self::Mask, a: Self, b: Self) -> Self;
    /// A function of each number by itself.
    fn map(self, function: impl FnMut(f32) -> f32) -> Self;
    /// [`noise`] of each point.
    fn noise(p: Vec3<Self>, seed: u32) -> Self;
    /// A function of each point by itself.
    fn each(p: Vec3<Self>, function: impl FnMut(Vec3) -> f32) -> Self;

    /// The nearest whole number, for numbers below four million: compilers know no vector instruction for it
    /// that every processor has.
    #[inline(always)]
    fn rounded(self) -> Self {
        // The sum has no bits left for fractions.
        const ROUND: f32 = 12_582_912.0;
        (self + ROUND) - ROUND
    }

    #[inline(always)]
    fn at_least(self, low: f32) -> Self {
        self.max(Self::of(low))
    }

    #[inline(always)]
    fn at_most(self, high: f32) -> Self {
        self.min(Self::of(high))
    }

    #[inline(always)]
    fn within(self, low: f32, high: f32) -> Self {
        self.at_least(low).at_most(high)
    }

    #[inline(always)]
    fn below(self, limit: f32) -> Self::Mask {
        self.less(Self::of(limit))
    }

    #[inline(always)]
    fn above(self, limit: f32) -> Self::Mask {
        Self::of(limit).less(self)
    }
}

/// Yes or no for each of several numbers.
pub(crate) trait Mask:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self>
{
    fn any(self) -> bool;

    #[inline(always)]
    fn all(self) -> bool {
        !(!self).any()
    }
}

impl Mask for bool {
    #[inline(always)]
    fn any(self) -> bool {
        self
    }
}

impl Real for f32 {
    type Mask = bool;

    #[inline(always)]
    fn of(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn min(self, other: f32) -> f32 {
        if self < other { self } else { other }
    }

    #[inline(always)]
    fn max(self, other: f32) -> f32 {
        if self > other { self } else { other }
    }

    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }

    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }

    #[inline(always)]
    fn less(self, other: f32) -> bool {
        self < other
    }

    #[inline(always)]
    fn choose(mask: bool, a: f32, b: f32) -> f32 {
        if mask { a } else { b }
    }

    #[inline(always)]
    fn map(self, mut function: impl FnMut(f32) -> f32) -> f32 {
        function(self)
    }

    #[inline(always)]
    fn noise(p: Vec3, seed: u32) -> f32 {
        noise(p, seed)
    }

    #[inline(always)]
    fn each(p: Vec3, mut function: impl FnMut(Vec3) -> f32) -> f32 {
        function(p)
    }
}

/// How many numbers [`Lanes`] holds: what the vector instructions of every processor hold.
pub(crate) const LANES: usize = 4;

/// Four numbers side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(16))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

/// Yes (all bits) or no (none) for each lane.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub(crate) struct LaneMask([u32; LANES]);

impl LaneMask {
    /// The mask whose lane `i` is `yes(i)`.
    #[inline(always)]
    pub(crate) fn from_fn(mut yes: impl FnMut(usize) -> bool) -> LaneMask {
        LaneMask(std::array::from_fn(|i| if yes(i) { u32::MAX } else { 0 }))
    }

    #[inline(always)]
    pub(crate) fn lane(self, i: usize) -> bool {
        self.0[i] != 0
    }
}

impl Mask for LaneMask {
    #[inline(always)]
    fn any(self) -> bool {
        let [a, b, c, d] = self.0;
        (a | b | c | d) != 0
    }
}

impl BitAnd for LaneMask {
    type Output = LaneMask;
    #[inline(always)]
    fn bitand(self, other: LaneMask) -> LaneMask {
        LaneMask(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }
}

impl BitOr for LaneMask {
    type Output = LaneMask;
    #[inline(always)]
    fn bitor(self, other: LaneMask) -> LaneMask {
        LaneMask(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }
}

impl Not for LaneMask {
    type Output = LaneMask;
    #[inline(always)]
    fn not(self) -> LaneMask {
        LaneMask(self.0.map(|bits| !bits))
    }
}

macro_rules! operator {
    ($operator:ident, $function:ident, $symbol:tt) => {
        impl $operator for Lanes {
            type Output = Lanes;
            #[inline(always)]
            fn $function(self, other: Lanes) -> Lanes {
                Lanes(std::array::from_fn(|i| self.0[i] $symbol other.0[i]))
            }
        }

        impl $operator<f32> for Lanes {
            type Output = Lanes;
            #[inline(always)]
            fn $function(self, other: f32) -> Lanes {
                Lanes(self.0.map(|x| x $symbol other))
            }
        }
    };
}

operator!(Add, add, +);
operator!(Sub, sub, -);
operator!(Mul, mul, *);
operator!(Div, div, /);

impl Neg for Lanes {
    type Output = Lanes;
    #[inline(always)]
    fn neg(self) -> Lanes {
        Lanes(self.0.map(|x| -x))
    }
}

impl AddAssign for Lanes {
    #[inline(always)]
    fn add_assign(&mut self, other: Lanes) {
        *self = *self + other;
    }
}

impl Real for Lanes {
    type Mask = LaneMask;

    #[inline(always)]
    fn of(x: f32) -> Lanes {
        Lanes([x; LANES])
    }

    #[inline(always)]
    fn min(self, other: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|i| Real::min(self.0[i], other.0[i])))
    }

    #[inline(always)]
    fn max(self, other: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|i| Real::max(self.0[i], other.0[i])))
    }

    #[inline(always)]
    fn abs(self) -> Lanes {
        Lanes(self.0.map(f32::abs))
    }

    #[inline(always)]
    fn sqrt(self) -> Lanes {
        Lanes(self.0.map(f32::sqrt))
    }

    #[inline(always)]
    fn less(self, other: Lanes) -> LaneMask {
        LaneMask::from_fn(|i| self.0[i] < other.0[i])
    }

    #[inline(always)]
    fn choose(mask: LaneMask, a: Lanes, b: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|i| {
            f32::from_bits((a.0[i].to_bits() & mask.0[i]) | (b.0[i].to_bits() & !mask.0[i]))
        }))
    }

    #[inline(always)]
    fn map(self, function: impl FnMut(f32) -> f32) -> Lanes {
        Lanes(self.0.map(function))
    }

    #[inline(always)]
    fn noise(p: Vec3<Lanes>, seed: u32) -> Lanes {
        noises(p, [seed; LANES])
    }

    #[inline(always)]
    fn each(p: Vec3<Lanes>, mut function: impl FnMut(Vec3) -> f32) -> Lanes {
        Lanes(std::array::from_fn(|i| function(p.lane(i))))
    }
}

impl Vec3<Lanes> {
    /// Four points side by side.
    #[inline(always)]
    pub(crate) fn gather(point: impl Fn(usize) -> Vec3) -> Vec3<Lanes> {
        let points: [Vec3; LANES] = std::array::from_fn(point);
        vec3(Lanes(points.map(|p| p.x)), Lanes(points.map(|p| p.y)), Lanes(points.map(|p| p.z)))
    }

    /// One of the four points.
    #[inline(always)]
    pub(crate) fn lane(self, i: usize) -> Vec3 {
        vec3(self.x.0[i], self.y.0[i], self.z.0[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_computes_what_a_single_number_would() {
        fn formula<R: Real>(x: R) -> R {
            let root = (x.abs() + 0.5).sqrt();
            R::choose(x.below(0.0), root.at_most(1.0), (x * 3.0 - root).within(-1.0, 7.0)) / root
        }
        let numbers = [-2.0, -0.1, 0.3, 5.0];
        assert_eq!(formula(Lanes(numbers)).0, numbers.map(formula));
    }

    #[test]
    fn masks_know_some_from_all() {
        let mask = Lanes([1.0, 2.0, 3.0, 4.0]).above(2.5);
        assert!(mask.any() && !mask.all() && (mask | !mask).all() && !(mask & !mask).any());
        assert!(!mask.lane(1) && mask.lane(2));
    }
}
