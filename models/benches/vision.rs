//! Cost of every network and of the whole frame. `cargo bench -p cavs-models`.
//!
//! Needs the data folder beside the checkout; benchmarks without their files are left out.

#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::path::{Path, PathBuf};

use cavs_models::Network;
use divan::Bencher;

fn main() {
    divan::main();
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared")
}

/// File and input side (height, width).
const NETWORKS: [(&str, [usize; 2]); 8] = [
    ("yunet_n_dynamic", [320, 320]),
    ("yunet_n_dynamic", [640, 640]),
    ("scrfd_500m_kps", [320, 320]),
    ("scrfd_500m_kps", [640, 640]),
    ("scrfd_2.5g_kps", [320, 320]),
    ("mobilefacenet_y1", [112, 112]),
    ("minifasnet_v2_2.7", [80, 80]),
    ("minifasnet_v1se_4.0", [80, 80]),
];

fn cases() -> impl Iterator<Item = String> {
    NETWORKS.iter().map(|(name, [h, w])| format!("{name}@{h}x{w}"))
}

fn run(bencher: Bencher<'_, '_>, case: &str, threads: usize) {
    let (name, [h, w]) = NETWORKS[cases().position(|c| c == case).unwrap()];
    let path = shared().join(format!("models/{name}.onnx"));
    if !path.exists() {
        return;
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut network = Network::from_onnx(&path).unwrap();
    network.set_threads(threads);
    let input: Vec<f32> = (0..3 * h * w).map(|i| (i * 7919 % 255) as f32).collect();
    bencher.bench_local(|| pool.install(|| network.run(&input, [3, h, w]).unwrap()));
}

#[divan::bench(args = cases())]
fn one_thread(bencher: Bencher<'_, '_>, case: &str) {
    run(bencher, case, 1);
}

#[divan::bench(args = cases())]
fn two_threads(bencher: Bencher<'_, '_>, case: &str) {
    run(bencher, case, 2);
}
