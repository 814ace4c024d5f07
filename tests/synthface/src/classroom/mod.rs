//! A lesson before a camera: people come in, sit, turn, talk and leave.

mod movement;
mod panel;
mod room;
mod seats;
mod settings;
mod smear;
mod spoof;

pub use settings::{Attendance, Preset, Settings, SettingsError};
pub use spoof::Spoof;

use std::sync::OnceLock;
use std::time::Duration;

use image::RgbImage;
use serde::Serialize;

use crate::identity::Identity;
use crate::math::{DEGREE, Random, Vec3};
use crate::render::{Behind, Camera, Cover, FaceTruth, Figure, HeadMesh, Look, Picture, Scene, for_each_row};
use crate::roster::{Roster, Student};
use crate::view::{Light, Pose};
use movement::{Moment, Movement};
use panel::Panel;
use room::Room;
use smear::{Motion, smear};
use spoof::Held;

/// How far the camera looks down, degrees.
const TILT: f32 = 9.0;
/// Vertical field of view, degrees: a normal lens.
const FIELD_OF_VIEW: f32 = 23.5;

/// A face in a frame.
#[derive(Clone, Debug, Serialize)]
pub struct PresentFace {
    /// Number of the student; none for strangers and for pictures of students.
    pub student: Option<String>,
    /// Where it is.
    #[serde(flatten)]
    pub truth: FaceTruth,
    /// Share of the face that is in the frame and not hidden by others, 0 to 1.
    pub visible: f32,
    /// Set when this is the picture of a face and not a face.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spoof: Option<Spoof>,
    /// Number of the student whose picture it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shows: Option<String>,
}

/// A frame of the film, with the truth about it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Time since the lesson began.
    pub at: Duration,
    /// The rendered picture, RGB.
    pub image: RgbImage,
    /// Everybody in the room whose face is at least partly in the frame.
    pub faces: Vec<PresentFace>,
}

/// A lesson ready to be filmed.
pub struct Classroom {
    camera: Camera,
    room: Room,
    light: Light,
    settings: Settings,
    occupants: Vec<Occupant>,
    held: Vec<Held>,
    /// Light of the empty room for every pixel, and what it comes from: it never changes.
    empty: OnceLock<Vec<(Vec3, Cover)>>,
}

/// The room, and what is held up in it at one moment.
struct Surroundings<'a> {
    classroom: &'a Classroom,
    empty: &'a [(Vec3, Cover)],
    books: &'a [Panel],
}

impl Surroundings<'_> {
    fn room(&self, at: &Look) -> (Vec3, Cover) {
        if at.middle {
            let [x, y] = at.point.map(|position| position as usize);
            self.empty[y * self.classroom.camera.width as usize + x]
        } else {
            self.classroom.room.look(at.ray)
        }
    }

    fn look(&self, at: &Look) -> (Vec3, Cover) {
        let (light, room) = self.room(at);
        match Panel::nearest(self.books, at.ray) {
            Some((book, page)) if book.depth < room.depth => (page, book),
            _ => (light, room),
        }
    }
}

impl Behind for Surroundings<'_> {
    fn cover(&self, at: &Look) -> Cover {
        self.look(at).1
    }

    fn light(&self, at: &Look) -> Vec3 {
        self.look(at).0
    }
}

