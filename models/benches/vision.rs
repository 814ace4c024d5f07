//! Cost of every network, of the whole frame (a JPEG of 1640x1232 to embeddings, one and ten faces)
//! and of its stages, with one and two threads. `cargo bench -p cavs-models`.
//!
//! Needs the data folder beside the checkout; benchmarks without their files are left out. The slim
//! network of dense convolutions is made here, with random weights.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, reason = "a benchmark")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/onnx_writer/mod.rs"]
mod onnx_writer;

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use candle_nn::Module;
use cavs_models::{ComputeDevice, DecodeLimits, FacePipeline, Image, Network, Picture, PipelineOptions};
use cavs_resample::Resizer;
use divan::Bencher;
use onnx_writer::Writer;

const THREADS: [usize; 2] = [1, 2];
const FACES: [usize; 2] = [1, 10];

fn main() {
    divan::main();
}

fn data() -> Option<PathBuf> {
    let there = common::folder().is_dir();
    if !there {
        eprintln!("left out: there is no ../shared");
    }
    there.then(common::shared)
}

/// File and input side (height, width).
const NETWORKS: [(&str, [usize; 2]); 9] = [
    ("yunet_n_dynamic", [320, 320]),
    ("yunet_n_dynamic", [640, 640]),
    ("scrfd_500m_kps", [320, 320]),
    ("scrfd_500m_kps", [640, 640]),
    ("scrfd_2.5g_kps", [320, 320]),
    ("mobilefacenet_y1", [112, 112]),
    ("minifasnet_v2_2.7", [80, 80]),
    ("minifasnet_v1se_4.0", [80, 80]),
    ("slim", [112, 112]),
];

/// A slim ResNet of dense 3x3 convolutions: 179 million multiply-adds.
fn slim() -> Vec<u8> {
    let mut w = Writer::new([3, 112, 112]);
    let x = w.conv("input", 3, 32, 3, 2, 1, 1, true);
    let mut x = w.node("Relu", &[&x], &[]);
    let mut channels = 32;
    for width in [48, 96, 192] {
        for stride in [2, 1] {
            let y = w.conv(&x, channels, width, 3, stride, 1, 1, true);
            let y = w.node("Relu", &[&y], &[]);
            let y = w.conv(&y, width, width, 3, 1, 1, 1, true);
            if stride == 2 {
                x = w.conv(&x, channels, width, 1, 2, 0, 1, true);
            }
            x = w.node("Add", &[&y, &x], &[]);
            x = w.node("Relu", &[&x], &[]);
            channels = width;
        }
    }
    x = w.conv(&x, channels, channels, 7, 1, 0, channels, true);
    x = w.node("Flatten", &[&x], &[("axis", vec![1])]);
    x = w.gemm(&x, channels, 128);
    w.output(&x);
    w.finish()
}

fn networks() -> impl Iterator<Item = String> {
    NETWORKS.iter().map(|(name, [h, w])| format!("{name}@{h}x{w}"))
}

fn load(name: &str) -> Option<Network> {
    let made = tempfile::tempdir().unwrap();
    let path = if name == "slim" {
        let path = made.path().join("slim.onnx");
        std::fs::write(&path, slim()).unwrap();
        path
    } else {
        data()?.join(format!("models/{name}.onnx"))
    };
    Some(Network::from_onnx(&path, ComputeDevice::Cpu).unwrap())
}

#[divan::bench(args = networks(), consts = THREADS)]
fn network<const N: usize>(bencher: Bencher<'_, '_>, case: &str) {
    let (name, [h, w]) = NETWORKS[networks().position(|c| c == case).unwrap()];
    let Some(mut network) = load(name) else { return };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(N).build().unwrap();
    network.set_threads(N);
    let input: Vec<u8> = (0..3 * h * w).map(|i| (i * 7919 % 255) as u8).collect();
    let pixels = Tensor::from_vec(input, (1, h, w, 3), &Device::Cpu).unwrap().permute((0, 3, 1, 2)).unwrap();
    bencher.bench_local(|| pool.install(|| network.forward(&pixels).unwrap()));
}

