//! Thresholds of a pack from pictures of people, a folder each.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use cavs_embedding::{Similarity, UnitEmbedding};

use crate::{
    Calibration, Distribution, FacePipeline, FalseMatchRate, FalseMatches, ImportError, Pack,
    PhotographReader, PipelineOptions, Thresholds, VisionError,
    pack::manifest::{CalibrationFile, ThresholdValues},
};

/// Fewest people from whom anything can be concluded.
const LEAST_PEOPLE: usize = 20;
/// Fewest pairs of two people: a rate and one below it have enough of them.
const LEAST_IMPOSTORS: usize = 350;
/// Most pictures that are looked at: pairs are compared each with each.
const MOST_PICTURES: usize = 5000;

/// Strangers, of 1,000, that a gallery of so many templates may accept, or leave to a reviewer, at the
/// thresholds; and those that a camera may join to one of the people in its room.
const ACCEPTED: (f64, usize) = (5.0, 300);
const REVIEWED: (f64, usize) = (100.0, 300);
const JOINED: (f64, usize) = (10.0, 30);

/// No threshold is above this: hardly anybody would pass.
const HIGHEST: f32 = 0.95;

/// Rates at which the table has an entry, pairs of a million, where so many pairs are at least so rare.
const TABLE: [f64; 9] = [100_000.0, 30_000.0, 10_000.0, 3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0];
const LEAST_PAIRS: usize = 10;

/// Galleries for which errors are foretold.
const GALLERIES: [u32; 3] = [30, 300, 3000];

/// What came of a picture that is to calibrate a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalibrationProgress {
    /// Pictures that were looked at.
    pub done: usize,
    /// Pictures there are.
    pub of: usize,
    /// Those that show no one face, or can't be read: they are left out.
    pub left_out: usize,
}

/// Measures a pack.
///
/// # Errors
/// `File`, `Calibration`: too few people; `Vision`.
pub(super) fn calibrate(
    pack: &Pack,
    folder: &Path,
    told: &mut dyn FnMut(CalibrationProgress),
) -> Result<CalibrationFile, ImportError> {
    let people = people(folder)?;
    let of = people.iter().map(Vec::len).sum();
    let problem = |problem: String| ImportError::Calibration { path: folder.to_path_buf(), problem };
    if of > MOST_PICTURES {
        return Err(problem(format!("{of} pictures, where at most {MOST_PICTURES} are looked at")));
    }
    let failed = |error: VisionError| problem(error.to_string());
    let mut pipeline = FacePipeline::new(pack, PipelineOptions::default()).map_err(failed)?;
    let reader = PhotographReader { heif: crate::HeifConverter::find() };
    let mut progress = CalibrationProgress { done: 0, of, left_out: 0 };
    let mut faces: Vec<(usize, UnitEmbedding)> = Vec::new();
    for (person, pictures) in people.iter().enumerate() {
        for picture in pictures {
            let mut bytes = Vec::new();
            fs::File::open(picture)
                .and_then(|file| file.take(PhotographReader::MOST_BYTES + 1).read_to_end(&mut bytes))
                .map_err(ImportError::file(picture))?;
            let seen = match reader.read(&bytes) {
                Ok(image) => Some(pipeline.analyze_upright(&image).map_err(failed)?),
                Err(_) => None,
            };
            match seen.map(|seen| (seen.doubtful, seen.faces)) {
                Some((false, mut found)) if found.len() == 1 => {
                    faces.extend(found.pop().map(|face| (person, face.embedding)));
                }
                _ => progress.left_out += 1,
            }
            progress.done += 1;
            told(progress);
        }
    }
    let mut known: Vec<_> = faces.iter().map(|(person, _)| *person).collect();
    known.dedup();
    if known.len() < LEAST_PEOPLE {
        let found = known.len();
        return Err(problem(format!(
            "a face was found of {found} people, where {LEAST_PEOPLE} at least are needed: a folder for each \
             person, with pictures that show that person alone"
        )));
    }
    let (genuine, impostor) = pairs(&faces);
    if impostor.len() < LEAST_IMPOSTORS {
        let found = impostor.len();
        return Err(problem(format!(
            "{found} pairs of two people, where {LEAST_IMPOSTORS} at least are needed: more pictures of each person"
        )));
    }
    conclude(&genuine, impostor, &format!("{} pictures of {} people", faces.len(), known.len()))
        .ok_or_else(|| problem("all pictures are equally alike".to_owned()))
}

/// The pictures of each person: the files of each folder in a folder, in order.
fn people(folder: &Path) -> Result<Vec<Vec<PathBuf>>, ImportError> {
    let entries = |folder: &Path| -> Result<Vec<PathBuf>, ImportError> {
        let read =
            || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut found = read().map_err(ImportError::file(folder))?;
        found.sort();
        Ok(found)
    };
    let folders = entries(folder)?.into_iter().filter(|path| path.is_dir());
    let files = |folder: PathBuf| Ok(entries(&folder)?.into_iter().filter(|path| path.is_file()).collect());
    folders.map(files).collect()
}

/// Similarities of pairs of one person, and of two.
fn pairs(faces: &[(usize, UnitEmbedding)]) -> (Vec<f32>, Vec<f32>) {
    let (mut genuine, mut impostor) = (Vec::new(), Vec::new());
    for (at, (person, face)) in faces.iter().enumerate() {
        for (other, compared) in &faces[..at] {
            let similarity = face.similarity(compared).map_or(0.0, Similarity::get);
            (if person == other { &mut genuine } else { &mut impostor }).push(similarity);
        }
    }
    (genuine, impostor)
}

