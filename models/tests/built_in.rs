//! The pack that comes with the program.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use cavs_models::{ComputeDevice, DecodeLimits, Face, FacePipeline, Image, Pack, PipelineOptions};

#[test]
fn it_opens_and_is_small() {
    let pack = Pack::built_in().unwrap();
    assert_eq!((pack.name(), pack.dimension()), ("cavs-nano", 128));
    assert_eq!(pack.location(), "built-in");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs/cavs-nano");
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    assert!(files.sum::<u64>() <= 8_000_000);
    // The folder is a pack like any other, and the same one.
    assert_eq!(Pack::open(&folder).unwrap().digest(), pack.digest());
    assert_eq!(Pack::open_or_built_in(Some(&folder)).unwrap().location(), folder.display().to_string());
}

#[test]
fn its_thresholds_are_calibrated() {
    let pack = Pack::built_in().unwrap();
    let calibration = pack.calibration().unwrap();
    let galleries: Vec<u32> = calibration.false_matches.iter().map(|f| f.gallery).collect();
    assert_eq!(galleries, [30, 300, 3000]);
    assert!(calibration.false_matches.is_sorted_by(|a, b| a.per_1000 <= b.per_1000));
    assert!(calibration.genuine.mean > pack.thresholds().review.get());
    assert!(
        calibration.impostor.mean + 3.0 * calibration.impostor.deviation < pack.thresholds().accept.get()
    );
}

#[test]
fn it_finds_nobody_in_an_empty_picture() {
    let mut pipeline = FacePipeline::new(&Pack::built_in().unwrap(), PipelineOptions::default()).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    let grey = image::RgbImage::from_fn(640, 480, |x, y| image::Rgb([(x / 4) as u8, (y / 4) as u8, 90]));
    grey.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let picture = Image::decode(bytes.get_ref(), &DecodeLimits::default()).unwrap();
    assert_eq!(pipeline.analyze(&picture).unwrap(), []);
}

/// What a pipeline sees in a picture of stripes, in which almost anything passes for a face.
fn seen(device: ComputeDevice) -> Vec<Face> {
    let options = PipelineOptions {
        device,
        min_score: 0.05,
        max_faces: 6,
        detect_long_side: Some(320),
        ..PipelineOptions::default()
    };
    let mut pipeline = FacePipeline::new(&Pack::built_in().unwrap(), options).unwrap();
    let pixels = (0..320 * 200 * 3u32).map(|i| ((i / 3 % 320 / 7 * 90) ^ (i / 960 / 11 * 60)) as u8);
    pipeline.analyze(&Image::from_rgb8(320, 200, pixels.collect()).unwrap()).unwrap()
}

/// The path of other devices, forced onto the processor.
#[test]
fn it_sees_the_same_by_the_operators_of_other_devices() {
    let (fused, portable) = (seen(ComputeDevice::Cpu), seen(ComputeDevice::CpuPortable));
    assert!(fused.len() > 2 && fused.len() == portable.len(), "{} {}", fused.len(), portable.len());
    for (a, b) in fused.iter().zip(&portable) {
        assert!((a.score - b.score).abs() < 1e-4, "{} {}", a.score, b.score);
        for (a, b) in a.landmarks.iter().zip(&b.landmarks) {
            assert!((a.x - b.x).abs() < 1e-2 && (a.y - b.y).abs() < 1e-2, "{a:?} {b:?}");
        }
        assert!(a.embedding.similarity(&b.embedding).unwrap().get() > 0.9999);
    }
}
