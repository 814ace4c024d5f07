//! Measures an agent in proxy mode against its bars: `scripts/bench-proxy` builds everything and runs this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what a benchmark does")]
#![allow(clippy::unwrap_used, reason = "a harness of measurements: what fails ends it")]

use std::{
    process::ExitCode,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use cavs_esp32_emulator::{
    Behaviour, Camera as Emulated, Flood, FrameLoop, FrameLoopOptions, Outcome, Path, Report, STALLS,
    WebCamera, flood, stall,
};
use cavs_tests::{
    Camera, Device, Proxy, ProxyOptions, Site, SiteOptions,
    demo::{Class, DemoData, enroll},
};
use clap::{Parser, ValueEnum};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

const MIB: f64 = 1024.0 * 1024.0;
/// Longest time for the mutated pictures that are pulled.
const PULL_LIMIT: Duration = Duration::from_secs(600);
/// Web cameras that serve them.
const PULLED: usize = 16;

/// Measures an agent in proxy mode: one line per bar, `name figure bar ok|SHORT`; ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/bench-proxy")]
struct Arguments {
    /// What to measure; without any, everything
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Cameras at 1 frame a second
    #[arg(long, default_value_t = 32)]
    cameras: usize,
    /// How long they send
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Faces that each of them sees
    #[arg(long, default_value_t = 2)]
    faces: u32,
    /// Mutated requests on each path
    #[arg(long, default_value_t = 100_000)]
    mutations: u64,
    /// Connections that stall
    #[arg(long, default_value_t = 1000)]
    stalls: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Honest cameras: latency and losses
    Cameras,
    /// Pictures without their second half
    Truncated,
    /// Connections that dribble or stall, beside honest ones
    Stalled,
    /// A camera that is revoked
    Revoked,
    /// Mutated requests on each path
    Mutated,
    /// Mutated pictures that the proxy pulls
    Pulled,
}

/// A site, a proxy and its cameras.
struct Bench {
    site: Site,
    device: Device,
    proxy: Proxy,
    frame_loop: FrameLoop,
    /// Cameras that the proxy speaks for.
    known: usize,
    short: bool,
}

impl Bench {
    fn bar(&mut self, name: &str, figure: impl std::fmt::Display, bar: impl std::fmt::Display, good: bool) {
        println!("{name} {figure} {bar} {}", if good { "ok" } else { "SHORT" });
        self.short |= !good;
    }

    fn none(&mut self, name: &str, count: u64) {
        self.bar(name, count, 0, count == 0);
    }

    /// The proxy is the process that was started, and has not panicked.
    fn alive(&mut self, section: &str) {
        let ended = self.proxy.process.exit_code().is_some();
        let panics = self.proxy.process.output().matches("panicked").count() as u64;
        self.none(&format!("{section}-panics"), panics + u64::from(ended));
    }

    /// Cameras at one frame a second, spread over the paths and over the second.
    async fn send(&self, cameras: &[Camera], seconds: u64, behaviour: Behaviour, boot: u64) -> Report {
        let mut sending = JoinSet::new();
        for (at, camera) in cameras.iter().enumerate() {
            let path = [Path::GrpcWeb, Path::Post, Path::Form, Path::Grpc, Path::GrpcStream][at % 5];
            let target = self.proxy.target(camera);
            let emulated = Emulated { target, path, behaviour, frame_loop: self.frame_loop.clone(), boot };
            let offset = behaviour.interval.mul_f64(at as f64 / cameras.len() as f64);
            sending.spawn(async move {
                sleep(offset).await;
                emulated.run(seconds, |_| {}).await
            });
        }
        let mut report = Report::default();
        sending.join_all().await.into_iter().for_each(|one| report.add(one));
        report
    }

    fn cameras(&mut self, prefix: &str, count: usize) -> Vec<Camera> {
        let cameras: Vec<Camera> =
            (0..count).map(|at| self.site.add_camera(&format!("{prefix}-{at}"), &self.device)).collect();
        self.known += count;
        self.proxy.wait_for(self.known);
        cameras
    }

    async fn honest(&mut self, count: usize, seconds: u64) {
        let cameras = self.cameras("honest", count);
        // Connections and the networks' memory are there before it counts.
        self.send(&cameras, 3, Behaviour::default(), 1).await;
        let report = self.send(&cameras, seconds, Behaviour::default(), 2).await;
        println!("# {report}");
        let p95 = report.percentile(95).as_millis();
        self.bar("answer-p95-ms", p95, 300, p95 <= 300);
        self.none("answer-lost", report.lost);
        let stored = report.answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Stored { .. }));
        println!("# {} of {} answered with 202 only", stored.count(), report.answers.len());
        println!("# memory {:.0} MiB", self.proxy.process.memory().0 as f64 / MIB);
    }

    async fn truncated(&mut self) {
        let cameras = self.cameras("truncated", 5);
        let behaviour = Behaviour {
            truncate_one_in: Some(1),
            interval: Duration::from_millis(100),
            ..Behaviour::default()
        };
        let report = self.send(&cameras, 50, behaviour, 1).await;
        println!("# {report}");
        let sightings: usize = cameras.iter().map(|camera| self.site.sightings_of(&camera.id).len()).sum();
        self.none("truncated-matched", (sightings + report.damaged_and_matched()) as u64);
    }

    async fn stalled(&mut self, count: usize) {
        let honest = self.cameras("beside", 5);
        let hostile = self.cameras("stalls", 1);
        self.send(&honest, 3, Behaviour::default(), 1).await;
        let alone = self.send(&honest, 20, Behaviour::default(), 2).await;
        let target = self.proxy.target(&hostile[0]);
        let stalling =
            tokio::spawn(async move { stall(&target, &STALLS, count, Duration::from_secs(25)).await });
        let beside = self.send(&honest, 20, Behaviour::default(), 3).await;
        let stalled = stalling.await.unwrap();
        println!("# alone: {alone}\n# beside: {beside}\n# {stalled}");
        self.none("stalled-open", stalled.open);
        let longest = stalled.longest().as_secs_f64();
        self.bar("stalled-longest-s", format!("{longest:.1}"), 15, longest <= 15.0);
        let ratio = beside.percentile(95).as_secs_f64() / alone.percentile(95).as_secs_f64().max(1e-6);
        self.bar(
            "stalled-honest-p95-ratio",
            format!("{ratio:.2}"),
            2,
            ratio <= 2.0 && !beside.answers.is_empty(),
        );
        self.none("stalled-honest-lost", beside.lost);
        self.alive("stalled");
    }

    async fn revoked(&mut self) {
        let camera = self.cameras("revoked", 1).remove(0);
        let one = |boot| self.send(std::slice::from_ref(&camera), 1, Behaviour::default(), boot);
        assert_eq!(one(1).await.lost, 0);
        self.site.cli.json(&["devices", "revoke", "revoked-0", "--yes"]);
        let begun = Instant::now();
        let mut boot = 2;
        while one(boot).await.lost == 0 && begun.elapsed() < Duration::from_secs(20) {
            boot += 1;
        }
        let took = begun.elapsed().as_secs_f64();
        self.bar("revoked-refused-s", format!("{took:.2}"), 2, took <= 2.0);
    }

    async fn mutated(&mut self, count: u64) {
        let camera = self.cameras("mutates", 1).remove(0);
        let small =
            FrameLoopOptions { size: [160, 120], frames: 4, students: 1, ..FrameLoopOptions::default() };
        let small = FrameLoop::render(&small).unwrap();
        let run = async |path, count| {
            let images = (0..4).map(|number| small.frame(number)).collect();
            let patience = Duration::from_secs(20);
            let target = self.proxy.target(&camera);
            let report =
                flood(Flood { target, path, images, count, seed: 77, connections: 16, patience }).await;
            println!("# {}: {report}", path.name());
            report
        };
        // What the first requests make the process keep is no growth.
        run(Path::Post, count.min(500)).await;
        let mut reports = Vec::new();
        let mut growth: f64 = 0.0;
        let (before, _) = self.proxy.process.memory();
        self.proxy.process.forget_peak();
        for (path, share) in [(Path::Grpc, 1), (Path::GrpcWeb, 1), (Path::Post, 2), (Path::Form, 2)] {
            reports.push((path, run(path, count / share).await));
            let (now, peak) = self.proxy.process.memory();
            println!("# memory {:.0} MiB, at most {:.0} MiB", now as f64 / MIB, peak as f64 / MIB);
            growth = growth.max(peak.saturating_sub(before) as f64 / MIB);
        }
        for (path, report) in reports {
            self.none(&format!("mutated-{}-hangs", path.name()), report.hangs);
            self.none(&format!("mutated-{}-wrong", path.name()), report.wrong);
        }
        self.bar("mutated-memory-mib", format!("{growth:.0}"), 64, growth <= 64.0);
        self.alive("mutated");
    }

    /// Restarts the proxy with web cameras whose pictures are mutated, and an honest one.
    async fn pulled(&mut self, count: u64) {
        let small =
            FrameLoopOptions { size: [160, 120], frames: 4, students: 1, ..FrameLoopOptions::default() };
        let small = FrameLoop::render(&small).unwrap();
        let fast = Behaviour { interval: Duration::from_millis(2), ..Behaviour::default() };
        let mut toml = String::new();
        let mut webs = Vec::new();
        let cameras = self.cameras("pulled", PULLED + 1);
        for (at, camera) in cameras.iter().enumerate() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let web = if at == PULLED {
                WebCamera::start(listener, self.frame_loop.clone(), Behaviour::default(), None).unwrap()
            } else {
                WebCamera::start(listener, small.clone(), fast, Some(at as u64)).unwrap()
            };
            toml += &format!(
                "[[proxy.cameras]]\ndevice = {:?}\nurl = \"http://{}/stream\"\nrate = 100.0\n",
                camera.id,
                web.address()
            );
            webs.push(web);
        }
        let device = self.site.add_device("puller");
        for at in 0..=PULLED {
            self.site.cli.json(&["devices", "assign", &format!("pulled-{at}"), "--proxy", &device.id]);
        }
        self.proxy = self.site.start_proxy(&device, &ProxyOptions { toml, ..ProxyOptions::default() });
        sleep(Duration::from_secs(3)).await;
        let (before, _) = self.proxy.process.memory();
        self.proxy.process.forget_peak();
        let begun = Instant::now();
        let served = || -> u64 {
            webs[..PULLED].iter().map(|web| web.counts().pictures.load(Ordering::Relaxed)).sum()
        };
        while served() < count && begun.elapsed() < PULL_LIMIT {
            sleep(Duration::from_millis(500)).await;
        }
        let growth = self.proxy.process.memory().1.saturating_sub(before) as f64 / MIB;
        self.bar("pulled-mutated", served(), count, served() >= count);
        self.bar("pulled-memory-mib", format!("{growth:.0}"), 64, growth <= 64.0);
        let honest = &webs[PULLED].counts().pictures;
        let taken = honest.load(Ordering::Relaxed);
        sleep(Duration::from_secs(5)).await;
        let more = honest.load(Ordering::Relaxed) - taken;
        self.bar("pulled-honest-pictures", more, 1, more >= 1);
        let seen = self.site.sightings_of(&cameras[PULLED].id).len();
        self.bar("pulled-honest-sightings", seen, 1, seen >= 1);
        self.alive("pulled");
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let class = Class { students: arguments.faces, strangers: 0, seconds: 10, frames: 1, seed: 9 };
    let cast = DemoData::of_class(class).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let options = SiteOptions { server_toml: cast.server_toml.clone(), ..SiteOptions::default() };
    let site = Site::create(directory.path(), None, &options);
    enroll(&site, &cast);
    let device = site.add_device("proxy");
    let students = usize::try_from(arguments.faces).unwrap();
    let frame_loop =
        FrameLoop::render(&FrameLoopOptions { seed: class.seed, students, ..FrameLoopOptions::default() })
            .unwrap();
    // What is measured is how frames are taken, not how often a camera may send them.
    let toml = "camera_rate = 1000.0".to_owned();
    let proxy = site.start_proxy(&device, &ProxyOptions { toml, ..ProxyOptions::default() });
    let mut bench = Bench { site, device, proxy, frame_loop, known: 0, short: false };
    let chosen = |section| arguments.sections.is_empty() || arguments.sections.contains(&section);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if chosen(Section::Cameras) {
            bench.honest(arguments.cameras, arguments.seconds).await;
        }
        if chosen(Section::Truncated) {
            bench.truncated().await;
        }
        if chosen(Section::Stalled) {
            bench.stalled(arguments.stalls).await;
        }
        if chosen(Section::Revoked) {
            bench.revoked().await;
        }
        if chosen(Section::Mutated) {
            bench.mutated(arguments.mutations).await;
        }
        if chosen(Section::Pulled) {
            bench.pulled(arguments.mutations).await;
        }
    });
    if bench.short { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
