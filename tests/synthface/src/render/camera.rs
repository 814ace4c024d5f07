//! The pinhole camera.

use crate::math::{DEGREE, Vec3, vec3};

/// A pinhole at the origin that looks along -z.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Camera {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Pixels per unit of x/z.
    focal: f32,
}

impl Camera {
    /// `field_of_view` is vertical, degrees.
    pub(crate) fn new(width: u32, height: u32, field_of_view: f32) -> Camera {
        let focal = 0.5 * height as f32 / libm::tanf(0.5 * field_of_view * DEGREE);
        Camera { width, height, focal }
    }

    /// Direction seen at a point of the picture, in pixels from its upper left corner.
    #[inline]
    pub(crate) fn ray(&self, x: f32, y: f32) -> Vec3 {
        let (cx, cy) = (self.width as f32 * 0.5, self.height as f32 * 0.5);
        vec3((x - cx) / self.focal, (cy - y) / self.focal, -1.0).normalized()
    }

    /// Where a point before the camera appears, pixels.
    pub(crate) fn project(&self, p: Vec3) -> [f32; 2] {
        let scale = self.focal / (-p.z).max(1e-3);
        [self.width as f32 * 0.5 + p.x * scale, self.height as f32 * 0.5 - p.y * scale]
    }

    /// Width of a pixel at unit distance.
    pub(crate) fn pixel(&self) -> f32 {
        1.0 / self.focal
    }

    /// Height of a picture at unit distance.
    pub(crate) fn extent(&self) -> f32 {
        self.height as f32 / self.focal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projected_point_lies_on_its_ray() {
        let camera = Camera::new(640, 360, 30.0);
        let p = camera.ray(100.0, 50.0) * 250.0;
        let [x, y] = camera.project(p);
        assert!((x - 100.0).abs() < 0.01 && (y - 50.0).abs() < 0.01);
    }
}
