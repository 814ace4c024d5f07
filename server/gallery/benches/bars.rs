//! The program that `scripts/bench-gallery` talks to: it makes a gallery of made-up faces, writes the
//! same vectors where its rivals can read them, and measures what it is told to, one line per command.
//!
//! Run alone it reads commands from standard input: `exact N`, `batch N`, `hybrid N`, `hybrid-batch N`,
//! `miss N`, `first N`, `graph`, `memory`, `counters`. Times are in milliseconds per probe of the searching
//! thread's processor time: other programs on the machine disturb it least.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    env, fs,
    io::{self, BufRead, BufWriter, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cavs_embedding::{Similarity, UnitEmbedding};
use cavs_gallery::{
    Answer, Change, Decisive, Gallery, GalleryMode, Options, Query, StudentKey, Template, open,
};
use common::{face, template};
use cpu_time::ThreadTime;

const PICTURES: u64 = 4;
const BATCH: usize = 32;

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    // `cargo bench` runs every bench without arguments: then there is nothing to measure.
    let [dimension, templates, folder] = &args[..] else {
        eprintln!("usage: bars DIMENSION TEMPLATES FOLDER; see scripts/bench-gallery");
        return;
    };
    Bench::new(dimension.parse().unwrap(), templates.parse().unwrap(), Path::new(folder)).serve();
}

struct Bench {
    exact: Arc<dyn Gallery>,
    hybrid: Arc<dyn Gallery>,
    all: Vec<Template>,
    probes: Vec<UnitEmbedding>,
    strangers: Vec<UnitEmbedding>,
    /// Probes that were used, so that none comes from the cache.
    next: usize,
}

/// What one command measured.
#[derive(Default)]
struct Times {
    millis: Vec<f64>,
    right: usize,
    probes: usize,
}

impl Bench {
    fn new(dimension: usize, templates: u64, folder: &Path) -> Self {
        let students = templates / PICTURES;
        let all = (0..students).flat_map(|s| (0..PICTURES).map(move |p| template(s, p, dimension)));
        let all: Vec<Template> = all.collect();
        let probes: Vec<_> = (0..students.min(10_000)).map(|s| face(s, 1000, dimension)).collect();
        let strangers = (0..1000).map(|s| face(students + s, 0, dimension)).collect();
        write(&folder.join("templates.f32"), all.iter().map(|t| &t.embedding));
        write(&folder.join("probes.f32"), probes.iter());
        let exact = open(GalleryMode::Exact, dimension, Options::default()).unwrap();
        // Auditing is what production does, so its cost belongs to the figures.
        let hybrid = open(GalleryMode::Hnsw, dimension, Options::default()).unwrap();
        let start = Instant::now();
        for insert in all.chunks(1000) {
            exact.apply(&Change { insert: insert.to_vec(), ..Change::default() }).unwrap();
        }
        println!("load {:.3}", start.elapsed().as_secs_f64());
        Self { exact, hybrid, all, probes, strangers, next: 0 }
    }

    fn serve(mut self) {
        for line in io::stdin().lock().lines() {
            let line = line.unwrap();
            let (command, count) = line.split_once(' ').unwrap_or((&line, "1"));
            let count = count.parse().unwrap();
            let rule = Decisive { accept: Similarity::clamped(0.4), margin: 0.05 };
            let (top, quick) = (Query::top(2), Query::top(2).unless_decisive(rule));
            let (exact, hybrid) = (Arc::clone(&self.exact), Arc::clone(&self.hybrid));
            let times = match command {
                "exact" => self.mated(&*exact, &top, 1, count),
                "batch" => self.mated(&*exact, &top, BATCH, count),
                "hybrid" => self.mated(&*hybrid, &quick, 1, count),
                "hybrid-batch" => self.mated(&*hybrid, &quick, BATCH, count),
                "miss" => self.strange(&*hybrid, &quick, count),
                "graph" => {
                    // Only now, so that nothing builds in the background of what was measured before.
                    let all = Change { insert: std::mem::take(&mut self.all), ..Change::default() };
                    hybrid.pause_background();
                    hybrid.apply(&all).unwrap();
                    let (start, before) = (Instant::now(), resident());
                    hybrid.resume_background();
                    assert!(hybrid.wait_idle(Duration::from_secs(36_000)));
                    let bytes = resident().saturating_sub(before) as f64 / hybrid.len() as f64;
                    println!("{:.1} {bytes:.0}", start.elapsed().as_secs_f64());
                    // Freed before, its memory would have been the graph's.
                    drop(all);
                    continue;
                }
                "counters" => {
                    println!("{:?}", hybrid.stats().counters);
                    continue;
                }
                "first" => {
                    let answers = exact.search_batch(&self.probes[..count], &top).unwrap();
                    // The row of a template in the file that the rivals read.
                    let row = |id: u128| (id >> 64) as u64 * PICTURES + id as u64;
                    let rows = answers.iter().map(|a| row(a.candidates[0].template.0).to_string());
                    println!("{}", rows.collect::<Vec<_>>().join(" "));
                    continue;
                }
                "memory" => {
                    println!("{:.1}", exact.stats().memory as f64 / exact.len() as f64);
                    continue;
                }
                _ => panic!("no command {command}"),
            };
            times.print();
            io::stdout().flush().unwrap();
        }
    }

    fn mated(&mut self, gallery: &dyn Gallery, query: &Query<'_>, batch: usize, count: usize) -> Times {
        let mut times = Times::default();
        while times.probes < count {
            let first = self.next % self.probes.len();
            let probes = &self.probes[first..self.probes.len().min(first + batch)];
            self.next = first + probes.len();
            let answers = times.time(probes, |probes| match probes {
                [one] => vec![gallery.search(one, query).unwrap()],
                many => gallery.search_batch(many, query).unwrap(),
            });
            let who = |answer: &Answer| answer.candidates.first().map(|c| c.student);
            let right = |(at, answer)| who(answer) == Some(StudentKey((first + at) as u128));
            times.right += answers.iter().enumerate().filter(|a| right(*a)).count();
        }
        times
    }

    fn strange(&self, gallery: &dyn Gallery, query: &Query<'_>, count: usize) -> Times {
        let mut times = Times::default();
        for probe in self.strangers.iter().cycle().take(count) {
            times.time(std::slice::from_ref(probe), |p| vec![gallery.search(&p[0], query).unwrap()]);
        }
        times
    }
}

impl Times {
    fn time(
        &mut self,
        probes: &[UnitEmbedding],
        search: impl Fn(&[UnitEmbedding]) -> Vec<Answer>,
    ) -> Vec<Answer> {
        let start = ThreadTime::now();
        let answers = search(probes);
        self.millis.push(start.elapsed().as_secs_f64() * 1e3 / probes.len() as f64);
        self.probes += probes.len();
        answers
    }

    /// `median mean p99 right probes`.
    fn print(mut self) {
        self.millis.sort_by(f64::total_cmp);
        let at = |share: f64| self.millis[((self.millis.len() - 1) as f64 * share) as usize];
        let mean = self.millis.iter().sum::<f64>() / self.millis.len() as f64;
        println!("{:.4} {mean:.4} {:.4} {} {}", at(0.5), at(0.99), self.right, self.probes);
    }
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn write<'a>(path: &Path, embeddings: impl Iterator<Item = &'a UnitEmbedding>) {
    let mut file = BufWriter::new(fs::File::create(path).unwrap());
    embeddings.for_each(|e| file.write_all(&e.to_le_bytes()).unwrap());
    file.flush().unwrap();
}
