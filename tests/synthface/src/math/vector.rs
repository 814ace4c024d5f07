//! Three-dimensional vectors and rotations.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use super::Real;

/// A point, a direction or a linear RGB colour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vec3<R = f32> {
    /// To the right of the picture, or red.
    pub x: R,
    /// Up, or green.
    pub y: R,
    /// Towards the camera, or blue.
    pub z: R,
}

/// Shorthand for a [`Vec3`].
#[inline(always)]
pub(crate) const fn vec3<R: Copy>(x: R, y: R, z: R) -> Vec3<R> {
    Vec3 { x, y, z }
}

impl<R: Copy + Add<S, Output = R>, S> Add<Vec3<S>> for Vec3<R> {
    type Output = Vec3<R>;
    #[inline(always)]
    fn add(self, o: Vec3<S>) -> Vec3<R> {
        vec3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl AddAssign for Vec3 {
    #[inline(always)]
    fn add_assign(&mut self, o: Vec3) {
        *self = *self + o;
    }
}

impl<R: Copy + Sub<S, Output = R>, S> Sub<Vec3<S>> for Vec3<R> {
    type Output = Vec3<R>;
    #[inline(always)]
    fn sub(self, o: Vec3<S>) -> Vec3<R> {
        vec3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Vec3;
    #[inline(always)]
    fn mul(self, k: f32) -> Vec3 {
        vec3(self.x * k, self.y * k, self.z * k)
    }
}

/// Componentwise, as colours multiply.
impl<R: Copy + Mul<S, Output = R>, S> Mul<Vec3<S>> for Vec3<R> {
    type Output = Vec3<R>;
    #[inline(always)]
    fn mul(self, o: Vec3<S>) -> Vec3<R> {
        vec3(self.x * o.x, self.y * o.y, self.z * o.z)
    }
}

impl Neg for Vec3 {
    type Output = Vec3;
    #[inline(always)]
    fn neg(self) -> Vec3 {
        vec3(-self.x, -self.y, -self.z)
    }
}

#[expect(private_bounds, reason = "outside of this crate, vectors are of plain numbers and only data")]
impl<R: Real> Vec3<R> {
    /// The same vector for every lane.
    #[inline(always)]
    pub(crate) fn of(v: Vec3) -> Vec3<R> {
        vec3(R::of(v.x), R::of(v.y), R::of(v.z))
    }

    /// The vector `k` times as long, by lane.
    #[inline(always)]
    pub(crate) fn scaled<S: Copy>(self, k: S) -> Vec3<R>
    where
        R: Mul<S, Output = R>,
    {
        vec3(self.x * k, self.y * k, self.z * k)
    }

    /// Scalar product.
    #[inline(always)]
    pub(crate) fn dot<S>(self, o: Vec3<S>) -> R
    where
        R: Mul<S, Output = R>,
    {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    /// Euclidean length.
    #[inline(always)]
    pub(crate) fn length(self) -> R {
        self.dot(self).sqrt()
    }

    /// The mirror image in the half-space x >= 0: faces are modelled once for both sides.
    #[inline(always)]
    pub(crate) fn mirrored(self) -> Vec3<R> {
        vec3(self.x.abs(), self.y, self.z)
    }
}

impl Vec3 {
    /// The same value in all three components.
    #[inline(always)]
    pub(crate) const fn splat(k: f32) -> Vec3 {
        vec3(k, k, k)
    }

    /// The direction of this vector; zero stays zero.
    #[inline(always)]
    pub(crate) fn normalized(self) -> Vec3 {
        self * (1.0 / self.length().max(1e-9))
    }

    /// One over each component.
    pub(crate) fn recip(self) -> Vec3 {
        vec3(1.0 / self.x, 1.0 / self.y, 1.0 / self.z)
    }

    /// Relative luminance of a linear colour (ITU-R BT.709).
    #[inline(always)]
    pub(crate) fn luminance(self) -> f32 {
        self.dot(vec3(0.2126, 0.7152, 0.0722))
    }
}

/// A rotation, by rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mat3([Vec3; 3]);

impl Mat3 {
    /// Turns by `yaw` about the vertical, then nods by `pitch`, then tilts by `roll`; radians. Positive
    /// yaw turns the face to the picture's right, positive pitch nods it down, positive roll tilts its
    /// top to the picture's left.
    pub(crate) fn rotation(yaw: f32, pitch: f32, roll: f32) -> Mat3 {
        let (s, c) = libm::sincosf(yaw);
        let about_y = Mat3([vec3(c, 0.0, s), vec3(0.0, 1.0, 0.0), vec3(-s, 0.0, c)]);
        let (s, c) = libm::sincosf(pitch);
        let about_x = Mat3([vec3(1.0, 0.0, 0.0), vec3(0.0, c, -s), vec3(0.0, s, c)]);
        let (s, c) = libm::sincosf(roll);
        let about_z = Mat3([vec3(c, -s, 0.0), vec3(s, c, 0.0), vec3(0.0, 0.0, 1.0)]);
        about_z.compose(&about_x.compose(&about_y))
    }

    /// The rotated vector.
    #[inline(always)]
    pub(crate) fn apply(&self, p: Vec3) -> Vec3 {
        vec3(self.0[0].dot(p), self.0[1].dot(p), self.0[2].dot(p))
    }

    /// The vector rotated back.
    #[inline(always)]
    pub(crate) fn apply_inverse<R: Real>(&self, p: Vec3<R>) -> Vec3<R> {
        let [a, b, c] = &self.0;
        vec3(
            p.x * a.x + p.y * b.x + p.z * c.x,
            p.x * a.y + p.y * b.y + p.z * c.y,
            p.x * a.z + p.y * b.z + p.z * c.z,
        )
    }

    /// First `other`, then `self`.
    pub(crate) fn compose(&self, other: &Mat3) -> Mat3 {
        Mat3(self.0.map(|row| other.apply_inverse(row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_undone_by_its_inverse() {
        let r = Mat3::rotation(0.4, -0.3, 0.2);
        let p = vec3(1.0, 2.0, 3.0);
        assert!((r.apply_inverse(r.apply(p)) - p).length() < 1e-5);
        let twice = r.compose(&r).apply(p);
        assert!((twice - r.apply(r.apply(p))).length() < 1e-5);
    }

    #[test]
    fn positive_yaw_turns_the_nose_to_the_right() {
        let nose = vec3(0.0, 0.0, 1.0);
        assert!(Mat3::rotation(0.3, 0.0, 0.0).apply(nose).x > 0.0);
        assert!(Mat3::rotation(0.0, 0.3, 0.0).apply(nose).y < 0.0);
        assert!(Mat3::rotation(0.0, 0.0, 0.3).apply(vec3(0.0, 1.0, 0.0)).x < 0.0);
    }
}
