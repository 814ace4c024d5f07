use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use cavs_resample::Resizer;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, RgbImage,
    codecs::{
        jpeg::{JpegDecoder, JpegEncoder},
        png::PngDecoder,
        webp::WebPDecoder,
    },
    error::ImageError as CodecError,
    metadata::Orientation,
};

use crate::{BoundingBox, ImageError, UnreadFormat, exif, jpeg};

/// What a decoder may spend on one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest accepted file, in bytes.
    pub max_bytes: usize,
    /// Longest accepted side, in pixels.
    pub max_side: u32,
    /// Most accepted pixels; a few bytes of memory each.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    /// Enough for a 50-megapixel telephone camera.
    fn default() -> Self {
        Self { max_bytes: 32 << 20, max_side: 12_000, max_pixels: 52_000_000 }
    }
}

/// An upright RGB picture with eight bits per channel.
#[derive(Clone)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Image {
    /// Decodes a JPEG, PNG or WebP and turns it upright as its EXIF orientation says.
    ///
    /// The limits are checked against the header, before any pixel memory is allocated.
    ///
    /// # Errors
    /// Any [`ImageError`] but those of crops.
    pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, ImageError> {
        guarded(|| {
            length(bytes.len(), limits)?;
            decode(bytes, limits)
        })
    }

    /// Takes raw pixels: rows from the top, three bytes (red, green, blue) a pixel.
    ///
    /// # Errors
    /// `Empty` where a side is zero, `Corrupt` where the length is not `width * height * 3`.
    pub fn from_rgb8(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::Empty);
        }
        if pixels.len() as u64 != u64::from(width) * u64::from(height) * 3 {
            return Err(ImageError::Corrupt(format!("{} bytes for {width}x{height} pixels", pixels.len())));
        }
        Ok(Self { width, height, pixels })
    }

    /// Width in pixels.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: rows from the top, three bytes (red, green, blue) a pixel.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Gives the pixels away.
    pub(crate) fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The picture, turned clockwise by quarters.
    #[must_use]
    pub fn turned(&self, quarters: u8) -> Self {
        let (width, height) = (self.width as usize, self.height as usize);
        let from = self.pixels.as_chunks::<3>().0;
        let sideways = |from_row: &dyn Fn(usize, usize) -> usize| {
            let mut pixels = vec![0; self.pixels.len()];
            let rows = pixels.as_chunks_mut::<3>().0.chunks_exact_mut(height);
            for (row, line) in rows.enumerate() {
                line.iter_mut().enumerate().for_each(|(column, to)| *to = from[from_row(row, column)]);
            }
            Self { width: self.height, height: self.width, pixels }
        };
        match quarters % 4 {
            0 => self.clone(),
            1 => sideways(&|row, column| (height - 1 - column) * width + row),
            2 => Self { pixels: from.iter().rev().flatten().copied().collect(), ..*self },
            _ => sideways(&|row, column| column * width + width - 1 - row),
        }
    }

    /// Cuts out a box, grown by `margin` of its size on every side and kept inside the picture,
    /// shrinks it to at most `max_side` pixels a side, and encodes it as JPEG of `quality` 1-100.
    ///
    /// # Errors
    /// `CropOutside` where the grown box does not touch the picture, `Encode`.
    pub fn crop_jpeg(
        &self,
        bounding_box: BoundingBox,
        margin: f32,
        max_side: u32,
        quality: u8,
    ) -> Result<Vec<u8>, ImageError> {
        let crop = self.crop(bounding_box, margin)?;
        let longest = crop.width.max(crop.height);
        let crop = if longest > max_side.max(1) {
            let factor = f64::from(max_side.max(1)) / f64::from(longest);
            let side = |s: u32| ((f64::from(s) * factor).round() as u32).max(1);
            let (width, height) = (side(crop.width), side(crop.height));
            let mut pixels = vec![0; width as usize * height as usize * 3];
            Resizer::default()
                .resize((crop.width, crop.height, &crop.pixels), (width, height, &mut pixels))
                .map_err(ImageError::Encode)?;
            Self { width, height, pixels }
        } else {
            crop
        };
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, quality.clamp(1, 100))
            .write_image(&crop.pixels, crop.width, crop.height, ExtendedColorType::Rgb8)
            .map_err(|e| ImageError::Encode(e.to_string()))?;
        Ok(jpeg)
    }

    /// The pixels of a grown box, as far as they lie inside the picture.
    fn crop(&self, bounding_box: BoundingBox, margin: f32) -> Result<Self, ImageError> {
        let BoundingBox { x, y, width, height } = bounding_box;
        if ![x, y, width, height, margin].iter().all(|v| v.is_finite()) {
            return Err(ImageError::CropOutside);
        }
        // Casts of f32 to integers saturate, so boxes far outside become empty.
        let span = |start: f32, length: f32, size: u32| {
            let grown = length * margin.max(0.0);
            let from = (start - grown).floor().max(0.0) as u32;
            let to = ((start + length + grown).ceil().max(0.0) as u32).min(size);
            (from < to).then_some((from as usize, to as usize))
        };
        let columns = span(x, width, self.width).ok_or(ImageError::CropOutside)?;
        let rows = span(y, height, self.height).ok_or(ImageError::CropOutside)?;
        let stride = self.width as usize * 3;
        let row = |r: usize| &self.pixels[r * stride..][columns.0 * 3..columns.1 * 3];
        let pixels = (rows.0..rows.1).flat_map(row).copied().collect();
        Self::from_rgb8((columns.1 - columns.0) as u32, (rows.1 - rows.0) as u32, pixels)
    }
}

