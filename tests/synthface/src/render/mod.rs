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
pub(crate) use parallel::for_each_row;
pub(crate) use scene::{Behind, Cover, Look, Picture, Scene};

pub use figure::HeadMesh;
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
    /// The rendered picture, RGB.
    pub image: RgbImage,
    /// Where the face is.
    pub truth: FaceTruth,
    /// For every pixel 0 for the backdrop, or a [`crate::Material`] as a number.
    pub mask: GrayImage,
}

/// A square picture of a person with an edge of `size` pixels, clamped to [`SIZES`].
pub fn render(identity: &Identity, view: &View, size: u32) -> Rendering {
    render_head(&HeadMesh::new(identity.clone()), view, size)
}

/// Like [`render`], for several pictures of one person.
pub fn render_head(head: &HeadMesh, view: &View, size: u32) -> Rendering {
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
        row: 0,
    };
    let figure = Figure::new(head, &view.expression, &view.outfit, stance);
    let truth = FaceTruth::of(&figure, &camera);
    let painting = backdrop::Painting::new(view);
    let behind = Canvas { painting, half: size as f32 * 0.5 };
    let mut scene = Scene {
        camera,
        figures: vec![figure],
        light: view.light,
        behind: &behind,
        finish: view.finish,
        metering: None,
        seed: view.seed,
    };
    let picture = scene.picture();
    Rendering { image: picture.image, truth, mask: picture.mask }
}

/// A painting that fills a square picture.
struct Canvas {
    painting: backdrop::Painting,
    /// Half of the picture's edge, pixels.
    half: f32,
}

impl Behind for Canvas {
    fn cover(&self, _: &Look) -> Cover {
        Cover::NOTHING
    }

    fn light(&self, at: &Look) -> Vec3 {
        let [x, y] = at.point;
        self.painting.light(x / self.half - 1.0, 1.0 - y / self.half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::GenericImageView;

    /// Made by `synthface sheet --count 3 --columns 3 --size 64 --seed 7 --out golden/sheet.png`.
    const GOLDEN: &[u8] = include_bytes!("../../golden/sheet.png");

    #[test]
    fn renders_are_the_same_on_every_machine() {
        let golden = image::load_from_memory(GOLDEN).unwrap().to_rgb8();
        for i in 0..3 {
            let seed = 7 + u64::from(i);
            let picture = render(&Identity::from_seed(seed), &View::portrait(seed), 64).image;
            let expected = golden.view(i * 64, 0, 64, 64).to_image();
            let differences = picture.iter().zip(expected.iter()).map(|(a, b)| u64::from(a.abs_diff(*b)));
            let mean = differences.sum::<u64>() as f32 / picture.len() as f32;
            // Another rounding may move an edge by a sample, not a feature.
            assert!(mean < 1.0, "person {seed} differs by {mean} of 255 on average");
        }
    }

    #[test]
    fn the_same_seeds_give_the_same_picture() {
        let make = || render(&Identity::from_seed(3), &View::random(4), 48);
        let (a, b) = (make(), make());
        assert_eq!(a.image, b.image);
        assert_eq!(a.truth, b.truth);
        assert_eq!(a.mask, b.mask);
    }

    #[test]
    fn landmarks_lie_in_the_box_on_the_face_and_in_order() {
        for seed in 0..24 {
            let picture = render(&Identity::from_seed(seed), &View::random(seed), 96);
            let [left_eye, right_eye, nose, left_mouth, right_mouth] = picture.truth.landmarks;
            assert!(picture.truth.landmarks.iter().all(|point| picture.truth.contains(*point)), "{seed}");
            assert!(left_eye[0] < right_eye[0] && left_mouth[0] < right_mouth[0], "{seed}");
            assert!(nose[1] > left_eye[1].min(right_eye[1]) && nose[1] < left_mouth[1].max(right_mouth[1]));
            let at_nose = picture.mask.get_pixel(nose[0] as u32, nose[1] as u32).0[0];
            assert_eq!(at_nose, crate::Material::Skin as u8, "person {seed}");
        }
    }

    #[test]
    fn absurd_sizes_are_clamped() {
        let picture = render(&Identity::from_seed(1), &View::portrait(1), 0);
        assert_eq!(picture.image.dimensions(), (16, 16));
    }
}
