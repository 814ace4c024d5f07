//! Pictures of an item: read, and made into what the terminal draws.

use std::{io::Cursor, sync::Arc};

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, ImageReader, Limits, imageops::FilterType};
use ratatui::layout::Size;
use ratatui_image::{Resize, picker::Picker, protocol::Protocol};

use super::item::Item;

/// Longest side of a picture that is read, in pixels: many times what devices send.
const MOST_SIDE: u32 = 4096;

/// A JPEG as the server gave it; `None` where it has none.
type Jpeg = Option<Bytes>;

/// The pictures of an item, as files.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) face: Jpeg,
    /// Of each candidate.
    pub(super) portraits: Vec<Jpeg>,
}

/// A picture, where there is one and it can be read.
#[derive(Debug)]
pub(super) enum Picture<T> {
    /// None was kept.
    None,
    /// Why it can't be shown.
    Unreadable(String),
    There(T),
}

impl<T> Picture<T> {
    fn map<U>(&self, map: impl FnOnce(&T) -> Result<U, String>) -> Picture<U> {
        match self {
            Self::None => Picture::None,
            Self::Unreadable(why) => Picture::Unreadable(why.clone()),
            Self::There(picture) => map(picture).map_or_else(Picture::Unreadable, Picture::There),
        }
    }
}

/// The pictures of an item.
#[derive(Debug)]
pub(super) struct Pictures<T> {
    pub(super) face: Picture<T>,
    /// Of each candidate.
    pub(super) portraits: Vec<Picture<T>>,
}

impl<T> Pictures<T> {
    /// Where nobody wants to see any.
    pub(super) const fn none() -> Self {
        Self { face: Picture::None, portraits: Vec::new() }
    }

    /// Where a library broke down over them.
    pub(super) fn unreadable() -> Self {
        Self { face: Picture::Unreadable("the reader broke down".to_owned()), portraits: Vec::new() }
    }
}

/// Pixels.
pub(super) type Decoded = Pictures<DynamicImage>;
/// What the terminal draws, for areas of one size.
pub(super) type Drawn = Pictures<Protocol>;

/// The places of an item's pictures, in cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) face: Size,
    /// Of those candidates that there is room for.
    pub(super) portraits: Vec<Size>,
}

/// Reads pictures.
pub(super) fn decode(files: &Files) -> Decoded {
    Pictures { face: decoded(&files.face), portraits: files.portraits.iter().map(decoded).collect() }
}

/// Makes of pictures what a terminal draws.
pub(super) fn draw(decoded: &Decoded, picker: &Picker, sizes: &Sizes) -> Drawn {
    let fit = |image: &DynamicImage, size: Size| {
        let scale = Resize::Scale(Some(FilterType::Triangle));
        picker.new_protocol(image.clone(), size, scale).map_err(|error| error.to_string())
    };
    let portraits = decoded.portraits.iter().zip(&sizes.portraits);
    Pictures {
        face: decoded.face.map(|image| fit(image, sizes.face)),
        portraits: portraits.map(|(picture, size)| picture.map(|image| fit(image, *size))).collect(),
    }
}

fn decoded(jpeg: &Jpeg) -> Picture<DynamicImage> {
    match jpeg {
        None => Picture::None,
        Some(bytes) => {
            read(bytes).map_or_else(|error| Picture::Unreadable(error.to_string()), Picture::There)
        }
    }
}

fn read(bytes: &Bytes) -> Result<DynamicImage, image::ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Jpeg);
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MOST_SIDE), Some(MOST_SIDE));
    reader.limits(limits);
    reader.decode()
}

/// What has become of an item's pictures.
pub(super) enum Loaded {
    /// They are under way.
    Loading,
    /// They did not come.
    Failed(String),
    There {
        decoded: Arc<Decoded>,
        drawn: Drawn,
        /// The size of the screen that they fit.
        fits: Size,
    },
}

/// The files of an item, of what the server has of its candidates.
pub(super) fn files(item: &Item, evidence: Bytes, portraits: &[(String, Bytes)]) -> Files {
    let there = |bytes: &Bytes| (!bytes.is_empty()).then(|| bytes.clone());
    let of = |student: &str| portraits.iter().find(|(id, _)| id == student).and_then(|(_, jpeg)| there(jpeg));
    Files {
        face: there(&evidence),
        portraits: item.candidates.iter().map(|candidate| of(&candidate.student)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_is_told() {
        let files = Files { face: Some(Bytes::from_static(b"no picture")), portraits: vec![None] };
        let decoded = decode(&files);
        assert!(matches!(&decoded.face, Picture::Unreadable(why) if !why.is_empty()));
        let sizes = Sizes { face: Size::new(8, 4), portraits: vec![Size::new(4, 2)] };
        let drawn = draw(&decoded, &Picker::halfblocks(), &sizes);
        assert!(matches!(drawn.face, Picture::Unreadable(_)));
        assert!(matches!(drawn.portraits.as_slice(), [Picture::None]));
    }
}
