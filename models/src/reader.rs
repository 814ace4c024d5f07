//! What is read from one face: the aligned picture, its quality, its embedding, its liveness.

use cavs_embedding::UnitEmbedding;

use crate::{
    BoundingBox, Face, Image, Pack, Picture, VisionError,
    align::{Similarity2, bilinear, warp},
    detect::Detection,
    network::Network,
    pack::manifest::{ColorOrder, EmbedderEntry, LivenessEntry, Normalization},
    quality,
};

/// The embedder and the liveness networks with their buffers.
pub(crate) struct Reader {
    network: Network,
    side: usize,
    input: Normalization,
    aligned: Vec<[f32; 3]>,
    liveness: Vec<Liveness>,
    components: Vec<f32>,
}

impl Reader {
    /// Loads the networks of a pack that look at faces.
    ///
    /// # Errors
    /// `Pack`, `Network`.
    pub(crate) fn new(pack: &Pack) -> Result<Self, VisionError> {
        let EmbedderEntry { side, input, files, .. } = &pack.manifest().embedder;
        let network = square(pack, "embedder", files, *side)?;
        let liveness = pack.manifest().liveness.iter().map(|entry| Liveness::new(pack, entry));
        let liveness = liveness.collect::<Result<_, _>>()?;
        let aligned = vec![[0.0; 3]; side * side];
        Ok(Self { network, side: *side, input: *input, aligned, liveness, components: vec![] })
    }

    /// Lets each network use several threads.
    pub(crate) fn set_threads(&mut self, threads: usize) {
        self.network.set_threads(threads);
        self.liveness.iter_mut().for_each(|l| l.network.set_threads(threads));
    }

    /// Whether a face can't be read as well from a picture of half the size: its pixels would be
    /// fewer than those of the aligned face, or a liveness network looks at their finest detail.
    pub(crate) fn needs_whole(&self, detection: &Detection) -> bool {
        let transform = Similarity2::from_template(&detection.landmarks, self.side);
        !self.liveness.is_empty() || transform.is_some_and(|t| t.scale() < 2.0)
    }

    /// Reads a face; `None` where its landmarks coincide, which no recognisable face does.
    ///
    /// # Errors
    /// `Network` or `Embedding`, which a valid pack never gives.
    pub(crate) fn read(
        &mut self,
        picture: &Picture<'_>,
        detection: &Detection,
    ) -> Result<Option<Face>, VisionError> {
        let Detection { bounding_box, landmarks, score } = *detection;
        let image = picture.image();
        let seen = landmarks.map(|point| picture.place(point));
        let Some(transform) = Similarity2::from_template(&seen, self.side) else { return Ok(None) };
        warp(image, &transform, self.side, &mut self.aligned);
        let quality = quality::measure(&bounding_box, &landmarks, &self.aligned, self.side);
        let mut view = self.network.prepare([self.side, self.side])?;
        for (row, line) in self.aligned.chunks_exact(self.side).enumerate() {
            view.row(row, line.iter().map(|pixel| normalize(*pixel, &self.input)));
        }
        self.network.execute()?;
        self.network.view(0)?.row_major(&mut self.components);
        let embedding = UnitEmbedding::normalize(self.components.clone())?;
        let mut live = 0.0;
        for network in &mut self.liveness {
            live += network.score(image, &bounding_box)?;
        }
        // The mean over the networks, as their authors use them.
        let liveness = (!self.liveness.is_empty()).then(|| live / self.liveness.len() as f32);
        Ok(Some(Face { bounding_box, landmarks, score, quality, embedding, liveness }))
    }
}

/// One liveness network (MiniFASNet, <https://github.com/minivision-ai/Silent-Face-Anti-Spoofing>).
struct Liveness {
    network: Network,
    scale: f32,
    side: usize,
    live_class: usize,
    input: Normalization,
    probabilities: Vec<f32>,
}

impl Liveness {
    fn new(pack: &Pack, entry: &LivenessEntry) -> Result<Self, VisionError> {
        let LivenessEntry { scale, side, live_class, input, files } = entry;
        let network = square(pack, "liveness", files, *side)?;
        let probabilities = vec![];
        Ok(Self {
            network,
            scale: *scale,
            side: *side,
            live_class: *live_class,
            input: *input,
            probabilities,
        })
    }

    /// Probability that a face is live, 0 to 1.
    fn score(&mut self, image: &Image, face: &BoundingBox) -> Result<f32, VisionError> {
        let crop = grown(face, self.scale, image);
        let side = self.side as f32;
        let mut view = self.network.prepare([self.side, self.side])?;
        for row in 0..self.side {
            let y = crop.y + (row as f32 + 0.5) * crop.height / side - 0.5;
            let y = y.clamp(crop.y, crop.y + crop.height - 1.0);
            let pixels = (0..self.side).map(|column| {
                let x = crop.x + (column as f32 + 0.5) * crop.width / side - 0.5;
                // Kept on the outermost pixels, as a resized crop is.
                let x = x.clamp(crop.x, crop.x + crop.width - 1.0);
                normalize(bilinear(image, x, y), &self.input)
            });
            view.row(row, pixels);
        }
        self.network.execute()?;
        self.network.view(0)?.row_major(&mut self.probabilities);
        Ok(self.probabilities.get(self.live_class).copied().unwrap_or(0.0).clamp(0.0, 1.0))
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

/// Loads a network with a square input, as `pack.toml` says it.
fn square(
    pack: &Pack,
    name: &str,
    files: &crate::pack::manifest::NetworkFiles,
    side: usize,
) -> Result<Network, VisionError> {
    let network = Network::load(pack, name, files)?;
    if network.input() != [side, side] {
        return Err(VisionError::network(name, "the side in pack.toml is not the network's"));
    }
    Ok(network)
}

/// A pixel as the network wants it.
pub(crate) fn normalize([r, g, b]: [f32; 3], input: &Normalization) -> [f32; 3] {
    let ordered = match input.color {
        ColorOrder::Rgb => [r, g, b],
        ColorOrder::Bgr => [b, g, r],
    };
    ordered.map(|v| (v - input.mean) / input.deviation)
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
