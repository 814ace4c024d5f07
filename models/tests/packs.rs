//! Importing and opening packs, whole and tampered with.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::{fs, path::Path};

use cavs_models::{DetectorSource, ImportOptions, Pack, import, import_and_tell};
use common::{options, pack, shared};

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn an_imported_pack_says_what_it_was_given() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let pack = pack(&shared, folder.path());
    assert_eq!((pack.name(), pack.version(), pack.license()), ("test", "1", "non-commercial"));
    assert_eq!(pack.dimension(), 128);
    assert!(pack.thresholds().review < pack.thresholds().accept);
    // The same files give the same pack.
    let again = import(&options(&shared, folder.path().join("again"))).unwrap();
    assert_eq!(again, pack.digest());
    // Nothing but the two packs is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn an_existing_folder_is_never_touched() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let error = import(&options(&shared, folder.path().to_path_buf())).unwrap_err();
    assert_eq!(error.reason(), "IMPORT_OUTPUT_EXISTS");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()));
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn wrong_files_are_named() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pack");
    let text = folder.path().join("text.onnx");
    fs::write(&text, "no model").unwrap();

    let mut wrong = options(&shared, out.clone());
    wrong.embedder = text;
    let error = import(&wrong).unwrap_err();
    assert_eq!(error.reason(), "IMPORT_NOT_ONNX");
    assert!(error.to_string().contains("text.onnx"));

    let mut wrong = options(&shared, out.clone());
    wrong.embedder = shared.join("models/yunet_n_dynamic.onnx");
    assert_eq!(import(&wrong).unwrap_err().reason(), "IMPORT_WRONG_NETWORK");

    let mut wrong = options(&shared, out.clone());
    wrong.detector = DetectorSource::Scrfd(shared.join("models/yunet_n_dynamic.onnx"));
    assert_eq!(import(&wrong).unwrap_err().reason(), "IMPORT_WRONG_NETWORK");

    let mut wrong = options(&shared, out.clone());
    wrong.embedder = folder.path().join("nowhere.onnx");
    assert_eq!(import(&wrong).unwrap_err().reason(), "IMPORT_FILE_FAILED");

    let mut wrong = options(&shared, out);
    wrong.license = " ".into();
    assert_eq!(import(&wrong).unwrap_err().reason(), "IMPORT_OPTION_INVALID");
    // Failed imports leave nothing behind.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn a_changed_pack_is_refused() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let _ = pack(&shared, folder.path());
    let dir = folder.path().join("pack");
    let reason = || Pack::open(&dir).unwrap_err().reason();

    let weights = dir.join("embedder.safetensors");
    let whole = fs::read(&weights).unwrap();
    let mut changed = whole.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    fs::write(&weights, changed).unwrap();
    assert_eq!(reason(), "PACK_CHECKSUM_MISMATCH");
    fs::remove_file(&weights).unwrap();
    assert_eq!(reason(), "PACK_UNREADABLE");
    fs::write(&weights, whole).unwrap();
    assert!(Pack::open(&dir).is_ok());

    let manifest = dir.join("pack.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let edits = [
        ("format = 1", "format = 2"),
        ("format = 1", "format = 1\ncolour = 7"),
        ("review = ", "review = 9"),
        ("\"embedder.safetensors\"", "\"../embedder.safetensors\""),
        ("name = ", "nam = "),
    ];
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        fs::write(&manifest, text.replacen(from, to, 1)).unwrap();
        assert_eq!(reason(), "PACK_INVALID", "{to}");
    }
    fs::write(&manifest, [0xff, 0xfe]).unwrap();
    assert_eq!(reason(), "PACK_INVALID");
}

/// Thresholds from pictures of 40 people: the networks are the same, and what is measured is what is known of
/// MobileFaceNet.
#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn a_pack_is_calibrated_by_pictures_of_people() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    for person in 1..=40 {
        let to = folder.path().join(format!("people/s{person}"));
        fs::create_dir_all(&to).unwrap();
        for picture in 1..=3 {
            let file = fs::read(shared.join(format!("images/orl/s{person}/{picture}.pgm"))).unwrap();
            // A binary PGM: three words, then the pixels.
            let grey = image::GrayImage::from_raw(92, 112, file[file.len() - 92 * 112..].to_vec()).unwrap();
            let large = image::imageops::resize(&grey, 368, 448, image::imageops::FilterType::CatmullRom);
            image::DynamicImage::ImageLuma8(large)
                .into_rgb8()
                .save(to.join(format!("{picture}.png")))
                .unwrap();
        }
    }
    fs::write(folder.path().join("people/s1/notes.txt"), "no picture").unwrap();
    let plain = options(&shared, folder.path().join("plain"));
    let networks = import(&plain).unwrap();
    let mut told = Vec::new();
    let calibrated = ImportOptions {
        calibrate: Some(folder.path().join("people")),
        out: folder.path().join("calibrated"),
        ..plain
    };
    assert_eq!(import_and_tell(&calibrated, &mut |progress| told.push(progress)).unwrap(), networks);
    let last = told.last().unwrap();
    assert!(told.len() == 121 && last.of == 121 && (1..15).contains(&last.left_out), "{last:?}");
    let pack = Pack::open(&calibrated.out).unwrap();
    let (thresholds, calibration) = (pack.thresholds(), pack.calibration().unwrap());
    println!("{thresholds:?} {calibration:?}");
    assert!((0.35..0.7).contains(&thresholds.accept.get()) && thresholds.review < thresholds.accept);
    assert!(calibration.genuine.mean > 0.6 && calibration.impostor.mean.abs() < 0.15);
    assert!(calibration.false_match_rates.len() >= 3 && calibration.false_matches.len() == 3);
    assert!((calibration.false_matches[1].per_1000 - 5.0).abs() < 0.5 || thresholds.accept.get() >= 0.95);
}

#[test]
fn no_pack_is_named() {
    let error = Pack::open(Path::new("/nonexistent/pack")).unwrap_err();
    assert_eq!(error.reason(), "PACK_NOT_FOUND");
    assert!(error.to_string().contains("/nonexistent/pack"));
}
