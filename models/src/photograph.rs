//! Photographs as people have them: from telephones, scanners and archives, of any size.

use std::io::Cursor;

use cavs_resample::Resizer;
use image::{
    ColorType, DynamicImage, ImageDecoder, RgbImage,
    codecs::{
        bmp::BmpDecoder, gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, tiff::TiffDecoder,
        webp::WebPDecoder,
    },
    metadata::Orientation,
};

use crate::{
    DecodeLimits, HeifConverter, Image, ImageError, UnreadFormat, exif,
    image::{checked, corrupt, guarded, image_limits, length, opaque, within},
    jpeg,
};

/// What a photograph may be: as the largest cameras of telephones take it.
const LIMITS: DecodeLimits = DecodeLimits { max_bytes: 64 << 20, max_side: 40_000, max_pixels: 200_000_000 };

/// Most pixels that are looked at: a larger photograph is shrunk to so many. A face that fills a
/// hundredth of it still has several times the pixels that the networks look at.
const MOST_PIXELS: u64 = 16_000_000;

/// Most bytes of the buffers of decoding, beside the file itself and the shrunk picture: with a file of
/// usual length all of it is within 256 MiB.
const MEMORY: u64 = 160 << 20;

/// Reads photographs of people who are to be enrolled.
#[derive(Debug, Clone, Default)]
pub struct PhotographReader {
    /// Reads HEIC and AVIF, where such a program is there.
    pub heif: Option<HeifConverter>,
}

impl PhotographReader {
    /// Longest file, in bytes.
    pub(crate) const MOST_BYTES: u64 = LIMITS.max_bytes as u64;

    /// The photograph, upright as its camera says, of at most 16 megapixels: JPEG, PNG, WebP, BMP, GIF (its
    /// first picture), TIFF, and HEIC and AVIF where a converter is there. A file has at most 64 MiB and
    /// 200 megapixels, and what can't be decoded within 256 MiB of memory is refused.
    ///
    /// # Errors
    /// Any [`ImageError`] but those of crops.
    pub fn read(&self, bytes: &[u8]) -> Result<Image, ImageError> {
        guarded(|| {
            length(bytes.len(), &LIMITS)?;
            let file = || Cursor::new(bytes);
            match bytes {
                [0xff, 0xd8, ..] => jpeg(bytes, true),
                [0x89, b'P', b'N', b'G', ..] => {
                    finish(PngDecoder::with_limits(file(), image_limits(&LIMITS)).map_err(corrupt)?, 0)
                }
                [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                    let decoder = WebPDecoder::new(file()).map_err(corrupt)?;
                    // Of a film, the canvas and the frame as well.
                    let own = if decoder.has_animation() { 8 } else { 4 };
                    finish(decoder, own)
                }
                _ => match (UnreadFormat::of(bytes), &self.heif) {
                    (UnreadFormat::Bmp, _) => finish(BmpDecoder::new(file()).map_err(corrupt)?, 0),
                    (UnreadFormat::Gif, _) => finish(GifDecoder::new(file()).map_err(corrupt)?, 4),
                    (UnreadFormat::Tiff, _) => {
                        let decoder = TiffDecoder::new(file()).map_err(corrupt)?;
                        // It decodes into a buffer of its own first.
                        let own = decoder.color_type().bytes_per_pixel().into();
                        finish(decoder, own)
                    }
                    (UnreadFormat::Heic | UnreadFormat::Avif, Some(converter)) => {
                        // What EXIF says of such a file is about its camera: the file itself says how it is
                        // turned (ISO/IEC 23008-12, A.3), and libheif has turned it.
                        jpeg(&converter.to_jpeg(bytes)?, false)
                    }
                    (kind, _) => Err(ImageError::FormatUnsupported(kind)),
                },
            }
        })
    }
}

