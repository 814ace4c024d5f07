//! What kind of lesson to film.

use std::{collections::BTreeMap, time::Duration};

use crate::math::{Random, Vec3, vec3};
use crate::view::{Finish, Light};

/// How hard a lesson is for a recogniser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Soft light, moderate poses, a good camera.
    Classroom,
    /// Hard light, strong poses, motion blur, things before faces.
    Stress,
}

/// When a student is in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// Never.
    Absent,
    /// In the picture from then on, from the beginning where `None`, and until then, to the end where `None`.
    Present {
        /// When they come through the door.
        from: Option<Duration>,
        /// When they get up to leave.
        until: Option<Duration>,
    },
}

/// A lesson to film.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Width and height of a frame, pixels.
    pub size: [u32; 2],
    /// How long the lesson is.
    pub duration: Duration,
    /// How hard it is.
    pub preset: Preset,
    /// People who hold up the picture of a student.
    pub spoofs: usize,
    /// Seed of everything that is not who people are.
    pub seed: u64,
    /// When students are there, by number; the others come and go as the seed has it.
    pub attendance: BTreeMap<String, Attendance>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            size: [1280, 720],
            duration: Duration::from_secs(120),
            preset: Preset::Classroom,
            spoofs: 0,
            seed: 1,
            attendance: BTreeMap::new(),
        }
    }
}

/// Why a lesson cannot be filmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A frame too small for a face or too large for memory.
    #[error("a frame of {}x{} is not possible: each edge must have 64 to 8192 pixels", .0[0], .0[1])]
    Size([u32; 2]),
    /// More people than the room seats.
    #[error("{0} people do not fit: the room seats {most}", most = Settings::MOST_SEATS)]
    TooMany(usize),
    /// A lesson longer than a day, or of no length.
    #[error("a lesson must last between a second and a day")]
    Duration,
    /// Spoofs need a student to show and a free seat.
    #[error("{spoofs} spoofs need as many students on the roster, and there are {students}")]
    Spoofs {
        /// How many were asked for.
        spoofs: usize,
        /// How many students there are.
        students: usize,
    },
}

impl Settings {
    /// Most people in one room: beyond, faces are too small to find.
    pub const MOST_SEATS: usize = 120;

    pub(crate) fn check(&self, students: usize, strangers: usize) -> Result<(), SettingsError> {
        if self.size.iter().any(|edge| !(64..=8192).contains(edge)) {
            return Err(SettingsError::Size(self.size));
        }
        if !(1..=86_400).contains(&self.duration.as_secs()) {
            return Err(SettingsError::Duration);
        }
        if self.spoofs > students {
            return Err(SettingsError::Spoofs { spoofs: self.spoofs, students });
        }
        let people = students.saturating_add(strangers).saturating_add(self.spoofs);
        if people > Settings::MOST_SEATS {
            return Err(SettingsError::TooMany(people));
        }
        Ok(())
    }
}

/// The numbers behind a [`Preset`]. Angles in degrees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Character {
    /// How far heads turn, nod and tilt while listening.
    pub(crate) yaw: f32,
    pub(crate) nod: f32,
    pub(crate) roll: f32,
    /// How far a glance at a neighbour turns the head, and the share of time spent on it.
    pub(crate) glance: f32,
    pub(crate) glancing: f32,
    /// How far heads are turned away from the camera while walking.
    pub(crate) walking: f32,
    /// Speed of all movement.
    pub(crate) pace: f32,
    /// Exposure time of a frame, seconds: what moves meanwhile is smeared.
    pub(crate) shutter: f32,
    /// Share of the time that people have a book before their mouth.
    pub(crate) reading: f32,
}

impl Preset {
    pub(crate) fn character(self) -> Character {
        match self {
            Preset::Classroom => Character {
                yaw: 11.0,
                nod: 5.0,
                roll: 4.0,
                glance: 17.0,
                glancing: 0.10,
                walking: 24.0,
                pace: 1.0,
                shutter: 0.0,
                reading: 0.0,
            },
            Preset::Stress => Character {
                yaw: 24.0,
                nod: 13.0,
                roll: 9.0,
                glance: 55.0,
                glancing: 0.25,
                walking: 65.0,
                pace: 1.8,
                shutter: 0.05,
                reading: 0.12,
            },
        }
    }

    pub(crate) fn light(self, seed: u64) -> Light {
        let mut random = Random::new(seed, 31);
        match self {
            Preset::Classroom => {
                let side = random.range(-35.0, 35.0);
                Light {
                    key_from: Light::direction(side, 42.0),
                    key: vec3(1.03, 1.0, 0.95) * 1.15,
                    fill_from: Light::direction(-side * 1.3, 8.0),
                    fill: vec3(0.42, 0.43, 0.45),
                    ambient: vec3(0.98, 1.0, 1.02) * 0.85,
                }
            }
            Preset::Stress => {
                let side = random.pick([-1.0, 1.0]) * random.range(55.0, 80.0);
                Light {
                    key_from: Light::direction(side, random.range(12.0, 40.0)),
                    key: vec3(1.08, 1.0, 0.86) * 2.6,
                    fill_from: Light::direction(-side, 5.0),
                    fill: vec3(0.10, 0.11, 0.13),
                    ambient: vec3(0.92, 1.0, 1.10) * 0.38,
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Finish {
        let (blur, noise, white) = match self {
            Preset::Classroom => (0.12, 0.008, vec3(1.0, 1.0, 1.0)),
            Preset::Stress => (0.28, 0.026, vec3(1.05, 1.0, 0.93)),
        };
        Finish { exposure: 1.0, blur, noise, white_balance: white }
    }

    /// Geometric mean of the light in a room so lit, for exposure. Measuring each frame would make the
    /// film flicker.
    pub(crate) fn metering(self, light: &Light) -> f32 {
        // Walls and faces reflect about a third of what arrives.
        0.33 * (light.ambient * 0.8 + light.key * 0.4 + light.fill * 0.5).luminance()
    }
}

/// Where somebody's neck is when seated, in the camera's frame, cm.
pub(crate) type Seat = Vec3;
