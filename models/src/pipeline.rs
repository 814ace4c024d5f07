//! From a picture to its embedded faces.

use cavs_embedding::UnitEmbedding;
use cavs_resample::Resizer;

use crate::{
    Face, Image, Pack, Point, VisionError,
    align::{Similarity2, warp},
    detect::{self, Detection, Maps},
    network::Network,
    pack::manifest::{ColorOrder, DetectorEntry, DetectorKind, DetectorLevel, Normalization},
    quality,
};

/// Both detector families have strides up to 32.
const DETECTOR_MULTIPLE: usize = 32;

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
    embedder: Embedder,
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
        let detector = Detector::new(pack)?;
        let embedder = Embedder::new(pack)?;
        Ok(Self { options, detector, embedder })
    }

    /// The faces of a picture, largest first; none is no error.
    ///
    /// # Errors
    /// `Network` or `Embedding`, which a valid pack never gives.
    pub fn analyze(&mut self, image: &Image) -> Result<Vec<Face>, VisionError> {
        let mut found = self.detector.detect(image, &self.options)?;
        found.sort_by(|a, b| b.bounding_box.area().total_cmp(&a.bounding_box.area()));
        found.truncate(self.options.max_faces);
        let mut faces = Vec::with_capacity(found.len());
        for detection in found {
            // Landmarks that coincide can't be aligned: no face that anyone could recognise.
            let Some(transform) = Similarity2::from_template(&detection.landmarks, self.embedder.side) else {
                continue;
            };
            let embedding = self.embedder.embed(image, &transform)?;
            let Detection { bounding_box, landmarks, score } = detection;
            let quality =
                quality::measure(&bounding_box, &landmarks, &self.embedder.aligned, self.embedder.side);
            faces.push(Face { bounding_box, landmarks, score, quality, embedding, liveness: None });
        }
        Ok(faces)
    }
}

/// The detector with its buffers.
struct Detector {
    network: Network,
    kind: DetectorKind,
    input: Normalization,
    levels: Vec<(DetectorLevel, [usize; 3], Option<usize>)>,
    resizer: Resizer,
    scaled: Vec<u8>,
    tensor: Vec<f32>,
}

impl Detector {
    fn new(pack: &Pack) -> Result<Self, VisionError> {
        let DetectorEntry { architecture, input, files, levels } = &pack.manifest().detector;
        let network = Network::load(pack, "detector", files)?;
        let named = levels.iter().map(|level| {
            let maps = [&level.score, &level.boxes, &level.landmarks];
            let [scores, boxes, landmarks] = maps.map(|name| network.output(name));
            let objectness = level.objectness.as_ref().map(|name| network.output(name)).transpose()?;
            Ok((level.clone(), [scores?, boxes?, landmarks?], objectness))
        });
        let levels = named.collect::<Result<_, VisionError>>()?;
        let (kind, input) = (*architecture, *input);
        Ok(Self { network, kind, input, levels, resizer: Resizer::default(), scaled: vec![], tensor: vec![] })
    }

    /// Faces in pixels of the picture, strongest first.
    fn detect(&mut self, image: &Image, options: &PipelineOptions) -> Result<Vec<Detection>, VisionError> {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let fixed = self.network.input();
        let scale = match fixed {
            [0, _] | [_, 0] => options.detect_long_side as f32 / width.max(height),
            [h, w] => (h as f32 / height).min(w as f32 / width),
        };
        let side = |length: f32| ((length * scale).round() as usize).max(1);
        let (w, h) = (side(width), side(height));
        let padded = match fixed {
            [0, _] | [_, 0] => [h, w].map(|d| d.next_multiple_of(DETECTOR_MULTIPLE)),
            fixed => fixed,
        };
        self.scaled.resize(w * h * 3, 0);
        let resized = self
            .resizer
            .resize((image.width(), image.height(), image.pixels()), (w as u32, h as u32, &mut self.scaled));
        resized.map_err(|e| VisionError::network("detector", e))?;
        // The rest of the input is black.
        self.tensor.clear();
        self.tensor.resize(3 * padded[0] * padded[1], -self.input.mean / self.input.deviation);
        let plane = padded[0] * padded[1];
        for (row, line) in self.scaled.chunks_exact(w * 3).enumerate() {
            for (column, pixel) in line.as_chunks::<3>().0.iter().enumerate() {
                place(&mut self.tensor, plane, row * padded[1] + column, pixel.map(f32::from), &self.input);
            }
        }
        let outputs = self.network.run_channels_last(&self.tensor, [3, padded[0], padded[1]])?;

        let mut found = vec![];
        for (level, [scores, boxes, landmarks], objectness) in &self.levels {
            let maps = Maps {
                stride: level.stride,
                scores: &outputs[*scores].data,
                objectness: objectness.map(|o| &outputs[o].data[..]),
                boxes: &outputs[*boxes].data,
                landmarks: &outputs[*landmarks].data,
            };
            if !detect::fits(self.kind, level, &maps, padded) {
                return Err(VisionError::network(
                    "detector",
                    format!("the maps of stride {} do not fit", level.stride),
                ));
            }
            detect::decode(self.kind, &maps, padded[1], options.min_score, &mut found);
        }
        detect::suppress(&mut found);
        let (sx, sy) = (width / w as f32, height / h as f32);
        for d in &mut found {
            d.bounding_box.x *= sx;
            d.bounding_box.width *= sx;
            d.bounding_box.y *= sy;
            d.bounding_box.height *= sy;
            d.landmarks = d.landmarks.map(|p| Point { x: p.x * sx, y: p.y * sy });
        }
        Ok(found)
    }
}

/// The embedder with its buffers.
struct Embedder {
    network: Network,
    side: usize,
    input: Normalization,
    aligned: Vec<[f32; 3]>,
    tensor: Vec<f32>,
}

impl Embedder {
    fn new(pack: &Pack) -> Result<Self, VisionError> {
        let entry = &pack.manifest().embedder;
        let network = Network::load(pack, "embedder", &entry.files)?;
        let (side, input) = (entry.side, entry.input);
        if network.input() != [side, side] {
            return Err(VisionError::network("embedder", "the side in pack.toml is not the network's"));
        }
        Ok(Self {
            network,
            side,
            input,
            aligned: vec![[0.0; 3]; side * side],
            tensor: vec![0.0; 3 * side * side],
        })
    }

    fn embed(&mut self, image: &Image, transform: &Similarity2) -> Result<UnitEmbedding, VisionError> {
        warp(image, transform, self.side, &mut self.aligned);
        let plane = self.side * self.side;
        for (at, pixel) in self.aligned.iter().enumerate() {
            place(&mut self.tensor, plane, at, *pixel, &self.input);
        }
        let mut outputs = self.network.run(&self.tensor, [3, self.side, self.side])?;
        let output = outputs.pop().ok_or_else(|| VisionError::network("embedder", "there is no output"))?;
        Ok(UnitEmbedding::normalize(output.data)?)
    }
}

/// Puts one normalised pixel into three planes.
fn place(tensor: &mut [f32], plane: usize, at: usize, [r, g, b]: [f32; 3], input: &Normalization) {
    let ordered = match input.color {
        ColorOrder::Rgb => [r, g, b],
        ColorOrder::Bgr => [b, g, r],
    };
    for (channel, value) in ordered.into_iter().enumerate() {
        tensor[channel * plane + at] = (value - input.mean) / input.deviation;
    }
}
