use cavs_proto::v1;
use cavs_types::{ClockTrust, Decision, MatchScope, Quality, Verdict};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{facts, moment, similarity, table},
    quality, time, word,
};
use crate::{
    list::List,
    printer::{Report, Style},
    text::sanitised,
};

/// One event "this face was seen by this device at this time".
#[derive(Debug, Clone, Serialize)]
pub struct SightingView {
    /// UUID of the sighting.
    pub id: String,
    /// RFC 3339.
    pub captured_at: Option<Timestamp>,
    /// RFC 3339.
    pub received_at: Option<Timestamp>,
    /// UUID of the device.
    pub device_id: String,
    /// Name of the device.
    pub device_name: String,
    /// The classroom in which the device is.
    pub classroom: String,
    /// With device and sequence, unique for ever.
    pub boot_epoch: u64,
    /// See `boot_epoch`.
    pub sequence: u64,
    /// What the source calls the frame.
    pub frame: String,
    /// Place of the face, in pixels.
    pub bounding_box: Option<BoundingBoxView>,
    /// The detector's score, 0 to 1.
    pub detection_score: f32,
    /// Quality of the face.
    pub quality: Option<Quality>,
    /// Probability that the face is live; null where nothing measured it.
    pub liveness: Option<f32>,
    /// The matcher's candidates, and what the policy made of them.
    pub prediction: Option<PredictionView>,
    /// The verdict in force; null where there is none.
    pub review: Option<ReviewView>,
    /// All verdicts, newest last; left out in lists and where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<ReviewView>,
    /// Who it was, as far as anybody knows.
    pub student: Option<StudentRefView>,
    /// Whether a picture of the face is kept.
    pub has_evidence: bool,
    /// `synchronised`, `corrected` or `unsynchronised`; null where the device does not say.
    pub clock: Option<&'static str>,
    /// How far `captured_at` may be off; null where nobody knows.
    pub clock_uncertainty_ms: Option<u64>,
    /// A time of it is too far from the server's clock to be believed; `received_at` stands for it in lists.
    pub time_implausible: bool,
    /// The stay in view that it stands for; null where every face of every frame is a sighting.
    pub track: Option<TrackView>,
    /// Who alone decides it, while it waits for a person; null where anybody may.
    pub claim: Option<ClaimView>,
    /// Sightings of the queue of the same visit; left out where the list was not asked for by visit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit_size: Option<u32>,
}

/// That a sighting of the queue is somebody's alone.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimView {
    /// User name.
    pub reviewer: String,
    /// RFC 3339; null where it holds until the sighting is decided.
    pub expire_time: Option<Timestamp>,
    /// User name of who assigned it; empty where the reviewer has claimed it.
    pub assigned_by: String,
}

/// Somebody's stay in view.
#[derive(Debug, Clone, Serialize)]
pub struct TrackView {
    /// Unique among the tracks of a device and boot epoch.
    pub id: u64,
    /// RFC 3339.
    pub entered_at: Option<Timestamp>,
    /// RFC 3339.
    pub last_seen_at: Option<Timestamp>,
    /// The person is out of view.
    pub left: bool,
}

/// A face's place in a picture, in pixels from the top left corner.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BoundingBoxView {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

/// The matcher's candidates, and what the policy made of them.
#[derive(Debug, Clone, Serialize)]
pub struct PredictionView {
    /// `accepted`, `pending` or `unknown`.
    pub decision: &'static str,
    /// Why it was decided so; stable.
    pub reason: String,
    /// Best first.
    pub candidates: Vec<CandidateView>,
    /// Distance of the best to the next student; null where there is no next.
    pub margin: Option<f32>,
    /// The similarity that would have been accepted.
    pub threshold: f32,
    /// Version of the thresholds that decided.
    pub threshold_version: u32,
    /// Among whom the best candidate was judged: `roster` or `site`.
    pub scope: &'static str,
    /// Templates of those; null where nobody noted it.
    pub scope_templates: Option<u32>,
    /// SHA-256 of the model pack.
    pub pack_digest: String,
}

/// Somebody who it may be.
#[derive(Debug, Clone, Serialize)]
pub struct CandidateView {
    /// The student whose templates are similar to the probe.
    pub student: Option<StudentRefView>,
    /// Cosine, -1 to 1.
    pub similarity: f32,
}

/// A reviewer's verdict.
#[derive(Debug, Clone, Serialize)]
pub struct ReviewView {
    /// `approved`, `rejected` or `flagged`.
    pub verdict: &'static str,
    /// User name.
    pub reviewer: String,
    /// RFC 3339.
    pub review_time: Option<Timestamp>,
    /// In the reviewer's words.
    pub notes: String,
    /// Who it really was, where the reviewer said so.
    pub corrected_student: Option<StudentRefView>,
    /// That the verdict was taken back; null where it was not.
    pub withdrawal: Option<WithdrawalView>,
}