impl std::fmt::Debug for Image {
    /// Shows the size only: pictures of people must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}x{})", self.width, self.height)
    }
}

/// Decoders of hostile bytes have been seen to panic; a camera must not stop the process.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(ImageError::Corrupt("the decoder panicked".into())))
}

pub(crate) fn length(bytes: usize, limits: &DecodeLimits) -> Result<(), ImageError> {
    match bytes {
        0 => Err(ImageError::Empty),
        _ if bytes > limits.max_bytes => Err(ImageError::FileTooLarge { bytes, max_bytes: limits.max_bytes }),
        _ => Ok(()),
    }
}

/// Checks a JPEG's length and what its header claims.
pub(crate) fn checked(bytes: usize, size: (u32, u32), limits: &DecodeLimits) -> Result<(), ImageError> {
    length(bytes, limits)?;
    within(size, limits)?;
    plausible(bytes, size)
}

fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    match bytes {
        [0xff, 0xd8, ..] => {
            let readable = jpeg::readable(bytes)?;
            let decoder = JpegDecoder::new(Cursor::new(&*readable)).map_err(corrupt)?;
            checked(bytes.len(), decoder.dimensions(), limits)?;
            jpeg::whole(&readable)?;
            finish(decoder, limits)
        }
        [0x89, b'P', b'N', b'G', ..] => {
            let most = image_limits(limits);
            finish(PngDecoder::with_limits(Cursor::new(bytes), most).map_err(corrupt)?, limits)
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            finish(WebPDecoder::new(Cursor::new(bytes)).map_err(corrupt)?, limits)
        }
        _ => Err(ImageError::FormatUnsupported(UnreadFormat::of(bytes))),
    }
}

/// A JPEG spends at least one bit on every block of 8x8 pixels of its brightness, which is there at full
/// size. Files that claim more pixels end before they have said them.
fn plausible(bytes: usize, (width, height): (u32, u32)) -> Result<(), ImageError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels / (8 * 8) > bytes as u64 * 8 {
        return Err(ImageError::Corrupt(format!("{bytes} bytes can't hold {width}x{height} pixels")));
    }
    Ok(())
}

pub(crate) fn image_limits(limits: &DecodeLimits) -> image::Limits {
    let mut most = image::Limits::default();
    most.max_image_width = Some(limits.max_side);
    most.max_image_height = Some(limits.max_side);
    // Decoded RGBA with 16 bits a channel, and as much again for the decoder itself.
    most.max_alloc = Some(limits.max_pixels.saturating_mul(16));
    most
}

