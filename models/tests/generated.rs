//! Networks of the shapes that people bring, with random weights, built here as ONNX graphs: the
//! fused executor against candle's own operators, on one picture and on several.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;
mod onnx_writer;

use candle_core::{Device, Tensor};
use candle_nn::Module;
use cavs_models::{
    ColorOrder, ComputeDevice, DetectorSource, FacePipeline, Image, ImportOptions, Network, Pack,
    PipelineOptions, RefinerSource, Thresholds, import,
};
use common::{cosine, difference};
use onnx_writer::Writer;

/// Compares one picture; gives both networks, and the picture.
fn compare(writer: Writer, size: [usize; 3]) -> (Network, Network, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("generated.onnx");
    std::fs::write(&path, writer.finish()).unwrap();
    let mut network = Network::from_onnx(&path, ComputeDevice::Cpu).unwrap();
    let portable = Network::from_onnx(&path, ComputeDevice::CpuPortable).unwrap();
    let input: Vec<f32> =
        (0..size.iter().product()).map(|i: usize| (i * 7919 % 509) as f32 / 254.5 - 1.0).collect();
    let slow = portable.run(&input, size).unwrap();
    for threads in [1, 2] {
        network.set_threads(threads);
        let fast = network.run(&input, size).unwrap();
        assert_eq!(slow.len(), fast.len());
        for (slow, fast) in slow.iter().zip(&fast) {
            assert_eq!(slow.dims, fast.dims);
            let range = slow.data.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(range > 1e-3, "the network says nothing");
            let off = difference(&slow.data, &fast.data);
            assert!(off <= 1e-4 * range, "{off} of {range}");
            assert!(cosine(&slow.data, &fast.data) > 0.999_99);
        }
    }
    (network, portable, input)
}

/// As modules, in batches, from pixels in either order of the dimensions.
fn compare_batches(writer: Writer, size: [usize; 3]) {
    let (network, portable, input) = compare(writer, size);
    let batch: Vec<f32> =
        (0..2).flat_map(|shift| input.iter().map(move |v| v * 0.7 + shift as f32 * 0.1)).collect();
    let [channels, height, width] = size;
    let batch = Tensor::from_vec(batch, (2, channels, height, width), &Device::Cpu).unwrap();
    let channels_last =
        batch.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap().permute((0, 3, 1, 2)).unwrap();
    let numbers = |t: Tensor| t.to_vec2::<f32>().unwrap().concat();
    let slow = numbers(portable.forward(&batch).unwrap());
    let range = slow.iter().fold(0f32, |m, v| m.max(v.abs()));
    for pixels in [batch, channels_last] {
        let fast = numbers(network.forward(&pixels).unwrap());
        assert!(difference(&slow, &fast) <= 1e-4 * range, "{} of {range}", difference(&slow, &fast));
    }
}

/// ArcFace's IResNet: batch normalisation before the convolution, PReLU, strided shortcuts, and a
/// matrix over the flattened last map (Deng et al. 2019; 3, 4, 14 and 3 blocks for IResNet-50).
fn iresnet(blocks: [usize; 4], side: usize) -> Writer {
    let mut w = Writer::new([3, side, side]);
    let mut x = w.conv("input", 3, 64, 3, 1, 1, 1, false);
    x = w.batch_norm(&x, 64);
    x = w.prelu(&x, 64);
    let mut channels = 64;
    for (stage, count) in blocks.into_iter().enumerate() {
        let out = 64 << stage;
        for block in 0..count {
            let stride = if block == 0 { 2 } else { 1 };
            let mut y = w.batch_norm(&x, channels);
            y = w.conv(&y, channels, out, 3, 1, 1, 1, false);
            y = w.batch_norm(&y, out);
            y = w.prelu(&y, out);
            y = w.conv(&y, out, out, 3, stride, 1, 1, false);
            y = w.batch_norm(&y, out);
            if block == 0 {
                x = w.conv(&x, channels, out, 1, stride, 0, 1, false);
                x = w.batch_norm(&x, out);
            }
            x = w.node("Add", &[&y, &x], &[]);
            channels = out;
        }
    }
    x = w.batch_norm(&x, channels);
    x = w.node("Flatten", &[&x], &[("axis", vec![1])]);
    let last = side / 16;
    x = w.gemm(&x, channels * last * last, 512);
    x = w.batch_norm(&x, 512);
    w.output(&x);
    w
}

