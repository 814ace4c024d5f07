//! Measures how long the enrollment of many students takes beside the networks' own time: `scripts/bench-enroll` builds
//! everything and runs this.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "this is what a benchmark does")]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use cavs_models::{FacePipeline, Image, Pack, PhotographReader, PipelineOptions};
use cavs_tests::{Site, SiteOptions, lay_out, rendered_class};
use clap::Parser;

/// The enrollment of many students through the command line, a real server and a real PostgreSQL, beside the networks
/// alone: one line per bar, `name figure bar ok|SHORT`; ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/bench-enroll")]
struct Arguments {
    /// Students, who don't exist, with three pictures each
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(10..=2000))]
    people: u16,
    /// Whether the pictures of faces are kept, too
    #[arg(long)]
    portraits: bool,
}

/// Most of the networks' own time that enrollment may take.
const BAR: f64 = 1.2;
/// Turns of the two.
const ROUNDS: usize = 10;
/// Rendered faces are more alike than people: all of them are taken, so that each is judged, sealed and committed.
const TAKES_ALL: &str =
    "enrollment.same_person = 1.0\nenrollment.unlike_below = -1.0\nenrollment.min_quality = 0";

fn main() -> ExitCode {
    let Arguments { people, portraits } = Arguments::parse();
    let people = rendered_class(people);
    let directory = tempfile::tempdir().unwrap();
    let server_toml = format!("{TAKES_ALL}\nenrollment.keep_portraits = {portraits}");
    let site = Site::create(directory.path(), None, &SiteOptions { server_toml, ..SiteOptions::default() });
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let pack = Pack::open_or_built_in(None).unwrap();
    let mut pipelines: Vec<FacePipeline> =
        (0..threads).map(|_| FacePipeline::new(&pack, PipelineOptions::default()).unwrap()).collect();
    let (mut whole, mut networks, mut decoding) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut pictures, mut accepted, mut ratios) = (0, 0, Vec::new());
    for (round, class) in people.chunks(people.len().div_ceil(ROUNDS)).enumerate() {
        let photos = site.path(&format!("photos-{round}"));
        let mut roster = "number,name\n".to_owned();
        for person in class {
            let pictures = person.portraits.iter().enumerate();
            lay_out(&photos.join(&person.number), pictures.map(|(n, path)| (format!("{n}.jpg"), path)));
            writeln!(roster, "{},{}", person.number, person.number).unwrap();
        }
        let list = site.path(&format!("roster-{round}.csv"));
        fs::write(&list, roster).unwrap();
        let _ = site.cli.json(&["students", "import", list.to_str().unwrap()]);
        let files: Vec<&PathBuf> = class.iter().flat_map(|person| &person.portraits).collect();
        // Who goes first gains nothing by it.
        let mut own = || alone(&mut pipelines, &files);
        let (enrolled, (read, looked)) = if round % 2 == 0 {
            let enrolled = enroll(&site, &photos);
            (enrolled, own())
        } else {
            let own = own();
            (enroll(&site, &photos), own)
        };
        let (took, taken) = enrolled;
        (whole, decoding, networks) = (whole + took, decoding + read, networks + looked);
        (pictures, accepted) = (pictures + files.len(), accepted + taken);
        ratios.push(took.as_secs_f64() / looked.as_secs_f64());
    }
    let ms = |time: Duration| time.as_secs_f64() * 1000.0 / pictures as f64;
    println!(
        "# {} students, {pictures} pictures, {accepted} templates; {threads} threads; a picture takes {:.1} ms, the \
         networks alone {:.1}, decoding alone {:.1}",
        people.len(),
        ms(whole),
        ms(networks),
        ms(decoding)
    );
    println!("# {:.1} s; of each turn, in parts of the networks' time: {ratios:.2?}", whole.as_secs_f64());
    let ratio = whole.as_secs_f64() / networks.as_secs_f64();
    let is_short = ratio > BAR;
    println!("enroll_ratio {ratio:.2} {BAR} {}", if is_short { "SHORT" } else { "ok" });
    if is_short { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Enrolls a folder of students' folders; how long it took, and how many pictures became templates.
fn enroll(site: &Site, photos: &Path) -> (Duration, u64) {
    let begun = Instant::now();
    let output = site.cli.run(&["enroll", "--photos", photos.to_str().unwrap(), "--output", "json"]);
    let took = begun.elapsed();
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (took, done["accepted"].as_u64().unwrap())
}

/// How long reading and decoding pictures takes on all threads, and after it the networks for them.
fn alone(pipelines: &mut [FacePipeline], files: &[&PathBuf]) -> (Duration, Duration) {
    let begun = Instant::now();
    let images = Mutex::new(Vec::new());
    let waiting = Mutex::new(files.iter());
    thread::scope(|scope| {
        for _ in 0..pipelines.len() {
            scope.spawn(|| {
                while let Some(file) = next(&waiting) {
                    let image = PhotographReader::default().read(&fs::read(file).unwrap()).unwrap();
                    images.lock().unwrap().push(image);
                }
            });
        }
    });
    let (read, images) = (begun.elapsed(), images.into_inner().unwrap());
    let begun = Instant::now();
    let waiting = Mutex::new(images.iter());
    thread::scope(|scope| {
        for pipeline in pipelines {
            scope.spawn(|| {
                while let Some(image) = next::<&Image>(&waiting) {
                    let _ = pipeline.analyze_upright(image).unwrap();
                }
            });
        }
    });
    (read, begun.elapsed())
}

fn next<T>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    waiting.lock().unwrap().next()
}