/// A large JPEG is decoded at half its size, where it is of a kind that can be. `turn`: as its EXIF says.
fn jpeg(bytes: &[u8], turn: bool) -> Result<Image, ImageError> {
    let readable = jpeg::readable(bytes)?;
    let mut decoder = JpegDecoder::new(Cursor::new(&*readable)).map_err(corrupt)?;
    let (width, height) = decoder.dimensions();
    checked(bytes.len(), (width, height), &LIMITS)?;
    jpeg::whole(&readable)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MOST_PIXELS
        && let Some(header) = jpeg::open_turned(&readable)
        && let Some(half) = jpeg::decode(&header)
    {
        let half = Image::from_rgb8(half.width as u32, half.height as u32, half.pixels)?;
        return upright(shrunk(half)?, said(&mut decoder, turn));
    }
    // The coefficients of a progressive one are all kept until its end, in 16 bits.
    let bytes_a_pixel = if jpeg::is_progressive(&readable)? { 9 } else { 3 };
    if pixels * bytes_a_pixel > MEMORY {
        let max_pixels = MEMORY / bytes_a_pixel;
        return Err(ImageError::TooLarge { width, height, max_side: LIMITS.max_side, max_pixels });
    }
    finish_as(decoder, 0, turn)
}

/// `own`: bytes a pixel that the decoder takes beside what it gives.
fn finish(decoder: impl ImageDecoder, own: u64) -> Result<Image, ImageError> {
    finish_as(decoder, own, true)
}

fn finish_as(mut decoder: impl ImageDecoder, own: u64, turn: bool) -> Result<Image, ImageError> {
    let (width, height) = decoder.dimensions();
    within((width, height), &LIMITS)?;
    let color = decoder.color_type();
    // Eight bits with transparency are made opaque in place, other kinds are converted first.
    let converted = if matches!(color, ColorType::Rgb8 | ColorType::Rgba8) { 0 } else { 4 };
    let bytes_a_pixel = u64::from(color.bytes_per_pixel()) + converted + own;
    let max_pixels = MEMORY / bytes_a_pixel;
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(ImageError::TooLarge { width, height, max_side: LIMITS.max_side, max_pixels });
    }
    decoder.set_limits(image_limits(&LIMITS)).map_err(corrupt)?;
    let orientation = said(&mut decoder, turn);
    let picture = opaque(DynamicImage::from_decoder(decoder).map_err(corrupt)?);
    let image = Image::from_rgb8(picture.width(), picture.height(), picture.into_raw())?;
    upright(shrunk(image)?, orientation)
}

fn said(decoder: &mut impl ImageDecoder, turn: bool) -> Orientation {
    if !turn {
        return Orientation::NoTransforms;
    }
    // A damaged EXIF block says nothing; the picture itself may be whole.
    let turned = match decoder.exif_metadata().ok().flatten() {
        Some(block) => exif::orientation(&block),
        // TIFF says it in a tag of its own.
        None => decoder.orientation().ok(),
    };
    turned.unwrap_or(Orientation::NoTransforms)
}

/// The picture with at most [`MOST_PIXELS`].
fn shrunk(image: Image) -> Result<Image, ImageError> {
    let (width, height) = (image.width(), image.height());
    let pixels = u64::from(width) * u64::from(height);
    if pixels <= MOST_PIXELS {
        return Ok(image);
    }
    let factor = (MOST_PIXELS as f64 / pixels as f64).sqrt();
    let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
    let (w, h) = (side(width), side(height));
    let mut pixels = vec![0; w as usize * h as usize * 3];
    Resizer::default()
        .resize((width, height, image.pixels()), (w, h, &mut pixels))
        .map_err(|problem| ImageError::Corrupt(problem.to_string()))?;
    Image::from_rgb8(w, h, pixels)
}