/// Thresholds and table; `None` where similarities say nothing.
fn conclude(genuine: &[f32], mut impostor: Vec<f32>, data: &str) -> Option<CalibrationFile> {
    impostor.sort_by(|a, b| b.total_cmp(a));
    let mut rates: Vec<FalseMatchRate> = Vec::new();
    for per_million in TABLE {
        let count = (per_million / 1e6 * impostor.len() as f64).round() as usize;
        if count < LEAST_PAIRS {
            break;
        }
        let similarity = *impostor.get(count - 1)?;
        if rates.last().is_none_or(|last| similarity > last.similarity) {
            rates.push(FalseMatchRate { similarity, per_million });
        }
    }
    let mut calibration = Calibration {
        data: data.to_owned(),
        genuine: distribution(genuine),
        impostor: distribution(&impostor),
        false_matches: vec![],
        false_match_rates: rates,
    };
    let at = |(wanted, templates): (f64, usize)| calibration.threshold_for(wanted, templates);
    let highest = Similarity::clamped(HIGHEST);
    let (accept, review, track) = (at(ACCEPTED)?.min(highest), at(REVIEWED)?, at(JOINED)?);
    let expected = |gallery: u32| {
        let per_1000 = calibration.false_matches_per_thousand(accept, gallery as usize)?;
        Some(FalseMatches { gallery, per_1000: per_1000 as f32 })
    };
    calibration.false_matches = GALLERIES.into_iter().filter_map(expected).collect();
    let Thresholds { margin, upright, .. } = Thresholds::default();
    let thresholds = ThresholdValues {
        accept: accept.get(),
        review: review.min(accept).get(),
        margin,
        track: Some(track.min(accept).get()),
        upright: Some(upright),
        liveness: None,
    };
    Some(CalibrationFile { thresholds, calibration: Some(calibration) })
}

/// Nothing of nothing: a folder of one picture each has no pairs of one person.
fn distribution(similarities: &[f32]) -> Distribution {
    let count = similarities.len().max(1) as f64;
    let mean = similarities.iter().map(|s| f64::from(*s)).sum::<f64>() / count;
    let spread = similarities.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum::<f64>() / count;
    Distribution { mean: mean as f32, deviation: spread.sqrt() as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_follow_from_pairs() {
        // Impostors whose similarity is exponential with mean 0.05 above 0: 1 in 20 above 0.15.
        let impostor: Vec<f32> = (0..200_000).map(|i| -0.05 * ((i as f32 + 0.5) / 200_000.0).ln()).collect();
        let genuine = [0.7, 0.8, 0.6];
        let CalibrationFile { thresholds, calibration } = conclude(&genuine, impostor, "made up").unwrap();
        let calibration = calibration.unwrap();
        assert!(
            (calibration.genuine.mean - 0.7).abs() < 1e-5 && (calibration.impostor.mean - 0.05).abs() < 1e-3
        );
        // Ten pairs at least: down to 100 in a million.
        let last = calibration.false_match_rates.last().unwrap();
        assert!(
            last.per_million == 100.0 && (last.similarity - 0.05 * 10_000f32.ln()).abs() < 0.01,
            "{last:?}"
        );
        // A stranger in 200 among 300: one pair in 60,000, beyond the table.
        assert!((thresholds.accept - 0.05 * 59_850f32.ln()).abs() < 0.02, "{thresholds:?}");
        assert!((thresholds.review - 0.05 * 2_847f32.ln()).abs() < 0.02, "{thresholds:?}");
        assert!((thresholds.track.unwrap() - 0.05 * 2_985f32.ln()).abs() < 0.02, "{thresholds:?}");
        let of_300 = calibration.false_matches[1];
        assert!(of_300.gallery == 300 && (of_300.per_1000 - 5.0).abs() < 0.2, "{of_300:?}");
        assert!(Thresholds::try_from(thresholds).is_ok());
        assert!(conclude(&[], vec![0.5; 1000], "all alike").is_none());
    }

    #[test]
    fn people_are_folders() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/2.jpg", "b/1.jpg", "a/x.png"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "no picture").unwrap();
        }
        fs::write(folder.path().join("readme.txt"), "x").unwrap();
        let found = people(folder.path()).unwrap();
        let names: Vec<Vec<_>> = found
            .iter()
            .map(|files| files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect())
            .collect();
        assert_eq!(names, [vec!["x.png"], vec!["1.jpg", "2.jpg"]]);
        let mut told = CalibrationProgress { done: 0, of: 0, left_out: 0 };
        let pack = Pack::built_in().unwrap();
        let error = calibrate(&pack, folder.path(), &mut |progress| told = progress).unwrap_err();
        assert_eq!(error.reason(), "IMPORT_CALIBRATION");
        assert!(error.to_string().contains("of 0 people, where 20"), "{error}");
        assert_eq!(told, CalibrationProgress { done: 3, of: 3, left_out: 3 });
        assert_eq!(
            calibrate(&pack, Path::new("/nowhere"), &mut |_| {}).unwrap_err().reason(),
            "IMPORT_FILE_FAILED"
        );
    }
}
