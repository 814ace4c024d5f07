//! From a picture to its embedded faces.

use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

use crate::{Face, Image, Pack, VisionError, detect::Detection, detector::Detector, reader::Reader};

/// How a pipeline works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PipelineOptions {
    /// The longer side to which a picture is scaled for the detector, in pixels.
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
    detector: Detector,
    /// One for each thread, so that several faces are read at once.
    readers: Vec<Reader>,
    /// The threads beside the caller's, where more than one was asked for.
    pool: Option<ThreadPool>,
}

impl FacePipeline {
    /// Loads the networks of a pack.
    ///
    /// # Errors
    /// `Pack` where a file changed since the pack was opened, `Option`, `Network`.
    pub fn new(pack: &Pack, options: PipelineOptions) -> Result<Self, VisionError> {
        let wrong = |option, problem: &str| VisionError::Option { option, problem: problem.to_owned() };
        if !(32..=4096).contains(&options.detect_long_side) {
            return Err(wrong("detect_long_side", "must be between 32 and 4096 pixels"));
        }
        if !(0.0..=1.0).contains(&options.min_score) {
            return Err(wrong("min_score", "must be between 0 and 1"));
        }
        if !(1..=256).contains(&options.threads) {
            return Err(wrong("threads", "must be between 1 and 256"));
        }
        let detector = Detector::new(pack, options.threads)?;
        let readers = (0..options.threads).map(|_| Reader::new(pack)).collect::<Result<_, _>>()?;
        let pool =
            (options.threads > 1).then(|| ThreadPoolBuilder::new().num_threads(options.threads).build());
        let pool = pool.transpose().map_err(|e| wrong("threads", &e.to_string()))?;
        Ok(Self { options, detector, readers, pool })
    }

    /// The faces of a picture, largest first; none is no error.
    ///
    /// # Errors
    /// `Network` or `Embedding`, which a valid pack never gives.
    pub fn analyze(&mut self, image: &Image) -> Result<Vec<Face>, VisionError> {
        let Self { options, detector, readers, pool } = self;
        let mut work = || {
            let mut found = detector.detect(image, options)?;
            found.sort_by(|a, b| b.bounding_box.area().total_cmp(&a.bounding_box.area()));
            found.truncate(options.max_faces);
            read(image, &found, readers)
        };
        match pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// Reads all faces: side by side where there are several, each with all threads where there is one.
fn read(image: &Image, found: &[Detection], readers: &mut [Reader]) -> Result<Vec<Face>, VisionError> {
    let threads = readers.len();
    let serial = |reader: &mut Reader, part: &[Detection]| -> Result<Vec<Face>, VisionError> {
        part.iter().filter_map(|d| reader.read(image, d).transpose()).collect()
    };
    if found.len() < 2 || threads == 1 {
        let Some(reader) = readers.first_mut() else { return Ok(vec![]) };
        reader.set_threads(threads);
        return serial(reader, found);
    }
    let parts = found.par_chunks(found.len().div_ceil(threads));
    let parts = readers.par_iter_mut().zip(parts).map(|(reader, part)| {
        reader.set_threads(1);
        serial(reader, part)
    });
    Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
