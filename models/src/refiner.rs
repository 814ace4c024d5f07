//! The landmark refiner: five points of a face that are nearer than the detector's, and whether they
//! are those of an upright face.

use crate::{
    BoundingBox, ComputeDevice, Pack, Picture, Point, VisionError,
    align::{MIDDLE, SPAN, SimilarityTransform, bilinear},
    detect::Detection,
    network::{Network, pixels},
    pack::manifest::RefinerEntry,
};

/// Numbers of an answer: x and y of five points, and a logit.
pub(crate) const OUTPUTS: usize = 11;

/// Most faces that the network looks at together.
const BATCH: usize = 32;

/// A head that is tilted by more, in degrees, is looked at again in a crop that is tilted with it: by so
/// much the crops differ that the network was trained on as from points.
const SECOND_LOOK: f32 = 12.0;

/// Confidence of points that pass for an upright face's.
pub(crate) const CONFIDENT: f32 = 0.5;

/// From this score on the network's points are taken for better than the detector's.
const LIKELY: f32 = 0.5;

/// How far below the least score a detection may be whose landmarks are an upright face's; and how far above
/// it those are dropped of which the network is sure that they are not. Detections of the built-in detector
/// at 0.45 to 0.6: of what it sees in lessons of the synthetic classroom, 14 of 14 so sure ones are faces; of
/// what it sees in photographs without people, 2 of 35 are. Between 0.6 and 0.7, of 29 faces none is below
/// the least confidence.
const SLACK: f32 = 0.15;
/// Shorter side, in pixels of the picture, from which that holds: what is smaller is of no use to anybody.
const LEAST_SIDE: f32 = 24.0;
const DOUBTED: f32 = 0.1;
const LEAST_CONFIDENCE: f32 = 0.02;

/// Most samples a side whose mean is a pixel of the crop.
const MOST_SAMPLES: usize = 4;

/// A square of the picture, in pixels of what is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Frame {
    middle: Point,
    side: f32,
    /// Sine and cosine of its turn, clockwise.
    turn: (f32, f32),
}

impl Frame {
    /// Upright, around the detector's box.
    fn of_box(detection: &Detection, entry: &RefinerEntry, picture: &Picture<'_>) -> Self {
        let b = detection.bounding_box;
        let size = b.area().sqrt();
        let middle = Point { x: b.x + b.width / 2.0, y: b.y + b.height / 2.0 + entry.box_shift * size };
        let side = entry.box_scale * size / picture.scale();
        Self { middle: picture.place(middle), side, turn: (0.0, 1.0) }
    }

    /// As the aligned face lies, with room around it; `None` where the points coincide.
    fn of_points(points: &[Point; 5]) -> Option<Self> {
        let transform = SimilarityTransform::from_template(points, 112)?;
        let (x, y) = transform.apply(MIDDLE.x, MIDDLE.y);
        Some(Self { middle: Point { x, y }, side: SPAN * transform.scale(), turn: transform.turn() })
    }

    fn tilt(&self) -> f32 {
        self.turn.0.atan2(self.turn.1).to_degrees()
    }

    /// A point that is given in halves of the side from the middle.
    fn point(&self, x: f32, y: f32) -> Point {
        let (half, (sine, cosine)) = (self.side / 2.0, self.turn);
        Point {
            x: self.middle.x + half * (x * cosine - y * sine),
            y: self.middle.y + half * (x * sine + y * cosine),
        }
    }

