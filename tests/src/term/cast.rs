//! The people of the school, the films of their lessons, and the truth about them.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    RenderError, Site,
    rendered::{entries, render_once},
};

/// Seed of everybody.
const SEED: u64 = 26;
/// People in each room who are not enrolled.
const STRANGERS: usize = 1;
/// Pictures that a camera shows in turns while nothing happens.
const PICTURES: u32 = 4;

/// Who is how in a lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    InTime,
    Late,
    LeavesEarly,
    Absent,
}

impl Presence {
    /// What the mark should be.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::InTime => "present",
            Self::Late => "late",
            Self::LeavesEarly => "left_early",
            Self::Absent => "absent",
        }
    }

    /// Whether the person is in the room in a part of the lesson.
    fn is_in(self, part: Part) -> bool {
        match self {
            Self::InTime => part != Part::After,
            Self::Late => part == Part::Whole,
            Self::LeavesEarly => part == Part::Beginning,
            Self::Absent => false,
        }
    }
}

/// A part of a lesson, in which nobody comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// From before the start, until some leave.
    Beginning,
    /// Those who leave are gone, those who come late are not there.
    Middle,
    /// Everybody is there who is there at the end.
    Whole,
    /// The room is empty.
    After,
}

pub(super) const PARTS: [Part; 4] = [Part::Beginning, Part::Middle, Part::Whole, Part::After];

/// A face that is really in a picture.
pub(super) struct TrueFace {
    /// `None` for strangers.
    pub(super) student: Option<String>,
    /// Left, top, width, height.
    pub(super) bounds: [f64; 4],
}

/// A lesson's pictures, part by part, and who is in it.
pub(super) struct Film {
    parts: Vec<PathBuf>,
    pub(super) presence: Vec<(String, Presence)>,
    /// Every face of every picture of it.
    pub(super) faces: Vec<TrueFace>,
}

impl Film {
    pub(super) fn pictures(&self, part: Part) -> &PathBuf {
        &self.parts[PARTS.iter().position(|p| *p == part).unwrap()]
    }
}

/// The people of a school, by room, and films of them.
pub struct Cast {
    rooms: Vec<Vec<Member>>,
    films: Vec<Vec<Film>>,
}

struct Member {
    number: String,
    portraits: Vec<PathBuf>,
}

impl Cast {
    /// Renders people for so many rooms, one pair of twins in each, and so many different lessons of each room.
    ///
    /// # Errors
    /// What can't be rendered.
    pub fn render(rooms: usize, people: usize, lessons: usize) -> Result<Self, RenderError> {
        let (count, twins) = (rooms * people, rooms);
        let roster = format!("roster --count {count} --twins {twins} --seed {SEED} --portraits 3");
        let folders = entries(&render_once(&[roster])?.join("portraits"))?;
        let mut members = Vec::new();
        for folder in &folders {
            let number = folder.file_name().unwrap().to_string_lossy().into_owned();
            members.push(Member { number, portraits: entries(folder)? });
        }
        // The twins of the first people are the last ones: each pair goes into one room.
        let mut cast = Self { rooms: (0..rooms).map(|_| Vec::new()).collect(), films: Vec::new() };
        for (index, member) in members.into_iter().enumerate() {
            cast.rooms[index % rooms].push(member);
        }
        for room in 0..rooms {
            let films: Result<_, _> = (0..lessons).map(|lesson| cast.film(room, lesson, count)).collect();
            cast.films.push(films?);
        }
        Ok(cast)
    }

    fn film(&self, room: usize, lesson: usize, count: usize) -> Result<Film, RenderError> {
        let rooms = self.rooms.len();
        let presence: Vec<(String, Presence)> = (0..)
            .zip(&self.rooms[room])
            .map(|(place, member)| (member.number.clone(), presence_of(room, lesson, place)))
            .collect();
        let (mut parts, mut faces) = (Vec::new(), Vec::new());
        for part in PARTS {
            let places: Vec<String> =
                (0..self.rooms[room].len()).map(|k| (k * rooms + room + 1).to_string()).collect();
            let mut film = format!(
                "frames --roster-seed {SEED} --count {count} --twins {rooms} --only {} --strangers {STRANGERS} \
                 --seconds {PICTURES} --fps 1 --size 1280x720 --seed {}",
                places.join(","),
                room * 100 + lesson
            );
            for (number, presence) in &presence {
                let attend = if presence.is_in(part) { "-" } else { "absent" };
                write!(film, " --attend {number}={attend}").unwrap();
            }
            let frames = render_once(&[film])?.join("frames");
            faces.extend(truth(&frames)?);
            parts.push(frames);
        }
        Ok(Film { parts, presence, faces })
    }

    /// The film of a room's lesson in a round.
    pub(super) fn film_of(&self, room: usize, round: usize) -> &Film {
        let films = &self.films[room];
        &films[round % films.len()]
    }

    /// Numbers of the people of a room.
    pub(super) fn numbers(&self, room: usize) -> impl Iterator<Item = &str> {
        self.rooms[room].iter().map(|member| member.number.as_str())
    }

    /// Whether somebody has a twin in their room.
    pub(super) fn is_twin(&self, number: &str) -> bool {
        self.rooms.iter().any(|room| {
            [room.first(), room.last()].into_iter().flatten().any(|member| member.number == number)
        })
    }

    /// Who of the first room is not enrolled and shows a card instead.
    pub(super) fn card_holder(&self) -> &str {
        &self.rooms[0][2].number
    }

    /// Who is erased, where somebody of the room is.
    pub(super) fn erased(&self, room: usize) -> &str {
        &self.rooms[room][3].number
    }

    /// Adds everybody, and enrolls all but the card's holder. The last of a room is a twin of the first.
    pub(super) fn enroll(&self, site: &Site) {
        for room in &self.rooms {
            for member in room {
                site.cli.json(&["students", "add", &member.number, "--name", &member.number]);
            }
            let twins = [room.first(), room.last()].map(|twin| twin.unwrap().number.as_str());
            for member in room.iter().filter(|member| member.number != self.card_holder()) {
                let mut arguments = vec!["enroll", &member.number];
                if member.number == twins[1] {
                    arguments.extend(["--twin-of", twins[0]]);
                }
                arguments.extend(member.portraits.iter().map(|portrait| portrait.to_str().unwrap()));
                let enrolled = site.cli.run(&arguments);
                assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
            }
        }
    }
}

/// Who is there when: each lesson of a room has its own late, early and absent people.
fn presence_of(room: usize, lesson: usize, place: usize) -> Presence {
    match (place * 7 + lesson * 3 + room) % 12 {
        4 => Presence::Late,
        7 => Presence::LeavesEarly,
        9 => Presence::Absent,
        _ => Presence::InTime,
    }
}

fn truth(frames: &Path) -> Result<Vec<TrueFace>, RenderError> {
    let path = frames.join("truth.jsonl");
    let text = std::fs::read_to_string(&path).map_err(RenderError::file(&path))?;
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let faces = lines.flat_map(|line| line["faces"].as_array().unwrap().clone());
    Ok(faces
        .map(|face| TrueFace {
            student: face["student"].as_str().map(str::to_owned),
            bounds: std::array::from_fn(|at| face["box"][at].as_f64().unwrap()),
        })
        .collect())
}
