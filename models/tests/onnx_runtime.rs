//! Every network of the data folder against what ONNX Runtime made of the same input.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use cavs_models::{ComputeDevice, Network};
use common::{cosine, difference, npz, shared};

/// Most difference, relative to the range of the output.
const TOLERANCE: f32 = 1e-4;

fn compare(model: &str, reference: &str) {
    let path = shared().join("models").join(model);
    let network = Network::from_onnx(&path, ComputeDevice::Cpu).unwrap();
    let portable = Network::from_onnx(&path, ComputeDevice::CpuPortable).unwrap();
    let arrays = npz(&shared().join("reference").join(reference));
    let input = ["input", "data", "input.1"].iter().find_map(|n| arrays.get(*n)).unwrap();
    let size = [input.dims[1], input.dims[2], input.dims[3]];
    let reference_runs = portable.run(input.item(0), size).unwrap();
    let fast_runs = network.run(input.item(0), size).unwrap();
    for (slow, fast) in reference_runs.iter().zip(&fast_runs) {
        assert_eq!(slow.dims, fast.dims);
        let range = slow.data.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(difference(&slow.data, &fast.data) <= TOLERANCE * range.max(1e-3));
    }
    let names: Vec<String> = network.outputs().map(str::to_owned).collect();
    for item in 0..input.dims[0] {
        let outputs = network.run(input.item(item), size).unwrap();
        for (name, output) in names.iter().zip(&outputs) {
            let wanted = arrays[name].item(item);
            assert_eq!(output.dims[1..], arrays[name].dims[1..], "{name}");
            let range = wanted.iter().fold(0f32, |m, v| m.max(v.abs()));
            let off = difference(&output.data, wanted);
            assert!(off <= TOLERANCE * range.max(1e-3), "{model} {name} item {item}: {off} of {range}");
            assert!(cosine(&output.data, wanted) >= 0.999_99, "{model} {name} item {item}");
        }
    }
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn yunet() {
    compare("yunet_n_dynamic.onnx", "yunet_n_320.npz");
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn mobilefacenet() {
    compare("mobilefacenet_y1.onnx", "mobilefacenet_y1_8.npz");
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn scrfd_500m() {
    compare("scrfd_500m_kps.onnx", "scrfd_500m_320.npz");
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn scrfd_2_5g() {
    compare("scrfd_2.5g_kps.onnx", "scrfd_2.5g_320.npz");
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn minifasnet_v2() {
    compare("minifasnet_v2_2.7.onnx", "minifasnet_v2_8.npz");
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn minifasnet_v1se() {
    compare("minifasnet_v1se_4.0.onnx", "minifasnet_v1se_8.npz");
}

#[derive(serde::Deserialize)]
struct Golden {
    dims: Vec<usize>,
    largest: f32,
    every_211th: Vec<f32>,
}

/// YuNet of a fixed size sees the reference input tiled, against outputs that `golden/yunet_n_640_640.py`
/// wrote.
#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn yunet_640() {
    let shared = shared();
    let golden: BTreeMap<String, Golden> =
        serde_json::from_str(include_str!("golden/yunet_n_640_640.json")).unwrap();
    let mut network =
        Network::from_onnx(&shared.join("models/yunet_n_640_640.onnx"), ComputeDevice::Cpu).unwrap();
    let tile = npz(&shared.join("reference/yunet_n_320.npz")).remove("input").unwrap();
    let at = |c: usize, y: usize, x: usize| tile.item(0)[(c * 320 + y % 320) * 320 + x % 320];
    let rows = (0..3).flat_map(|c| (0..640).map(move |y| (c, y)));
    let input: Vec<f32> = rows.flat_map(|(c, y)| (0..640).map(move |x| at(c, y, x))).collect();
    for threads in [1, 2] {
        network.set_threads(threads);
        let outputs = network.run(&input, [3, 640, 640]).unwrap();
        let names: Vec<String> = network.outputs().map(str::to_owned).collect();
        assert_eq!(names.len(), golden.len());
        for (name, output) in names.iter().zip(outputs) {
            let wanted = &golden[name];
            assert_eq!(output.dims, wanted.dims, "{name}");
            let sampled: Vec<f32> = output.data.iter().step_by(211).copied().collect();
            let off = difference(&sampled, &wanted.every_211th);
            assert!(off <= TOLERANCE * wanted.largest, "{name}: {off} of {}", wanted.largest);
        }
    }
}
