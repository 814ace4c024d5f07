//! Figures before a backdrop, turned into pixels.

use image::{GrayImage, RgbImage};

use super::camera::Camera;
use super::develop::{self, Exposure};
use super::figure::Figure;
use super::parallel::for_each_row;
use super::tiles::{TILE, Tiles};
use crate::head::Material;
use crate::math::{LANES, LaneMask, Lanes, Mask, Real, Vec3};
use crate::shade::{Met, shade};
use crate::view::{Finish, Light};

/// Everything that the camera sees.
pub(crate) struct Scene<'a> {
    pub(crate) camera: Camera,
    pub(crate) figures: Vec<Figure<'a>>,
    pub(crate) light: Light,
    pub(crate) behind: &'a dyn Behind,
    pub(crate) finish: Finish,
    /// Geometric mean of the light to expose for; `None` measures the picture's middle.
    pub(crate) metering: Option<f32>,
    pub(crate) seed: u64,
}

/// What is behind the figures, or before some of them.
pub(crate) trait Behind: Sync {
    /// What of it comes first along a ray.
    fn cover(&self, at: &Look) -> Cover;
    /// Light that comes back along the ray.
    fn light(&self, at: &Look) -> Vec3;
}

/// What hides figures along a ray.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cover {
    /// How far it is, cm.
    pub(crate) depth: f32,
    /// The first row whose figures it hides where they are further away. Rows are closer to each other than
    /// people and desks are deep, so that depth alone would let a desk cut the people who sit before it.
    pub(crate) row: u16,
}

impl Cover {
    /// Nothing that hides anybody.
    pub(crate) const NOTHING: Cover = Cover { depth: f32::MAX, row: 0 };

    /// How far a figure of a row is seen, cm.
    #[inline]
    fn limit(&self, row: u16) -> f32 {
        if self.row <= row { self.depth } else { f32::MAX }
    }
}

/// One look at what is behind.
pub(crate) struct Look {
    /// Where the ray goes, in the camera's frame.
    pub(crate) ray: Vec3,
    /// The point of the picture that it goes through, pixels.
    pub(crate) point: [f32; 2],
    /// Whether that is the middle of a pixel.
    pub(crate) middle: bool,
}

/// A picture of a scene.
pub(crate) struct Picture {
    pub(crate) image: RgbImage,
    /// For every pixel 0, or [`Material`] as a number.
    pub(crate) mask: GrayImage,
    /// For every pixel 0, or one more than the index of the figure.
    pub(crate) owners: Vec<u16>,
}

/// One look along one ray.
#[derive(Clone, Copy, Default)]
struct Sample {
    light: Vec3,
    /// Distance along the ray to the figure, cm.
    depth: f32,
    owner: u16,
    material: Option<Material>,
}

impl Sample {
    /// How fast the depth grows to the right and downwards, cm per pixel, where the pixels left, right, above
    /// and below show the same surface without an edge between; `pixel` is a pixel's width at unit distance.
    fn slope(&self, beside: [Option<&Sample>; 4], pixel: f32) -> Option<[f32; 2]> {
        /// Steeper than this is an edge, pixels of depth per pixel.
        const STEEP: f32 = 2.5;
        let rise = |other: Option<&Sample>| {
            let other = other.filter(|other| (other.owner, other.material) == (self.owner, self.material))?;
            let rise = other.depth - self.depth;
            (rise.abs() < STEEP * pixel * self.depth).then_some(rise)
        };
        let [left, right, above, below] = beside;
        Some([0.5 * (rise(right)? - rise(left)?), 0.5 * (rise(below)? - rise(above)?)])
    }
}

