//! Bytes that nobody meant well with: the readers of ONNX files, packs and pictures must neither
//! panic nor take more memory than their limits say.
//!
//! Every target is fed with changed copies of sound files. `scripts/fuzz` does that for minutes; a
//! normal run for a fixed number of cases. What is found is kept in `tests/findings/TARGET` and
//! replayed by every run.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod memory;
mod mutate;
#[path = "../onnx_writer/mod.rs"]
mod onnx_writer;
mod pack;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cavs_models::{ComputeDevice, DecodeLimits, Image, Network, Picture};
use mutate::Mutator;
use onnx_writer::Writer;

/// Cases of a normal run.
const CASES: u64 = 400;

/// Most memory for networks, in bytes: 1 GiB of buffers, as much for a convolution's weights, and
/// what small files and graphs take.
const NETWORK_LIMIT: usize = 2200 << 20;

/// Limits of the pictures, and the memory that a picture within them may take: sixteen bytes a pixel
/// in the decoder, twice three for the picture itself and one that is turned, and the file.
const SMALL: DecodeLimits = DecodeLimits { max_bytes: 1 << 20, max_side: 1024, max_pixels: 1 << 20 };
const PICTURE_LIMIT: usize = 40 << 20;

fn findings(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings").join(target)
}

/// Runs one case; says what went wrong.
fn failure(limit: usize, bytes: &[u8], work: &impl Fn(&[u8])) -> Option<String> {
    let (result, peak) = memory::peak(|| catch_unwind(AssertUnwindSafe(|| work(bytes))));
    match result {
        Err(_) => Some("it panicked".into()),
        Ok(()) if peak > limit => Some(format!("it took {peak} bytes, where {limit} are allowed")),
        Ok(()) => None,
    }
}

/// Replays the findings, then feeds changed copies of the seeds.
fn attack(target: &str, limit: usize, seeds: &[Vec<u8>], work: impl Fn(&[u8])) {
    let folder = findings(target);
    for entry in fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let problem = failure(limit, &fs::read(&path).unwrap(), &work);
        assert_eq!(problem, None, "{}", path.display());
    }
    for seed in seeds {
        assert_eq!(failure(limit, seed, &work), None, "{target}: a sound file");
    }
    let time = env::var("CAVS_FUZZ_SECONDS").ok().map(|s| Duration::from_secs(s.parse().unwrap()));
    // Long runs differ from each other; normal ones do not.
    let start = Instant::now();
    let first = time.map_or(1, |_| u64::from(std::process::id()));
    let mut mutator = Mutator::new(first, seeds);
    let mut case = 0;
    while time.map_or(case < CASES, |time| start.elapsed() < time) {
        let bytes = mutator.next();
        if let Some(problem) = failure(limit, &bytes, &work) {
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("{first}-{case}"));
            fs::write(&path, &bytes).unwrap();
            panic!("{target}: {problem}; kept as {}", path.display());
        }
        case += 1;
    }
    println!("{target}: {case} cases");
}

/// A network with most operators.
fn network() -> Vec<u8> {
    let mut w = Writer::new([3, 0, 0]);
    let x = w.conv("input", 3, 8, 3, 2, 1, 1, true);
    let x = w.node("Relu", &[&x], &[]);
    let y = w.conv(&x, 8, 8, 3, 1, 1, 8, true);
    let y = w.batch_norm(&y, 8);
    let y = w.prelu(&y, 8);
    let x = w.node("Add", &[&y, &x], &[]);
    let small = w.node("MaxPool", &[&x], &[("kernel_shape", vec![2, 2]), ("strides", vec![2, 2])]);
    let large = w.resize_like(&small, &x);
    let x = w.node("Concat", &[&x, &large], &[("axis", vec![1])]);
    let x = w.conv(&x, 16, 4, 1, 1, 0, 2, true);
    let x = w.node("Transpose", &[&x], &[("perm", vec![0, 2, 3, 1])]);
    let x = w.reshape(&x, &[1, -1, 4]);
    let x = w.node("Sigmoid", &[&x], &[]);
    w.output(&x);
    w.finish()
}

#[test]
fn onnx_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.onnx");
    attack("onnx", NETWORK_LIMIT, &[network()], |bytes| {
        fs::write(&path, bytes).unwrap();
        if let Ok(network) = Network::from_onnx(&path, ComputeDevice::Cpu) {
            let _ = network.run(&vec![0.5; 3 * 32 * 32], [3, 32, 32]);
        }
    });
}

#[test]
fn pack_manifests() {
    let pack = pack::TinyPack::new();
    let seed = pack.manifest().into_bytes();
    attack("manifest", NETWORK_LIMIT, &[seed], |bytes| pack.open_with("pack.toml", bytes));
}

#[test]
fn pack_graphs() {
    let pack = pack::TinyPack::new();
    let seeds = [pack.file("detector.graph.json"), pack.file("embedder.graph.json")];
    attack("graph", NETWORK_LIMIT, &seeds, |bytes| {
        pack.open_with("detector.graph.json", bytes);
        pack.open_with("embedder.graph.json", bytes);
    });
}

#[test]
fn pack_weights() {
    let pack = pack::TinyPack::new();
    let seeds = [pack.file("detector.safetensors")];
    attack("weights", NETWORK_LIMIT, &seeds, |bytes| pack.open_with("detector.safetensors", bytes));
}

#[test]
fn pictures() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut seeds: Vec<Vec<u8>> = ["420", "422", "444", "grey", "restarts"]
        .iter()
        .map(|name| fs::read(golden.join(format!("shapes-{name}.jpg"))).unwrap())
        .collect();
    let plain = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 5, y as u8 * 8, 77]));
    for format in [image::ImageFormat::Png, image::ImageFormat::WebP] {
        let mut file = std::io::Cursor::new(vec![]);
        plain.write_to(&mut file, format).unwrap();
        seeds.push(file.into_inner());
    }
    attack("picture", PICTURE_LIMIT, &seeds, |bytes| {
        let _ = Image::decode(bytes, &SMALL);
        if let Ok(picture) = Picture::open(bytes, &SMALL, 16) {
            assert!(picture.width().max(picture.height()) <= SMALL.max_side);
        }
    });
}
