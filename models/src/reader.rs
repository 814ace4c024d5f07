//! What is read from one face: the aligned picture, its quality, its embedding, its liveness.

use cavs_embedding::UnitEmbedding;

use crate::{
    BoundingBox, ComputeDevice, Face, Image, Pack, Picture, VisionError,
    align::{SimilarityTransform, bilinear, warp},
    detect::Detection,
    network::{Network, pixels},
    pack::manifest::{EmbedderEntry, LivenessEntry},
    quality,
};

/// Most faces that the networks look at together.
const BATCH: usize = 32;

/// The embedder and the liveness networks.
pub(crate) struct Reader {
    network: Network,
    side: usize,
    liveness: Vec<Liveness>,
}

impl Reader {
    /// Loads the networks of a pack that look at faces.
    ///
    /// # Errors
    /// `Pack`, `Network`, `Option`.
    pub(crate) fn new(pack: &Pack, device: ComputeDevice) -> Result<Self, VisionError> {
        let EmbedderEntry { side, input, files, .. } = &pack.manifest().embedder;
        let network = Network::load_square(pack, "embedder", files, *side, *input, device)?;
        let liveness = pack.manifest().liveness.iter().map(|entry| Liveness::new(pack, entry, device));
        Ok(Self { network, side: *side, liveness: liveness.collect::<Result<_, _>>()? })
    }

    /// Lets each network use several threads.
    pub(crate) fn set_threads(&mut self, threads: usize) {
        self.network.set_threads(threads);
        self.liveness.iter_mut().for_each(|l| l.network.set_threads(threads));
    }

    /// Whether a face can't be read as well from a picture of half the size: its pixels would be
    /// fewer than those of the aligned face, or a liveness network looks at their finest detail.
    pub(crate) fn needs_whole(&self, detection: &Detection) -> bool {
        let transform = SimilarityTransform::from_template(&detection.landmarks, self.side);
        !self.liveness.is_empty() || transform.is_some_and(|t| t.scale() < 2.0)
    }

