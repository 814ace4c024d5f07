//! The pack that comes with the program.

use std::{fs, path::Path};

use cavs_models::{DecodeLimits, FacePipeline, Image, Pack, PipelineOptions};

#[test]
fn it_opens_and_is_small() {
    let pack = Pack::built_in().unwrap();
    assert_eq!((pack.name(), pack.dimension()), ("cavs-nano", 128));
    assert_eq!(pack.location(), "built-in");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs/cavs-nano");
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    assert!(files.sum::<u64>() <= 4_000_000);
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
