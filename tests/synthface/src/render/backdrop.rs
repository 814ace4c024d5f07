//! What is behind a portrait.

use crate::identity::colour::{muted, srgb};
use crate::math::{Random, Vec3, fractal_noise, lerp3, noise, smoothstep, vec3};
use crate::view::{Backdrop, View};

/// Light of the backdrop at a point of the picture; `x` and `y` run from -1 to 1, right and up.
pub(crate) struct Painting {
    kind: Backdrop,
    colours: [Vec3; 2],
    blobs: Vec<Blob>,
    edge: f32,
    dark_board: bool,
    brightness: f32,
    seed: u32,
}

struct Blob {
    x: f32,
    y: f32,
    radius: f32,
    aspect: f32,
    colour: Vec3,
}

impl Painting {
    pub(crate) fn new(view: &View) -> Painting {
        let mut random = Random::new(view.seed, 12);
        let blobs = (0..9)
            .map(|_| Blob {
                x: random.range(-1.0, 1.0),
                y: random.range(-1.0, 1.0),
                radius: random.range(0.1, 0.5),
                aspect: random.range(0.5, 2.0),
                colour: muted(&mut random, 0.02, 0.8, 0.6),
            })
            .collect();
        Painting {
            kind: view.backdrop,
            colours: view.backdrop_colours,
            blobs,
            edge: random.range(-0.5, 0.5),
            dark_board: random.chance(0.6),
            brightness: 0.55 + 0.15 * view.light.key.y,
            seed: view.seed as u32,
        }
    }

    pub(crate) fn light(&self, x: f32, y: f32) -> Vec3 {
        let [a, b] = self.colours;
        let seed = self.seed;
        let colour = match self.kind {
            Backdrop::Wall => {
                lerp3(a, b, smoothstep(-1.0, 1.0, y + 0.3 * noise(vec3(x * 1.5, y * 1.5, 0.0), seed)))
            }
            Backdrop::Board => {
                let wall = srgb(214.0, 208.0, 196.0) * (0.7 + 0.5 * a.x);
                let board = if self.dark_board { srgb(42.0, 74.0, 62.0) } else { srgb(225.0, 228.0, 228.0) };
                let on = smoothstep(self.edge - 0.02, self.edge + 0.02, x) * smoothstep(-0.35, -0.31, y);
                lerp3(wall, board, on) * (0.85 + 0.2 * fractal_noise(vec3(x * 2.0, y * 2.0, 1.0), 3, seed))
            }
            Backdrop::Blurred => {
                let mut colour = a;
                for blob in &self.blobs {
                    let distance = (x - blob.x).abs().max((y - blob.y).abs() * blob.aspect);
                    let on = smoothstep(blob.radius + 0.08, blob.radius - 0.08, distance);
                    colour = lerp3(colour, blob.colour, on);
                }
                colour
            }
            Backdrop::Shelves => self.shelves(x, y),
        };
        colour * self.brightness
    }

    fn shelves(&self, x: f32, y: f32) -> Vec3 {
        let height = y * 3.2 + 1.0;
        let shelf = height.floor();
        let within = height - shelf;
        if within < 0.12 {
            return srgb(120.0, 88.0, 60.0);
        }
        let widths = 9.0 + 3.0 * noise(vec3(shelf, 0.0, 0.0), self.seed);
        let book = (x * widths).floor();
        let hue = |k: f32| noise(vec3(book * (3.7 + k), shelf * (2.9 + k), 0.5 + k), self.seed);
        let spine = vec3(hue(0.0), hue(1.0), hue(2.0)) * 0.25 + vec3(0.30, 0.27, 0.25);
        spine * (0.35 + 0.5 * within)
    }
}
