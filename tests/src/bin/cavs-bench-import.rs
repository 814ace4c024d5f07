//! Measures how long a file of many students takes: `scripts/bench-import` builds everything and runs this.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "this is what a benchmark does")]

use std::{
    fmt::Write,
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use cavs_tests::{Site, SiteOptions};
use clap::Parser;

/// Files of many students through the command line, a real server and a real PostgreSQL: one line per bar,
/// `name figure bar ok|SHORT`, the figures in seconds; ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/bench-import")]
struct Arguments {
    /// Students in the file
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=500_000))]
    students: u64,
}

/// Most seconds for a file of 100,000 new students.
const BAR: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let Arguments { students } = Arguments::parse();
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let file = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let mut text = "number;name;email;department;section;photo_consent\r\n".to_owned();
    for n in 0..students {
        write!(
            text,
            "{n:07};Ada Example {n};ada{n}@example.org;Department {};Class {};given\r\n",
            n % 10,
            n / 30
        )
        .unwrap();
    }
    fs::write(file("students.csv"), &text).unwrap();
    fs::write(file("changed.csv"), text.replace("Department 7", "Department seven")).unwrap();
    let timed = |arguments: &[&str]| {
        let begun = Instant::now();
        let done = site.cli.json(&[&["students", "import", "--timeout", "600"], arguments].concat());
        (begun.elapsed(), done)
    };
    let (created, done) = timed(&[&file("students.csv")]);
    assert_eq!(done["created"], students);
    let (unchanged, done) = timed(&[&file("students.csv")]);
    assert_eq!(done["unchanged"], students);
    let (changed, done) = timed(&[&file("changed.csv")]);
    assert_eq!(done["updated"], (students + 2) / 10);
    let begun = Instant::now();
    assert!(site.cli.run(&["students", "export", &file("out.csv")]).status.success());
    let exported = begun.elapsed();
    println!(
        "# of {students} students: unchanged {:.1} s, a tenth changed {:.1} s, exported {:.1} s",
        unchanged.as_secs_f64(),
        changed.as_secs_f64(),
        exported.as_secs_f64()
    );
    let is_short = created > BAR;
    let verdict = if is_short { "SHORT" } else { "ok" };
    println!("import_s {:.1} {} {verdict}", created.as_secs_f64(), BAR.as_secs());
    if is_short { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
