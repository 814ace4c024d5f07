//! Figures before a backdrop, turned into pixels.

use image::{GrayImage, RgbImage};

use super::camera::Camera;
use super::develop::{self, Exposure};
use super::figure::Figure;
use super::parallel::for_each_row;
use super::tiles::{TILE, Tiles};
use crate::math::{LANES, LaneMask, Lanes, Mask, Real, Vec3};
use crate::shade::{Met, shade};
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
        for_each_row(&mut samples, width * TILE, |band, rows| {
            let (near, height) = (Self::in_row(&tiles, band * TILE), rows.len() / width);
            for x in (0..width).step_by(TILE) {
                // The pixels of a tile are looked at together.
                let pixels: [[usize; 2]; LANES] = std::array::from_fn(|i| [x + i % TILE, i / TILE]);
                let inside = |[x, y]: [usize; 2]| x < width && y < height;
                let wanted = LaneMask::from_fn(|i| inside(pixels[i]));
                let points = pixels.map(|[x, y]| [x as f32 + 0.5, (band * TILE + y) as f32 + 0.5]);
                let seen = self.look(&tiles, &near, points, wanted);
                for ([x, y], sample) in pixels.into_iter().zip(seen).filter(|(pixel, _)| inside(*pixel)) {
                    rows[y * width + x] = sample;
                }
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

    /// Looks through points of the picture that lie in one tile, those that are `wanted`.
    fn look(
        &self,
        tiles: &[Tiles],
        near: &[usize],
        points: [[f32; 2]; LANES],
        wanted: LaneMask,
    ) -> [Sample; LANES] {
        let spread = self.camera.pixel();
        let rays = points.map(|[x, y]| self.camera.ray(x, y));
        let behind: [(Vec3, f32); LANES] =
            std::array::from_fn(|i| (self.backdrop)(rays[i], points[i][0], points[i][1]));
        let depth = Lanes(behind.map(|(_, depth)| depth));
        let mut samples = behind.map(|(light, _)| Sample { light, owner: 0, material: 0 });
        let (together, mut open) = (Vec3::gather(|i| rays[i]), wanted);
        for &i in near {
            let figure = &self.figures[i];
            let [x, y] = points[0];
            // Nearest first: nothing behind the backdrop's point can be seen.
            let Some(start) = tiles[i].start(x, y) else { continue };
            let start = Lanes::of(start);
            let reached = open & start.less(depth);
            if !reached.any() {
                continue;
            }
            let hits = figure.trace(together, spread, start, depth, reached);
            let met: [Option<Met>; LANES] = std::array::from_fn(|lane| {
                let (t, material) = hits[lane].filter(|(t, _)| *t < behind[lane].1)?;
                let ray = rays[lane];
                Some(Met { at: ray * t - figure.stance.at, ray, material, pixel: spread * t })
            });
            let lights = shade(figure, &self.light, met, spread);
            for (sample, (met, light)) in samples.iter_mut().zip(met.iter().zip(lights)) {
                if let Some(met) = met {
                    *sample = Sample { light, owner: i as u16 + 1, material: met.material as u8 };
                }
            }
            open = open & LaneMask::from_fn(|lane| hits[lane].is_none());
            if !open.any() {
                break;
            }
        }
        samples
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
                    let point = |(dx, dy): (f32, f32)| [x as f32 + 0.5 + dx, y as f32 + 0.5 + dy];
                    let offset = |i: usize| EDGE_SAMPLES.get(i).copied();
                    let points = std::array::from_fn(|i| point(offset(i).unwrap_or_default()));
                    let wanted = LaneMask::from_fn(|i| offset(i).is_some());
                    let seen = self.look(tiles, &near, points, wanted);
                    for sample in &seen[..EDGE_SAMPLES.len()] {
                        *pixel += exposure.develop(sample.light);
                    }
                    *pixel = *pixel * (1.0 / (1 + EDGE_SAMPLES.len()) as f32);
                }
            }
        });
        pixels
    }
}