    /// Reads faces, in their order; those whose landmarks coincide, which no recognisable face's do,
    /// are left out.
    ///
    /// # Errors
    /// `Network` or `Embedding`, which a valid pack never gives.
    pub(crate) fn read(
        &self,
        picture: &Picture<'_>,
        detections: &[Detection],
    ) -> Result<Vec<Face>, VisionError> {
        let batches = detections.chunks(BATCH).map(|batch| self.read_batch(picture, batch));
        Ok(batches.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn read_batch(&self, picture: &Picture<'_>, batch: &[Detection]) -> Result<Vec<Face>, VisionError> {
        let side = self.side;
        let placed = batch.iter().filter_map(|detection| {
            let seen = detection.landmarks.map(|point| picture.place(point));
            Some((detection, SimilarityTransform::from_template(&seen, side)?))
        });
        let placed: Vec<_> = placed.collect();
        if placed.is_empty() {
            return Ok(vec![]);
        }
        let mut aligned = vec![[0.0; 3]; placed.len() * side * side];
        let mut measured = Vec::with_capacity(placed.len());
        for ((detection, transform), pixels) in placed.iter().zip(aligned.chunks_exact_mut(side * side)) {
            warp(picture.image(), transform, side, pixels);
            measured.push(quality::measure(detection, pixels, side));
        }
        let pixels = pixels(aligned.into_flattened(), [placed.len(), side, side])?;
        let embeddings = self.network.outputs_of(&pixels)?;
        let boxes: Vec<_> = placed.iter().map(|(detection, _)| detection.bounding_box).collect();
        let scores = self.liveness.iter().map(|network| network.scores(picture.image(), &boxes));
        let scores = scores.collect::<Result<Vec<_>, _>>()?;
        let faces =
            placed.iter().zip(measured).enumerate().map(|(at, ((detection, _), (quality, geometry)))| {
                let embedding = embeddings.read(at, |outputs| {
                    UnitEmbedding::normalize(outputs.first().copied().unwrap_or_default().to_vec())
                })??;
                // The mean over the networks, as their authors use them.
                let liveness = (!scores.is_empty()).then(|| {
                    scores.iter().map(|of_network| of_network[at]).sum::<f32>() / scores.len() as f32
                });
                let Detection { bounding_box, landmarks, score, .. } = **detection;
                Ok(Face { bounding_box, landmarks, score, quality, geometry, embedding, liveness })
            });
        faces.collect()
    }
}

/// One liveness network (MiniFASNet, <https://github.com/minivision-ai/Silent-Face-Anti-Spoofing>).
struct Liveness {
    network: Network,
    scale: f32,
    side: usize,
    live_class: usize,
}

impl Liveness {
    fn new(pack: &Pack, entry: &LivenessEntry, device: ComputeDevice) -> Result<Self, VisionError> {
        let LivenessEntry { scale, side, live_class, input, files } = entry;
        let network = Network::load_square(pack, "liveness", files, *side, *input, device)?;
        Ok(Self { network, scale: *scale, side: *side, live_class: *live_class })
    }

    /// For each face the probability that it is live, 0 to 1.
    fn scores(&self, image: &Image, faces: &[BoundingBox]) -> Result<Vec<f32>, VisionError> {
        let crops = faces.iter().flat_map(|face| self.crop(image, face)).collect();
        let outputs = self.network.outputs_of(&pixels(crops, [faces.len(), self.side, self.side])?)?;
        let score = |at| {
            outputs.read(at, |outputs| {
                let score = outputs.first().and_then(|classes| classes.get(self.live_class));
                score.copied().unwrap_or(0.0).clamp(0.0, 1.0)
            })
        };
        (0..faces.len()).map(score).collect()
    }

    /// The face with what is around it, as the network was trained: row by row, channels together.
    fn crop(&self, image: &Image, face: &BoundingBox) -> Vec<f32> {
        let crop = grown(face, self.scale, image);
        let side = self.side as f32;
        // Kept on the outermost pixels, as a resized crop is.
        let along = |at: usize, start: f32, length: f32| {
            (start + (at as f32 + 0.5) * length / side - 0.5).clamp(start, start + length - 1.0)
        };
        let pixels = (0..self.side * self.side).flat_map(|at| {
            let x = along(at % self.side, crop.x, crop.width);
            let y = along(at / self.side, crop.y, crop.height);
            bilinear(image, x, y)
        });
        pixels.collect()
    }
}

/// A box grown about its centre, less where the picture is too small, and moved inside it; in whole
/// pixels, as the liveness networks were trained.
fn grown(face: &BoundingBox, scale: f32, image: &Image) -> BoundingBox {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let (w, h) = (face.width.max(1.0), face.height.max(1.0));
    let scale = scale.min((height - 1.0) / h).min((width - 1.0) / w).max(0.0);
    let (center_x, center_y) = (face.x + face.width / 2.0, face.y + face.height / 2.0);
    let place = |center: f32, length: f32, limit: f32| {
        let start = (center - length / 2.0).min(limit - 1.0 - length).max(0.0).floor();
        (start, (length.floor() + 1.0).min(limit - start).max(1.0))
    };
    let (x, width) = place(center_x, w * scale, width);
    let (y, height) = place(center_y, h * scale, height);
    BoundingBox { x, y, width, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grown_boxes_stay_inside() {
        let image = Image::from_rgb8(100, 80, vec![0; 100 * 80 * 3]).unwrap();
        let face = |x, y, width, height| BoundingBox { x, y, width, height };
        for b in [
            face(40.0, 30.0, 10.0, 12.0),
            face(-5.0, -5.0, 20.0, 20.0),
            face(90.0, 70.0, 30.0, 30.0),
            face(0.0, 0.0, 300.0, 300.0),
        ] {
            let g = grown(&b, 2.7, &image);
            assert!(
                g.x >= 0.0 && g.y >= 0.0 && g.x + g.width <= 100.0 && g.y + g.height <= 80.0,
                "{b:?}: {g:?}"
            );
            assert!(g.width >= 1.0 && g.height >= 1.0);
        }
        let g = grown(&face(40.0, 30.0, 10.0, 10.0), 2.7, &image);
        assert!((g.x + g.width / 2.0 - 45.0).abs() <= 1.0 && (g.width - 27.0).abs() <= 1.0, "{g:?}");
    }
}