    /// The crop, `side * side` pixels: each is the mean of so many samples that none of the picture's
    /// pixels between them is left out, up to a bound.
    fn crop(&self, picture: &Picture<'_>, side: usize, out: &mut [[f32; 3]]) {
        let samples = ((self.side / side as f32 / 2.0).ceil() as usize).clamp(1, MOST_SAMPLES);
        let step = 2.0 / (side * samples) as f32;
        let weight = 1.0 / (samples * samples) as f32;
        for (at, pixel) in out.iter_mut().enumerate() {
            let (column, row) = (at % side * samples, at / side * samples);
            *pixel = [0.0; 3];
            for (i, j) in (0..samples).flat_map(|j| (0..samples).map(move |i| (i, j))) {
                let along = |first: usize, more: usize| ((first + more) as f32 + 0.5) * step - 1.0;
                let place = self.point(along(column, i), along(row, j));
                let found = bilinear(picture.image(), place.x, place.y);
                pixel.iter_mut().zip(found).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
}

/// Detector score from which detections are worth a refiner's look, where those from `min_score` on are
/// wanted.
pub(crate) fn least_score(min_score: f32) -> f32 {
    (min_score - SLACK).max(0.0)
}

/// Whether a refined detection is to be taken for a face, where detector scores from `min_score` on are.
pub(crate) fn is_face(detection: &Detection, min_score: f32) -> bool {
    let confidence = detection.confidence.unwrap_or(1.0);
    let BoundingBox { width, height, .. } = detection.bounding_box;
    let confident = confidence >= CONFIDENT && width.min(height) >= LEAST_SIDE;
    detection.score >= min_score + DOUBTED
        || (detection.score >= min_score && confidence >= LEAST_CONFIDENCE)
        || (detection.score >= least_score(min_score) && confident)
}

/// The network with what `pack.toml` says of it.
pub(crate) struct Refiner {
    network: Network,
    entry: RefinerEntry,
    /// Score from which points are those of an upright face.
    upright: f32,
}

impl Refiner {
    /// Loads the refiner of a pack; `None` where it has none.
    ///
    /// # Errors
    /// `Pack`, `Network`, `Option`.
    pub(crate) fn new(pack: &Pack, device: ComputeDevice) -> Result<Option<Self>, VisionError> {
        let Some(entry) = pack.manifest().refiner.clone() else { return Ok(None) };
        let network = Network::load_square(pack, "refiner", &entry.files, entry.side, entry.input, device)?;
        Ok(Some(Self { network, entry, upright: pack.thresholds().upright }))
    }

    /// Lets the network use several threads.
    pub(crate) fn set_threads(&mut self, threads: usize) {
        self.network.set_threads(threads);
    }

    /// Puts better landmarks in the place of the detector's, and says how sure it is of them.
    ///
    /// # Errors
    /// `Network`, which a valid pack never gives.
    pub(crate) fn refine(
        &self,
        picture: &Picture<'_>,
        detections: &mut [Detection],
    ) -> Result<(), VisionError> {
        for batch in detections.chunks_mut(BATCH) {
            let frames: Vec<_> = batch.iter().map(|d| Frame::of_box(d, &self.entry, picture)).collect();
            let mut answers = self.look(picture, &frames)?;
            let tilted: Vec<_> = (answers.iter().enumerate())
                .filter_map(|(at, answer)| Some((at, Frame::of_points(&answer.points)?)))
                .filter(|(at, frame)| answers[*at].score >= LIKELY && frame.tilt().abs() > SECOND_LOOK)
                .collect();
            if !tilted.is_empty() {
                let (places, frames): (Vec<_>, Vec<_>) = tilted.into_iter().unzip();
                for (at, answer) in places.into_iter().zip(self.look(picture, &frames)?) {
                    answers[at] = answer;
                }
            }
            for (detection, Answer { points, score }) in batch.iter_mut().zip(answers) {
                detection.confidence = Some(self.confidence(score));
                if score >= LIKELY {
                    detection.landmarks = points.map(|point| picture.whole_place(point));
                }
            }
        }
        Ok(())
    }

    fn look(&self, picture: &Picture<'_>, frames: &[Frame]) -> Result<Vec<Answer>, VisionError> {
        let side = self.entry.side;
        let mut crops = vec![[0.0; 3]; frames.len() * side * side];
        for (frame, crop) in frames.iter().zip(crops.chunks_exact_mut(side * side)) {
            frame.crop(picture, side, crop);
        }
        let outputs =
            self.network.outputs_of(&pixels(crops.into_flattened(), [frames.len(), side, side])?)?;
        let answer = |(at, frame): (usize, &Frame)| outputs.read(at, |outputs| Answer::of(outputs, frame));
        frames.iter().enumerate().map(answer).collect()
    }

    /// The score as a part of 1 that is a half at the score from which points are an upright face's.
    fn confidence(&self, score: f32) -> f32 {
        if score < self.upright {
            0.5 * score / self.upright
        } else {
            0.5 + 0.5 * (score - self.upright) / (1.0 - self.upright)
        }
    }
}

/// What the network says of one crop: points in pixels of what is decoded, and how probably they are
/// those of an upright face, 0 to 1.
struct Answer {
    points: [Point; 5],
    score: f32,
}

impl Answer {
    fn of(outputs: &[&[f32]], frame: &Frame) -> Self {
        let numbers = outputs.first().copied().unwrap_or_default();
        let number = |at: usize| numbers.get(at).copied().unwrap_or(f32::NAN);
        let points = std::array::from_fn(|i| frame.point(number(2 * i), number(2 * i + 1)));
        let finite = points.iter().all(|p| p.x.is_finite() && p.y.is_finite());
        let score = 1.0 / (1.0 + (-number(10)).exp());
        Self { points, score: if finite && score.is_finite() { score } else { 0.0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;

    #[test]
    fn a_crop_shows_what_lies_in_its_frame() {
        // The red of a pixel is its column, the green its row.
        let pixels = (0..200 * 200).flat_map(|at| [(at % 200) as u8, (at / 200) as u8, 7]).collect();
        let image = Image::from_rgb8(200, 200, pixels).unwrap();
        let picture = Picture::whole(&image);
        let mut crop = vec![[0.0; 3]; 64 * 64];
        for (side, turn) in [(32.0, 0.0f32), (64.0, 0.4), (128.0, -1.2), (30.0, 3.0)] {
            let frame = Frame { middle: Point { x: 100.0, y: 90.0 }, side, turn: turn.sin_cos() };
            frame.crop(&picture, 64, &mut crop);
            for at in [0, 63, 64 * 40 + 20, 64 * 63 + 63] {
                let place =
                    frame.point((at % 64) as f32 / 32.0 - 0.984_375, (at / 64) as f32 / 32.0 - 0.984_375);
                let [red, green, blue] = crop[at];
                assert!(
                    (red - place.x).abs() < 0.1 && (green - place.y).abs() < 0.1,
                    "{frame:?} {at}: {:?}",
                    crop[at]
                );
                assert!((blue - 7.0).abs() < 0.01);
            }
        }
    }

    #[test]
    fn frames_of_boxes_and_of_points() {
        let image = Image::from_rgb8(4, 4, vec![0; 48]).unwrap();
        let entry = RefinerEntry::for_tests();
        let detection = Detection {
            bounding_box: BoundingBox { x: 10.0, y: 20.0, width: 50.0, height: 50.0 },
            landmarks: [Point::default(); 5],
            score: 1.0,
            confidence: None,
        };
        let frame = Frame::of_box(&detection, &entry, &Picture::whole(&image));
        assert_eq!(frame, Frame { middle: Point { x: 35.0, y: 50.0 }, side: 75.0, turn: (0.0, 1.0) });
        let turned = |angle: f32| {
            let (sine, cosine) = angle.to_radians().sin_cos();
            crate::align::TEMPLATE
                .map(|p| Point { x: p.x * cosine - p.y * sine, y: p.x * sine + p.y * cosine })
        };
        for angle in [-100.0, -30.0, 0.0, 11.0, 170.0] {
            let frame = Frame::of_points(&turned(angle)).unwrap();
            assert!((frame.tilt() - angle).abs() < 0.01 && (frame.side - SPAN).abs() < 0.01, "{frame:?}");
            let back = frame.point(0.0, -1.0);
            let up = frame.point(0.0, 0.0);
            assert!((back.x - up.x).hypot(back.y - up.y) - SPAN / 2.0 < 0.01);
        }
        assert!(Frame::of_points(&[Point::default(); 5]).is_none());
    }

    #[test]
    fn a_refiner_has_a_say_in_what_is_a_face() {
        let kept_of = |side, score, confidence| {
            let detection = Detection {
                bounding_box: BoundingBox { width: side, height: 30.0, ..BoundingBox::default() },
                landmarks: [Point::default(); 5],
                score,
                confidence,
            };
            is_face(&detection, 0.6)
        };
        let kept = |score, confidence| kept_of(24.0, score, confidence);
        assert!(!kept_of(23.0, 0.59, Some(1.0)) && kept_of(23.0, 0.6, Some(0.5)));
        assert!(kept(0.6, None) && kept(0.46, Some(0.5)) && kept(0.6, Some(0.02)) && kept(0.71, Some(0.0)));
        assert!(!kept(0.44, Some(1.0)) && !kept(0.59, Some(0.49)) && !kept(0.69, Some(0.01)));
        assert_eq!(least_score(0.1), 0.0);
    }

    #[test]
    fn what_is_not_finite_is_no_face() {
        let frame = Frame { middle: Point::default(), side: 64.0, turn: (0.0, 1.0) };
        let mut numbers = [0.1; OUTPUTS];
        numbers[10] = 5.0;
        let score = |numbers: &[f32]| Answer::of(&[numbers], &frame).score;
        assert!(score(&numbers) > 0.99);
        for at in 0..OUTPUTS {
            let mut wrong = numbers;
            wrong[at] = f32::NAN;
            assert_eq!(score(&wrong), 0.0);
        }
        assert_eq!((score(&numbers[..10]), score(&[])), (0.0, 0.0));
    }
}