/// A grey frame of 1640x1232 with faces from a portrait of the data folder.
fn frame(faces: usize) -> Option<Vec<u8>> {
    let portrait = std::fs::read(data()?.join("images/people/stock-emotions-a-1.jpg")).unwrap();
    let portrait = Image::decode(&portrait, &DecodeLimits::default()).unwrap();
    let (columns, side) = if faces == 1 { (1, 700) } else { (5, 320) };
    let scale = f64::from(side) / f64::from(portrait.height());
    let width = (f64::from(portrait.width()) * scale) as u32;
    let mut face = vec![0; (width * side * 3) as usize];
    let from = (portrait.width(), portrait.height(), portrait.pixels());
    Resizer::default().resize(from, (width, side, &mut face)).unwrap();
    // Even noise, as of a sensor in a dim room.
    let mut pixels: Vec<u8> =
        (0..1640 * 1232 * 3).map(|i: u64| 96 + (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as u8).collect();
    for i in 0..faces {
        let (x, y) = (i % columns * 325 + 10, i / columns * 600 + 20);
        for (row, line) in face.chunks_exact(width as usize * 3).enumerate() {
            pixels[((y + row) * 1640 + x) * 3..][..line.len()].copy_from_slice(line);
        }
    }
    let whole = cavs_models::BoundingBox { x: 0.0, y: 0.0, width: 1640.0, height: 1232.0 };
    Some(Image::from_rgb8(1640, 1232, pixels).unwrap().crop_jpeg(whole, 0.0, 1640, 90).unwrap())
}

fn pipeline(threads: usize) -> Option<FacePipeline> {
    let folder = tempfile::tempdir().unwrap();
    let pack = common::pack(&data()?, folder.path());
    let options = PipelineOptions { detect_long_side: Some(320), threads, ..PipelineOptions::default() };
    Some(FacePipeline::new(&pack, options).unwrap())
}

#[divan::bench(args = FACES, consts = THREADS)]
fn whole_frame<const N: usize>(bencher: Bencher<'_, '_>, faces: usize) {
    let (Some(jpeg), Some(mut pipeline)) = (frame(faces), pipeline(N)) else { return };
    bencher.bench_local(|| {
        let mut picture = pipeline.open(&jpeg, &DecodeLimits::default()).unwrap();
        let found = pipeline.analyze_picture(&mut picture).unwrap();
        assert_eq!(found.len(), faces);
    });
}

/// Detection, alignment, quality and embedding of a decoded frame.
#[divan::bench(args = [0, 1, 10], consts = THREADS)]
fn stage_faces<const N: usize>(bencher: Bencher<'_, '_>, faces: usize) {
    let (Some(jpeg), Some(mut pipeline)) = (frame(faces), pipeline(N)) else { return };
    let image = Image::decode(&jpeg, &DecodeLimits::default()).unwrap();
    bencher.bench_local(|| pipeline.analyze(&image).unwrap());
}

#[divan::bench]
fn stage_decode_whole(bencher: Bencher<'_, '_>) {
    let Some(jpeg) = frame(1) else { return };
    bencher.bench(|| Image::decode(&jpeg, &DecodeLimits::default()).unwrap());
}

#[divan::bench]
fn stage_decode_half(bencher: Bencher<'_, '_>) {
    let Some(jpeg) = frame(1) else { return };
    bencher.bench(|| Picture::open(&jpeg, &DecodeLimits::default(), 320).unwrap());
}

#[divan::bench]
fn stage_resize(bencher: Bencher<'_, '_>) {
    let (from, mut to) = (vec![128; 820 * 616 * 3], vec![0; 320 * 240 * 3]);
    let mut resizer = Resizer::default();
    bencher.bench_local(|| resizer.sample((820, 616, &from), (320, 240, &mut to)).unwrap());
}
