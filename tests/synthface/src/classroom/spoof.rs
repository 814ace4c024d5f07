//! Pictures of faces that somebody holds up: printed sheets and screens.

use serde::Serialize;

use super::panel::{Paint, Panel};
use super::settings::Seat;
use crate::math::{DEGREE, Mat3, Random, Vec3, vec3};
use crate::render::{Camera, FaceTruth, HeadMesh, render_head};
use crate::roster::Student;
use crate::view::{Pose, View};

/// What a picture of a face is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spoof {
    /// A printed sheet.
    Print,
    /// A screen, with moire.
    Screen,
}

/// Half of the edge of the picture that is held up, cm: a sheet of A4, or a tablet.
const HALF: f32 = 10.5;
/// Edge of the picture that is shown, pixels.
const RESOLUTION: u32 = 320;

/// A picture of a student in the room.
pub(crate) struct Held {
    pub(crate) kind: Spoof,
    /// Number of the student it shows.
    pub(crate) shows: String,
    pub(crate) panel: Panel,
    pub(crate) truth: FaceTruth,
}

impl Held {
    /// A picture of `student` held before the face of somebody at `seat` of `row`. `lighting` is what arrives
    /// there, linear RGB.
    pub(crate) fn new(
        student: &Student,
        seat: Seat,
        row: u16,
        lighting: Vec3,
        camera: &Camera,
        seed: u64,
    ) -> Held {
        let mut random = Random::new(seed, 36);
        let kind = random.pick([Spoof::Print, Spoof::Screen]);
        let view = View::portrait(random.next());
        let shown = render_head(&HeadMesh::new(student.identity.clone()), &view, RESOLUTION);
        // Towards the camera, and turned away from it a little.
        let turn = Pose {
            yaw: -libm::atan2f(seat.x, -seat.z) / DEGREE + random.range(-14.0, 14.0),
            pitch: libm::atan2f(seat.y, -seat.z) / DEGREE + random.range(-6.0, 6.0),
            roll: random.range(-8.0, 8.0),
        };
        let tilt = Mat3::rotation(turn.yaw * DEGREE, turn.pitch * DEGREE, turn.roll * DEGREE);
        let centre = seat + vec3(0.0, 5.0, 19.0);
        let (right, up) = (tilt.apply(vec3(HALF, 0.0, 0.0)), tilt.apply(vec3(0.0, HALF, 0.0)));
        let paint = Paint::picture(&shown.image, kind, lighting);
        let panel = Panel::new(centre, right, up, paint, row);
        let place = |[x, y]: [f32; 2]| {
            let half = RESOLUTION as f32 * 0.5;
            camera.project(centre + right * (x / half - 1.0) + up * (1.0 - y / half))
        };
        let [left, top, width, height] = shown.truth.bounds;
        let corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)]
            .map(|(x, y)| place([left + x, top + y]));
        let span = |axis: usize| {
            let values = corners.map(|corner| corner[axis]);
            let low = values.into_iter().fold(f32::MAX, f32::min);
            (low, values.into_iter().fold(f32::MIN, f32::max) - low)
        };
        let ((x, wide), (y, tall)) = (span(0), span(1));
        let truth = FaceTruth {
            bounds: [x, y, wide, tall],
            landmarks: shown.truth.landmarks.map(place),
            pose: Pose {
                yaw: shown.truth.pose.yaw + turn.yaw,
                pitch: shown.truth.pose.pitch + turn.pitch,
                roll: shown.truth.pose.roll + turn.roll,
            },
        };
        Held { kind, shows: student.number.clone(), panel, truth }
    }
}