/// That a verdict was taken back.
#[derive(Debug, Clone, Serialize)]
pub struct WithdrawalView {
    /// User name of who took it back.
    pub reviewer: String,
    /// RFC 3339.
    pub withdraw_time: Option<Timestamp>,
    /// In their words.
    pub notes: String,
}

/// Sightings, newest first.
#[derive(Debug)]
pub struct SightingList;

/// Sightings that wait for a person, oldest first.
#[derive(Debug)]
pub struct ReviewQueue;

/// One sighting with what is known of its picture.
#[derive(Debug, Serialize)]
pub struct ReviewItemView {
    /// All that is known of it beside the evidence.
    pub sighting: SightingView,
    /// Length of the picture; 0 where none was kept.
    pub evidence_bytes: usize,
    /// Where the picture was written; null where it was not.
    pub evidence_file: Option<String>,
}

impl From<v1::Sighting> for SightingView {
    fn from(sighting: v1::Sighting) -> Self {
        let clock = ClockTrust::from(sighting.clock_trust());
        Self {
            id: sighting.id,
            captured_at: time(sighting.capture_time.as_ref()),
            received_at: time(sighting.receive_time.as_ref()),
            device_id: sighting.device_id,
            device_name: sighting.device_name,
            classroom: sighting.classroom,
            boot_epoch: sighting.boot_epoch,
            sequence: sighting.sequence,
            frame: sighting.frame,
            bounding_box: sighting.bounding_box.map(Into::into),
            detection_score: sighting.detection_score,
            quality: quality(sighting.quality),
            liveness: sighting.liveness,
            prediction: sighting.prediction.map(Into::into),
            review: sighting.review.map(Into::into),
            reviews: sighting.reviews.into_iter().map(Into::into).collect(),
            student: sighting.student.map(Into::into),
            has_evidence: sighting.has_evidence,
            clock: (clock != ClockTrust::Unknown).then_some(clock.as_str()),
            clock_uncertainty_ms: sighting.clock_uncertainty_ms,
            time_implausible: sighting.time_implausible,
            claim: sighting.claim.map(|claim| ClaimView {
                reviewer: claim.reviewer,
                expire_time: time(claim.expire_time.as_ref()),
                assigned_by: claim.assigned_by,
            }),
            visit_size: (sighting.visit_size > 0).then_some(sighting.visit_size),
            track: sighting.track.map(|track| TrackView {
                id: track.id,
                entered_at: time(track.enter_time.as_ref()),
                last_seen_at: time(track.last_seen_time.as_ref()),
                left: track.left,
            }),
        }
    }
}

impl From<v1::BoundingBox> for BoundingBoxView {
    fn from(v1::BoundingBox { x, y, width, height }: v1::BoundingBox) -> Self {
        Self { x, y, width, height }
    }
}

impl From<v1::Prediction> for PredictionView {
    fn from(prediction: v1::Prediction) -> Self {
        let candidates = prediction.candidates.into_iter().map(|candidate| CandidateView {
            student: candidate.student.map(Into::into),
            similarity: candidate.similarity,
        });
        Self {
            decision: word(prediction.decision, Decision::as_str),
            reason: prediction.reason,
            candidates: candidates.collect(),
            margin: prediction.margin,
            threshold: prediction.threshold,
            threshold_version: prediction.threshold_version,
            scope: word(prediction.scope, MatchScope::as_str),
            scope_templates: prediction.scope_templates,
            pack_digest: prediction.pack_digest,
        }
    }
}

impl From<v1::Review> for ReviewView {
    fn from(review: v1::Review) -> Self {
        Self {
            verdict: word(review.verdict, Verdict::as_str),
            reviewer: review.reviewer,
            review_time: time(review.review_time.as_ref()),
            notes: review.notes,
            corrected_student: review.corrected_student.map(Into::into),
            withdrawal: review.withdrawal.map(|withdrawal| WithdrawalView {
                reviewer: withdrawal.reviewer,
                withdraw_time: time(withdrawal.withdraw_time.as_ref()),
                notes: withdrawal.notes,
            }),
        }
    }
}

impl ClaimView {
    fn text(&self, style: &Style) -> String {
        match self.expire_time {
            Some(end) => format!("claimed by {} until {}", self.reviewer, moment(style, Some(end))),
            None => format!("assigned to {} by {}", self.reviewer, self.assigned_by),
        }
    }
}

impl SightingView {
    fn decision(&self) -> String {
        self.prediction.as_ref().map(|prediction| prediction.decision.to_owned()).unwrap_or_default()
    }

