//! Photographs that lie on their side or stand on their head, enrolled and looked up: templates that
//! are not the person's, and strangers who are taken for somebody.

use cavs_embedding::UnitEmbedding;
use cavs_models::{FacePipeline, Image, Pack, PipelineOptions};
use cavs_server::{
    people::{portrait, unlike_below},
    recognition::{ConfusablePairs, Match, Policy, Thresholds},
};
use cavs_types::{Decision, EnrollmentGate, MatchScope, StudentId};

/// Least quality of templates and of accepted faces: the defaults of `enrollment.min_quality` and
/// `recognition.min_quality`.
const MIN_QUALITY: (u8, u8) = (15, 10);

/// Most candidates of a search.
const CANDIDATES: usize = 5;

/// A photograph of one person.
#[derive(Debug)]
pub struct Photograph {
    /// Who: the same number for the same person.
    pub person: usize,
    /// The picture, upright.
    pub image: Image,
}

/// What became of photographs that were turned by 90, 180 and 270 degrees.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Photographs that are templates when they are upright.
    pub upright: usize,
    /// Templates of turned ones.
    pub templates: usize,
    /// Those of them that are of a wrong turn, or not alike enough to the upright one's to be accepted as the same
    /// person.
    pub unlike: usize,
    /// Those that were not taken, as they are unlike the person's other pictures.
    pub refused: usize,
    /// Turned faces of people of whom nothing was enrolled, each looked up among the templates of the
    /// others.
    pub strangers: usize,
    /// Those of them who were accepted as somebody.
    pub accepted: usize,
    /// Turned faces of people who were enrolled, and those that were accepted as somebody else.
    pub enrolled: usize,
    /// Accepted as somebody else.
    pub confused: usize,
}

struct Template {
    person: usize,
    student: StudentId,
    embedding: UnitEmbedding,
}

/// Enrolls every photograph in each wrong turn, and looks every one up in each wrong turn: among the
/// templates of half of the people, then among those of the other half.
#[must_use]
pub fn measure(pack: &Pack, photographs: &[Photograph]) -> Report {
    let mut pipeline = FacePipeline::new(pack, PipelineOptions::default()).unwrap();
    let thresholds = pack.thresholds();
    let thresholds = Thresholds {
        accept: thresholds.accept,
        review: thresholds.review,
        margin: thresholds.margin,
        liveness: None,
    };
    let (scope, scope_templates) = (MatchScope::Site, None);
    let policy = Policy { thresholds, version: 0, min_quality: MIN_QUALITY.1, scope, scope_templates };
    let mut report = Report::default();
    let mut templates = Vec::new();
    let mut probes = Vec::new();
    let people = photographs.iter().map(|photograph| photograph.person).max().map_or(0, |last| last + 1);
    let students: Vec<StudentId> = (0..people).map(|_| StudentId::generate()).collect();
    for Photograph { person, image } in photographs {
        let upright =
            portrait(pipeline.analyze_upright(image).unwrap(), EnrollmentGate::Standard, MIN_QUALITY.0).ok();
        report.upright += usize::from(upright.is_some());
        for quarters in 1..4 {
            let turned = image.turned(quarters);
            // As a camera's frame is looked at: nobody turns it.
            probes.extend(pipeline.analyze(&turned).unwrap().into_iter().map(|face| (*person, face)));
            let seen = pipeline.analyze_upright(&turned).unwrap();
            let is_right = seen.quarters == 4 - quarters;
            if let Ok(face) = portrait(seen, EnrollmentGate::Standard, MIN_QUALITY.0) {
                let own = templates.iter().filter(|template: &&Template| template.person == *person);
                let likeness = candidates(own, &face.embedding).first().map(|own| own.similarity);
                if likeness.is_some_and(|likeness| likeness < unlike_below(thresholds.review)) {
                    report.refused += 1;
                    continue;
                }
                report.templates += 1;
                let alike = upright.as_ref().and_then(|own| own.embedding.similarity(&face.embedding));
                let is_alike = alike.is_some_and(|alike| alike >= thresholds.accept);
                report.unlike += usize::from(!is_right || !is_alike);
                let student = students[*person];
                templates.push(Template { person: *person, student, embedding: face.embedding });
            }
        }
    }
    for (person, face) in &probes {
        for half in 0..2 {
            let gallery = templates.iter().filter(|template| template.person % 2 == half);
            let candidates = candidates(gallery, &face.embedding);
            let decided =
                policy.decide(candidates, &face.quality, face.liveness, &ConfusablePairs::default());
            let taken_for = (decided.decision == Decision::Accepted).then(|| decided.candidates[0].student);
            if person % 2 == half {
                report.enrolled += 1;
                report.confused += usize::from(taken_for.is_some_and(|other| other != students[*person]));
            } else {
                report.strangers += 1;
                report.accepted += usize::from(taken_for.is_some());
            }
        }
    }
    report
}

/// Students by their best template, best first.
fn candidates<'a>(gallery: impl Iterator<Item = &'a Template>, probe: &UnitEmbedding) -> Vec<Match> {
    let mut all: Vec<Match> = gallery
        .map(|template| Match {
            student: template.student,
            similarity: template.embedding.similarity(probe).unwrap(),
        })
        .collect();
    all.sort_by(|a, b| b.similarity.get().total_cmp(&a.similarity.get()));
    let mut seen = Vec::new();
    all.retain(|one| {
        let fresh = seen.len() < CANDIDATES && !seen.contains(&one.student);
        if fresh {
            seen.push(one.student);
        }
        fresh
    });
    all
}
