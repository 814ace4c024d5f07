//! How a person is seen: pose, expression, light, lens and surroundings.

pub use crate::head::{Outfit, OutfitKind};
use crate::identity::colour;
use crate::math::{DEGREE, Random, Vec3, vec3};

/// Turn of a head with respect to the camera, degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Pose {
    /// Positive turns the face to the picture's right.
    pub yaw: f32,
    /// Positive nods it down.
    pub pitch: f32,
    /// Positive tilts its top to the picture's left.
    pub roll: f32,
}

/// What a face is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expression {
    /// From a sullen -0.3 to a broad 1.
    pub smile: f32,
    /// How far the mouth is open, 0 to 1.
    pub open: f32,
    /// From wide eyes (-0.15) to closed ones (1).
    pub blink: f32,
    /// How far the eyebrows are raised, cm.
    pub brow: f32,
    /// Where the eyes look, to the right and up, tangents of the angles.
    pub gaze: [f32; 2],
}

impl Expression {
    /// A face at rest.
    pub fn neutral() -> Expression {
        Expression { smile: 0.0, open: 0.0, blink: 0.0, brow: 0.0, gaze: [0.0, 0.0] }
    }

    fn sample(random: &mut Random) -> Expression {
        Expression {
            smile: (random.normal() * 0.3 + 0.28).clamp(-0.2, 0.9),
            open: if random.chance(0.2) { random.range(0.1, 0.7) } else { 0.0 },
            blink: random.range(-0.15, 0.2),
            brow: random.normal_within(2.0) * 0.12,
            gaze: [random.normal_within(2.5) * 0.10, random.normal_within(2.5) * 0.06],
        }
    }
}

/// Light on a scene; colours are linear RGB, directions point towards the light in the camera's frame.
#[derive(Clone, Copy, Debug)]
pub struct Light {
    /// Direction of the strongest light.
    pub key_from: Vec3,
    /// Its colour and strength.
    pub key: Vec3,
    /// Direction of the light that softens the shadows.
    pub fill_from: Vec3,
    /// Its colour and strength.
    pub fill: Vec3,
    /// Light from everywhere, stronger from above.
    pub ambient: Vec3,
}

impl Light {
    /// Light from `azimuth` (degrees to the right of the camera) and `elevation`.
    pub(crate) fn direction(azimuth: f32, elevation: f32) -> Vec3 {
        let (sa, ca) = libm::sincosf(azimuth * DEGREE);
        let (se, ce) = libm::sincosf(elevation * DEGREE);
        vec3(sa * ce, se, ca * ce)
    }

    /// A random light; `hardness` from 0 (soft, from the front) to 1 (anything).
    pub(crate) fn sample(random: &mut Random, hardness: f32) -> Light {
        let azimuth = random.range(-75.0, 75.0) * hardness;
        let elevation = 20.0 + random.range(-15.0, 45.0) * hardness;
        let (warm, cool) = (random.range(-1.0, 1.0) * hardness, random.range(-1.0, 1.0) * hardness);
        let (strength, around) = (random.range(1.1, 1.1 + 1.5 * hardness.max(0.2)), random.range(0.5, 1.1));
        let fill = random.range(0.15, 0.6);
        Light {
            key_from: Light::direction(azimuth, elevation),
            key: vec3(1.0 + 0.10 * warm, 1.0, 1.0 - 0.13 * warm) * strength,
            fill_from: Light::direction(-azimuth + random.range(-30.0, 30.0), 6.0),
            fill: vec3(fill, fill, fill * 1.05),
            ambient: vec3(1.0 + 0.05 * cool, 1.0, 1.0 - 0.07 * cool) * around,
        }
    }
}

/// Where the camera stands.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// Height of the head, chin to crown, as a share of the picture's height.
    pub scale: f32,
    /// Vertical field of view, degrees: narrow is far away.
    pub field_of_view: f32,
    /// Position of the head's centre off the picture's centre, right and up, in picture heights.
    pub offset: [f32; 2],
}

/// What is behind a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backdrop {
    /// A plain wall.
    Wall,
    /// A wall with a board.
    Board,
    /// Blurred furniture.
    Blurred,
    /// Shelves of books.
    Shelves,
}

