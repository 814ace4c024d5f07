//! Measures how long a reviewer waits for the next face: `scripts/bench-review` builds everything and runs this.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "this is what a benchmark does")]

use std::{process::ExitCode, thread, time::Duration};

use cavs_tests::review_site::{ReviewSite, face, ways_out_that_leave_traces};
use clap::Parser;

/// A review by scripted keys in a terminal that does not exist, against a real server: one line per bar,
/// `name figure bar ok|SHORT`; ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/bench-review")]
struct Arguments {
    /// Faces that are reviewed
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=400))]
    items: u16,
    /// People who are enrolled
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u8).range(2..=24))]
    people: u8,
}

/// Most milliseconds from the key to the next face, in 95 of 100 cases.
const BAR_MS: f64 = 100.0;
/// A reviewer looks at each face for at least so long: the same key again sooner is one that is held.
const LOOK: Duration = Duration::from_millis(120);
const LIMIT: Duration = Duration::from_secs(30);
/// How long a screen does not change before it counts as drawn.
const QUIET: Duration = Duration::from_millis(60);

fn main() -> ExitCode {
    let Arguments { items, people } = Arguments::parse();
    let site = ReviewSite::start(people.into(), usize::from(items) + 1);
    let traces = ways_out_that_leave_traces(&site);
    let mut terminal = site.review(&["--image-protocol", "halfblocks"]);
    let (mut shown, _) = terminal.settled("the first face", LIMIT, QUIET, face, |face| !face.is_empty());
    let (mut waited, mut keys) = (Vec::new(), 0_u16);
    let last = items.min(u16::try_from(site.waiting).unwrap() - 1);
    for key in ["1", "2", "r", "f"].into_iter().cycle().take(last.into()) {
        thread::sleep(LOOK);
        let pressed = terminal.type_keys(key);
        keys += 1;
        let next =
            terminal.settled("the next face", LIMIT, QUIET, face, |face| !face.is_empty() && *face != shown);
        waited.push(next.1.saturating_duration_since(pressed).as_secs_f64() * 1000.0);
        shown = next.0;
    }
    terminal.type_keys("q");
    let left = terminal.wait(LIMIT);
    assert!(left.is_restored && left.code == Some(0), "{left:?}");
    let recorded: u16 = left
        .text
        .lines()
        .find_map(|line| line.strip_prefix("Recorded: "))
        .map(|line| line.split(' ').filter_map(|word| word.parse::<u16>().ok()).sum())
        .unwrap();
    waited.sort_by(f64::total_cmp);
    let at = |part: f64| waited[((waited.len() as f64 * part).ceil() as usize).clamp(1, waited.len()) - 1];
    println!("# of {last} faces, milliseconds to the next: median {:.1}, most {:.1}", at(0.5), at(1.0));
    let mut is_short = false;
    let mut bar = |name: &str, figure: String, bar: &str, is_met: bool| {
        is_short |= !is_met;
        println!("{name} {figure} {bar} {}", if is_met { "ok" } else { "SHORT" });
    };
    bar("reviewed_items", last.to_string(), &items.to_string(), last >= items);
    bar("next_face_p95_ms", format!("{:.1}", at(0.95)), &format!("{BAR_MS:.0}"), at(0.95) <= BAR_MS);
    let a_verdict = f64::from(keys) / f64::from(recorded.max(1));
    bar("keys_a_verdict", format!("{a_verdict:.2}"), "1", recorded == keys);
    println!("# ways out that leave traces in the terminal: {traces:?}");
    bar("ways_out_with_traces", traces.len().to_string(), "0", traces.is_empty());
    if is_short { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
