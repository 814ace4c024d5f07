//! Flat things in the room: desks, sheets, screens.

use crate::math::{Vec3, lerp3, vec3};

/// A rectangle in the camera's frame.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    centre: Vec3,
    /// From the centre to the middle of the right edge and of the upper edge, cm.
    right: Vec3,
    up: Vec3,
    normal: Vec3,
    paint: Paint,
}

/// What a panel shows.
#[derive(Clone, Debug)]
pub(crate) enum Paint {
    /// One colour, linear RGB of the light that leaves it, darker towards the lower edge.
    Plain(Vec3),
}

impl Panel {
    pub(crate) fn new(centre: Vec3, right: Vec3, up: Vec3, paint: Paint) -> Panel {
        let normal = vec3(
            right.y * up.z - right.z * up.y,
            right.z * up.x - right.x * up.z,
            right.x * up.y - right.y * up.x,
        )
        .normalized();
        Panel { centre, right, up, normal, paint }
    }

    /// Distance along a ray from the camera and the light that comes back.
    #[inline]
    pub(crate) fn hit(&self, ray: Vec3) -> Option<(f32, Vec3)> {
        let facing = self.normal.dot(ray);
        if facing.abs() < 1e-4 {
            return None;
        }
        let t = self.normal.dot(self.centre) / facing;
        if t <= 1.0 {
            return None;
        }
        let at = ray * t - self.centre;
        let u = at.dot(self.right) / self.right.dot(self.right);
        let v = at.dot(self.up) / self.up.dot(self.up);
        if u.abs() > 1.0 || v.abs() > 1.0 {
            return None;
        }
        let Paint::Plain(colour) = &self.paint;
        Some((t, lerp3(*colour * 0.72, *colour, 0.5 + 0.5 * v)))
    }
}
