//! Both MiniFASNet networks, from a picture to a score.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::fs;

use cavs_models::{
    BoundingBox, ComputeDevice, DecodeLimits, FacePipeline, Image, LivenessSamples, Network, Pack,
    PipelineOptions, import,
};
use common::{options, shared};

/// The crop and its resizing as the networks' authors do it (`CropImage` of Silent-Face-Anti-Spoofing
/// with OpenCV's bilinear resize), blue first, planar.
fn crop(image: &Image, face: &BoundingBox, scale: f32) -> Vec<f32> {
    const SIDE: usize = 80;
    let (width, height) = (image.width() as f32, image.height() as f32);
    let scale = ((height - 1.0) / face.height).min((width - 1.0) / face.width).min(scale);
    let place = |start: f32, length: f32, limit: f32| {
        let (center, length) = (start + length / 2.0, length * scale);
        let (mut from, mut to) = (center - length / 2.0, center + length / 2.0);
        if from < 0.0 {
            (from, to) = (0.0, to - from);
        }
        if to > limit - 1.0 {
            (from, to) = (from - (to - limit + 1.0), limit - 1.0);
        }
        (from as usize, to as usize)
    };
    let (left, right) = place(face.x, face.width, width);
    let (top, bottom) = place(face.y, face.height, height);
    let (wide, high) = (right - left + 1, bottom - top + 1);
    let mut planes = vec![0.0; 3 * SIDE * SIDE];
    let source = |at: usize, length: usize| {
        let position =
            ((at as f32 + 0.5) * length as f32 / SIDE as f32 - 0.5).clamp(0.0, length as f32 - 1.0);
        let low = position as usize;
        (low, (low + 1).min(length - 1), position - low as f32)
    };
    for y in 0..SIDE {
        let (above, below, down) = source(y, high);
        for x in 0..SIDE {
            let (before, after, across) = source(x, wide);
            for c in 0..3 {
                let at = |y: usize, x: usize| {
                    f32::from(image.pixels()[((top + y) * image.width() as usize + left + x) * 3 + 2 - c])
                };
                let upper = at(above, before) * (1.0 - across) + at(above, after) * across;
                let lower = at(below, before) * (1.0 - across) + at(below, after) * across;
                planes[(c * SIDE + y) * SIDE + x] = upper * (1.0 - down) + lower * down;
            }
        }
    }
    planes
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn both_networks_score_every_face() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = options(&shared, folder.path().join("pack"));
    let files = [(2.7, "minifasnet_v2_2.7.onnx"), (4.0, "minifasnet_v1se_4.0.onnx")];
    wanted.liveness = files.iter().map(|(s, file)| (*s, shared.join("models").join(file))).collect();
    import(&wanted).unwrap();
    let pack = Pack::open(&wanted.out).unwrap();
    let mut pipeline = FacePipeline::new(&pack, PipelineOptions::default()).unwrap();
    let mut networks = wanted
        .liveness
        .iter()
        .map(|(s, file)| (*s, Network::from_onnx(file, ComputeDevice::Cpu).unwrap()))
        .collect::<Vec<_>>();

    let mut samples = LivenessSamples::default();
    let mut scores = vec![];
    let mut names: Vec<_> =
        fs::read_dir(shared.join("images/people")).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for path in names.iter().take(12) {
        let bytes = fs::read(path).unwrap();
        let image = Image::decode(&bytes, &DecodeLimits::default()).unwrap();
        for face in pipeline.analyze(&image).unwrap().into_iter().take(3) {
            let mut sum = 0.0;
            for (scale, network) in &mut networks {
                let input = crop(&image, &face.bounding_box, *scale);
                sum += network.run(&input, [3, 80, 80]).unwrap()[0].data[1];
            }
            let score = face.liveness.unwrap();
            assert!((0.0..=1.0).contains(&score));
            assert!((score - sum / 2.0).abs() < 0.02, "{}: {score} {}", path.display(), sum / 2.0);
            samples.add(score);
            scores.push(score);
        }
    }
    println!("{} faces, live scores {scores:?}", scores.len());
    assert!(scores.len() >= 10);

    // At a camera whose live faces look like these, a score becomes its place among them.
    (0..LivenessSamples::LEAST).for_each(|i| samples.add(scores[i % scores.len()]));
    let calibration = samples.calibration().unwrap();
    let options = PipelineOptions { liveness: Some(calibration), ..PipelineOptions::default() };
    let mut calibrated = FacePipeline::new(&pack, options).unwrap();
    let image = Image::decode(&fs::read(&names[0]).unwrap(), &DecodeLimits::default()).unwrap();
    let (plain, placed) = (pipeline.analyze(&image).unwrap(), calibrated.analyze(&image).unwrap());
    for (plain, placed) in plain.iter().zip(&placed) {
        assert_eq!(placed.liveness, plain.liveness.map(|score| calibration.apply(score)));
    }
}
