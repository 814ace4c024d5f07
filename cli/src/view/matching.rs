use cavs_proto::v1;
use cavs_types::{Decision, MatchKind, Quality};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{facts, moment, table},
    time, word,
};
use crate::{
    list::List,
    printer::{Report, Style},
};

/// Whom a face shows.
#[derive(Debug, Serialize)]
pub struct IdentifiedView {
    /// UUID of the record that somebody asked.
    pub match_id: String,
    /// `accepted`, `pending` or `unknown`.
    pub decision: &'static str,
    /// Why; stable.
    pub reason: String,
    /// The best first.
    pub candidates: Vec<CandidateView>,
    /// Distance of the best to the next one.
    pub margin: Option<f32>,
    /// The accept threshold.
    pub threshold: f32,
    /// Its version.
    pub threshold_version: u32,
    /// Of the face, where one was found.
    pub quality: Option<Quality>,
}

/// A student whom a face may show.
#[derive(Debug, Serialize)]
pub struct CandidateView {
    /// Who.
    pub student: StudentRefView,
    /// Cosine, -1 to 1.
    pub similarity: f32,
}

/// Whether a face shows a student.
#[derive(Debug, Serialize)]
pub struct VerifiedView {
    /// UUID of the record that somebody asked.
    pub match_id: String,
    /// Whether it does.
    pub verified: bool,
    /// Why; stable.
    pub reason: String,
    /// To the student's templates; null where there was nothing to compare.
    pub similarity: Option<f32>,
    /// The accept threshold.
    pub threshold: f32,
    /// Its version.
    pub threshold_version: u32,
    /// Of the face, where one was found.
    pub quality: Option<Quality>,
}

/// That somebody asked.
#[derive(Debug, Serialize)]
pub struct MatchView {
    /// UUID.
    pub id: String,
    /// `identify` or `verify`.
    pub kind: &'static str,
    /// User name.
    pub asked_by: String,
    /// RFC 3339.
    pub ask_time: Option<Timestamp>,
    /// Whether an image was sent, or an embedding.
    pub by_image: bool,
    /// Of a verification: whom the face was to show.
    pub asked_student: Option<StudentRefView>,
    /// `accepted`, `pending` or `unknown`.
    pub decision: &'static str,
    /// Why; stable.
    pub reason: String,
    /// The best candidate.
    pub student: Option<StudentRefView>,
    /// Its similarity.
    pub similarity: Option<f32>,
}

/// Who asked what.
#[derive(Debug)]
pub struct MatchList;

impl From<v1::IdentifyResponse> for IdentifiedView {
    fn from(found: v1::IdentifyResponse) -> Self {
        let candidate = |candidate: v1::Candidate| CandidateView {
            student: candidate.student.unwrap_or_default().into(),
            similarity: candidate.similarity,
        };
        Self {
            match_id: found.match_id,
            decision: word(found.decision, Decision::as_str),
            reason: found.reason,
            candidates: found.candidates.into_iter().map(candidate).collect(),
            margin: found.margin,
            threshold: found.threshold,
            threshold_version: found.threshold_version,
            quality: super::quality(found.quality),
        }
    }
}

impl IdentifiedView {
    /// Whether it is one student, without a doubt that a person would have to clear up.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.decision == Decision::Accepted.as_str()
    }
}

impl From<v1::VerifyResponse> for VerifiedView {
    fn from(found: v1::VerifyResponse) -> Self {
        Self {
            match_id: found.match_id,
            verified: found.verified,
            reason: found.reason,
            similarity: found.similarity,
            threshold: found.threshold,
            threshold_version: found.threshold_version,
            quality: super::quality(found.quality),
        }
    }
}

impl From<v1::Match> for MatchView {
    fn from(found: v1::Match) -> Self {
        Self {
            id: found.id,
            kind: word(found.kind, MatchKind::as_str),
            asked_by: found.asked_by,
            ask_time: time(found.ask_time.as_ref()),
            by_image: found.by_image,
            asked_student: found.asked_student.map(Into::into),
            decision: word(found.decision, Decision::as_str),
            reason: found.reason,
            student: found.student.map(Into::into),
            similarity: found.similarity,
        }
    }
}

impl Report for IdentifiedView {
    const ROWS: Option<&'static str> = Some("candidates");

    fn table(&self, style: &Style) -> String {
        let rows = self.candidates.iter().map(|candidate| {
            let StudentRefView { number, name, .. } = &candidate.student;
            [number.clone(), name.clone(), format!("{:.3}", candidate.similarity)]
        });
        let summary = facts(
            style,
            &[
                ("decision", format!("{} ({})", self.decision, self.reason)),
                ("threshold", format!("{:.3}, version {}", self.threshold, self.threshold_version)),
                ("record", self.match_id.clone()),
            ],
        );
        let mut parts = vec![table(style, ["NUMBER", "NAME", "SIMILARITY"], rows.collect()), summary];
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}

impl Report for VerifiedView {
    fn table(&self, style: &Style) -> String {
        let verified = if self.verified { "yes" } else { "no" };
        facts(
            style,
            &[
                ("is the student", format!("{verified} ({})", self.reason)),
                ("similarity", self.similarity.map(|s| format!("{s:.3}")).unwrap_or_default()),
                ("threshold", format!("{:.3}, version {}", self.threshold, self.threshold_version)),
                ("record", self.match_id.clone()),
            ],
        )
    }
}

impl List for MatchList {
    type Entry = MatchView;
    const FIELD: &'static str = "matches";
    const NAME: &'static str = "matches";
    const HEADER: &'static [&'static str] =
        &["ASKED", "BY", "KIND", "ABOUT", "DECISION", "REASON", "STUDENT", "SIMILARITY"];

    fn cells(asked: &MatchView, style: &Style) -> Vec<String> {
        let label = |student: &Option<StudentRefView>| {
            student.as_ref().map(StudentRefView::label).unwrap_or_default()
        };
        vec![
            moment(style, asked.ask_time),
            asked.asked_by.clone(),
            asked.kind.to_owned(),
            label(&asked.asked_student),
            asked.decision.to_owned(),
            asked.reason.clone(),
            label(&asked.student),
            asked.similarity.map(|similarity| format!("{similarity:.3}")).unwrap_or_default(),
        ]
    }
}
