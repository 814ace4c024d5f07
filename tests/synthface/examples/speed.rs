//! How long renders take. Run it in release: `cargo run -p synthface --release --example speed`.
#![allow(clippy::print_stdout, reason = "printing is what the example is for")]

use std::time::{Duration, Instant};

use synthface::{Classroom, HeadMesh, Identity, Roster, Settings, View};

/// Processor time of this process so far, all threads together; Linux only, elsewhere zero.
fn processor_time() -> Duration {
    // Fields 14 and 15 of proc(5) stat are user and system time in ticks of 10 ms.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn measure(what: &str, times: u32, mut work: impl FnMut(u64)) {
    let (wall, cpu) = (Instant::now(), processor_time());
    for i in 0..times {
        work(i.into());
    }
    println!(
        "{what}: {:.1} ms of processor time, {:.1} ms of wall time",
        (processor_time() - cpu).as_secs_f64() * 1e3 / f64::from(times),
        wall.elapsed().as_secs_f64() * 1e3 / f64::from(times)
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let people: Vec<Identity> = (0..40).map(Identity::from_seed).collect();
    measure("head", 40, |i| drop(HeadMesh::new(people[i as usize].clone())));
    measure("portrait of 224 pixels", 40, |i| {
        drop(synthface::render(&people[i as usize], &View::portrait(i), 224));
    });
    let classroom = Classroom::new(&Roster::generate(1, 24, 0)?, &Settings::default())?;
    measure("classroom of 24 in 1280x720", 4, |i| drop(classroom.frame(Duration::from_secs(40 + i))));
    Ok(())
}
