//! Figures before a backdrop, turned into pixels.

use image::{GrayImage, RgbImage};

use super::camera::Camera;
use super::develop::{self, Exposure};
use super::figure::Figure;
use super::parallel::for_each_row;
use super::tiles::Tiles;
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
const EDGE: f32 = 0.07;
const EDGE_IN_HAIR: f32 = 0.16;

impl Scene<'_> {
    /// Renders the scene; the figures are sorted so that nearer ones come first.
    pub(crate) fn picture(&mut self) -> Picture {
        self.figures.sort_by(|a, b| b.stance.at.z.total_cmp(&a.stance.at.z));
        let (width, height) = (self.camera.width as usize, self.camera.height as usize);
        let tiles: Vec<Tiles> = self.figures.iter().map(|figure| Tiles::new(figure, &self.camera)).collect();
        let mut samples = vec![Sample::default(); width * height];
        for_each_row(&mut samples, width, |y, row| {
            let near = Self::in_row(&tiles, y);
            for (x, sample) in row.iter_mut().enumerate() {
                *sample = self.look(&tiles, &near, x as f32 + 0.5, y as f32 + 0.5);
            }
        });
        let mean = self
            .metering
            .unwrap_or_else(|| develop::meter(|x, y| samples[y * width + x].light, width, height));
        let exposure = Exposure::metered(mean, &self.finish);
        let pixels = self.refine(&samples, &tiles, exposure);
        let mask = samples.iter().map(|sample| sample.material).collect();
        Picture {
            image: develop::finish(pixels, self.camera.width, self.camera.height, &self.finish, self.seed),
            mask: GrayImage::from_vec(self.camera.width, self.camera.height, mask).unwrap_or_default(),
            owners: samples.iter().map(|sample| sample.owner).collect(),
        }
    }

    /// The figures that can be seen in a row.
    fn in_row(tiles: &[Tiles], y: usize) -> Vec<usize> {
        (0..tiles.len()).filter(|&i| tiles[i].in_row(y)).collect()
    }

    fn look(&self, tiles: &[Tiles], near: &[usize], x: f32, y: f32) -> Sample {
        let ray = self.camera.ray(x, y);
        let spread = self.camera.pixel();
        let (light, depth) = (self.backdrop)(ray, x, y);
        let mut best = Sample { light, owner: 0, material: 0 };
        for &i in near {
            let figure = &self.figures[i];
            // Nearest first: nothing behind the backdrop's point can be seen.
            let Some(start) = tiles[i].start(x, y).filter(|start| *start < depth) else { continue };
            let Some((t, material)) = figure.trace(ray, spread, start, depth) else { continue };
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
    fn refine(&self, samples: &[Sample], tiles: &[Tiles], exposure: Exposure) -> Vec<Vec3> {
        let (width, height) = (self.camera.width as usize, self.camera.height as usize);
        let mut pixels = vec![Vec3::default(); width * height];
        for_each_row(&mut pixels, width, |y, row| {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = exposure.develop(samples[y * width + x].light);
            }
        });
        let first = pixels.clone();
        for_each_row(&mut pixels, width, |y, row| {
            let near = Self::in_row(tiles, y);
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
                        *pixel += exposure.develop(self.look(tiles, &near, cx + dx, cy + dy).light);
                    }
                    *pixel = *pixel * (1.0 / (1 + EDGE_SAMPLES.len()) as f32);
                }
            }
        });
        pixels
    }
}
