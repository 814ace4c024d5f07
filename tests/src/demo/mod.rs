//! The main job, shown: a school is set up, a class is enrolled, a camera's frames are played, a lesson is filmed, and
//! what the system says is compared with the truth.

#![allow(clippy::print_stdout, reason = "this is what a demonstration does")]

mod data;
mod lesson;
mod photographs;
mod report;

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

pub use data::{Class, DemoData, DemoDataError, Student, TrueFace};
pub use lesson::Lesson;
pub use photographs::{SharedData, portraits};
pub use report::Report;
pub(crate) use report::overlap;

use crate::{Device, Site, SiteOptions};

/// Sightings that are shown of the review queue.
const SHOWN: usize = 5;
/// Longest play of the frames.
const PLAY_LIMIT: Duration = Duration::from_secs(1800);

/// Plays the demonstration in an empty folder; true where the system was right often enough. With `keep`, the school
/// is left running until somebody presses Enter.
///
/// # Panics
/// A part of the system fails.
#[must_use]
pub fn play(data: &DemoData, pack: Option<&Path>, directory: &Path, keep: bool) -> bool {
    step("Starting a school: certificates, key, database, server, administrator");
    let options = SiteOptions { server_toml: data.server_toml.clone(), ..SiteOptions::default() };
    let mut site = Site::create(directory, pack, &options);
    println!("  listening on ports {} (people) and {} (devices)", site.api_port(), site.device_port());

    step(&format!("Enrolling {} students from their pictures", data.students.len()));
    enroll(&site, data);

    step("Registering a camera and playing its frames through the agent");
    let device = site.add_device("camera-1");
    play_frames(&site, &device, &data.frames);

    step("What the system said, beside the truth");
    let report = judge(&site, data);
    print!("{report}");

    step("The review queue");
    review(&site, &report);
    let attended = data.lesson.as_ref().is_none_or(|lesson| lesson.play(&site));

    if keep {
        step("Looking around");
        look_around(&site);
    }
    step("Stopping everything");
    assert_eq!(site.take_server().terminate(), Some(0), "the server did not stop in order");
    report.is_good() && attended
}

/// Adds the students and enrolls their portraits.
pub fn enroll(site: &Site, data: &DemoData) {
    for student in &data.students {
        let add = ["students", "add", &student.number, "--name", &student.name];
        site.cli.json(&[&add[..], &["--section", &student.section]].concat());
        let mut arguments = vec!["enroll", student.number.as_str()];
        arguments.extend(student.portraits.iter().map(|p| p.to_str().unwrap()));
        let _ = site.cli.run(&arguments);
        let enrolled = site.cli.json(&["students", "show", &student.number]);
        let templates = &enrolled["template_count"];
        println!("  {:<24} {templates} of {} pictures taken", student.name, student.portraits.len());
    }
}

/// Plays frames through an agent until the last sighting is acknowledged.
pub fn play_frames(site: &Site, device: &Device, frames: &Path) {
    let config = site.configure_agent(device, frames, "");
    let count = fs::read_dir(frames).map_or(0, Iterator::count);
    println!("  {count} frames; the agent's log is {}", device.directory.join("agent.log").display());
    let mut agent = site.start_agent(device, &config);
    assert_eq!(agent.wait(PLAY_LIMIT), Some(0), "the agent failed:\n{}", agent.output());
}

/// Compares all sightings of a site with the truth.
#[must_use]
pub fn judge(site: &Site, data: &DemoData) -> Report {
    let sightings = site.cli.json(&["sightings", "list", "--all"]);
    Report::new(sightings["sightings"].as_array().unwrap(), data)
}

/// Shows the queue, and approves a sighting of it whose best candidate is right.
fn review(site: &Site, report: &Report) {
    let queue = site.cli.json(&["review", "list", "--all"]);
    let queue: Vec<&Value> = queue["sightings"].as_array().unwrap().iter().collect();
    println!("  {} sightings wait for a person", queue.len());
    for sighting in queue.iter().take(SHOWN) {
        let best = &sighting["prediction"]["candidates"][0];
        let (similarity, reason) =
            (best["similarity"].as_f64().unwrap_or(0.0), &sighting["prediction"]["reason"]);
        let name = best["student"]["name"].as_str().unwrap_or("nobody");
        println!(
            "  {}  {name} ({similarity:.2})  {}",
            sighting["id"].as_str().unwrap(),
            reason.as_str().unwrap()
        );
    }
    // An accepted one where the machine was sure of all: a person may confirm that, too.
    let right = queue.iter().find(|s| report.best_is_right(s)).copied().or_else(|| report.first_right());
    let Some(sighting) = right else { return };
    let id = sighting["id"].as_str().unwrap();
    let approved = site.cli.json(&["review", "approve", id, "--notes", "seen in the demonstration"]);
    println!("  approved {id}: it is {}", approved["student"]["name"].as_str().unwrap());
    let listed = site.cli.json(&["sightings", "list", "--limit", "1"]);
    println!("  {} sightings in all", listed["total_size"]);
}

/// Says how to look around by hand, and waits for Enter.
fn look_around(site: &Site) {
    println!("  The school is running. In another terminal:\n");
    println!(
        "    export CAVS_CONFIG={:?} CAVS_SERVER={:?} CAVS_CA={:?}",
        site.cli.config, site.cli.server, site.cli.authority
    );
    println!("    alias cavs={:?}\n", crate::binary("cavs"));
    for (command, what) in [
        ("cavs attendance show \"Demo class\"", "the sheet of the lesson"),
        ("cavs attendance list --mark late", "who came late"),
        ("cavs review", "what waits for a person, on the whole terminal"),
        ("cavs students list", "the students"),
        ("cavs devices show camera-2", "the camera, and what it watched"),
        ("cavs stats", "the day in numbers"),
    ] {
        println!("    {command:<40} # {what}");
    }
    println!("\n  Press Enter here to stop it.");
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn step(text: &str) {
    println!("\n== {text}");
}
