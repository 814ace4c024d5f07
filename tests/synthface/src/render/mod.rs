//! Pictures of people, with the truth about them.

mod backdrop;
mod camera;
mod develop;
mod figure;
mod parallel;
mod scene;
mod tiles;
mod truth;

pub(crate) use camera::Camera;
pub(crate) use figure::{Figure, Stance};
pub(crate) use scene::Scene;

pub use figure::Sculpture;
pub use truth::FaceTruth;

use image::{GrayImage, RgbImage};

use crate::head::PIVOT;
use crate::identity::Identity;
use crate::math::{DEGREE, Mat3, Vec3, vec3};
use crate::view::View;

/// Smallest and largest edge of a portrait, pixels.
pub const SIZES: std::ops::RangeInclusive<u32> = 16..=4096;

/// A picture of one person.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// The picture.
    pub image: RgbImage,
    /// Where the face is.
    pub truth: FaceTruth,
    /// For every pixel 0 for the backdrop, or a [`crate::Material`] as a number.
    pub mask: GrayImage,
}

/// A square picture of a person with an edge of `size` pixels, clamped to [`SIZES`].
pub fn render(identity: &Identity, view: &View, size: u32) -> Rendering {
    render_sculpture(&Sculpture::new(identity.clone()), view, size)
}

/// Like [`render`], for several pictures of one person.
pub fn render_sculpture(sculpture: &Sculpture, view: &View, size: u32) -> Rendering {
    let size = size.clamp(*SIZES.start(), *SIZES.end());
    let camera = Camera::new(size, size, view.framing.field_of_view);
    // Height of a head, chin to crown, cm.
    const HEAD: f32 = 22.0;
    let distance = HEAD / (view.framing.scale * camera.extent());
    let [right, up] = view.framing.offset;
    let shown = vec3(right * HEAD / view.framing.scale, up * HEAD / view.framing.scale, -distance);
    // The middle of the face goes there, not the pivot below it.
    let middle = vec3(0.0, -2.0, 0.0) - PIVOT;
    let rotation = Mat3::rotation(view.pose.yaw * DEGREE, view.pose.pitch * DEGREE, view.pose.roll * DEGREE);
    let stance = Stance {
        at: shown - rotation.apply(middle),
        pose: view.pose,
        torso_yaw: view.pose.yaw * view.torso_follow,
        tilt: 0.0,
    };
    let figure = Figure::new(sculpture, &view.expression, &view.outfit, stance);
    let truth = FaceTruth::of(&figure, &camera);
    let painting = backdrop::Painting::new(view);
    let half = size as f32 * 0.5;
    let behind = |_: Vec3, x: f32, y: f32| (painting.light(x / half - 1.0, 1.0 - y / half), f32::MAX);
    let mut scene = Scene {
        camera,
        figures: vec![figure],
        light: view.light,
        backdrop: &behind,
        finish: view.finish,
        metering: None,
        seed: view.seed,
    };
    let picture = scene.picture();
    Rendering { image: picture.image, truth, mask: picture.mask }
}
