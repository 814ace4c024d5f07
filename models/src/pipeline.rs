//! From a picture to its embedded faces.

use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

use crate::{
    ComputeDevice, DecodeLimits, Face, Image, ImageError, LivenessCalibration, Pack, Picture, VisionError,
    detect::Detection,
    detector::Detector,
    pack::manifest::LONG_SIDES,
    reader::Reader,
    refiner::{Refiner, is_face, least_score},
};

/// Sizes, thresholds and resources of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PipelineOptions {
    /// The longer side to which a picture is scaled for the detector, in pixels; what the pack says
    /// where `None`.
    pub detect_long_side: Option<u32>,
    /// Faces below this detector score are not reported, 0 to 1.
    pub min_score: f32,
    /// Most faces of one picture; the largest are kept.
    pub max_faces: usize,
    /// Threads that work on one picture, the caller's included.
    pub threads: usize,
    /// On what the networks run.
    pub device: ComputeDevice,
    /// What liveness scores mean at the camera; without, faces have the networks' own.
    pub liveness: Option<LivenessCalibration>,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            detect_long_side: None,
            min_score: 0.6,
            max_faces: 256,
            threads: 1,
            device: ComputeDevice::Cpu,
            liveness: None,
        }
    }
}

/// Most detections that are looked at more closely; the largest.
const MOST_DETECTIONS: usize = 512;

/// Finds the faces of pictures and embeds them. One picture at a time; it can move between threads.
pub struct FacePipeline {
    options: PipelineOptions,
    detector: Detector,
    refiner: Option<Refiner>,
    /// One for each thread, so that several faces are read at once.
    readers: Vec<Reader>,
    /// The threads beside the caller's, where more than one was asked for.
    pool: Option<ThreadPool>,
    /// Whether the last picture had faces that are too small in a picture of half the size: the
    /// next one of the same camera likely has, too, and is then decoded once instead of twice.
    whole: bool,
}

impl FacePipeline {
    /// Loads the networks of a pack.
    ///
    /// # Errors
    /// `Pack` where a file changed since the pack was opened, `Option`, `Network`.
    pub fn new(pack: &Pack, options: PipelineOptions) -> Result<Self, VisionError> {
        let wrong = |option, problem: &str| VisionError::Option { option, problem: problem.to_owned() };
        if options.detect_long_side.is_some_and(|side| !LONG_SIDES.contains(&side)) {
            return Err(wrong("detect_long_side", "must be between 32 and 4096 pixels"));
        }
        if !(0.0..=1.0).contains(&options.min_score) {
            return Err(wrong("min_score", "must be between 0 and 1"));
        }
        if !(1..=256).contains(&options.threads) {
            return Err(wrong("threads", "must be between 1 and 256"));
        }
        let detector = Detector::new(pack, &options)?;
        let mut refiner = Refiner::new(pack, options.device)?;
        if let Some(refiner) = &mut refiner {
            refiner.set_threads(options.threads);
        }
        let readers =
            (0..options.threads).map(|_| Reader::new(pack, options.device)).collect::<Result<_, _>>()?;
        let pool =
            (options.threads > 1).then(|| ThreadPoolBuilder::new().num_threads(options.threads).build());
        let pool = pool.transpose().map_err(|e| wrong("threads", &e.to_string()))?;
        Ok(Self { options, detector, refiner, readers, pool, whole: false })
    }

    /// Decodes a picture for [`analyze_picture`](Self::analyze_picture), as far as this pipeline's
    /// detector needs it.
    ///
    /// # Errors
    /// Those of [`Image::decode`].
    pub fn open<'a>(&self, bytes: &'a [u8], limits: &DecodeLimits) -> Result<Picture<'a>, ImageError> {
        let least_side = if self.whole { u32::MAX } else { self.detector.long_side() };
        Picture::open(bytes, limits, least_side)
    }

    /// The faces of a picture in pixels of the whole picture, largest first; none is no error. If
    /// some are too small in what is decoded, the whole picture is decoded for them.
    ///
    /// # Errors
    /// `Network` or `Embedding`, which a valid pack never gives.
    pub fn analyze_picture(&mut self, picture: &mut Picture<'_>) -> Result<Vec<Face>, VisionError> {
        let Self { options, detector, refiner, readers, pool, whole } = self;
        let mut work = || {
            let least = if refiner.is_some() { least_score(options.min_score) } else { options.min_score };
            let mut found = detector.detect(picture.image(), least)?;
            found.iter_mut().for_each(|d| d.grow(picture.scale()));
            found.sort_by(|a, b| b.bounding_box.area().total_cmp(&a.bounding_box.area()));
            found.truncate(MOST_DETECTIONS);
            // What is less is a face only if the refiner says so: none that is too small.
            let sure = |d: &&Detection| d.score >= options.min_score;
            *whole = readers.first().is_some_and(|r| found.iter().filter(sure).any(|d| r.needs_whole(d)));
            if *whole {
                picture.complete();
            }
            if let Some(refiner) = refiner {
                refiner.refine(picture, &mut found)?;
                found.retain(|detection| is_face(detection, options.min_score));
            }
            found.truncate(options.max_faces);
            let mut faces = read(picture, &found, readers)?;
            if let Some(calibration) = options.liveness {
                faces.iter_mut().for_each(|f| f.liveness = f.liveness.map(|live| calibration.apply(live)));
            }
            Ok(faces)
        };
        match pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Detector score from which faces are reported.
    pub(crate) fn min_score(&self) -> f32 {
        self.options.min_score
    }

    /// Whether the pack has a refiner.
    pub(crate) fn is_refined(&self) -> bool {
        self.refiner.is_some()
    }

    /// Where faces are in a picture, which is not read further.
    ///
    /// # Errors
    /// `Network`, which a valid pack never gives.
    pub(crate) fn find(&mut self, image: &Image, min_score: f32) -> Result<Vec<Detection>, VisionError> {
        let Self { options, detector, refiner, pool, .. } = self;
        let mut work = || {
            let mut found = detector.detect(image, min_score)?;
            found.truncate(options.max_faces);
            if let Some(refiner) = refiner {
                refiner.refine(&Picture::whole(image), &mut found)?;
            }
            Ok(found)
        };
        match pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// As [`analyze_picture`](Self::analyze_picture), for a decoded picture.
    ///
    /// # Errors
    /// As [`analyze_picture`](Self::analyze_picture).
    pub fn analyze(&mut self, image: &Image) -> Result<Vec<Face>, VisionError> {
        self.analyze_picture(&mut Picture::whole(image))
    }
}

/// Reads all faces: side by side where there are several, each with all threads where there is one.
fn read(
    picture: &Picture<'_>,
    found: &[Detection],
    readers: &mut [Reader],
) -> Result<Vec<Face>, VisionError> {
    let threads = readers.len();
    if found.len() < 2 || threads == 1 {
        let Some(reader) = readers.first_mut() else { return Ok(vec![]) };
        reader.set_threads(threads);
        return reader.read(picture, found);
    }
    let parts = found.par_chunks(found.len().div_ceil(threads));
    let parts = readers.par_iter_mut().zip(parts).map(|(reader, part)| {
        reader.set_threads(1);
        reader.read(picture, part)
    });
    Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
