//! What one person does during a lesson.
//!
//! Everything is a function of the time alone, so that any frame can be rendered without those before.

use super::panel::{Paint, Panel};
use super::settings::{Attendance, Character, Seat};
use crate::math::{DEGREE, Random, Vec3, lerp, noise, smoothstep, vec3};
use crate::render::Stance;
use crate::view::{Expression, Outfit, Pose};

/// Walking speed between seats, cm/s.
const STRIDE: f32 = 75.0;
/// How much higher a head is while walking, cm; the room's rows are low enough to walk bent.
const STANDING: f32 = 9.0;
/// How far behind the seats people walk, cm.
const AISLE: f32 = 15.0;
/// Time to sit down or get up, seconds.
const SITTING_DOWN: f32 = 1.2;

/// One person's lesson.
#[derive(Clone, Debug)]
pub(crate) struct Movement {
    seat: Seat,
    /// Of the seat, from the front.
    row: u16,
    /// Where the row leaves the picture on this person's side, cm.
    door: f32,
    /// Seconds; before the first and after the second the person is not in the room.
    arrives: Option<f32>,
    leaves: Option<f32>,
    pub(crate) outfit: Outfit,
    character: Character,
    /// Share of the time spent talking.
    talkative: f32,
    mood: f32,
    tilt: f32,
    seed: u32,
}

/// How somebody is at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) stance: Stance,
    pub(crate) expression: Expression,
}

impl Movement {
    /// `door` is the half-width of the visible room at the seat's distance, cm, `duration` the lesson's
    /// length in seconds, `tilt` how far the camera looks down in degrees.
    pub(crate) fn new(
        seat: Seat,
        row: u16,
        door: f32,
        duration: f32,
        character: Character,
        tilt: f32,
        seed: u64,
    ) -> Movement {
        let mut random = Random::new(seed, 33);
        let side = if seat.x < 0.0 { -1.0 } else { 1.0 };
        // Some are late and some leave early; most are there all the time.
        let arrives = random.chance(0.22).then(|| duration * random.range(0.02, 0.22));
        let leaves = random.chance(0.12).then(|| duration * random.range(0.80, 0.95));
        Movement {
            seat,
            row,
            door: side * (door + 35.0),
            arrives,
            leaves,
            outfit: Outfit::sample(&mut random),
            character,
            talkative: random.range(0.0, 0.5),
            mood: random.range(-0.1, 0.35),
            tilt,
            seed: random.next() as u32,
        }
    }

    /// Smooth chance in [-1, 1] that changes within about `period` seconds.
    fn wander(&self, t: f32, period: f32, which: u32) -> f32 {
        // Lattice noise seldom reaches its bounds.
        (1.6 * noise(vec3(t * self.character.pace / period, 0.37, 0.71), self.seed.wrapping_add(which * 101)))
            .clamp(-1.0, 1.0)
    }

    /// Where and how the person is after `t` seconds; `None` outside of the room.
    pub(crate) fn at(&self, t: f32) -> Option<Moment> {
        let (at, walking) = self.place(t)?;
        let pose = self.pose(t, at, walking);
        let follow = 0.35 * pose.yaw;
        Some(Moment {
            stance: Stance {
                at,
                pose,
                torso_yaw: lerp(follow, pose.yaw, walking.abs() * 0.7),
                tilt: self.tilt,
                row: self.row,
            },
            expression: self.expression(t),
        })
    }

    /// Position, and how much the person walks: -1 leftwards, 0 not at all, 1 rightwards.
    fn place(&self, t: f32) -> Option<(Vec3, f32)> {
        let distance = (self.seat.x - self.door).abs();
        let walk = distance / STRIDE;
        let inwards = if self.door < 0.0 { 1.0 } else { -1.0 };
        let on_the_way = |gone: f32, towards: f32| {
            // `gone` is the time since the door; then comes sitting down.
            let x = lerp(self.door, self.seat.x, (gone / walk).clamp(0.0, 1.0));
            let up = smoothstep(walk + SITTING_DOWN, walk, gone);
            let bob = 1.2 * up * noise(vec3(gone * 2.6, 0.0, 0.5), self.seed);
            let at = vec3(x, self.seat.y + STANDING * up + bob, self.seat.z - AISLE * up);
            (at, towards * smoothstep(walk + 0.3, walk - 0.6, gone))
        };
        if let Some(arrives) = self.arrives
            && t < arrives + walk + SITTING_DOWN
        {
            return (t >= arrives).then(|| on_the_way(t - arrives, inwards));
        }
        if let Some(leaves) = self.leaves
            && t > leaves
        {
            let gone = walk + SITTING_DOWN - (t - leaves);
            return (gone > 0.0).then(|| on_the_way(gone, -inwards));
        }
        Some((self.seat, 0.0))
    }