/// Every kind of block, some of them twice: the others of a stage are the same again.
#[test]
fn iresnet_of_few_blocks() {
    compare(iresnet([1, 2, 2, 2], 112), [3, 112, 112]);
}

/// MobileFaceNet with 512 components (Chen et al. 2018): depthwise separable blocks with residuals.
#[test]
fn mobilefacenet_512() {
    let mut w = Writer::new([3, 112, 112]);
    let block = |w: &mut Writer,
                 x: &str,
                 from: usize,
                 to: usize,
                 k: usize,
                 s: usize,
                 p: usize,
                 g: usize,
                 act: bool| {
        let y = w.conv(x, from, to, k, s, p, g, false);
        let y = w.batch_norm(&y, to);
        if act { w.prelu(&y, to) } else { y }
    };
    let mut x = block(&mut w, "input", 3, 64, 3, 2, 1, 1, true);
    x = block(&mut w, &x, 64, 64, 3, 1, 1, 64, true);
    let mut channels = 64;
    for (expand, out, count, stride) in [
        (128, 64, 1, 2),
        (128, 64, 4, 1),
        (256, 128, 1, 2),
        (256, 128, 6, 1),
        (512, 128, 1, 2),
        (256, 128, 2, 1),
    ] {
        for _ in 0..count {
            let y = block(&mut w, &x, channels, expand, 1, 1, 0, 1, true);
            let y = block(&mut w, &y, expand, expand, 3, stride, 1, expand, true);
            let y = block(&mut w, &y, expand, out, 1, 1, 0, 1, false);
            x = if stride == 1 && channels == out { w.node("Add", &[&y, &x], &[]) } else { y };
            channels = out;
        }
    }
    x = block(&mut w, &x, 128, 512, 1, 1, 0, 1, true);
    x = block(&mut w, &x, 512, 512, 7, 1, 0, 512, false);
    x = w.node("Flatten", &[&x], &[("axis", vec![1])]);
    x = w.gemm(&x, 512, 512);
    x = w.batch_norm(&x, 512);
    w.output(&x);
    compare_batches(w, [3, 112, 112]);
}

/// SFace as OpenCV publishes it: pixels are normalised inside, depthwise separable blocks without residuals,
/// batch normalisation and dropout before the last matrix, and batch normalisation after it.
fn sface() -> Writer {
    let mut w = Writer::new([3, 112, 112]);
    let (mean, scale) = (w.tensor(&[1], |_| 127.5), w.tensor(&[1], |_| 0.007_812_5));
    let x = w.node("Sub", &["input", &mean], &[]);
    let mut x = w.node("Mul", &[&x, &scale], &[]);
    let unit = |w: &mut Writer, x: &str, from: usize, to: usize, k: usize, s: usize, g: usize| {
        let y = w.conv(x, from, to, k, s, k / 2, g, false);
        let y = w.batch_norm(&y, to);
        w.prelu(&y, to)
    };
    x = unit(&mut w, &x, 3, 32, 3, 1, 1);
    let mut channels = 32;
    let blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)];
    for (out, stride) in blocks.into_iter().chain([(512, 1); 5]).chain([(1024, 2), (1024, 1)]) {
        x = unit(&mut w, &x, channels, channels, 3, stride, channels);
        x = unit(&mut w, &x, channels, out, 1, 1, 1);
        channels = out;
    }
    x = w.batch_norm(&x, channels);
    x = w.node("Dropout", &[&x], &[]);
    x = w.node("Flatten", &[&x], &[("axis", vec![1])]);
    x = w.gemm(&x, channels * 49, 128);
    x = w.batch_norm(&x, 128);
    w.output(&x);
    w
}

