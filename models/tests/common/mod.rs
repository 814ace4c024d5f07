//! The data folder beside the checkout, which is no part of the project.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use cavs_models::{DetectorSource, ImportOptions, Pack, Precision, import};

/// The data folder. What needs it measures networks and photographs that are no part of the project: such a
/// test is ignored, and `scripts/test` runs it where the folder is.
pub fn shared() -> PathBuf {
    assert!(folder().join("models").is_dir(), "{} is not there", folder().display());
    folder()
}

/// Where the data folder is, if there is one.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared")
}

/// Import options for the real YuNet and MobileFaceNet.
pub fn options(shared: &Path, out: PathBuf) -> ImportOptions {
    ImportOptions {
        detector: DetectorSource::Yunet(shared.join("models/yunet_n_dynamic.onnx")),
        largest_face: None,
        detect_long_side: None,
        refiner: None,
        embedder: shared.join("models/mobilefacenet_y1.onnx"),
        embedder_color: cavs_models::ColorOrder::Rgb,
        liveness: vec![],
        name: "test".into(),
        version: "1".into(),
        license: "non-commercial".into(),
        source: "the data folder".into(),
        calibration: None,
        calibrate: None,
        precision: Precision::Single,
        out,
    }
}

/// Imports the real networks into a temporary folder.
pub fn pack(shared: &Path, folder: &Path) -> Pack {
    let out = folder.join("pack");
    import(&options(shared, out.clone())).unwrap();
    Pack::open(&out).unwrap()
}

/// An array of an `.npz` file.
pub struct Array {
    pub dims: Vec<usize>,
    pub data: Vec<f32>,
}

impl Array {
    /// One picture of a batch.
    pub fn item(&self, at: usize) -> &[f32] {
        let size = self.data.len() / self.dims[0];
        &self.data[at * size..(at + 1) * size]
    }
}

/// All arrays of an `.npz` file of little-endian f32 in C order.
pub fn npz(path: &Path) -> HashMap<String, Array> {
    let file = std::fs::read(path).unwrap();
    let number = |at: usize, n: usize| (0..n).rev().fold(0, |v, i| v << 8 | usize::from(file[at + i]));
    // The end record names the central directory, whose entries name the files.
    let end = file.windows(4).rposition(|w| w == b"PK\x05\x06").unwrap();
    let mut at = number(end + 16, 4);
    let mut arrays = HashMap::new();
    for _ in 0..number(end + 10, 2) {
        let (method, packed, name, local) =
            (number(at + 10, 2), number(at + 20, 4), number(at + 28, 2), number(at + 42, 4));
        let title =
            std::str::from_utf8(&file[at + 46..][..name]).unwrap().trim_end_matches(".npy").to_owned();
        let start = local + 30 + number(local + 26, 2) + number(local + 28, 2);
        let bytes = &file[start..start + packed];
        let bytes = match method {
            0 => bytes.to_vec(),
            _ => miniz_oxide::inflate::decompress_to_vec(bytes).unwrap(),
        };
        arrays.insert(title, npy(&bytes));
        at += 46 + name + number(at + 30, 2) + number(at + 32, 2);
    }
    arrays
}

fn npy(bytes: &[u8]) -> Array {
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.contains("<f4") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split('(').nth(1).unwrap().split(')').next().unwrap();
    let dims = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let data = bytes[10 + length..].as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect();
    Array { dims, data }
}

/// Largest absolute difference.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Cosine of the angle between two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
