//! The room behind the people, and their desks.

use super::panel::{Paint, Panel};
use super::seats::Row;
use crate::identity::colour::{muted, srgb};
use crate::math::{DEGREE, Mat3, Random, Vec3, fractal_noise, lerp3, smoothstep, vec3};
use crate::render::Cover;
use crate::view::Light;

/// Walls, floor, and what hangs on the walls.
pub(crate) struct Room {
    lean: Mat3,
    /// Distance of the back wall and half-width of the room, cm.
    back: f32,
    half_width: f32,
    floor: f32,
    wall: Vec3,
    posters: Vec<Poster>,
    brightness: Vec3,
    panels: Vec<Panel>,
    seed: u32,
}

struct Poster {
    x: f32,
    y: f32,
    half_width: f32,
    half_height: f32,
    colours: [Vec3; 2],
}

impl Room {
    /// A room for these rows, seen by a camera that looks down by `tilt` degrees.
    pub(crate) fn new(rows: &[Row], light: &Light, tilt: f32, seed: u64) -> Room {
        let mut random = Random::new(seed, 34);
        let lean = Mat3::rotation(0.0, tilt * DEGREE, 0.0);
        let far = rows.last().map_or(400.0, |row| row.distance);
        let brightness = light.ambient * 0.55 + light.key * 0.30 + light.fill * 0.3;
        let lowest = rows.first().map_or(-40.0, |row| row.height);
        let posters = (0..5)
            .map(|i| Poster {
                x: (i as f32 - 2.0) * 110.0 + random.range(-25.0, 25.0),
                y: random.range(70.0, 130.0),
                half_width: random.range(18.0, 38.0),
                half_height: random.range(18.0, 30.0),
                colours: [muted(&mut random, 0.1, 0.8, 0.5), muted(&mut random, 0.05, 0.6, 0.4)],
            })
            .collect();
        let wood = srgb(168.0, 130.0, 92.0) * brightness;
        let mut panels = Vec::new();
        for (number, row) in (0..).zip(rows) {
            // A desk's top lies 36 cm under the chin line and 22 cm before the body.
            let edge = vec3(0.0, row.height - 38.0, -row.distance + 22.0);
            let across = vec3(row.distance * 0.6, 0.0, 0.0);
            let down = lean.apply(vec3(0.0, 1.0, 0.0));
            let back = lean.apply(vec3(0.0, 0.0, -1.0));
            panels.push(Panel::new(
                edge - down * 24.0,
                across,
                down * 24.0,
                Paint::Plain(wood * 0.62),
                number,
            ));
            panels.push(Panel::new(edge + back * 13.0, across, back * 13.0, Paint::Plain(wood), number));
        }
        Room {
            lean,
            back: far + 160.0,
            half_width: far * 0.75,
            floor: lowest - 130.0,
            wall: srgb(218.0, 212.0, 200.0) * random.range(0.75, 1.0),
            posters,
            brightness,
            panels,
            seed: seed as u32,
        }
    }

    /// Adds something flat.
    pub(crate) fn put(&mut self, panel: Panel) {
        self.panels.push(panel);
    }

    /// Light that arrives at a sheet in the room, linear RGB.
    pub(crate) fn lighting(&self) -> Vec3 {
        self.brightness
    }

    /// The light that comes back along a ray, and what it comes from: walls hide nobody.
    pub(crate) fn look(&self, ray: Vec3) -> (Vec3, Cover) {
        match Panel::nearest(&self.panels, ray) {
            Some((panel, light)) => (light, panel),
            None => (self.walls(ray), Cover::NOTHING),
        }
    }

    fn walls(&self, ray: Vec3) -> Vec3 {
        let way = self.lean.apply_inverse(ray);
        let (to_back, to_side) = (self.back / (-way.z).max(1e-3), self.half_width / way.x.abs().max(1e-3));
        let to_floor = if way.y < 0.0 { self.floor / way.y } else { f32::MAX };
        if to_floor < to_back && to_floor < to_side {
            let at = way * to_floor;
            let worn = 0.9 + 0.15 * fractal_noise(at * 0.02, 3, self.seed);
            return srgb(120.0, 104.0, 88.0) * self.brightness * (0.6 * worn);
        }
        if to_side < to_back {
            let at = way * to_side;
            let window = (at.z * (1.0 / 140.0) - (at.z * (1.0 / 140.0)).floor() - 0.5).abs();
            let glass =
                smoothstep(0.36, 0.34, window) * smoothstep(-20.0, -16.0, at.y) * f32::from(at.x < 0.0);
            return lerp3(self.wall * 0.72, vec3(1.5, 1.6, 1.7), glass) * self.brightness;
        }
        let at = way * to_back;
        let mut colour =
            lerp3(self.wall * 0.62, self.wall, smoothstep(-42.0, -38.0, at.y - self.floor - 130.0));
        for poster in &self.posters {
            let (x, y) =
                ((at.x - poster.x) / poster.half_width, (at.y - poster.y + 90.0) / poster.half_height);
            if x.abs() < 1.0 && y.abs() < 1.0 {
                let picture =
                    smoothstep(-0.3, 0.3, fractal_noise(vec3(x * 1.4, y * 1.4, poster.x), 3, self.seed));
                let frame = x.abs().max(y.abs()) > 0.93;
                colour = if frame {
                    srgb(70.0, 60.0, 52.0)
                } else {
                    lerp3(poster.colours[0], poster.colours[1], picture)
                };
            }
        }
        colour * self.brightness * (0.94 + 0.08 * fractal_noise(at * 0.006, 2, self.seed + 1))
    }
}