#[test]
fn opencv_sface() {
    compare(sface(), [3, 112, 112]);
}

/// A landmark refiner of the shape that the recipe trains, without residual blocks.
fn refiner() -> Writer {
    let mut w = Writer::new([3, 64, 64]);
    let (mean, scale) = (w.tensor(&[1], |_| 127.5), w.tensor(&[1], |_| 0.007_812_5));
    let x = w.node("Sub", &["input", &mean], &[]);
    let mut x = w.node("Mul", &[&x, &scale], &[]);
    for (from, to) in [(3, 16), (16, 32), (32, 48), (48, 48)] {
        x = w.conv(&x, from, to, 3, 2, 1, 1, true);
        x = w.node("Relu", &[&x], &[]);
    }
    x = w.node("Flatten", &[&x], &[("axis", vec![1])]);
    x = w.gemm(&x, 48 * 16, 11);
    w.output(&x);
    w
}

/// A pack of such networks: imported, and what its digest and the version of its thresholds are of.
#[test]
fn a_pack_is_known_by_its_networks() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("detector.onnx"), scrfd().finish()).unwrap();
    std::fs::write(path("embedder.onnx"), sface().finish()).unwrap();
    std::fs::write(path("refiner.onnx"), refiner().finish()).unwrap();
    let calibration = "[thresholds]\naccept = 0.6\nreview = 0.5\nmargin = 0.05\nupright = 0.8\n";
    std::fs::write(path("calibration.toml"), calibration).unwrap();
    let refiner = RefinerSource { file: path("refiner.onnx"), box_scale: 1.5, box_shift: 0.0 };
    let plain = ImportOptions {
        detector: DetectorSource::Scrfd(path("detector.onnx")),
        embedder: path("embedder.onnx"),
        refiner: Some(refiner.clone()),
        ..common::options(folder.path(), path("plain"))
    };
    let imported = |options: &ImportOptions| {
        let digest = import(options).unwrap();
        let pack = Pack::open(&options.out).unwrap();
        assert_eq!(pack.digest(), digest);
        (digest, pack.thresholds_version().to_owned(), pack.thresholds())
    };
    let (networks, cautious, of_default) = imported(&plain);
    assert_eq!(of_default, Thresholds::default());
    // Other thresholds, another name: the embeddings are the same.
    let calibrated = ImportOptions {
        calibration: Some(path("calibration.toml")),
        name: "calibrated".into(),
        out: path("calibrated"),
        ..plain.clone()
    };
    let (same, version, thresholds) = imported(&calibrated);
    assert_eq!(same, networks);
    assert_ne!(version, cautious);
    // A pack that says nothing of tracks takes those for one person whom it would accept as one.
    assert_eq!((thresholds.track.get(), thresholds.upright), (0.6, 0.8));
    // Another crop, another order of colours, no refiner: others.
    let wider = RefinerSource { box_scale: 1.6, ..refiner };
    for (name, other) in [
        ("wider", ImportOptions { refiner: Some(wider), ..plain.clone() }),
        ("bgr", ImportOptions { embedder_color: ColorOrder::Bgr, ..plain.clone() }),
        ("bare", ImportOptions { refiner: None, ..plain.clone() }),
    ] {
        assert_ne!(imported(&ImportOptions { out: path(name), ..other }).0, networks, "{name}");
    }
    let wrong = ImportOptions { embedder: path("refiner.onnx"), out: path("wrong"), ..plain.clone() };
    assert_eq!(import(&wrong).unwrap_err().reason(), "IMPORT_WRONG_NETWORK");
    let no_refiner = RefinerSource { file: path("embedder.onnx"), box_scale: 1.5, box_shift: 0.0 };
    let wrong = ImportOptions { refiner: Some(no_refiner), ..wrong };
    assert_eq!(import(&wrong).unwrap_err().reason(), "IMPORT_WRONG_NETWORK");
    // The whole pipeline runs on it, and what it sees are not faces.
    let options = PipelineOptions { min_score: 0.0, max_faces: 8, ..PipelineOptions::default() };
    let mut pipeline = FacePipeline::new(&Pack::open(&plain.out).unwrap(), options).unwrap();
    let pixels = (0..160 * 120 * 3u32).map(|i| (i * 7919 % 251) as u8).collect();
    let faces = pipeline.analyze(&Image::from_rgb8(160, 120, pixels).unwrap()).unwrap();
    assert!(!faces.is_empty() && faces.iter().all(|f| f.embedding.dimension() == 128), "{faces:?}");
}