/// What the camera does to the picture.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// Factor on the metered exposure.
    pub exposure: f32,
    /// Deviation of the blur, in 1/200 of the picture's height.
    pub blur: f32,
    /// Deviation of the sensor's noise, in shares of white.
    pub noise: f32,
    /// Factors on red, green and blue.
    pub white_balance: Vec3,
}

/// One way to see a person.
#[derive(Clone, Debug)]
pub struct View {
    /// Turn of the head.
    pub pose: Pose,
    /// Share of the head's yaw that the shoulders follow.
    pub torso_follow: f32,
    /// What the face is doing.
    pub expression: Expression,
    /// The light.
    pub light: Light,
    /// The clothes.
    pub outfit: Outfit,
    /// Where the camera stands.
    pub framing: Framing,
    /// What is behind.
    pub backdrop: Backdrop,
    /// Linear RGB of the backdrop.
    pub backdrop_colours: [Vec3; 2],
    /// What the camera does.
    pub finish: Finish,
    /// Seed of patterns and noise.
    pub seed: u64,
}

/// How far a random view may stray from the ideal.
#[derive(Clone, Copy, Debug)]
struct Spread {
    yaw: f32,
    pitch: f32,
    roll: f32,
    light: f32,
    degradation: f32,
    expression: f32,
    scale: [f32; 2],
}

impl View {
    /// A picture as one takes it for an enrollment: the face large, towards the camera, in soft light.
    pub fn portrait(seed: u64) -> View {
        View::sample(
            seed,
            &Spread {
                yaw: 5.0,
                pitch: 3.0,
                roll: 2.0,
                light: 0.35,
                degradation: 0.3,
                expression: 0.7,
                scale: [0.56, 0.66],
            },
        )
    }

    /// The `number`-th of several enrollment pictures of one person: front, half left, half right, and so
    /// on, so that together they cover the moderate poses.
    pub fn enrollment(seed: u64, number: u32) -> View {
        const TURNS: [(f32, f32); 5] = [(0.0, 0.0), (-14.0, 2.0), (14.0, -2.0), (0.0, 9.0), (0.0, -8.0)];
        let mut view = View::portrait(seed ^ u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (yaw, pitch) = TURNS[number as usize % TURNS.len()];
        view.pose.yaw += yaw;
        view.pose.pitch += pitch;
        view
    }

    /// Any picture: moderate pose, any light, any surroundings.
    pub fn random(seed: u64) -> View {
        View::sample(
            seed,
            &Spread {
                yaw: 12.0,
                pitch: 8.0,
                roll: 7.0,
                light: 1.0,
                degradation: 1.0,
                expression: 1.0,
                scale: [0.42, 0.66],
            },
        )
    }

    fn sample(seed: u64, spread: &Spread) -> View {
        let mut random = Random::new(seed, 11);
        let r = &mut random;
        let pose = Pose {
            yaw: r.normal_within(2.1) * spread.yaw,
            pitch: r.normal_within(2.3) * spread.pitch,
            roll: r.normal_within(2.5) * spread.roll,
        };
        let framing = Framing {
            scale: r.range(spread.scale[0], spread.scale[1]),
            field_of_view: r.range(14.0, 24.0),
            offset: [r.range(-0.05, 0.05) * spread.light, r.range(-0.04, 0.02) * spread.light],
        };
        let mut expression = Expression::sample(r);
        expression.smile *= spread.expression;
        expression.open *= spread.expression;
        let light = Light::sample(r, spread.light);
        let backdrop =
            r.pick([Backdrop::Wall, Backdrop::Wall, Backdrop::Board, Backdrop::Blurred, Backdrop::Shelves]);
        let backdrop_colours = [colour::muted(r, 0.05, 0.75, 0.7), colour::muted(r, 0.05, 0.6, 0.6)];
        let white = [r.range(-0.05, 0.05) * spread.light, r.range(-0.06, 0.06) * spread.light];
        View {
            pose,
            torso_follow: r.range(0.2, 0.8),
            expression,
            light,
            outfit: Outfit::sample(r),
            framing,
            backdrop,
            backdrop_colours,
            finish: Finish {
                exposure: r.range(0.88, 1.18),
                blur: r.range(0.0, 0.9) * spread.degradation,
                noise: r.range(0.002, 0.026) * spread.degradation,
                white_balance: vec3(1.0 + white[0], 1.0, 1.0 + white[1]),
            },
            seed,
        }
    }
}
