//! Ways to hand pictures to others: files and an MJPEG stream.

mod directory;
mod mjpeg;

pub use directory::{Progress, TruthLine, write_film, write_portraits, write_roster};
pub use mjpeg::MjpegServer;

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

/// Quality of JPEG files, 1 to 100: what cameras write.
pub const JPEG_QUALITY: u8 = 90;

/// Why a picture could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A file or folder could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A picture could not be encoded.
    #[error("cannot encode a picture")]
    Encode(#[from] image::ImageError),
    /// The truth could not be encoded.
    #[error("cannot encode the truth")]
    Truth(#[from] serde_json::Error),
}

/// A picture as the bytes of a JPEG file.
///
/// # Errors
/// [`OutputError::Encode`] for a picture without pixels.
pub fn jpeg(image: &RgbImage) -> Result<Vec<u8>, OutputError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(image)?;
    Ok(bytes)
}