fn upright(image: Image, orientation: Orientation) -> Result<Image, ImageError> {
    if orientation == Orientation::NoTransforms {
        return Ok(image);
    }
    let (width, height) = (image.width(), image.height());
    let picture = RgbImage::from_raw(width, height, image.into_pixels()).ok_or(ImageError::Empty)?;
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    let picture = picture.into_rgb8();
    Image::from_rgb8(picture.width(), picture.height(), picture.into_raw())
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb, Rgba, RgbaImage, codecs::jpeg::JpegEncoder};

    use super::*;

    fn read(bytes: &[u8]) -> Result<Image, ImageError> {
        PhotographReader::default().read(bytes)
    }

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 99]))
    }

    #[test]
    fn what_archives_and_scanners_write_is_read() {
        let picture = gradient(60, 40);
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Bmp,
            ImageFormat::Gif,
            ImageFormat::Tiff,
        ] {
            let mut file = Cursor::new(vec![]);
            DynamicImage::ImageRgb8(picture.clone()).write_to(&mut file, format).unwrap();
            let seen = read(file.get_ref()).unwrap();
            assert_eq!((seen.width(), seen.height()), (60, 40), "{format:?}");
            // GIF has few colours, JPEG blurs them.
            let off = seen.pixels().iter().zip(picture.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(off <= 40, "{format:?}: {off}");
            let cut = &file.get_ref()[..file.get_ref().len() / 2];
            assert!(matches!(read(cut), Err(ImageError::Corrupt(_))), "{format:?}: {:?}", read(cut));
        }
        let deep = DynamicImage::ImageRgb8(picture).into_rgb16();
        let mut file = Cursor::new(vec![]);
        deep.write_to(&mut file, ImageFormat::Tiff).unwrap();
        assert_eq!(read(file.get_ref()).unwrap().width(), 60);
        let clear = RgbaImage::from_pixel(4, 4, Rgba([255, 0, 0, 0]));
        let mut file = Cursor::new(vec![]);
        clear.write_to(&mut file, ImageFormat::Tiff).unwrap();
        assert_eq!(read(file.get_ref()).unwrap().pixels()[..3], [128; 3]);
    }

    #[test]
    fn what_is_too_large_is_shrunk_or_refused() {
        // Grey, but for a corner: 110 megapixels.
        let mut file = vec![];
        let row = vec![77; 11_000];
        let picture = image::GrayImage::from_fn(11_000, 10_000, |x, y| {
            image::Luma([if x > 8_000 && y < 3_000 { 250 } else { row[x as usize] }])
        });
        JpegEncoder::new_with_quality(&mut file, 80).encode_image(&picture).unwrap();
        drop(picture);
        // The encoder writes one component, which is not halved: decoded as a whole, it fits in.
        let seen = read(&file).unwrap();
        assert!((15_900_000..=16_000_000).contains(&(seen.pixels().len() / 3)), "{seen:?}");
        assert!((f64::from(seen.width()) / f64::from(seen.height()) - 1.1).abs() < 0.001);
        let at = |x: f64, y: f64| {
            let place = |part: f64, side: u32| (part * f64::from(side)) as usize;
            seen.pixels()[(place(y, seen.height()) * seen.width() as usize + place(x, seen.width())) * 3]
        };
        assert!(
            at(0.9, 0.1).abs_diff(250) < 4 && at(0.1, 0.1).abs_diff(77) < 4 && at(0.9, 0.9).abs_diff(77) < 4
        );
        assert_eq!(read(&vec![0; (64 << 20) + 1]).unwrap_err().reason(), "IMAGE_TOO_LARGE");
        // A bitmap of 70 megapixels of three bytes would take more than there is.
        let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
        bmp.extend([10_000u32.to_le_bytes(), 7_000u32.to_le_bytes()].concat());
        bmp.extend([1, 0, 24, 0]);
        bmp.resize(4096, 0);
        let refused = read(&bmp).unwrap_err();
        assert_eq!(refused.reason(), "IMAGE_TOO_LARGE");
        assert!(refused.to_string().contains("save it"), "{refused}");
    }

    #[test]
    fn a_large_colour_photograph_is_halved_and_turned() {
        let picture = gradient(5_000, 3_600);
        let mut file = vec![];
        JpegEncoder::new_with_quality(&mut file, 80).encode_image(&picture).unwrap();
        let exif =
            b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        file.splice(2..2, exif.iter().copied());
        let seen = read(&file).unwrap();
        assert_eq!((seen.width(), seen.height()), (1_800, 2_500));
        // The top left corner of the file is the top right corner of the view.
        let pixel = |x: usize, y: usize| &seen.pixels()[(y * 1_800 + x) * 3..][..3];
        assert!(pixel(1_795, 4)[0] < 8 && pixel(1_795, 4)[1] < 8, "{:?}", pixel(1_795, 4));
        assert!(pixel(4, 2_495)[0] > 247 && pixel(4, 2_495)[1] > 247, "{:?}", pixel(4, 2_495));
    }

    #[test]
    fn telephones_formats_are_named_where_nothing_reads_them() {
        for (brand, name) in [(b"heic", "HEIC"), (b"avif", "AVIF")] {
            let file = [b"\0\0\0\x18ftyp", brand.as_slice(), b"\0\0\0\0mif1", brand].concat();
            let error = read(&file).unwrap_err();
            assert!(matches!(error, ImageError::FormatUnsupported(_)), "{error:?}");
            assert!(error.to_string().contains(name) && error.to_string().contains("JPEG"), "{error}");
        }
    }
}
