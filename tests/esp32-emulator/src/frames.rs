use std::time::Duration;

use bytes::Bytes;
use image::{ExtendedColorType, RgbImage, codecs::jpeg::JpegEncoder};
use synthface::{Classroom, Roster, Settings};

/// What cameras show: pictures of the synthetic classroom, as JPEG, over and over.
#[derive(Debug, Clone)]
pub struct FrameLoop {
    frames: Vec<Bytes>,
}

/// Whose pictures are rendered, and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameLoopOptions {
    /// Seed of the roster: `synthface roster --seed` of the same number makes the portraits.
    pub seed: u64,
    /// Students in the room.
    pub students: usize,
    /// Width and height, in pixels. An OV2640 gives 800x600 as SVGA.
    pub size: [u32; 2],
    /// Pictures until it begins again.
    pub frames: u32,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

impl Default for FrameLoopOptions {
    fn default() -> Self {
        Self { seed: 7, students: 4, size: [800, 600], frames: 8, quality: 75 }
    }
}

/// Why there are no pictures.
#[derive(Debug, thiserror::Error)]
pub enum FrameLoopError {
    /// The roster can't be made.
    #[error(transparent)]
    Roster(#[from] synthface::RosterError),
    /// The classroom can't be made.
    #[error(transparent)]
    Settings(#[from] synthface::SettingsError),
    /// A picture can't be encoded.
    #[error(transparent)]
    Image(#[from] image::ImageError),
    /// The list of pictures is empty.
    #[error("a frame loop needs a picture")]
    Empty,
}

impl FrameLoop {
    /// Renders it: about a tenth of a second of processor time for a picture.
    ///
    /// # Errors
    /// The options make no sense.
    pub fn render(options: &FrameLoopOptions) -> Result<Self, FrameLoopError> {
        let roster = Roster::generate(options.seed, options.students, 0)?;
        // In the middle of the lesson everybody sits.
        let settings =
            Settings { size: options.size, duration: Duration::from_secs(120), ..Settings::default() };
        let classroom = Classroom::new(&roster, &settings)?;
        let frames = (0..options.frames).map(|number| {
            let at = Duration::from_secs(40) + Duration::from_secs(40) * number / options.frames;
            encode(&classroom.frame(at).image, options.quality)
        });
        Self::of(frames.collect::<Result<_, _>>()?)
    }

    /// Shows JPEG files that are there already.
    ///
    /// # Errors
    /// `Empty`.
    pub fn of(frames: Vec<Bytes>) -> Result<Self, FrameLoopError> {
        if frames.is_empty() { Err(FrameLoopError::Empty) } else { Ok(Self { frames }) }
    }

    /// The picture of this number.
    #[must_use]
    pub fn frame(&self, number: u64) -> Bytes {
        let count = self.frames.len() as u64;
        usize::try_from(number % count.max(1))
            .ok()
            .and_then(|at| self.frames.get(at))
            .cloned()
            .unwrap_or_default()
    }
}

fn encode(picture: &RgbImage, quality: u8) -> Result<Bytes, FrameLoopError> {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality).encode(
        picture.as_raw(),
        picture.width(),
        picture.height(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(file.into())
}