pub(crate) fn within((width, height): (u32, u32), limits: &DecodeLimits) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::Empty);
    }
    let DecodeLimits { max_side, max_pixels, .. } = *limits;
    if width.max(height) > max_side || u64::from(width) * u64::from(height) > max_pixels {
        return Err(ImageError::TooLarge { width, height, max_side, max_pixels });
    }
    Ok(())
}

fn finish(mut decoder: impl ImageDecoder, limits: &DecodeLimits) -> Result<Image, ImageError> {
    within(decoder.dimensions(), limits)?;
    decoder.set_limits(image_limits(limits)).map_err(corrupt)?;
    // A damaged EXIF block says nothing; the picture itself may be whole.
    let orientation = decoder.exif_metadata().ok().flatten().and_then(|block| exif::orientation(&block));
    let mut picture = DynamicImage::from_decoder(decoder).map_err(corrupt)?;
    picture.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    let picture = opaque(picture);
    Image::from_rgb8(picture.width(), picture.height(), picture.into_raw())
}

/// Brightness of what shines through transparent pixels.
const BEHIND: u32 = 128;

/// A picture before a grey wall: what pixels hold that nobody sees is not looked at.
pub(crate) fn opaque(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let (width, height) = picture.dimensions();
    // In place: a large picture is there once.
    let mut pixels = picture.into_raw();
    let count = pixels.len() / 4;
    for at in 0..count {
        let alpha = u32::from(pixels[at * 4 + 3]);
        for channel in 0..3 {
            let value = u32::from(pixels[at * 4 + channel]);
            pixels[at * 3 + channel] = ((value * alpha + BEHIND * (255 - alpha) + 127) / 255) as u8;
        }
    }
    pixels.truncate(count * 3);
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

pub(crate) fn corrupt(error: CodecError) -> ImageError {
    ImageError::Corrupt(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gradient(width: u32, height: u32) -> Image {
        let pixels =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 128])).collect();
        Image::from_rgb8(width, height, pixels).unwrap()
    }

    fn jpeg(image: &Image) -> Vec<u8> {
        let all = BoundingBox { x: 0.0, y: 0.0, width: image.width as f32, height: image.height as f32 };
        image.crop_jpeg(all, 0.0, u32::MAX, 90).unwrap()
    }

    #[test]
    fn what_is_no_picture_is_named() {
        let limits = DecodeLimits::default();
        let reason = |bytes: &[u8]| Image::decode(bytes, &limits).unwrap_err().reason();
        assert_eq!(reason(b""), "IMAGE_EMPTY");
        assert_eq!(reason(b"hello"), "IMAGE_FORMAT_UNSUPPORTED");
        assert_eq!(reason(&[0xff, 0xd8, 0xff, 0xe0]), "IMAGE_CORRUPT");
        let mut whole = jpeg(&gradient(64, 48));
        assert!(Image::decode(&whole, &limits).is_ok());
        let small = DecodeLimits { max_side: 63, ..limits };
        assert_eq!(Image::decode(&whole, &small).unwrap_err().reason(), "IMAGE_TOO_LARGE");
        let short = DecodeLimits { max_bytes: 10, ..limits };
        assert_eq!(Image::decode(&whole, &short).unwrap_err().reason(), "IMAGE_TOO_LARGE");
        whole.truncate(100);
        assert_eq!(reason(&whole), "IMAGE_CORRUPT");
    }

    #[test]
    fn a_small_file_that_claims_many_pixels_is_refused() {
        let mut file = jpeg(&gradient(16, 16));
        let at = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        file[at + 5..at + 9].copy_from_slice(&[0x40, 0, 0x40, 0]); // 16384x16384
        let limits = DecodeLimits { max_side: 20_000, max_pixels: 1 << 32, ..DecodeLimits::default() };
        assert_eq!(Image::decode(&file, &limits).unwrap_err().reason(), "IMAGE_CORRUPT");
        assert_eq!(Image::decode(&file, &DecodeLimits::default()).unwrap_err().reason(), "IMAGE_TOO_LARGE");
    }

    #[test]
    fn what_is_transparent_is_not_looked_at() {
        let picture =
            image::RgbaImage::from_fn(4, 1, |x, _| image::Rgba([200, 10, 90, [0, 255, 128, 1][x as usize]]));
        for format in [image::ImageFormat::Png, image::ImageFormat::WebP] {
            let mut file = Cursor::new(vec![]);
            picture.write_to(&mut file, format).unwrap();
            let read = Image::decode(file.get_ref(), &DecodeLimits::default()).unwrap();
            let seen = read.pixels().as_chunks::<3>().0;
            assert_eq!((seen[0], seen[1], seen[2]), ([128; 3], [200, 10, 90], [164, 69, 109]), "{format:?}");
        }
    }

    #[test]
    fn pictures_of_telephones_are_named() {
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
        let error = Image::decode(heic, &DecodeLimits::default()).unwrap_err();
        assert_eq!(error.reason(), "IMAGE_FORMAT_UNSUPPORTED");
        assert!(
            error.to_string().contains("HEIC") && error.to_string().contains("export it as JPEG"),
            "{error}"
        );
    }

    #[test]
    fn exif_orientation_is_applied() {
        let upright = gradient(64, 32);
        let mut file = jpeg(&upright);
        // An APP1 segment with one tag: orientation 6, "rotate a quarter clockwise to view".
        let exif =
            b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        file.splice(2..2, exif.iter().copied());
        let turned = Image::decode(&file, &DecodeLimits::default()).unwrap();
        assert_eq!((turned.width(), turned.height()), (32, 64));
        // The top left corner of the file (dark) is the top right corner of the view.
        let corner = &turned.pixels()[31 * 3..][..2];
        assert!(corner.iter().all(|v| *v < 16), "{corner:?}");
    }

    #[test]
    fn quarters_turn_clockwise() {
        let image = Image::from_rgb8(3, 2, (0..6).flat_map(|v| [v, v, v]).collect()).unwrap();
        let seen = |quarters| {
            let turned = image.turned(quarters);
            let values: Vec<u8> = turned.pixels().as_chunks::<3>().0.iter().map(|p| p[0]).collect();
            (turned.width(), turned.height(), values)
        };
        assert_eq!(seen(0), (3, 2, vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(seen(1), (2, 3, vec![3, 0, 4, 1, 5, 2]));
        assert_eq!(seen(2), (3, 2, vec![5, 4, 3, 2, 1, 0]));
        assert_eq!(seen(3), (2, 3, vec![2, 5, 1, 4, 0, 3]));
        assert_eq!(image.turned(3).turned(1).pixels(), image.pixels());
    }

    #[test]
    fn crops_stay_inside_and_small() {
        let image = gradient(200, 100);
        let face = BoundingBox { x: 150.0, y: 50.0, width: 100.0, height: 100.0 };
        let crop =
            Image::decode(&image.crop_jpeg(face, 0.1, 1000, 90).unwrap(), &DecodeLimits::default()).unwrap();
        assert_eq!((crop.width(), crop.height()), (60, 60));
        let crop =
            Image::decode(&image.crop_jpeg(face, 0.1, 30, 90).unwrap(), &DecodeLimits::default()).unwrap();
        assert_eq!((crop.width(), crop.height()), (30, 30));
        let outside = BoundingBox { x: 300.0, ..face };
        assert_eq!(image.crop_jpeg(outside, 0.1, 30, 90), Err(ImageError::CropOutside));
        let nonsense = BoundingBox { width: f32::NAN, ..face };
        assert_eq!(image.crop_jpeg(nonsense, 0.1, 30, 90), Err(ImageError::CropOutside));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0usize..400, value: u8, cut in 0usize..600) {
            let mut file = jpeg(&gradient(40, 30));
            let at = at % file.len();
            file[at] = value;
            file.truncate(cut.max(3));
            let small = DecodeLimits { max_side: 256, max_pixels: 1 << 16, ..DecodeLimits::default() };
            let _ = Image::decode(&file, &small);
        }
    }
}
