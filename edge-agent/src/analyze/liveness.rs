//! What a camera's liveness scores mean, learned from pictures of live people.

use std::io::Write;

use super::{ImageList, ListError, Tally, analyze};
use crate::vision::{LivenessSamples, Vision};

/// Analyses pictures in which all faces are live, and writes the line for `[vision]` that makes
/// scores comparable with theirs. Nothing is written where the faces are too few.
///
/// # Errors
/// A list of images can't be read, the output not written, or there are fewer faces with a score than
/// [`LivenessSamples::LEAST`].
pub fn calibrate<V: Vision>(
    vision: &mut V,
    images: ImageList,
    out: &mut impl Write,
) -> Result<Tally, ListError> {
    let (mut tally, mut samples, mut faces) = (Tally::default(), LivenessSamples::default(), 0);
    for image in images {
        let analysis = analyze(vision, &image?);
        tally.images += 1;
        tally.failed += u64::from(analysis.is_err());
        let scores = analysis.into_iter().flat_map(|a| a.faces).filter_map(|face| face.liveness);
        scores.for_each(|score| {
            faces += 1;
            samples.add(score);
        });
    }
    let calibration = samples.calibration().ok_or(ListError::TooFewFaces { faces })?;
    let numbers: Vec<String> = Vec::from(calibration).iter().map(|v| format!("{v:.4}")).collect();
    writeln!(out, "liveness_calibration = [{}]", numbers.join(", "))
        .and_then(|()| out.flush())
        .map_err(ListError::Output)?;
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::vision::{LivenessCalibration, fake::FakeVision};

    #[test]
    fn a_line_for_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let picture = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name).into_os_string()
        };
        let calibrate = |pictures: Vec<_>| {
            let mut out = vec![];
            let tally = calibrate(&mut FakeVision, ImageList::new(pictures, None), &mut out);
            (tally, String::from_utf8(out).unwrap())
        };
        let (tally, line) = calibrate(vec![picture("live", "live 100"), picture("bad", "?")]);
        assert_eq!(tally.unwrap(), Tally { images: 2, failed: 1 });
        let line: toml::Table = line.parse().unwrap();
        let calibration: LivenessCalibration = line["liveness_calibration"].clone().try_into().unwrap();
        assert!((calibration.apply(0.5) - 0.5).abs() < 0.02, "{calibration:?}");

        let (error, line) = calibrate(vec![picture("few", "live 99"), picture("none", "faces 5")]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "99 faces with a liveness score are too few: 100 are needed"
        );
        assert_eq!(line, "");
    }
}