    fn best(&self) -> Option<&CandidateView> {
        self.prediction.as_ref()?.candidates.first()
    }

    fn best_similarity(&self) -> String {
        self.best().map(|candidate| similarity(candidate.similarity)).unwrap_or_default()
    }

    fn verdict(&self) -> String {
        self.review.as_ref().map(|review| review.verdict.to_owned()).unwrap_or_default()
    }

    /// The verdict, and whose the next one is.
    fn state(&self, style: &Style) -> String {
        let claim = self.claim.as_ref().map(|claim| claim.text(style)).unwrap_or_default();
        let parts = [self.verdict(), claim];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// When it was captured, and that it can't have been.
    fn captured(&self, style: &Style) -> String {
        let mark = if self.time_implausible && !style.exact { " (implausible)" } else { "" };
        moment(style, self.captured_at) + mark
    }

    fn clock_state(&self) -> String {
        match (self.clock, self.clock_uncertainty_ms) {
            (None, _) => String::new(),
            (Some(state), None) => state.to_owned(),
            (Some(state), Some(ms)) => format!("{state}, within {ms} ms"),
        }
    }

    fn facts(&self, style: &Style) -> Vec<(&'static str, String)> {
        let prediction = self.prediction.as_ref();
        let review = self.review.as_ref();
        let of_prediction = |text: fn(&PredictionView) -> String| prediction.map(text).unwrap_or_default();
        let of_review = |text: fn(&ReviewView) -> String| review.map(text).unwrap_or_default();
        let left = self.track.as_ref().is_some_and(|track| track.left);
        let last_seen = self.track.as_ref().and_then(|track| track.last_seen_at);
        vec![
            ("student", label(self.student.as_ref())),
            ("captured", self.captured(style)),
            ("received", moment(style, self.received_at)),
            ("clock", self.clock_state()),
            ("entered", self.track.as_ref().map(|t| moment(style, t.entered_at)).unwrap_or_default()),
            (if left { "left" } else { "last in view" }, moment(style, last_seen)),
            ("device", self.device_name.clone()),
            ("classroom", self.classroom.clone()),
            ("frame", self.frame.clone()),
            ("decision", of_prediction(|p| format!("{} ({})", p.decision, p.reason))),
            ("margin", of_prediction(|p| p.margin.map(similarity).unwrap_or_default())),
            (
                "threshold",
                of_prediction(|p| {
                    // Servers before there were rosters don't say.
                    let known = MatchScope::ALL.iter().find(|scope| scope.as_str() == p.scope);
                    let of = known.map(|scope| format!(" of the {scope}")).unwrap_or_default();
                    format!("{}{of} (version {})", similarity(p.threshold), p.threshold_version)
                }),
            ),
            ("quality", self.quality.map(|q| q.unified_score.to_string()).unwrap_or_default()),
            ("liveness", self.liveness.map(|live| format!("{live:.2}")).unwrap_or_default()),
            ("review", of_review(|r| format!("{} by {}", r.verdict, r.reviewer))),
            ("reviewed", review.map(|r| moment(style, r.review_time)).unwrap_or_default()),
            ("notes", of_review(|r| r.notes.clone())),
            ("claim", self.claim.as_ref().map(|claim| claim.text(style)).unwrap_or_default()),
            ("corrected to", review.map(|r| label(r.corrected_student.as_ref())).unwrap_or_default()),
            ("id", self.id.clone()),
        ]
    }
}

/// All verdicts as a table; empty where the one in force is the only one there ever was.
fn history(reviews: &[ReviewView], style: &Style) -> String {
    if let [] | [ReviewView { withdrawal: None, .. }] = reviews {
        return String::new();
    }
    let rows = reviews.iter().map(|review| {
        let withdrawn = review.withdrawal.as_ref().map(|withdrawal| {
            let notes = &withdrawal.notes;
            let said = format!("by {} {}", withdrawal.reviewer, moment(style, withdrawal.withdraw_time));
            if notes.is_empty() { said } else { format!("{said}: {notes}") }
        });
        [
            moment(style, review.review_time),
            review.verdict.to_owned(),
            review.reviewer.clone(),
            label(review.corrected_student.as_ref()),
            review.notes.clone(),
            withdrawn.unwrap_or_default(),
        ]
    });
    let header = ["REVIEWED", "VERDICT", "REVIEWER", "CORRECTED TO", "NOTES", "TAKEN BACK"];
    table(style, header, rows.collect())
}

fn label(student: Option<&StudentRefView>) -> String {
    student.map(StudentRefView::label).unwrap_or_default()
}

impl Report for SightingView {
    fn table(&self, style: &Style) -> String {
        paragraphs([facts(style, &self.facts(style)), history(&self.reviews, style)])
    }
}

/// Those parts of a text that are not empty, an empty line between them.
fn paragraphs<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

impl List for SightingList {
    type Entry = SightingView;
    const FIELD: &'static str = "sightings";
    const NAME: &'static str = "sightings";
    const HEADER: &'static [&'static str] =
        &["CAPTURED", "DEVICE", "CLASSROOM", "STUDENT", "DECISION", "SIMILARITY", "REVIEW", "ID"];

