use std::borrow::Cow;

use crate::{
    BoundingBox, DecodeLimits, Image, ImageError, Point,
    image::{checked, guarded},
    jpeg,
};

/// An encoded picture that is decoded only as far as it is needed: a large JPEG at half its size,
/// and as a whole when something in it is too small for that.
pub struct Picture<'a> {
    bytes: &'a [u8],
    limits: DecodeLimits,
    width: u32,
    height: u32,
    /// What is decoded, and how many of the picture's pixels one of its pixels covers a side.
    image: Cow<'a, Image>,
    scale: f32,
}

impl<'a> Picture<'a> {
    /// Decodes a picture at half its size, if it is a JPEG whose longer side then still has
    /// `least_side` pixels, and as a whole otherwise.
    ///
    /// # Errors
    /// Those of [`Image::decode`].
    pub fn open(bytes: &'a [u8], limits: &DecodeLimits, least_side: u32) -> Result<Self, ImageError> {
        let limits = *limits;
        let halved = guarded(|| half(bytes, &limits, least_side))?;
        let (image, scale, (width, height)) = match halved {
            Some((image, size)) => (image, 2.0, size),
            None => {
                let image = Image::decode(bytes, &limits)?;
                let size = (image.width(), image.height());
                (image, 1.0, size)
            }
        };
        Ok(Self { bytes, limits, width, height, image: Cow::Owned(image), scale })
    }

    /// A picture that is decoded already.
    pub(crate) fn whole(image: &'a Image) -> Self {
        let (width, height) = (image.width(), image.height());
        let limits = DecodeLimits::default();
        Self { bytes: &[], limits, width, height, image: Cow::Borrowed(image), scale: 1.0 }
    }

    /// Width in pixels of the whole picture.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels of the whole picture.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// As [`Image::crop_jpeg`], for a box in pixels of the whole picture.
    ///
    /// # Errors
    /// `CropOutside`, `Encode`.
    pub fn crop_jpeg(
        &mut self,
        bounding_box: BoundingBox,
        margin: f32,
        max_side: u32,
        quality: u8,
    ) -> Result<Vec<u8>, ImageError> {
        // What is made smaller than the half picture's pixels needs no others.
        let longest = bounding_box.width.max(bounding_box.height) * (1.0 + 2.0 * margin);
        if longest < max_side as f32 * self.scale {
            self.complete();
        }
        let b = bounding_box;
        let [x, y, width, height] = [b.x, b.y, b.width, b.height].map(|v| v / self.scale);
        self.image.crop_jpeg(BoundingBox { x, y, width, height }, margin, max_side, quality)
    }

    /// What is decoded so far.
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Pixels of the whole picture that a decoded pixel covers a side.
    pub(crate) const fn scale(&self) -> f32 {
        self.scale
    }

    /// A point of the whole picture in pixels of what is decoded. Pixels are counted at their
    /// centres.
    pub(crate) fn place(&self, point: Point) -> Point {
        let shift = (1.0 - 1.0 / self.scale) / 2.0;
        Point { x: point.x / self.scale - shift, y: point.y / self.scale - shift }
    }

    /// The reverse of [`place`](Self::place).
    pub(crate) fn whole_place(&self, point: Point) -> Point {
        let shift = (self.scale - 1.0) / 2.0;
        Point { x: point.x * self.scale + shift, y: point.y * self.scale + shift }
    }

    /// Decodes the whole picture. Where that fails, though half of it could be decoded, the half
    /// stays.
    pub(crate) fn complete(&mut self) {
        if self.scale > 1.0
            && let Ok(image) = Image::decode(self.bytes, &self.limits)
            && (image.width(), image.height()) == (self.width, self.height)
        {
            (self.image, self.scale) = (Cow::Owned(image), 1.0);
        }
    }
}

impl std::fmt::Debug for Picture<'_> {
    /// Shows the size only: pictures of people must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

/// A half picture and the size of the whole one.
type Half = (Image, (u32, u32));

/// `None` where a picture can't or should not be halved.
fn half(bytes: &[u8], limits: &DecodeLimits, least_side: u32) -> Result<Option<Half>, ImageError> {
    let Some(jpeg) = jpeg::open(bytes) else { return Ok(None) };
    let size = (jpeg.width as u32, jpeg.height as u32);
    if size.0.max(size.1) / 2 < least_side {
        return Ok(None);
    }
    checked(bytes.len(), size, limits)?;
    let Some(half) = jpeg::decode(&jpeg) else { return Ok(None) };
    Ok(Some((Image::from_rgb8(half.width as u32, half.height as u32, half.pixels)?, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: &[u8] = include_bytes!("../tests/golden/shapes-420.jpg");

    #[test]
    fn only_what_is_large_is_halved() {
        let limits = DecodeLimits::default();
        let whole = Picture::open(SHAPES, &limits, 49).unwrap();
        assert_eq!((whole.scale(), whole.width(), whole.image().width()), (1.0, 97, 97));
        let mut half = Picture::open(SHAPES, &limits, 48).unwrap();
        assert_eq!((half.scale(), half.width(), half.image().width()), (2.0, 97, 49));
        assert_eq!(half.place(Point { x: 0.5, y: 10.5 }), Point { x: 0.0, y: 5.0 });
        assert_eq!(half.whole_place(Point { x: 0.0, y: 5.0 }), Point { x: 0.5, y: 10.5 });
        half.complete();
        assert_eq!((half.scale(), half.image().width()), (1.0, 97));
        assert_eq!(half.image().pixels(), whole.image().pixels());
    }

    #[test]
    fn crops_have_the_detail_that_they_can_have() {
        let limits = DecodeLimits::default();
        let face = BoundingBox { x: 20.0, y: 10.0, width: 40.0, height: 40.0 };
        let side = |max_side: u32| {
            let mut picture = Picture::open(SHAPES, &limits, 48).unwrap();
            let crop = picture.crop_jpeg(face, 0.0, max_side, 90).unwrap();
            (Image::decode(&crop, &limits).unwrap().width(), picture.scale())
        };
        assert_eq!(side(16), (16, 2.0));
        assert_eq!(side(100), (40, 1.0));
    }

    #[test]
    fn limits_hold() {
        let small = DecodeLimits { max_side: 96, ..DecodeLimits::default() };
        assert_eq!(Picture::open(SHAPES, &small, 10).unwrap_err().reason(), "IMAGE_TOO_LARGE");
        let short = DecodeLimits { max_bytes: 100, ..DecodeLimits::default() };
        assert_eq!(Picture::open(SHAPES, &short, 10).unwrap_err().reason(), "IMAGE_TOO_LARGE");
        assert_eq!(Picture::open(b"", &small, 10).unwrap_err().reason(), "IMAGE_EMPTY");
    }
}
