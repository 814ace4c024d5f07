//! What is true of a rendered face.

use serde::{Deserialize, Serialize};

use super::camera::Camera;
use super::figure::Figure;
use crate::math::{Vec3, vec3};
use crate::view::Pose;

/// Where a face is in a picture, in pixels from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaceTruth {
    /// Left, top, width and height, from the forehead to the chin as detectors frame a face.
    #[serde(rename = "box")]
    pub bounds: [f32; 4],
    /// Eye on the picture's left, eye on its right, tip of the nose, corner of the mouth on the picture's
    /// left, corner on its right; each across and down.
    pub landmarks: [[f32; 2]; 5],
    /// Turn of the head with respect to the camera.
    pub pose: Pose,
}

impl FaceTruth {
    pub(crate) fn of(figure: &Figure<'_>, camera: &Camera) -> FaceTruth {
        let p = &figure.head.identity.shape;
        let deformation = &figure.head.identity.deformation;
        let see = |model: Vec3| camera.project(figure.camera_point(deformation.invert(model)));
        let (mouth_x, mouth_y) = figure.head.mouth.corner();
        let eye_z = p.eye_z + p.eye_radius;
        let nose = figure.head.front_of_skin(0.0, p.nose_y + p.nose_upturn * 0.25);
        let corner = figure.head.front_of_skin(mouth_x * 0.97, mouth_y);
        let landmarks = [
            see(vec3(-p.eye_x, p.eye_y, eye_z)),
            see(vec3(p.eye_x, p.eye_y, eye_z)),
            see(nose),
            see(vec3(-corner.x, corner.y, corner.z)),
            see(corner),
        ];
        let outline = [
            vec3(-p.face_width, 0.0, 4.0),
            vec3(p.face_width, 0.0, 4.0),
            vec3(-p.face_width, -3.0, 5.0),
            vec3(p.face_width, -3.0, 5.0),
            vec3(0.0, 6.4, 8.0),
            vec3(0.0, p.chin_y - 1.3, p.chin_z),
            vec3(0.0, p.nose_y, p.nose_z),
        ]
        .map(see);
        let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
        for point in outline.iter().chain(&landmarks) {
            for axis in 0..2 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        FaceTruth {
            bounds: [low[0], low[1], high[0] - low[0], high[1] - low[1]],
            landmarks,
            pose: figure.stance.pose,
        }
    }

    /// Share of a few points all over the face that belong to figure `owner` in a picture whose pixels
    /// belong to `owners`.
    pub(crate) fn visible(&self, owners: &[u16], owner: u16, camera: &Camera) -> f32 {
        let [left, top, width, height] = self.bounds;
        // Within the oval of a face, which fills its box but for the corners.
        const SPOTS: [(f32, f32); 8] = [
            (0.5, 0.12),
            (0.28, 0.25),
            (0.72, 0.25),
            (0.22, 0.55),
            (0.78, 0.55),
            (0.36, 0.85),
            (0.64, 0.85),
            (0.5, 0.9),
        ];
        let spots = SPOTS.map(|(x, y)| [left + x * width, top + y * height]);
        let seen = |&&[x, y]: &&[f32; 2]| {
            if x < 0.0 || y < 0.0 || x >= camera.width as f32 || y >= camera.height as f32 {
                return false;
            }
            owners[y as usize * camera.width as usize + x as usize] == owner
        };
        let count = spots.iter().chain(&self.landmarks).filter(seen).count();
        count as f32 / (SPOTS.len() + self.landmarks.len()) as f32
    }

    /// Whether a point lies within the box.
    pub fn contains(&self, [x, y]: [f32; 2]) -> bool {
        let [left, top, width, height] = self.bounds;
        (left..=left + width).contains(&x) && (top..=top + height).contains(&y)
    }
}
