//! ESP32-CAMs that do not exist, at a proxy that does: over all paths, on bad days, and with bad intent.

use std::{fs, path::Path as File, process::Command, sync::atomic::Ordering, time::Duration};

use cavs_esp32_emulator::{
    Behaviour, Camera as Emulated, Flood, FrameLoop, FrameLoopOptions, Outcome, Path, Report, STALLS,
    WebCamera, firmware_on_host, flood, stall,
};
use cavs_tests::{
    Camera, Device, Proxy, ProxyOptions, Site, SiteOptions,
    demo::{Class, DemoData, enroll},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

/// Who is enrolled; the film shows all of them.
const CLASS: Class = Class { students: 4, strangers: 0, seconds: 10, frames: 1, seed: 9 };

/// A school with a class, a device that is to be a proxy, and what its cameras see.
struct School {
    site: Site,
    device: Device,
    frame_loop: FrameLoop,
    _directory: TempDir,
}

impl School {
    fn start() -> Self {
        let cast = DemoData::of_class(CLASS).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let options = SiteOptions { server_toml: cast.server_toml.clone(), ..SiteOptions::default() };
        let site = Site::create(directory.path(), None, &options);
        enroll(&site, &cast);
        let device = site.add_device("proxy");
        let students = usize::try_from(CLASS.students).unwrap();
        let frame_loop = FrameLoop::render(&FrameLoopOptions {
            seed: CLASS.seed,
            students,
            frames: 4,
            ..FrameLoopOptions::default()
        });
        Self { site, device, frame_loop: frame_loop.unwrap(), _directory: directory }
    }

    fn camera(&self, name: &str) -> Camera {
        self.site.add_camera(name, &self.device)
    }

    fn proxy(&self) -> Proxy {
        self.site.start_proxy(&self.device, &ProxyOptions::default())
    }

    fn emulate(&self, proxy: &Proxy, camera: &Camera, path: Path, behaviour: Behaviour) -> Emulated {
        Emulated {
            target: proxy.target(camera),
            path,
            behaviour,
            frame_loop: self.frame_loop.clone(),
            boot: 1,
        }
    }
}

fn brisk() -> Behaviour {
    Behaviour { interval: Duration::from_millis(300), ..Behaviour::default() }
}

/// Lets a camera for each path send so many pictures at the same time; the reports in the order of the paths.
async fn on_all_paths(
    school: &School,
    proxy: &Proxy,
    behaviour: Behaviour,
    pictures: u64,
) -> Vec<(Camera, Report)> {
    let mut sending = JoinSet::new();
    let cameras = Path::ALL.map(|path| school.camera(path.name()));
    proxy.wait_for(cameras.len());
    for (at, path) in Path::ALL.into_iter().enumerate() {
        let emulated = school.emulate(proxy, &cameras[at], path, behaviour);
        sending.spawn(async move { (at, emulated.run(pictures, |_| {}).await) });
    }
    let mut reports = sending.join_all().await;
    reports.sort_by_key(|(at, _)| *at);
    cameras.into_iter().zip(reports).map(|(camera, (_, report))| (camera, report)).collect()
}

/// Faces that the first answer to each picture told of.
fn faces(report: &Report) -> usize {
    let first = |answer: &&cavs_esp32_emulator::Answer| answer.outcome.arrived();
    let mut frames = std::collections::BTreeMap::new();
    for answer in report.answers.iter().filter(first) {
        if let Outcome::Answered { faces, .. } | Outcome::Stored { faces } = answer.outcome {
            frames.entry(answer.frame).or_insert(faces);
        }
    }
    frames.values().map(|faces| usize::try_from(*faces).unwrap()).sum()
}

/// Asks until a camera has as many sightings.
async fn until_sightings(site: &Site, camera: &Camera, count: usize) -> Vec<Value> {
    for _ in 0..150 {
        let found = site.sightings_of(&camera.id);
        if found.len() >= count {
            return found;
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("{} of {count} sightings", site.sightings_of(&camera.id).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_are_answered_on_every_path() {
    let school = School::start();
    let proxy = school.proxy();
    for (camera, report) in on_all_paths(&school, &proxy, brisk(), 4).await {
        assert_eq!(report.lost, 0, "{report}");
        let matched: u32 = report.answers.iter().map(|answer| answer.outcome.matched()).sum();
        assert!(matched > 0, "{report}\n{}", proxy.process.output());
        assert!(faces(&report) >= 8, "{report}");
        let sightings = until_sightings(&school.site, &camera, faces(&report)).await;
        assert_eq!(sightings.len(), faces(&report));
        let named = sightings.iter().filter(|sighting| sighting["student"]["number"].is_string());
        assert!(named.count() > 0, "{sightings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_with_the_stock_web_server_is_pulled() {
    let school = School::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behaviour = Behaviour { cut_one_in: Some(3), ..brisk() };
    let web = WebCamera::start(listener, school.frame_loop.clone(), behaviour, None).unwrap();
    let cameras = [school.camera("streams"), school.camera("snapshots")];
    let pulled = |camera: &Camera, kind: &str, path: &str| {
        let url = format!("http://{}{path}", web.address());
        format!("[[proxy.cameras]]\ndevice = {:?}\nkind = {kind:?}\nurl = {url:?}\nrate = 4.0\n", camera.id)
    };
    let toml = pulled(&cameras[0], "mjpeg", "/stream") + &pulled(&cameras[1], "snapshot", "/capture");
    let proxy = school.site.start_proxy(&school.device, &ProxyOptions { toml, ..ProxyOptions::default() });
    for camera in &cameras {
        // Tracks of everybody in the room, not faces of every picture.
        let sightings = until_sightings(&school.site, camera, 4).await;
        assert!(sightings.iter().any(|sighting| sighting["student"]["number"].is_string()), "{sightings:#?}");
    }
    // The stream is cut off again and again, and opened again.
    for _ in 0..300 {
        if web.counts().damaged.load(Ordering::Relaxed) >= 4 {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("{:?}\n{}", web.counts(), proxy.process.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_day_loses_nothing_and_doubles_nothing() {
    let school = School::start();
    let proxy = school.proxy();
    let behaviour = Behaviour {
        interval: Duration::from_millis(500),
        // As if it had started 20 s ago, in 1970.
        clock_error: Some(
            SignedDuration::from_secs(20) - Timestamp::now().duration_since(Timestamp::UNIX_EPOCH),
        ),
        cut_one_in: Some(3),
        lose_answer_one_in: Some(2),
        ..Behaviour::poor()
    };
    for (camera, report) in on_all_paths(&school, &proxy, behaviour, 6).await {
        assert_eq!((report.pictures, report.lost), (6, 0), "{report}");
        assert!(report.answers.iter().any(|answer| answer.forgotten), "{report}");
        assert!(report.answers.iter().any(|answer| answer.outcome == Outcome::CutOff), "{report}");
        let sightings = until_sightings(&school.site, &camera, faces(&report)).await;
        // What is sent twice is there once.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(school.site.sightings_of(&camera.id).len(), faces(&report), "{report}");
        for sighting in &sightings {
            let captured: Timestamp = sighting["captured_at"].as_str().unwrap().parse().unwrap();
            let age = Timestamp::now().duration_since(captured).abs();
            assert!(age < SignedDuration::from_mins(5), "{sighting:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_that_are_too_many_are_told_when_to_come_again() {
    let school = School::start();
    let options = ProxyOptions { toml: "queue = 1\nworkers = 1".into(), ..ProxyOptions::default() };
    let proxy = school.site.start_proxy(&school.device, &options);
    let cameras: Vec<_> = (0..8).map(|at| school.camera(&format!("crowd-{at}"))).collect();
    proxy.wait_for(cameras.len());
    let mut sending = JoinSet::new();
    for (camera, path) in cameras.iter().zip(Path::ALL.into_iter().cycle()) {
        let emulated = school.emulate(&proxy, camera, path, Behaviour { attempts: 100, ..brisk() });
        sending.spawn(emulated.run(3, |_| {}));
    }
    let reports = sending.join_all().await;
    let busy = Outcome::Busy { retry_after: Some(Duration::from_secs(1)) };
    let answers = || reports.iter().flat_map(|report| &report.answers);
    assert!(answers().any(|answer| answer.outcome == busy), "nobody was told to wait");
    for (camera, report) in cameras.iter().zip(&reports) {
        assert_eq!(report.lost, 0, "{report}");
        let sightings = until_sightings(&school.site, camera, faces(report)).await;
        assert_eq!(sightings.len(), faces(report), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_picture_is_never_matched() {
    let school = School::start();
    let proxy = school.proxy();
    let behaviour = Behaviour { truncate_one_in: Some(1), ..brisk() };
    for (camera, report) in on_all_paths(&school, &proxy, behaviour, 4).await {
        assert_eq!(report.answers.len(), 4, "{report}");
        for answer in &report.answers {
            let refused =
                matches!(&answer.outcome, Outcome::Refused { reason, .. } if reason == "FRAME_INVALID");
            assert!(refused, "{report}");
        }
        assert!(school.site.sightings_of(&camera.id).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_firmware_itself_is_understood() {
    let school = School::start();
    let folder = school.site.path("firmware");
    fs::create_dir(&folder).unwrap();
    let program = firmware_on_host(&folder).unwrap();
    let picture = folder.join("picture.jpg");
    fs::write(&picture, school.frame_loop.frame(0)).unwrap();
    let cut = folder.join("cut.jpg");
    fs::write(&cut, &school.frame_loop.frame(0)[..10_000]).unwrap();
    let camera = school.camera("firmware");
    let mut faces = 0;
    for (at, toml) in ["", "grpc_web = false"].into_iter().enumerate() {
        let options = ProxyOptions { plaintext: true, toml: toml.into() };
        let proxy = school.site.start_proxy(&school.device, &options);
        let (address, port) = (proxy.address.ip().to_string(), proxy.address.port().to_string());
        let salt = at.to_string();
        let send = |salt: &str, files: &[&File]| {
            let mut command = Command::new(&program);
            command.args(["send", &address, &port, &camera.id, &camera.token, salt]).args(files);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let lines = send(&salt, &[&picture, &cut, &picture]);
        let [first, second, third, last] = lines.as_slice() else { panic!("{lines:?}") };
        for line in [first, third] {
            assert!(line.starts_with("next-frame arrived"), "{lines:?}\n{}", proxy.process.output());
        }
        assert!(second.starts_with("next-frame not-arrived"), "{lines:?}");
        let web = first.contains("grpc=0");
        assert_eq!(web, at == 0, "{lines:?}");
        if web {
            let told = first.split(' ').find_map(|word| word.strip_prefix("faces="));
            faces = told.unwrap().parse().unwrap();
            assert!(faces > 0, "{lines:?}");
            assert_eq!(last, "connections=1", "{lines:?}\n{}", proxy.process.output());
        }
        // An answer may be that the picture is kept, and go to the server later.
        let all = (at + 1) * 2 * faces;
        assert_eq!(until_sightings(&school.site, &camera, all).await.len(), all);
        // The same ids again: arrived, and nothing new.
        assert!(send(&salt, &[&picture, &cut, &picture])[0].starts_with("next-frame arrived"));
        assert_eq!(proxy.process.terminate(), Some(0));
        assert_eq!(school.site.sightings_of(&camera.id).len(), all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_cameras_do_no_harm() {
    let school = School::start();
    let toml = "camera_rate = 1000.0".to_owned();
    let mut proxy =
        school.site.start_proxy(&school.device, &ProxyOptions { toml, ..ProxyOptions::default() });
    let (hostile, honest) = (school.camera("hostile"), school.camera("honest"));
    proxy.wait_for(2);
    let small = FrameLoopOptions { size: [160, 120], frames: 2, students: 1, ..FrameLoopOptions::default() };
    let small = FrameLoop::render(&small).unwrap();
    for path in [Path::Grpc, Path::GrpcWeb, Path::Post, Path::Form] {
        let flood = flood(Flood {
            target: proxy.target(&hostile),
            path,
            images: vec![small.frame(0), small.frame(1)],
            count: 300,
            seed: 5,
            connections: 4,
            patience: Duration::from_secs(20),
        })
        .await;
        assert_eq!((flood.sent, flood.hangs, flood.wrong), (300, 0, 0), "{path:?}: {flood}");
    }
    let target = proxy.target(&hostile);
    let honest = school.emulate(&proxy, &honest, Path::GrpcWeb, brisk());
    let stalled = tokio::spawn(async move { stall(&target, &STALLS, 40, Duration::from_secs(30)).await });
    let report = honest.run(20, |_| {}).await;
    assert_eq!(report.lost, 0, "{report}");
    let stalled = stalled.await.unwrap();
    assert_eq!((stalled.open, stalled.refused), (0, 0), "{stalled}");
    for (kind, times) in &stalled.closed {
        assert!(times.iter().all(|time| time.as_secs() < 15), "{kind:?}: {stalled}");
    }
    assert_eq!(proxy.process.exit_code(), None, "{}", proxy.process.output());
    assert!(!proxy.process.output().contains("panicked"), "{}", proxy.process.output());
}