/// Why somebody is in the room.
enum Role<'a> {
    Student(&'a Student),
    Stranger(&'a Identity),
    /// Holds up the picture of this student.
    Impostor(&'a Student),
}

/// One person in the lesson.
struct Occupant {
    student: Option<String>,
    head: HeadMesh,
    movement: Movement,
}

impl Classroom {
    /// Seats everybody.
    ///
    /// # Errors
    /// [`SettingsError`] when the frame, the length or the number of people makes no sense.
    pub fn new(roster: &Roster, settings: &Settings) -> Result<Classroom, SettingsError> {
        settings.check(roster.students.len(), roster.strangers.len())?;
        let [width, height] = settings.size;
        let camera = Camera::new(width, height, FIELD_OF_VIEW);
        let mut random = Random::new(settings.seed, 35);
        let mut people: Vec<Role<'_>> = roster
            .students
            .iter()
            .map(Role::Student)
            .chain(roster.strangers.iter().map(Role::Stranger))
            .chain(roster.students.iter().take(settings.spoofs).map(Role::Impostor))
            .collect();
        for i in (1..people.len()).rev() {
            people.swap(i, random.below(i + 1));
        }
        let rows = seats::rows(people.len(), &camera, settings.seed);
        let light = settings.preset.light(settings.seed);
        let mut room = Room::new(&rows, &light, TILT, settings.seed);
        let (mut occupants, mut held) = (Vec::new(), Vec::new());
        let seats =
            (0..).zip(&rows).flat_map(|(number, row)| row.seats.iter().map(move |seat| (number, seat)));
        for ((row, seat), role) in seats.zip(people) {
            let door = 0.5 * camera.extent() * (width as f32 / height as f32) * -seat.z;
            let mut movement = Movement::new(
                *seat,
                row,
                door,
                settings.duration.as_secs_f32(),
                settings.preset.character(),
                TILT,
                random.next(),
            );
            let (student, identity) = match role {
                Role::Student(student) => {
                    if let Some(attendance) = settings.attendance.get(&student.number) {
                        movement.attend(*attendance);
                    }
                    (Some(student.number.clone()), student.identity.clone())
                }
                Role::Stranger(identity) => (None, identity.clone()),
                Role::Impostor(student) => {
                    movement.stay();
                    let picture = Held::new(student, *seat, row, room.lighting(), &camera, random.next());
                    room.put(picture.panel.clone());
                    held.push(picture);
                    (None, Identity::from_seed(random.next()))
                }
            };
            occupants.push(Occupant { student, head: HeadMesh::new(identity), movement });
        }
        Ok(Classroom {
            camera,
            room,
            light,
            settings: settings.clone(),
            occupants,
            held,
            empty: OnceLock::new(),
        })
    }

    /// The empty room as the camera sees it.
    fn look_around(&self) -> Vec<(Vec3, Cover)> {
        let (width, height) = (self.camera.width as usize, self.camera.height as usize);
        let mut seen = vec![(Vec3::default(), Cover::NOTHING); width * height];
        for_each_row(&mut seen, width, |y, row| {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = self.room.look(self.camera.ray(x as f32 + 0.5, y as f32 + 0.5));
            }
        });
        seen
    }

    /// Who is in the room, from the nearest.
    fn present(&self, t: f32) -> Vec<(&Occupant, Moment)> {
        let mut present: Vec<(&Occupant, Moment)> =
            self.occupants.iter().filter_map(|occupant| Some((occupant, occupant.movement.at(t)?))).collect();
        present.sort_by(|(_, a), (_, b)| a.stance.depth_order(&b.stance));
        present
    }

    /// What they read.
    fn books(&self, t: f32, present: &[(&Occupant, Moment)]) -> Vec<Panel> {
        present.iter().filter_map(|(occupant, moment)| occupant.movement.book(t, moment)).collect()
    }

    fn surroundings<'a>(&'a self, books: &'a [Panel]) -> Surroundings<'a> {
        Surroundings { classroom: self, empty: self.empty.get_or_init(|| self.look_around()), books }
    }

    /// What the camera sees, and those who are in the room as figures, which the picture's owners number.
    fn picture<'a>(
        &self,
        at: Duration,
        present: &[(&'a Occupant, Moment)],
        behind: &'a Surroundings<'_>,
    ) -> (Picture, Vec<Figure<'a>>) {
        let figure = |(occupant, moment): &(&'a Occupant, Moment)| {
            Figure::new(&occupant.head, &moment.expression, &occupant.movement.outfit, moment.stance)
        };
        let mut scene = Scene {
            camera: self.camera,
            figures: present.iter().map(figure).collect(),
            light: self.light,
            behind,
            finish: self.settings.preset.finish(),
            metering: Some(self.settings.preset.metering(&self.light)),
            seed: self.settings.seed ^ u64::from(at.subsec_nanos()) ^ (at.as_secs() << 32),
        };
        (scene.picture(), scene.figures)
    }

    /// The picture at a time of the lesson.
    pub fn frame(&self, at: Duration) -> Frame {
        let t = at.as_secs_f32();
        let present = self.present(t);
        let books = self.books(t, &present);
        let surroundings = self.surroundings(&books);
        let (mut picture, figures) = self.picture(at, &present, &surroundings);
        let shutter = self.settings.preset.character().shutter;
        if shutter > 0.0 {
            let motions: Vec<Motion> = present
                .iter()
                .map(|(occupant, moment)| {
                    let speed = occupant.movement.velocity(t)
                        * (shutter / (-moment.stance.at.z * self.camera.pixel()));
                    [speed.x, -speed.y]
                })
                .collect();
            smear(&mut picture.image, &picture.owners, &motions);
        }
        let people = figures.iter().zip(&present).enumerate().map(|(i, (figure, (occupant, _)))| {
            let mut truth = FaceTruth::of(figure, &self.camera);
            let visible = truth.visible(&picture.owners, i as u16 + 1, &self.camera);
            truth.pose = towards_camera(figure.stance.pose, figure.stance.at);
            PresentFace { student: occupant.student.clone(), truth, visible, spoof: None, shows: None }
        });
        let pictures = self.held.iter().map(|held| PresentFace {
            student: None,
            truth: held.truth,
            visible: 1.0,
            spoof: Some(held.kind),
            shows: Some(held.shows.clone()),
        });
        let faces = people.filter(|face| face.visible > 0.0).chain(pictures).collect();
        Frame { at, image: picture.image, faces }
    }

    /// How long the lesson is.
    pub fn duration(&self) -> Duration {
        self.settings.duration
    }

    /// How many frames [`Classroom::film`] gives.
    pub fn frame_count(&self, rate: f64) -> usize {
        frame_times(self.settings.duration, rate).count()
    }

    /// The whole film at `rate` frames a second.
    pub fn film(&self, rate: f64) -> impl Iterator<Item = Frame> + '_ {
        frame_times(self.settings.duration, rate).map(|at| self.frame(at))
    }
}

/// The times of the frames of a film.
pub(crate) fn frame_times(duration: Duration, rate: f64) -> impl Iterator<Item = Duration> {
    let rate = rate.clamp(0.001, 1000.0);
    let count = (duration.as_secs_f64() * rate).floor() as u64;
    (0..count).map(move |i| Duration::from_secs_f64(i as f64 / rate))
}

/// A pose with respect to the camera's axis, seen from the camera's place.
fn towards_camera(pose: Pose, at: Vec3) -> Pose {
    Pose {
        yaw: pose.yaw + libm::atan2f(at.x, -at.z) / DEGREE,
        pitch: pose.pitch - libm::atan2f(at.y, -at.z) / DEGREE,
        roll: pose.roll,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::vec3;

    fn small() -> (Roster, Settings) {
        let settings =
            Settings { size: [320, 180], duration: Duration::from_secs(20), ..Settings::default() };
        (Roster::generate(2, 5, 1).unwrap(), settings)
    }

    #[test]
    fn a_frame_shows_students_and_strangers_within_its_bounds() {
        let (roster, settings) = small();
        let frame = Classroom::new(&roster, &settings).unwrap().frame(Duration::from_secs(10));
        assert_eq!(frame.image.dimensions(), (320, 180));
        assert!(frame.faces.len() >= 4, "{} faces", frame.faces.len());
        for face in frame.faces.iter().filter(|face| face.visible == 1.0) {
            assert!(face.truth.landmarks.iter().all(|point| face.truth.contains(*point)));
        }
    }

    /// What a viewer sees at a point of the picture that shows a figure's body if nothing is before it.
    #[derive(Debug, PartialEq)]
    enum Shown {
        /// The figure.
        Itself,
        /// Somebody or something nearer.
        Nearer,
        /// The picture ends before.
        Outside,
        /// What is behind the figure, as if that had a hole.
        Hole,
    }

    /// Looks at points of all bodies, from the neck to the lap and from shoulder to shoulder.
    fn bodies(classroom: &Classroom, at: Duration) -> Vec<(usize, Vec3, Shown)> {
        let t = at.as_secs_f32();
        let present = classroom.present(t);
        let books = classroom.books(t, &present);
        let surroundings = classroom.surroundings(&books);
        let (picture, figures) = classroom.picture(at, &present, &surroundings);
        let width = classroom.camera.width as usize;
        let shown = |number: usize, figure: &Figure<'_>, inside: Vec3| {
            let [x, y] = classroom.camera.project(inside);
            if x < 0.0 || y < 0.0 || x >= width as f32 || y >= classroom.camera.height as f32 {
                return Shown::Outside;
            }
            let owner = usize::from(picture.owners[y as usize * width + x as usize]);
            let point = [x, y].map(|position| position.floor() + 0.5);
            let look = Look { ray: classroom.camera.ray(point[0], point[1]), point, middle: true };
            let cover = surroundings.cover(&look);
            match owner {
                _ if owner == number + 1 => Shown::Itself,
                // Figures are numbered from the nearest.
                1.. if owner <= number => Shown::Nearer,
                0 if cover.row <= figure.stance.row && cover.depth < inside.length() => Shown::Nearer,
                _ => Shown::Hole,
            }
        };
        // Well inside of neck, shoulders, chest and upper arms, in the frame of the torso, cm.
        let points = [
            vec3(0.0, -15.0, -3.0),
            vec3(0.0, -20.0, -3.0),
            vec3(-9.0, -20.5, -4.0),
            vec3(9.0, -20.5, -4.0),
            vec3(-12.0, -27.0, -4.0),
            vec3(12.0, -27.0, -4.0),
            vec3(0.0, -30.0, -3.0),
            vec3(-8.0, -38.0, -3.0),
            vec3(8.0, -38.0, -3.0),
            vec3(0.0, -48.0, -3.0),
        ];
        let looks = figures.iter().enumerate().flat_map(|(number, figure)| {
            points.map(|point| (number, point, shown(number, figure, figure.body_point(point))))
        });
        looks.collect()
    }

    #[test]
    fn below_every_head_is_its_body_unless_something_nearer_hides_it() {
        // One row to four, some of the people walking to their seats or away behind them.
        for (seed, people, preset) in [
            (5, 13, Preset::Classroom),
            (3, 2, Preset::Classroom),
            (4, 7, Preset::Stress),
            (5, 24, Preset::Stress),
        ] {
            let roster = Roster::generate(seed, people - 1, 1).unwrap();
            let settings = Settings {
                size: [480, 270],
                duration: Duration::from_secs(20),
                preset,
                ..Settings::default()
            };
            let classroom = Classroom::new(&roster, &settings).unwrap();
            let mut seen = 0;
            for second in [1, 3, 10, 18] {
                for (figure, point, shown) in bodies(&classroom, Duration::from_secs(second)) {
                    assert_ne!(shown, Shown::Hole, "{people} people, second {second}: {point:?} of {figure}");
                    seen += usize::from(shown == Shown::Itself);
                }
            }
            // Desks and people hide much, and not most.
            assert!(seen > people * 8, "{seen} points of {people} people");
        }
    }

    #[test]
    fn any_frame_can_be_rendered_alone() {
        let (roster, settings) = small();
        let classroom = Classroom::new(&roster, &settings).unwrap();
        let third = classroom.film(0.25).nth(2).unwrap();
        assert_eq!(third.image, classroom.frame(Duration::from_secs(8)).image);
    }

    #[test]
    fn a_spoof_is_a_picture_of_a_student_and_hides_its_holder() {
        let (roster, settings) = small();
        let settings = Settings { spoofs: 2, ..settings };
        let frame = Classroom::new(&roster, &settings).unwrap().frame(Duration::from_secs(10));
        let spoofs: Vec<&PresentFace> = frame.faces.iter().filter(|face| face.spoof.is_some()).collect();
        assert_eq!(spoofs.len(), 2);
        assert!(spoofs.iter().all(|face| face.student.is_none() && face.shows.is_some()));
        assert!(spoofs.iter().all(|face| face.truth.landmarks.iter().all(|p| face.truth.contains(*p))));
    }

    #[test]
    fn absurd_settings_are_refused() {
        let (roster, settings) = small();
        let refuse = |settings: Settings| Classroom::new(&roster, &settings).err();
        assert_eq!(
            refuse(Settings { size: [0, 10], ..settings.clone() }),
            Some(SettingsError::Size([0, 10]))
        );
        assert_eq!(
            refuse(Settings { duration: Duration::ZERO, ..settings.clone() }),
            Some(SettingsError::Duration)
        );
        assert_eq!(
            refuse(Settings { spoofs: 9, ..settings }),
            Some(SettingsError::Spoofs { spoofs: 9, students: 5 })
        );
    }
}
