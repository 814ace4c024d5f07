//! Figures before a backdrop, turned into pixels.

use image::{GrayImage, RgbImage};

use super::camera::Camera;
use super::develop::{self, Exposure};
use super::figure::Figure;
use super::parallel::for_each_row;
use crate::math::Vec3;
use crate::shade::shade;
use crate::view::{Finish, Light};

/// Everything that the camera sees.
pub(crate) struct Scene<'a> {
    pub(crate) camera: Camera,
    pub(crate) figures: Vec<Figure<'a>>,
    pub(crate) light: Light,
    /// What is behind the figures, and where it is: light, and distance along the ray.
    pub(crate) backdrop: &'a (dyn Fn(Vec3, f32, f32) -> (Vec3, f32) + Sync),
    pub(crate) finish: Finish,
    /// Geometric mean of the light to expose for; `None` measures the picture's middle.
    pub(crate) metering: Option<f32>,
    pub(crate) seed: u64,
}

/// A picture of a scene.
pub(crate) struct Picture {
    pub(crate) image: RgbImage,
    /// For every pixel 0, or [`crate::head::Material`] as a number.
    pub(crate) mask: GrayImage,
    /// For every pixel 0, or one more than the index of the figure.
    pub(crate) owners: Vec<u16>,
}

/// The parts of the picture that a figure's head and body can cover, pixels: left, top, right, bottom.
struct Extent {
    head: [f32; 4],
    body: [f32; 4],
}

impl Extent {
    fn of(figure: &Figure<'_>, camera: &Camera) -> Extent {
        let at = figure.stance.at;
        let near = Vec3 { z: at.z + 16.0, ..at };
        let corner = |x: f32, y: f32| camera.project(near + Vec3 { x, y, z: 0.0 });
        // A bun reaches 22 cm above the pivot, hair 15 cm to the side and to the shoulders; shoulders and
        // arms reach 24 cm to the side.
        let ([left, top], [right, bottom]) = (corner(-18.0, 25.0), corner(18.0, -18.0));
        let ([far_left, shoulders], [far_right, _]) = (corner(-26.0, -1.0), corner(26.0, 0.0));
        Extent {
            head: [left, top, right, bottom],
            body: [far_left, shoulders, far_right, camera.height as f32],
        }
    }

    #[inline]
    fn contains(&self, x: f32, y: f32) -> bool {
        [self.head, self.body]
            .iter()
            .any(|[left, top, right, bottom]| x >= *left && x <= *right && y >= *top && y <= *bottom)
    }
}

/// One look along one ray.
#[derive(Clone, Copy, Default)]
struct Sample {
    light: Vec3,
    owner: u16,
    material: u8,
}

/// Offsets within a pixel of the samples that are added at edges, pixels.
const EDGE_SAMPLES: [(f32, f32); 3] = [(0.0, -0.38), (-0.33, 0.19), (0.33, 0.19)];
/// Difference in display luminance to a neighbour that calls for more samples; within hair, which is
/// all differences, it must be larger.
const EDGE: f32 = 0.05;
const EDGE_IN_HAIR: f32 = 0.14;

impl Scene<'_> {
    /// Renders the scene; the figures are sorted so that nearer ones come first.
    pub(crate) fn picture(&mut self) -> Picture {
        self.figures.sort_by(|a, b| b.stance.at.z.total_cmp(&a.stance.at.z));
        let (width, height) = (self.camera.width as usize, self.camera.height as usize);
        let extents: Vec<Extent> = self.figures.iter().map(|f| Extent::of(f, &self.camera)).collect();
        let mut samples = vec![Sample::default(); width * height];
        for_each_row(&mut samples, width, |y, row| {
            let near = Self::in_row(&extents, y);
            for (x, sample) in row.iter_mut().enumerate() {
                *sample = self.look(&extents, &near, x as f32 + 0.5, y as f32 + 0.5);
            }
        });
        let mean = self
            .metering
            .unwrap_or_else(|| develop::meter(|x, y| samples[y * width + x].light, width, height));
        let exposure = Exposure::metered(mean, &self.finish);
        let pixels = self.refine(&samples, &extents, exposure);
        let mask = samples.iter().map(|sample| sample.material).collect();
        Picture {
            image: develop::finish(pixels, self.camera.width, self.camera.height, &self.finish, self.seed),
            mask: GrayImage::from_vec(self.camera.width, self.camera.height, mask).unwrap_or_default(),
            owners: samples.iter().map(|sample| sample.owner).collect(),
        }
    }

    /// The figures whose extent reaches a row.
    fn in_row(extents: &[Extent], y: usize) -> Vec<usize> {
        let y = y as f32 + 0.5;
        (0..extents.len()).filter(|&i| extents[i].head[1].min(extents[i].body[1]) <= y).collect()
    }

    fn look(&self, extents: &[Extent], near: &[usize], x: f32, y: f32) -> Sample {
        let ray = self.camera.ray(x, y);
        let spread = self.camera.pixel();
        let (light, depth) = (self.backdrop)(ray, x, y);
        let mut best = Sample { light, owner: 0, material: 0 };
        for &i in near {
            let figure = &self.figures[i];
            // Nearest first: nothing behind the backdrop's point can be seen.
            if !extents[i].contains(x, y) || -figure.stance.at.z - 40.0 > depth {
                continue;
            }
            let Some((t, material)) = figure.trace(ray, spread, depth) else { continue };
            if t < depth {
                let at = ray * t - figure.stance.at;
                best.light = shade(figure, &self.light, at, ray, material, spread * t);
                best.owner = i as u16 + 1;
                best.material = material as u8;
            }
            break;
        }
        best
    }

    /// Develops the samples, with more of them where neighbouring pixels differ.
    fn refine(&self, samples: &[Sample], extents: &[Extent], exposure: Exposure) -> Vec<Vec3> {
        let (width, height) = (self.camera.width as usize, self.camera.height as usize);
        let mut pixels = vec![Vec3::default(); width * height];
        for_each_row(&mut pixels, width, |y, row| {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = exposure.develop(samples[y * width + x].light);
            }
        });
        let first = pixels.clone();
        for_each_row(&mut pixels, width, |y, row| {
            let near = Self::in_row(extents, y);
            for (x, pixel) in row.iter_mut().enumerate() {
                let at = y * width + x;
                let here = &samples[at];
                let hair = crate::head::Material::Hair as u8;
                let limit = if here.material == hair { EDGE_IN_HAIR } else { EDGE };
                let differs = |other: usize| {
                    let there = &samples[other];
                    (here.owner, here.material) != (there.owner, there.material)
                        || (first[at].luminance() - first[other].luminance()).abs() > limit
                };
                let edge = (here.material != 0 || here.owner == 0)
                    && ((x > 0 && differs(at - 1))
                        || (x + 1 < width && differs(at + 1))
                        || (y > 0 && differs(at - width))
                        || (y + 1 < height && differs(at + width)));
                if edge {
                    let (cx, cy) = (x as f32 + 0.5, y as f32 + 0.5);
                    for (dx, dy) in EDGE_SAMPLES {
                        *pixel += exposure.develop(self.look(extents, &near, cx + dx, cy + dy).light);
                    }
                    *pixel = *pixel * (1.0 / (1 + EDGE_SAMPLES.len()) as f32);
                }
            }
        });
        pixels
    }
}