/// SCRFD 10g with key points, as InsightFace exports it: residual backbone, a feature pyramid whose
/// sizes come from shape arithmetic, heads with a scale, transposed to rows of cells.
fn scrfd() -> Writer {
    let mut w = Writer::new([3, 0, 0]);
    // Without normalisation residuals add up; smaller steps keep the logits in a sigmoid's range.
    w.gain = 1.4;
    let unit = |w: &mut Writer, x: &str, from: usize, to: usize, k: usize, s: usize| {
        let y = w.conv(x, from, to, k, s, k / 2, 1, true);
        w.node("Relu", &[&y], &[])
    };
    let mut x = unit(&mut w, "input", 3, 28, 3, 2);
    x = unit(&mut w, &x, 28, 28, 3, 1);
    x = unit(&mut w, &x, 28, 56, 3, 1);
    x = w.node("MaxPool", &[&x], &[("kernel_shape", vec![2, 2]), ("strides", vec![2, 2])]);
    let mut channels = 56;
    let mut features = vec![];
    for (out, count) in [(56, 3), (88, 4), (88, 2), (224, 3)] {
        for block in 0..count {
            let stride = if block == 0 && out != 56 { 2 } else { 1 };
            let y = unit(&mut w, &x, channels, out, 3, stride);
            let y = w.conv(&y, out, out, 3, 1, 1, 1, true);
            if stride == 2 {
                x = w.node(
                    "AveragePool",
                    &[&x],
                    &[("kernel_shape", vec![2, 2]), ("strides", vec![2, 2]), ("ceil_mode", vec![1])],
                );
            }
            if stride == 2 || channels != out {
                x = w.conv(&x, channels, out, 1, 1, 0, 1, true);
            }
            x = w.node("Add", &[&y, &x], &[]);
            x = w.node("Relu", &[&x], &[]);
            channels = out;
        }
        features.push((x.clone(), out));
    }
    let mut levels: Vec<String> =
        features[1..].iter().map(|(f, c)| w.conv(f, *c, 56, 1, 1, 0, 1, true)).collect();
    for at in [1, 0] {
        let up = w.resize_like(&levels[at + 1], &levels[at]);
        levels[at] = w.node("Add", &[&levels[at], &up], &[]);
    }
    for level in &levels {
        let y = unit(&mut w, level, 56, 80, 3, 1);
        let y = unit(&mut w, &y, 80, 80, 3, 1);
        for (width, what) in [(1, "score"), (4, "box"), (10, "marks")] {
            let mut y = w.conv(&y, 80, 2 * width, 3, 1, 1, 1, true);
            if what == "box" {
                let scale = w.tensor(&[1], |_| 0.8);
                y = w.node("Mul", &[&y, &scale], &[]);
            }
            y = w.node("Transpose", &[&y], &[("perm", vec![2, 3, 0, 1])]);
            y = w.reshape(&y, &[-1, width as i64]);
            if what == "score" {
                y = w.node("Sigmoid", &[&y], &[]);
            }
            w.output(&y);
        }
    }
    w
}

#[test]
fn scrfd_10g() {
    compare_batches(scrfd(), [3, 160, 224]);
}
