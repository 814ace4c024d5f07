//! The detector of a pack: from a picture to faces in its pixels.

use cavs_resample::Resizer;

use crate::{
    Image, Pack, PipelineOptions, Point, VisionError,
    detect::{self, Detection, Maps},
    network::{Network, pixels},
    pack::manifest::{DetectorEntry, DetectorKind, DetectorLevel},
};

/// Both detector families have strides up to 32.
const DETECTOR_MULTIPLE: usize = 32;

/// Pictures that are shrunk further than this are averaged. Above it they are sampled, as OpenCV's
/// pipeline does with which the detectors' authors measured them; that finds the same faces.
const AVERAGE_BELOW: f32 = 0.3;

/// Most looks at a picture.
const LOOKS: u32 = 3;

/// The longer side to which pictures are scaled where neither the caller nor the pack says so.
const LONG_SIDE: u32 = 640;

/// What a picture is scaled by for the next look. By a half, a face that lies between two cells of the
/// network, where it is seen worst, would do so again.
const FURTHER: (u32, u32) = (3, 8);

/// Smallest faces that a further look answers for, as part of the largest ones: less than [`FURTHER`],
/// so that a face at the limit is in one of the two looks, whatever each takes its size to be.
const LEAST_OF_LOOK: f32 = 0.3;

/// The detector with its buffers.
pub(crate) struct Detector {
    network: Network,
    kind: DetectorKind,
    /// Longest side of the faces that the network was made for, in pixels of its input.
    largest_face: f32,
    /// The longer side to which a picture is scaled first.
    long_side: u32,
    levels: Vec<(DetectorLevel, [usize; 3], Option<usize>)>,
    resizer: Resizer,
}

impl Detector {
    /// Loads the detector of a pack.
    ///
    /// # Errors
    /// `Pack`, `Network`.
    pub(crate) fn new(pack: &Pack, options: &PipelineOptions) -> Result<Self, VisionError> {
        let DetectorEntry { architecture, largest_face, long_side, input, files, levels } =
            &pack.manifest().detector;
        let mut network = Network::load(pack, "detector", files, *input, options.device)?;
        network.set_threads(options.threads);
        network.set_multiple(DETECTOR_MULTIPLE);
        let named = levels.iter().map(|level| {
            let maps = [&level.score, &level.boxes, &level.landmarks];
            let [scores, boxes, landmarks] = maps.map(|name| network.output(name));
            let objectness = level.objectness.as_ref().map(|name| network.output(name)).transpose()?;
            Ok((level.clone(), [scores?, boxes?, landmarks?], objectness))
        });
        let levels = named.collect::<Result<_, VisionError>>()?;
        let kind = *architecture;
        let largest_face = largest_face.unwrap_or(f32::INFINITY);
        let long_side = match fixed_side(&network) {
            Some(side) => side,
            None => options.detect_long_side.or(*long_side).unwrap_or(LONG_SIDE),
        };
        Ok(Self { network, kind, largest_face, long_side, levels, resizer: Resizer::default() })
    }

    /// The longer side to which a picture is scaled first, in pixels.
    pub(crate) fn long_side(&self) -> u32 {
        self.long_side
    }

    /// Faces in pixels of the picture.
    ///
    /// A face can be too large for a small network. Where nothing is found, and where something is
    /// larger than the network was made for, the picture is looked at from further away, which takes a
    /// seventh of the time. Each look answers for the faces of its size.
    ///
    /// # Errors
    /// `Network`, which a valid pack never gives.
    pub(crate) fn detect(&mut self, image: &Image, min_score: f32) -> Result<Vec<Detection>, VisionError> {
        let long_side = image.width().max(image.height()) as f32;
        let looks = if fixed_side(&self.network).is_none() { LOOKS } else { 1 };
        // The better a face was seen, the further in front.
        let (mut found, mut too_large) = (vec![], vec![]);
        let mut side = self.long_side;
        for detect_at in 0..looks {
            let largest = self.largest_face * long_side / side as f32;
            let (fitting, larger): (Vec<_>, Vec<_>) = self
                .detect_at(image, side, min_score)?
                .into_iter()
                .partition(|d| d.bounding_box.long_side() < largest);
            let done = larger.is_empty() && !(fitting.is_empty() && found.is_empty());
            // What is much smaller was no trouble to the look before.
            let least = if detect_at == 0 || largest.is_infinite() { 0.0 } else { LEAST_OF_LOOK * largest };
            found.extend(fitting.into_iter().filter(|d| d.bounding_box.long_side() >= least));
            too_large.splice(0..0, larger);
            if done {
                break;
            }
            side = (side * FURTHER.0 / FURTHER.1).max(DETECTOR_MULTIPLE as u32);
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.extend(too_large);
        detect::keep_first(&mut found);
        Ok(found)
    }

    /// Faces as the network sees them where the picture's longer side is scaled to `long_side`.
    fn detect_at(
        &mut self,
        image: &Image,
        long_side: u32,
        min_score: f32,
    ) -> Result<Vec<Detection>, VisionError> {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let fixed = self.network.input();
        let scale = match fixed {
            [0, _] | [_, 0] => long_side as f32 / width.max(height),
            [h, w] => (h as f32 / height).min(w as f32 / width),
        };
        let side = |length: f32| ((length * scale).round() as usize).max(1);
        let (w, h) = (side(width), side(height));
        let mut scaled = vec![0; w * h * 3];
        let from = (image.width(), image.height(), image.pixels());
        let to = (w as u32, h as u32, &mut scaled[..]);
        let resized =
            if scale < AVERAGE_BELOW { self.resizer.resize(from, to) } else { self.resizer.sample(from, to) };
        resized.map_err(|e| VisionError::network("detector", e))?;
        let outputs = self.network.outputs_of(&pixels(scaled, [1, h, w])?)?;
        let padded = self.network.padded([h, w]);
        let mut found = outputs.read(0, |outputs| self.decode(outputs, padded, min_score))??;
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

    /// The faces in the network's outputs for an input of `[height, width]`, in pixels of it.
    fn decode(
        &self,
        outputs: &[&[f32]],
        padded: [usize; 2],
        min_score: f32,
    ) -> Result<Vec<Detection>, VisionError> {
        let mut found = vec![];
        for (level, [scores, boxes, landmarks], objectness) in &self.levels {
            let maps = Maps {
                stride: level.stride,
                scores: outputs[*scores],
                objectness: objectness.map(|o| outputs[o]),
                boxes: outputs[*boxes],
                landmarks: outputs[*landmarks],
            };
            if !detect::fits(self.kind, level, &maps, padded) {
                return Err(VisionError::network(
                    "detector",
                    format!("the maps of stride {} do not fit", level.stride),
                ));
            }
            detect::decode(self.kind, &maps, padded[1], min_score, &mut found);
        }
        Ok(found)
    }
}

/// The longer side of the input, where the network has only one.
fn fixed_side(network: &Network) -> Option<u32> {
    let [height, width] = network.input();
    (height > 0 && width > 0).then_some(height.max(width) as u32)
}
