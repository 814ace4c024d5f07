//! A pack of two tiny networks, and copies of it with one file exchanged.

use std::{collections::BTreeMap, fs};

use cavs_models::{FacePipeline, Image, Pack, PipelineOptions};
use safetensors::{Dtype, tensor::TensorView};

/// The files of a pack, without its manifest.
pub(crate) struct TinyPack {
    files: BTreeMap<&'static str, Vec<u8>>,
}

const DETECTOR: &str = r#"{"input": [3, 0, 0], "nodes": [
{"name": "stem", "inputs": [0], "op": {"conv": {"weight": "stem", "bias": null,
 "window": {"kernel": [2, 2], "stride": [2, 2], "pads": [0, 0, 1, 1]}, "dilation": [1, 1], "groups": 1, "activation": "relu"}}},
{"name": "wide", "inputs": [1], "op": {"conv": {"weight": "wide", "bias": null,
 "window": {"kernel": [3, 3], "stride": [1, 1], "pads": [1, 1, 1, 1]}, "dilation": [1, 1], "groups": 4, "activation": {"leaky_relu": 0.1}}}},
{"name": "pool", "inputs": [2], "op": {"max_pool": {"window": {"kernel": [2, 2], "stride": [2, 2], "pads": [0, 0, 0, 0]}, "ceil": false}}},
{"name": "up", "inputs": [3], "op": {"resize": {"sampling": "nearest_floor", "coordinates": "asymmetric", "scale": [2.0, 2.0]}}},
{"name": "sum", "inputs": [2, 4], "op": {"add": {"activation": "none"}}},
{"name": "mean", "inputs": [5], "op": {"average_pool": {"window": {"kernel": [4, 4], "stride": [4, 4], "pads": [0, 0, 0, 0]}, "ceil": true, "count_pads": true}}},
{"name": "score", "inputs": [6], "op": {"conv": {"weight": "score", "bias": null,
 "window": {"kernel": [1, 1], "stride": [1, 1], "pads": [0, 0, 0, 0]}, "dilation": [1, 1], "groups": 1, "activation": "sigmoid"}}},
{"name": "box", "inputs": [6], "op": {"conv": {"weight": "box", "bias": null,
 "window": {"kernel": [1, 1], "stride": [1, 1], "pads": [0, 0, 0, 0]}, "dilation": [1, 1], "groups": 1, "activation": "none"}}},
{"name": "marks", "inputs": [6], "op": {"conv": {"weight": "marks", "bias": null,
 "window": {"kernel": [1, 1], "stride": [1, 1], "pads": [0, 0, 0, 0]}, "dilation": [1, 1], "groups": 1, "activation": "none"}}}],
"outputs": [{"name": "score", "value": 7}, {"name": "box", "value": 8}, {"name": "marks", "value": 9}]}"#;

const EMBEDDER: &str = r#"{"input": [3, 16, 16], "nodes": [
{"name": "scale", "inputs": [0], "op": {"affine": {"scale": "factor", "bias": "shift", "activation": "none"}}},
{"name": "turn", "inputs": [1], "op": {"transpose": {"permutation": [0, 2, 3, 1]}}},
{"name": "flat", "inputs": [2], "op": "flatten"},
{"name": "out", "inputs": [3], "op": {"linear": {"weight": "matrix", "bias": null, "activation": "hard_swish"}}}],
"outputs": [{"name": "out", "value": 4}]}"#;

fn tensors(list: &[(&str, &[usize])]) -> Vec<u8> {
    let data: Vec<Vec<u8>> = list
        .iter()
        .map(|(_, dims)| {
            (0..dims.iter().product())
                .flat_map(|i: usize| ((i % 7) as f32 * 0.1 - 0.25).to_le_bytes())
                .collect()
        })
        .collect();
    let views = list
        .iter()
        .zip(&data)
        .map(|((name, dims), data)| (*name, TensorView::new(Dtype::F32, dims.to_vec(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

impl TinyPack {
    pub(crate) fn new() -> Self {
        let detector: &[(&str, &[usize])] = &[
            ("stem", &[4, 3, 2, 2]),
            ("wide", &[4, 1, 3, 3]),
            ("score", &[1, 4, 1, 1]),
            ("box", &[4, 4, 1, 1]),
            ("marks", &[10, 4, 1, 1]),
        ];
        let embedder: &[(&str, &[usize])] = &[("factor", &[3]), ("shift", &[3]), ("matrix", &[8, 768])];
        let files = BTreeMap::from([
            ("detector.graph.json", DETECTOR.as_bytes().to_vec()),
            ("detector.safetensors", tensors(detector)),
            ("embedder.graph.json", EMBEDDER.as_bytes().to_vec()),
            ("embedder.safetensors", tensors(embedder)),
        ]);
        Self { files }
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        self.files[name].clone()
    }

    pub(crate) fn manifest(&self) -> String {
        manifest(&self.files)
    }

    /// Opens the pack with other bytes in place of one file, and runs it on a grey picture.
    pub(crate) fn open_with(&self, name: &str, bytes: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        let mut files = self.files.clone();
        if let Some(file) = files.get_mut(name) {
            *file = bytes.to_vec();
        }
        // Checksums must not keep the bytes from being read.
        fs::write(folder.path().join("pack.toml"), manifest(&files)).unwrap();
        for (name, bytes) in &files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        if name == "pack.toml" {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let Ok(pack) = Pack::open(folder.path()) else { return };
        let options =
            PipelineOptions { detect_long_side: Some(64), max_faces: 4, ..PipelineOptions::default() };
        let Ok(mut pipeline) = FacePipeline::new(&pack, options) else { return };
        let grey = Image::from_rgb8(64, 48, vec![128; 64 * 48 * 3]).unwrap();
        let _ = pipeline.analyze(&grey);
    }
}

fn manifest(files: &BTreeMap<&str, Vec<u8>>) -> String {
    let network = |section: &str, name: &str| {
        let part = |what: &str, end: &str| {
            let file = format!("{name}.{end}");
            let sum = sha256(&files[file.as_str()]);
            format!("[{section}.files.{what}]\nfile = \"{file}\"\nsha256 = \"{sum}\"\n")
        };
        part("graph", "graph.json") + &part("weights", "safetensors")
    };
    let input = "color = \"rgb\"\nmean = 127.5\ndeviation = 128.0\n";
    format!(
        "format = 1\nname = \"tiny\"\nversion = \"1\"\nlicense = \"none\"\nsource = \"a test\"\n\
        [thresholds]\naccept = 0.4\nreview = 0.3\nmargin = 0.05\n\
        [detector]\narchitecture = \"yunet\"\n[detector.input]\n{input}\
        [[detector.levels]]\nstride = 8\nscore = \"score\"\nboxes = \"box\"\nlandmarks = \"marks\"\n{}\
        [embedder]\nside = 16\ndimension = 8\n[embedder.input]\n{input}{}",
        network("detector", "detector"),
        network("embedder", "embedder")
    )
}
