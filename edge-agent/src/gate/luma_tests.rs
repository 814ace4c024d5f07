use image::{
    ExtendedColorType, ImageEncoder,
    codecs::jpeg::{JpegDecoder, JpegEncoder},
};
use proptest::prelude::*;

use super::*;

fn jpeg(width: u32, height: u32, quality: u8, colour: ExtendedColorType, seed: u32) -> Vec<u8> {
    let channels = if colour == ExtendedColorType::L8 { 1 } else { 3 };
    let pixel = |at: u32| {
        let (x, y) = (at / channels % width, at / channels / width);
        let wave = (x as f32 / 17.0 + seed as f32).sin() + (y as f32 / 23.0).cos();
        (wave * 50.0 + 120.0 + (at * 7 % 9) as f32) as u8
    };
    let pixels: Vec<u8> = (0..width * height * channels).map(pixel).collect();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, quality).write_image(&pixels, width, height, colour).unwrap();
    jpeg
}

/// The mean of each cell, from a full decode.
fn decoded(jpeg: &[u8]) -> Vec<f32> {
    let image = image::DynamicImage::from_decoder(JpegDecoder::new(std::io::Cursor::new(jpeg)).unwrap());
    let image = image.unwrap().to_luma8();
    let (columns, rows) = (image.width().div_ceil(8) as usize, image.height().div_ceil(8) as usize);
    let mut grid = Grid::new(columns, rows);
    for (x, y, pixel) in image.enumerate_pixels() {
        grid.add(x as usize / 8, y as usize / 8, f32::from(pixel.0[0]));
    }
    grid.mean().cells
}

#[test]
fn cells_are_the_means_of_a_full_decode() {
    for (width, height, quality, colour) in [
        (640, 480, 80, ExtendedColorType::Rgb8),
        (1640, 1232, 90, ExtendedColorType::Rgb8),
        (160, 120, 50, ExtendedColorType::L8),
        (64, 32, 100, ExtendedColorType::Rgb8),
    ] {
        let jpeg = jpeg(width, height, quality, colour, 3);
        let luma = Luma::of_jpeg(&jpeg).unwrap();
        let expected = decoded(&jpeg);
        assert_eq!(luma.cells().len(), expected.len(), "{width}x{height}");
        for (cell, expected) in luma.cells().iter().zip(&expected) {
            // Clipping and colour conversion round a little.
            assert!((cell - expected).abs() < 2.0, "{width}x{height}: {cell} {expected}");
        }
    }
}

#[test]
fn sizes_that_are_no_multiple_of_a_block_are_read() {
    for (width, height) in [(1, 1), (7, 9), (333, 217), (17, 1000)] {
        let luma = Luma::of_jpeg(&jpeg(width, height, 75, ExtendedColorType::Rgb8, 1)).unwrap();
        assert!(luma.cells().iter().all(|cell| (0.0..=255.0).contains(cell)));
    }
}

#[test]
fn what_is_no_camera_jpeg_is_unclear() {
    let good = jpeg(320, 240, 80, ExtendedColorType::Rgb8, 2);
    assert_eq!(Luma::of_jpeg(&good[..good.len() / 2]), None, "cut off");
    assert_eq!(Luma::of_jpeg(b""), None);
    assert_eq!(Luma::of_jpeg(b"\x89PNG\r\n"), None);
    // A small file that claims to be enormous is given up as soon as its data ends.
    let mut claims = jpeg(16, 16, 80, ExtendedColorType::L8, 2);
    let size = claims.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap() + 5;
    claims[size..size + 4].fill(0xFF);
    assert_eq!(Luma::of_jpeg(&claims), None);
}

proptest! {
    #[test]
    fn hostile_bytes_are_survived(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut jpeg = jpeg(96, 64, 70, ExtendedColorType::Rgb8, 5);
        for (index, byte) in flips {
            let at = index.index(jpeg.len());
            jpeg[at] = byte;
        }
        if let Some(luma) = Luma::of_jpeg(&jpeg) {
            prop_assert!(luma.cells().iter().all(|cell| cell.is_finite()));
        }
    }

    #[test]
    fn nonsense_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut jpeg = vec![0xFF, 0xD8];
        jpeg.extend(bytes);
        let _ = Luma::of_jpeg(&jpeg);
    }
}
