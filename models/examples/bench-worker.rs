//! Measures one network, or the whole frame, when asked to; `scripts/bench-vision` asks it and other
//! engines in turn, so that all of them see the same machine.
//!
//! `bench-worker network FILE.onnx HEIGHT WIDTH THREADS` or `bench-worker frame PACK FILE.jpg THREADS`;
//! each line on standard input is a number of repetitions, answered by the least CPU time and the
//! least wall time of one of them, in milliseconds.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::{
    io::{BufRead, stdin},
    path::Path,
    time::{Duration, Instant},
};

use candle_core::{Device, Tensor};
use candle_nn::Module;
use cavs_models::{ComputeDevice, DecodeLimits, FacePipeline, Network, Pack, PipelineOptions};
use nix::time::{ClockId, clock_gettime};

/// CPU time of this process, all its threads.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

fn serve(mut work: impl FnMut()) {
    for line in stdin().lock().lines() {
        let mut least = [Duration::MAX; 2];
        for _ in 0..line.unwrap().trim().parse::<usize>().unwrap() {
            let (wall, busy) = (Instant::now(), cpu());
            work();
            least = [least[0].min(cpu() - busy), least[1].min(wall.elapsed())];
        }
        println!("{} {}", least[0].as_secs_f64() * 1e3, least[1].as_secs_f64() * 1e3);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["network", file, height, width, threads] => {
            let (h, w): (usize, usize) = (height.parse().unwrap(), width.parse().unwrap());
            let threads = threads.parse().unwrap();
            let mut network = Network::from_onnx(Path::new(file), ComputeDevice::Cpu).unwrap();
            network.set_threads(threads);
            // As in the pipeline: pixels with their channels together, and every output in a tensor.
            let input: Vec<u8> = (0..3 * h * w).map(|i| (i * 7919 % 255) as u8).collect();
            let pixels = Tensor::from_vec(input, (1, h, w, 3), &Device::Cpu).unwrap();
            let pixels = pixels.permute((0, 3, 1, 2)).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| serve(|| drop(network.forward(&pixels).unwrap())));
        }
        ["frame", pack, file, threads] => {
            let pack = Pack::open(Path::new(pack)).unwrap();
            let threads = threads.parse().unwrap();
            let options =
                PipelineOptions { detect_long_side: Some(320), threads, ..PipelineOptions::default() };
            let mut pipeline = FacePipeline::new(&pack, options).unwrap();
            let jpeg = std::fs::read(file).unwrap();
            serve(|| {
                let mut picture = pipeline.open(&jpeg, &DecodeLimits::default()).unwrap();
                drop(pipeline.analyze_picture(&mut picture).unwrap());
            });
        }
        ["import", detector, embedder, out] => {
            cavs_models::import(&cavs_models::ImportOptions {
                detector: cavs_models::DetectorSource::Yunet(detector.into()),
                largest_face: None,
                detect_long_side: None,
                refiner: None,
                embedder: embedder.into(),
                embedder_color: cavs_models::ColorOrder::Rgb,
                liveness: vec![],
                name: "bench".into(),
                version: "1".into(),
                license: "for measuring only".into(),
                source: "the data folder".into(),
                calibration: None,
                calibrate: None,
                precision: cavs_models::Precision::Single,
                out: out.into(),
            })
            .unwrap();
        }
        _ => println!(
            "usage: bench-worker network FILE H W THREADS | frame PACK JPEG THREADS | import DET EMB OUT"
        ),
    }
}
