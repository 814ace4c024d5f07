//! HEIC and AVIF, made and read by libheif's own programs (Debian: libheif-examples; `scripts/test`
//! installs it).

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, process::Command};

use cavs_models::{HeifConverter, PhotographReader};

#[test]
fn telephones_pictures_are_read_where_libheif_is() {
    let reader = PhotographReader { heif: HeifConverter::find() };
    assert!(reader.heif.is_some(), "libheif-examples is not installed; scripts/test does that");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Red on the left, green on the right, as wide as four blocks.
    let picture = image::RgbImage::from_fn(128, 64, |x, _| {
        if x < 64 { image::Rgb([220, 30, 30]) } else { image::Rgb([30, 200, 40]) }
    });
    picture.save(path("from.png")).unwrap();
    for (name, more) in [("to.heic", None), ("to.avif", Some("--avif"))] {
        let made = Command::new("heif-enc")
            .args(["-q", "90"])
            .args(more)
            .arg(path("from.png"))
            .arg("-o")
            .arg(path(name))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = fs::read(path(name)).unwrap();
        let seen = reader.read(&file).unwrap();
        assert_eq!((seen.width(), seen.height()), (128, 64));
        let pixels = seen.pixels().as_chunks::<3>().0;
        for (at, wanted) in [(64 * 32, [220u8, 30, 30]), (128 * 32 + 100, [30, 200, 40])] {
            let near = pixels[at].iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 24);
            assert!(near, "{name} {at}: {:?}", pixels[at]);
        }
        // A part of it, and what only begins like one, are no pictures.
        for damaged in [&file[..file.len() / 2], &file[..32]] {
            assert_eq!(reader.read(damaged).unwrap_err().reason(), "IMAGE_CORRUPT", "{name}");
        }
    }
}