    fn cells(sighting: &SightingView, style: &Style) -> Vec<String> {
        vec![
            sighting.captured(style),
            sighting.device_name.clone(),
            sighting.classroom.clone(),
            label(sighting.student.as_ref()),
            sighting.decision(),
            sighting.best_similarity(),
            sighting.verdict(),
            sighting.id.clone(),
        ]
    }
}

impl List for ReviewQueue {
    type Entry = SightingView;
    const FIELD: &'static str = "sightings";
    const NAME: &'static str = "sightings that wait for review";
    const HEADER: &'static [&'static str] =
        &["CAPTURED", "VISIT", "DEVICE", "LOOKS LIKE", "SIMILARITY", "WHY", "REVIEW", "ID"];

    fn cells(sighting: &SightingView, style: &Style) -> Vec<String> {
        let prediction = sighting.prediction.as_ref();
        vec![
            sighting.captured(style),
            sighting.visit_size.map(|size| format!("×{size}")).unwrap_or_default(),
            sighting.device_name.clone(),
            label(sighting.best().and_then(|candidate| candidate.student.as_ref())),
            sighting.best_similarity(),
            prediction.map(|prediction| prediction.reason.clone()).unwrap_or_default(),
            sighting.state(style),
            sighting.id.clone(),
        ]
    }
}

impl Report for ReviewItemView {
    fn table(&self, style: &Style) -> String {
        let mut lines = self.sighting.facts(style);
        let evidence = match (&self.evidence_file, self.evidence_bytes) {
            (Some(file), _) => file.clone(),
            (None, 0) => "none was kept".to_owned(),
            (None, bytes) => format!("{bytes} bytes; --evidence-out FILE writes them"),
        };
        lines.push(("evidence", evidence));
        let candidates = self.sighting.prediction.iter().flat_map(|prediction| &prediction.candidates);
        let rows = candidates.map(|candidate| {
            let student = candidate.student.as_ref();
            [
                student.map(|student| student.number.clone()).unwrap_or_default(),
                student.map(|student| student.name.clone()).unwrap_or_default(),
                similarity(candidate.similarity),
            ]
        });
        let candidates = table(style, ["NUMBER", "CANDIDATE", "SIMILARITY"], rows.collect());
        paragraphs([facts(style, &lines), candidates, history(&self.sighting.reviews, style)])
    }
}

/// What became of one verdict on many sightings.
#[derive(Debug, Serialize)]
pub struct BulkReviewView {
    /// The verdict.
    pub verdict: &'static str,
    /// Whether that was only tried.
    pub dry_run: bool,
    /// Sightings that the filters chose.
    pub chosen: u32,
    /// Those of them that were reviewed.
    pub reviewed: u32,
    /// Those that were not.
    pub passed_over: u32,
}

impl BulkReviewView {
    /// The server's answer.
    #[must_use]
    pub fn new(done: v1::ReviewPendingResponse, verdict: Verdict, dry_run: bool) -> Self {
        let v1::ReviewPendingResponse { chosen, reviewed, passed_over } = done;
        Self { verdict: verdict.as_str(), dry_run, chosen, reviewed, passed_over }
    }
}

impl Report for BulkReviewView {
    fn table(&self, _style: &Style) -> String {
        let Self { verdict, chosen, reviewed, passed_over, .. } = self;
        match (self.dry_run, passed_over) {
            (true, _) => format!("{chosen} sightings would be {verdict}; nothing was changed"),
            (false, 0) => format!("{reviewed} sightings {verdict}"),
            (false, _) => format!("{reviewed} sightings {verdict}, {passed_over} passed over"),
        }
    }
}

/// What became of claims.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ClaimsView {
    /// Claims that were ended.
    Released {
        /// How many.
        released: u32,
    },
    /// Sightings that were given to somebody.
    Assigned {
        /// How many.
        assigned: u32,
        /// User name; empty where they are anybody's now.
        reviewer: String,
    },
}

impl Report for ClaimsView {
    fn table(&self, _style: &Style) -> String {
        match self {
            Self::Released { released } => format!("{released} claims ended"),
            Self::Assigned { assigned, reviewer } if reviewer.is_empty() => {
                format!("{assigned} sightings are anybody's now")
            }
            Self::Assigned { assigned, reviewer } => {
                format!("{assigned} sightings assigned to {}", sanitised(reviewer))
            }
        }
    }
}