    /// Turn of the head with respect to the camera's axis.
    fn pose(&self, t: f32, at: Vec3, walking: f32) -> Pose {
        let c = &self.character;
        // The board is beside the camera: listening means facing the camera, roughly.
        let to_camera = -libm::atan2f(at.x, -at.z) / DEGREE;
        let down_to_camera = libm::atan2f(at.y, -at.z) / DEGREE;
        let listening = c.yaw * (0.6 * self.wander(t, 7.0, 1) + 0.4 * self.wander(t, 2.3, 2));
        let glance = {
            let threshold = 1.0 - 2.0 * c.glancing;
            let wish = self.wander(t, 5.0, 3);
            let strength = smoothstep(threshold - 0.12, threshold + 0.12, wish.abs());
            let side = if wish < 0.0 { -1.0 } else { 1.0 };
            side * strength * c.glance
        };
        let seated = 1.0 - walking.abs();
        let yaw = to_camera + (listening + glance) * seated + c.walking * walking;
        let pitch = down_to_camera + 2.0 + c.nod * (self.wander(t, 6.0, 4) + 0.3 * self.wander(t, 1.9, 5));
        Pose {
            yaw: yaw.clamp(-85.0, 85.0),
            pitch: pitch.clamp(-35.0, 40.0),
            roll: c.roll * self.wander(t, 5.0, 6),
        }
    }

    fn expression(&self, t: f32) -> Expression {
        let talking =
            smoothstep(1.0 - 2.0 * self.talkative, 1.2 - 2.0 * self.talkative, self.wander(t, 9.0, 7));
        let syllables = self.wander(t, 0.22, 8).max(0.0);
        // A blink takes a sixth of a second (Schiffman 2001, "Sensation and Perception").
        let blink = {
            let period = 3.7 + 0.9 * self.mood;
            let phase = (t + (self.seed % 97) as f32 * 0.31) % period;
            1.0 - smoothstep(0.0, 0.085, (phase - 0.09).abs())
        };
        Expression {
            smile: (self.mood + 0.4 * self.wander(t, 11.0, 9)).clamp(-0.2, 0.8),
            open: 0.6 * talking * syllables,
            blink: blink.max(0.06 * self.wander(t, 4.0, 10)),
            brow: 0.10 * self.wander(t, 3.0, 11),
            gaze: [0.13 * self.wander(t, 1.7, 12), 0.06 * self.wander(t, 2.1, 13)],
        }
    }

    /// Stays in the room all the time.
    pub(crate) fn stay(&mut self) {
        (self.arrives, self.leaves) = (None, None);
    }

    /// Comes and goes as somebody has said.
    pub(crate) fn attend(&mut self, attendance: Attendance) {
        (self.arrives, self.leaves) = match attendance {
            Attendance::Absent => (Some(f32::INFINITY), None),
            Attendance::Present { from, until } => {
                (from.map(|from| from.as_secs_f32()), until.map(|until| until.as_secs_f32()))
            }
        };
    }

    /// The book that hides the lower face, in the camera's frame, when there is one.
    pub(crate) fn book(&self, t: f32, moment: &Moment) -> Option<Panel> {
        let share = self.character.reading;
        if share <= 0.0 || self.wander(t, 6.0, 14) < 1.0 - 2.0 * share {
            return None;
        }
        let centre = moment.stance.at + vec3(0.0, -1.0 + 2.0 * self.mood, 17.0);
        let cover = self.outfit.accent * 0.8 + Vec3::splat(0.03);
        Some(Panel::new(centre, vec3(11.0, 1.2, 0.0), vec3(-0.8, 6.5, 1.5), Paint::Plain(cover), self.row))
    }

    /// Speed of the head, cm/s, for motion blur.
    pub(crate) fn velocity(&self, t: f32) -> Vec3 {
        const STEP: f32 = 0.02;
        match (self.place(t - STEP), self.place(t + STEP)) {
            (Some((before, _)), Some((after, _))) => {
                // A turning head carries the face sideways with its radius, about 9 cm.
                let turn = |t: f32| 9.0 * (self.pose(t, self.seat, 0.0).yaw * DEGREE);
                (after - before) * (0.5 / STEP)
                    + vec3((turn(t + STEP) - turn(t - STEP)) * 0.5 / STEP, 0.0, 0.0)
            }
            _ => Vec3::default(),
        }
    }
}
