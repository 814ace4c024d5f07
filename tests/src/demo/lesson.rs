//! A lesson: some come late, one leaves early, some don't come. Its sheet is compared with the truth.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Class, DemoDataError, Student, step};
use crate::{Process, Site, rendered::render_once};

/// The group, and what the lesson is called.
const GROUP: &str = "Demo class";
/// Pictures of the film, a second.
const RATE: f64 = 0.5;
/// The lesson begins so many seconds after the film, in which those who are in time sit down already.
const BEGINS: i64 = 8;
/// And ends so many after it: whoever is later than a minute is late.
const ENDS: i64 = 140;
/// Length of the film, in seconds.
const FILM: u32 = 145;
/// Longest wait for the marks, after the lesson.
const WAIT: Duration = Duration::from_secs(180);

/// A lesson's film, and who was in it.
#[derive(Debug)]
pub struct Lesson {
    frames: PathBuf,
    /// What each student's mark should be, by number.
    truth: Vec<(String, &'static str)>,
}

impl Lesson {
    /// A lesson of a class: of each six students, the third comes late, the fourth leaves early and the sixth does not come.
    ///
    /// # Errors
    /// `Pictures`.
    pub fn of_class(class: Class, students: &[Student]) -> Result<Self, DemoDataError> {
        let truth: Vec<(String, &'static str)> = (0..)
            .zip(students)
            .map(|(index, student)| {
                let mark = match index % 6 {
                    2 => "late",
                    3 => "left_early",
                    5 => "absent",
                    _ => "present",
                };
                (student.number.clone(), mark)
            })
            .collect();
        let mut film = format!(
            "frames --roster-seed {} --count {} --seconds {FILM} --fps {RATE} --seed 3 --size 1280x720",
            class.seed, class.students
        );
        for (number, mark) in &truth {
            let times = match *mark {
                "late" => "74-",
                "left_early" => "-60",
                "absent" => "absent",
                _ => "-",
            };
            write!(film, " --attend {number}={times}").unwrap();
        }
        let frames = render_once(&[film])?.join("frames");
        Ok(Self { frames, truth })
    }

    /// Plans the lesson, films it, and waits for its marks; whether they are right.
    ///
    /// # Panics
    /// A part of the system fails.
    #[must_use]
    pub fn play(&self, site: &Site) -> bool {
        let cli = &site.cli;
        step("Planning a lesson: a group with its roster, a room with its camera, and what counts");
        let device = site.add_device("camera-2");
        cli.json(&["rooms", "add", "Room 2"]);
        cli.json(&["rooms", "place", "camera-2", "Room 2", "--role", "inside"]);
        cli.json(&["groups", "add", GROUP]);
        let numbers = self.truth.iter().map(|(number, _)| number.as_str());
        let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
        let yesterday = yesterday.strftime("%Y-%m-%d").to_string();
        let members: Vec<&str> = ["groups", "members", "add", GROUP]
            .into_iter()
            .chain(numbers)
            .chain(["--from", &yesterday])
            .collect();
        assert!(cli.run(&members).status.success(), "the roster can't be filled");
        let policy = [
            "--minutes-before",
            "1",
            "--grace-minutes",
            "1",
            "--leaving",
            "true",
            "--leave-grace-minutes",
            "1",
        ];
        cli.json(&[&["attendance", "policy", "set", "--group", GROUP][..], &policy].concat());

        step(&format!("Filming the lesson, for {FILM} seconds"));
        let agent = self.film(site, &device);
        let begun = self.begun(&device.directory, &agent);
        let at = |seconds| (begun + SignedDuration::from_secs(seconds)).to_string();
        let session = cli.json(&[
            "sessions",
            "add",
            GROUP,
            "--start",
            &at(BEGINS),
            "--end",
            &at(ENDS),
            "--room",
            "Room 2",
        ]);
        let session = session["id"].as_str().unwrap();
        let sheet = wait_for_marks(site, session, begun + SignedDuration::from_secs(ENDS), &agent);
        assert_eq!(agent.terminate(), Some(0), "the agent did not stop in order");

        step("The sheet of the lesson, beside the truth");
        print!("{}", String::from_utf8_lossy(&cli.run(&["attendance", "show", session]).stdout));
        let right = self.judge(&sheet);
        if let Some((number, _)) = self.truth.iter().find(|(_, mark)| *mark == "late") {
            println!("\n  cavs attendance explain {session} {number}");
            let explained = cli.run(&["attendance", "explain", session, number]);
            print!("{}", String::from_utf8_lossy(&explained.stdout));
        }
        right
    }

    /// Starts an agent whose camera shows the film at its speed, and its last picture from then on.
    fn film(&self, site: &Site, device: &crate::Device) -> Process {
        let config = site.configure_agent(device, &self.frames, "");
        let text = fs::read_to_string(&config).unwrap();
        let (before, rest) = text.split_once("[source]").unwrap();
        let (_, after) = rest.split_once("[vision]").unwrap();
        let script = format!(
            "date +%s%3N > began.new && mv began.new began; \
             for frame in {:?}/*.jpg; do cat \"$frame\"; sleep {}; done; \
             while :; do cat \"$frame\"; sleep 1; done",
            self.frames,
            1.0 / RATE
        );
        let script = format!("cd {:?} && {script}", device.directory);
        let source = format!("[source]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {script:?}]\n");
        let tracking = "[tracking]\nresend_interval = 10\n";
        fs::write(&config, format!("{before}{source}{tracking}[vision]{after}")).unwrap();
        let arguments = ["run", "--config", config.to_str().unwrap(), "--set", "spool.watch_interval=2"];
        Process::start("cavs-edge-agent", &arguments, &device.directory.join("agent.log"))
    }

    /// When the film began.
    fn begun(&self, directory: &Path, agent: &Process) -> Timestamp {
        let waited = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(directory.join("began")) {
                return Timestamp::from_millisecond(text.trim().parse().unwrap()).unwrap();
            }
            assert!(waited.elapsed() < WAIT, "the camera does not begin:\n{}", agent.output());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Nobody is present who was not there, nobody absent who was; and nearly all marks are right.
    fn judge(&self, sheet: &Value) -> bool {
        let marks = sheet["marks"].as_array().unwrap();
        let was_there = |mark: &str| matches!(mark, "present" | "late" | "left_early");
        let (mut right, mut wrong) = (0, 0);
        for (number, truth) in &self.truth {
            let mark = marks.iter().find(|mark| mark["student"]["number"] == number.as_str());
            let mark = mark.and_then(|mark| mark["mark"].as_str()).unwrap_or("nothing");
            right += usize::from(mark == *truth);
            wrong += usize::from(mark != "undetermined" && was_there(mark) != was_there(truth));
            if mark != *truth {
                println!("  {number}: {mark}, in truth {truth}");
            }
        }
        println!("  {right} of {} marks are right; {wrong} say wrongly who was there", self.truth.len());
        wrong == 0 && right * 10 >= self.truth.len() * 9
    }
}

/// The sheet, as soon as the camera has proven what it watched, up to the lesson's end.
fn wait_for_marks(site: &Site, session: &str, end: Timestamp, agent: &Process) -> Value {
    loop {
        let sheet = site.cli.json(&["attendance", "show", session]);
        let is_proven = sheet["unproven"].as_array().unwrap().is_empty();
        if sheet["session"]["state"] == "closing" && is_proven {
            return sheet;
        }
        let late = Timestamp::now().duration_since(end);
        let log = agent.output();
        assert!(late < SignedDuration::try_from(WAIT).unwrap(), "no marks: {sheet:#}\n{log}");
        thread::sleep(Duration::from_secs(1));
    }
}
