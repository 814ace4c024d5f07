use std::time::Duration;

use super::Luma;
use crate::clock::Stamp;

/// Mean brightness below which a picture is dark, of 255: in a room with any light, exposure lifts it far above.
const DARK: f32 = 16.0;

/// Standard deviation of the cells' brightness below which a picture has no structure. A wall in even light has
/// twice that from its shading alone.
const UNIFORM: f32 = 2.0;

/// How often a picture is judged where nothing else needs its brightness.
const EVERY: Duration = Duration::from_secs(2);

/// Notices a lens that is covered, and a room without light: nobody can be seen in either.
#[derive(Debug, Default)]
pub struct CoverDetector {
    covered: bool,
    judged: Option<Duration>,
}

impl CoverDetector {
    /// It is time to judge a picture again.
    #[must_use]
    pub fn is_due(&self, taken: Stamp) -> bool {
        self.judged.is_none_or(|judged| taken.since_boot.saturating_sub(judged) >= EVERY)
    }

    /// Judges a picture by its reduced brightness.
    pub fn judge(&mut self, taken: Stamp, luma: &Luma) {
        let cells = luma.cells();
        let count = cells.len().max(1) as f32;
        let mean = cells.iter().sum::<f32>() / count;
        let deviation = (cells.iter().map(|cell| (cell - mean).powi(2)).sum::<f32>() / count).sqrt();
        let covered = mean < DARK || deviation < UNIFORM;
        if covered != self.covered {
            match covered {
                true => tracing::warn!(mean, deviation, "the camera is covered, or it is dark"),
                false => tracing::info!("the camera sees something again"),
            }
        }
        (self.covered, self.judged) = (covered, Some(taken.since_boot));
    }

    /// The last picture that was judged shows nothing.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dark_and_even_pictures_are_covered_and_rooms_are_not() {
        let covered = |cell: fn(usize, usize) -> f32| {
            let mut detector = CoverDetector::default();
            detector.judge(Stamp::default(), &Luma::from_cells(64, 48, cell));
            detector.is_covered()
        };
        assert!(covered(|_, _| 128.0) && covered(|column, _| 10.0 + (column % 2) as f32));
        assert!(!covered(|column, row| 90.0 + (column + row) as f32), "a wall in shaded light");
        assert!(!covered(|column, _| if column < 5 { 200.0 } else { 30.0 }), "a window in a dim room");
    }

    #[test]
    fn it_is_judged_now_and_then() {
        let mut detector = CoverDetector::default();
        let at = |millis| Stamp::default().after(Duration::from_millis(millis));
        assert!(detector.is_due(at(0)));
        detector.judge(at(0), &Luma::from_cells(8, 8, |_, _| 0.0));
        assert!(!detector.is_due(at(1900)) && detector.is_due(at(2000)));
    }
}