/// Where to look for a figure along a ray, cm.
struct Span {
    figure: usize,
    from: f32,
    to: f32,
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
        self.figures.sort_by(|a, b| a.stance.depth_order(&b.stance));
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
                let spans = near.iter().filter_map(|&figure| {
                    let [x, y] = points[0];
                    Some(Span { figure, from: tiles[figure].start(x, y)?, to: f32::MAX })
                });
                let seen = self.look(spans, points, wanted, true);
                for ([x, y], sample) in pixels.into_iter().zip(seen).filter(|(pixel, _)| inside(*pixel)) {
                    rows[y * width + x] = sample;
                }
            }
        });
        let mean = self
            .metering
            .unwrap_or_else(|| develop::meter(|x, y| samples[y * width + x].light, width, height));
        let exposure = Exposure::metered(mean, &self.finish);
        let pixels = self.refine(&samples, exposure);
        let mask =
            samples.iter().map(|sample| sample.material.map_or(0, |material| material as u8)).collect();
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

    /// Light through the [`EDGE_SAMPLES`] of the pixel around `middle` that has been seen as `here`, with the
    /// pixels left, right, above and below.
    fn closer(&self, here: &Sample, beside: [Option<&Sample>; 4], middle: [f32; 2]) -> [Vec3; LANES] {
        let offset = |i: usize| EDGE_SAMPLES.get(i).copied().unwrap_or_default();
        let points = std::array::from_fn(|i| [middle[0] + offset(i).0, middle[1] + offset(i).1]);
        let wanted = LaneMask::from_fn(|i| i < EDGE_SAMPLES.len());
        let spread = self.camera.pixel();
        // Within a surface it is known where the rays end.
        if let (Some(material), Some([across, down])) = (here.material, here.slope(beside, spread)) {
            let i = usize::from(here.owner) - 1;
            let met = std::array::from_fn(|lane| {
                let depth = here.depth + offset(lane).0 * across + offset(lane).1 * down;
                let ray = self.camera.ray(points[lane][0], points[lane][1]);
                let at = ray * depth - self.figures[i].stance.at;
                wanted.lane(lane).then_some(Met { at, ray, material, depth })
            });
            return shade(&self.figures[i], &self.light, met, spread);
        }
        let [left, right, above, below] = beside;
        let spans = self.spans([Some(here), left, right, above, below]);
        self.look(spans.into_iter().flatten(), points, wanted, false).map(|sample| sample.light)
    }

    /// Where to look for the figures of a pixel and its neighbours within that pixel: about where these have
    /// seen them.
    fn spans(&self, seen: [Option<&Sample>; 5]) -> [Option<Span>; 5] {
        // How much nearer or further a round surface may be than a pixel beside, pixels: most at outlines.
        let one = seen.into_iter().flatten().all(|sample| Some(sample.owner) == seen[0].map(|s| s.owner));
        let margin = if one { 3.0 } else { 8.0 };
        let mut spans = [const { None::<Span> }; 5];
        let mut owners = seen.map(|sample| sample.map_or(0, |sample| sample.owner));
        owners.sort_unstable();
        for (i, &owner) in owners.iter().enumerate() {
            if owner == 0 || (i > 0 && owners[i - 1] == owner) {
                continue;
            }
            let depths = || seen.into_iter().flatten().filter(|s| s.owner == owner).map(|s| s.depth);
            let (least, most) = (depths().fold(f32::MAX, f32::min), depths().fold(0.0, f32::max));
            let margin = most - least + margin * self.camera.pixel() * most;
            spans[i] = Some(Span { figure: usize::from(owner) - 1, from: least - margin, to: most + margin });
        }
        spans
    }

    /// Looks through points of the picture that lie in one tile, those that are `wanted`; `middle` if they are
    /// the middles of pixels. What is nearer comes first in `spans`.
    fn look(
        &self,
        spans: impl Iterator<Item = Span>,
        points: [[f32; 2]; LANES],
        wanted: LaneMask,
        middle: bool,
    ) -> [Sample; LANES] {
        let spread = self.camera.pixel();
        let rays = points.map(|[x, y]| self.camera.ray(x, y));
        let looks: [Look; LANES] = std::array::from_fn(|i| Look { ray: rays[i], point: points[i], middle });
        let covers = looks.each_ref().map(|look| self.behind.cover(look));
        let mut samples = [Sample::default(); LANES];
        let (together, mut open) = (Vec3::gather(|i| rays[i]), wanted);
        // Nearest first: nothing behind what covers it can be seen.
        for Span { figure: i, from, to } in spans {
            let figure = &self.figures[i];
            let depth = Lanes(covers.map(|cover| cover.limit(figure.stance.row)));
            let start = Lanes::of(from);
            let reached = open & start.less(depth);
            if !reached.any() {
                continue;
            }
            let hits = figure.trace(together, spread, start, depth.at_most(to), reached);
            let met: [Option<Met>; LANES] = std::array::from_fn(|lane| {
                let (t, material) = hits[lane].filter(|(t, _)| *t < depth.0[lane])?;
                let ray = rays[lane];
                Some(Met { at: ray * t - figure.stance.at, ray, material, depth: t })
            });
            let lights = shade(figure, &self.light, met, spread);
            for (sample, (met, light)) in samples.iter_mut().zip(met.iter().zip(lights)) {
                if let Some(met) = met {
                    *sample =
                        Sample { light, depth: met.depth, owner: i as u16 + 1, material: Some(met.material) };
                }
            }
            open = open & LaneMask::from_fn(|lane| hits[lane].is_none());
            if !open.any() {
                break;
            }
        }
        for (lane, sample) in samples.iter_mut().enumerate() {
            if wanted.lane(lane) && sample.owner == 0 {
                sample.light = self.behind.light(&looks[lane]);
            }
        }
        samples
    }

    /// Develops the samples, with more of them where neighbouring pixels differ.
    fn refine(&self, samples: &[Sample], exposure: Exposure) -> Vec<Vec3> {
        let (width, height) = (self.camera.width as usize, self.camera.height as usize);
        let mut pixels = vec![Vec3::default(); width * height];
        for_each_row(&mut pixels, width, |y, row| {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = exposure.develop(samples[y * width + x].light);
            }
        });
        let first = pixels.clone();
        for_each_row(&mut pixels, width, |y, row| {
            for (x, pixel) in row.iter_mut().enumerate() {
                let at = y * width + x;
                let here = &samples[at];
                let limit = if here.material == Some(Material::Hair) { EDGE_IN_HAIR } else { EDGE };
                let differs = |other: usize| {
                    let there = &samples[other];
                    (here.owner, here.material) != (there.owner, there.material)
                        || (first[at].luminance() - first[other].luminance()).abs() > limit
                };
                let (left, right) = ((x > 0).then(|| at - 1), (x + 1 < width).then_some(at + 1));
                let (above, below) = ((y > 0).then(|| at - width), (y + 1 < height).then_some(at + width));
                if [left, right, above, below].into_iter().flatten().any(differs) {
                    let beside = [left, right, above, below].map(|i| i.map(|i| &samples[i]));
                    let lights = self.closer(here, beside, [x as f32 + 0.5, y as f32 + 0.5]);
                    for light in &lights[..EDGE_SAMPLES.len()] {
                        *pixel += exposure.develop(*light);
                    }
                    *pixel = *pixel * (1.0 / (1 + EDGE_SAMPLES.len()) as f32);
                }
            }
        });
        pixels
    }
}
