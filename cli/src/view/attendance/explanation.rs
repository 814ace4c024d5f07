//! Why somebody has a mark.

use cavs_proto::v1;
use cavs_types::{CorrectionSource, Decision, Mark, MatchScope};
use jiff::Timestamp;
use serde::Serialize;

use super::marks::{MarkChangeView, MarkedSessionView, clock};
use crate::{
    printer::{Report, Style},
    text::sanitised,
    view::{
        layout::{facts, moment, table},
        time, word,
    },
};

/// A rule that applied.
#[derive(Debug, Clone, Serialize)]
pub struct RuleView {
    /// Stable.
    pub rule: String,
    /// In words.
    pub text: String,
}

/// A person's word on a mark.
#[derive(Debug, Serialize)]
pub struct CorrectionView {
    /// UUID.
    pub id: String,
    /// What the mark is.
    pub mark: &'static str,
    /// `correction`, `roll_call`, `appeal` or `late_data`.
    pub source: &'static str,
    /// Why.
    pub reason: String,
    /// RFC 3339.
    pub make_time: Option<Timestamp>,
    /// User name.
    pub made_by: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdraw_time: Option<Timestamp>,
    /// User name; empty unless it was taken back.
    pub withdrawn_by: String,
}

/// What a mark was from a time on.
#[derive(Debug, Serialize)]
pub struct HistoryView {
    /// Counts from 1.
    pub number: u32,
    /// What it became.
    pub mark: &'static str,
    /// What the records said.
    pub machine_mark: &'static str,
    /// UUID of the word in force; empty for none.
    pub correction_id: String,
    /// They had left the roster.
    pub unlisted: bool,
    /// RFC 3339.
    pub change_time: Option<Timestamp>,
}

/// Why somebody has a mark.
#[derive(Debug, Serialize)]
pub struct ExplanationView {
    /// Which session.
    pub session: MarkedSessionView,
    /// The mark.
    #[serde(flatten)]
    pub mark: MarkChangeView,
    /// What led to it.
    pub rules: Vec<RuleView>,
    /// The sightings that prove it.
    pub sighting_ids: Vec<String>,
    /// How the machine decided on those that are still kept.
    pub sightings: Vec<ProvingSightingView>,
    /// The check-ins that prove it.
    pub check_in_ids: Vec<String>,
    /// All that people said of it.
    pub corrections: Vec<CorrectionView>,
    /// All that it has been.
    pub history: Vec<HistoryView>,
}

/// How the machine decided on a sighting.
#[derive(Debug, Serialize)]
pub struct ProvingSightingView {
    /// UUID.
    pub id: String,
    /// RFC 3339.
    pub capture_time: Option<Timestamp>,
    /// `accepted`, `pending` or `unknown`.
    pub decision: &'static str,
    /// Cosine to the best candidate; `null` where there was none.
    pub similarity: Option<f32>,
    /// The similarity that would have been accepted.
    pub threshold: f32,
    /// Version of the thresholds.
    pub threshold_version: u32,
    /// Among whom the best candidate was judged: `roster` or `site`.
    pub scope: &'static str,
    /// Templates of those; `null` where nobody noted it.
    pub scope_templates: Option<u32>,
}

pub(super) fn rules(rules: Vec<v1::AppliedRule>) -> Vec<RuleView> {
    rules.into_iter().map(|v1::AppliedRule { rule, text }| RuleView { rule, text }).collect()
}

impl From<v1::Correction> for CorrectionView {
    fn from(correction: v1::Correction) -> Self {
        Self {
            id: correction.id,
            mark: word(correction.mark, Mark::as_str),
            source: word(correction.source, CorrectionSource::as_str),
            reason: correction.reason,
            make_time: time(correction.make_time.as_ref()),
            made_by: correction.made_by,
            withdraw_time: time(correction.withdraw_time.as_ref()),
            withdrawn_by: correction.withdrawn_by,
        }
    }
}

impl From<v1::MarkChange> for HistoryView {
    fn from(change: v1::MarkChange) -> Self {
        Self {
            number: change.number,
            mark: word(change.mark, Mark::as_str),
            machine_mark: word(change.machine_mark, Mark::as_str),
            correction_id: change.correction_id,
            unlisted: change.unlisted,
            change_time: time(change.change_time.as_ref()),
        }
    }
}

impl From<v1::ProvingSighting> for ProvingSightingView {
    fn from(sighting: v1::ProvingSighting) -> Self {
        Self {
            id: sighting.id,
            capture_time: time(sighting.capture_time.as_ref()),
            decision: word(sighting.decision, Decision::as_str),
            similarity: sighting.similarity,
            threshold: sighting.threshold,
            threshold_version: sighting.threshold_version,
            scope: word(sighting.scope, MatchScope::as_str),
            scope_templates: sighting.scope_templates,
        }
    }
}

impl From<v1::MarkExplanation> for ExplanationView {
    fn from(explanation: v1::MarkExplanation) -> Self {
        Self {
            session: explanation.session.unwrap_or_default().into(),
            mark: explanation.mark.unwrap_or_default().into(),
            rules: rules(explanation.rules),
            sighting_ids: explanation.sighting_ids,
            sightings: explanation.sightings.into_iter().map(Into::into).collect(),
            check_in_ids: explanation.check_in_ids,
            corrections: explanation.corrections.into_iter().map(Into::into).collect(),
            history: explanation.history.into_iter().map(Into::into).collect(),
        }
    }
}

impl ProvingSightingView {
    /// In a line: what was decided, and by what.
    fn text(&self, style: &Style) -> String {
        let similarity = self.similarity.map(|similarity| format!(", {similarity:.3}")).unwrap_or_default();
        let among = self.scope_templates.map(|count| format!(" ({count} templates)")).unwrap_or_default();
        format!(
            "{} {} {}{similarity}; accepted from {:.3} on, of the {}{among}, version {}",
            clock(style, self.capture_time),
            self.id,
            self.decision,
            self.threshold,
            self.scope,
            self.threshold_version
        )
    }
}

impl Report for ExplanationView {
    fn table(&self, style: &Style) -> String {
        let mark = &self.mark;
        // Those that are no longer kept have an id only.
        let sightings: Vec<String> = self
            .sighting_ids
            .iter()
            .map(|id| {
                self.sightings.iter().find(|of| of.id == *id).map_or_else(|| id.clone(), |of| of.text(style))
            })
            .collect();
        let machine =
            if mark.machine_mark == mark.mark { String::new() } else { mark.machine_mark.replace('_', " ") };
        let facts_of_it = facts(
            style,
            &[
                ("student", mark.student.label()),
                ("session", self.session.label(style)),
                ("mark", mark.mark.replace('_', " ")),
                ("machine's mark", machine),
                ("first seen", moment(style, mark.first_seen_time)),
                ("last seen", moment(style, mark.last_seen_time)),
                ("minutes present", mark.minutes_present.to_string()),
                ("sightings", sightings.join("\n")),
            ],
        );
        let why = self.rules.iter().map(|rule| format!("- {}", sanitised(&rule.text)));
        let corrections = self.corrections.iter().map(|said| {
            [
                moment(style, said.make_time),
                said.made_by.clone(),
                said.mark.replace('_', " "),
                said.source.replace('_', " "),
                said.reason.clone(),
                said.withdraw_time
                    .map(|_| format!("taken back by {}", said.withdrawn_by))
                    .unwrap_or_default(),
                said.id.clone(),
            ]
        });
        let header = ["SAID", "BY", "MARK", "OCCASION", "REASON", "STATE", "ID"];
        let corrections = table(style, header, corrections.collect());
        let history = self.history.iter().map(|change| {
            let listed = if change.unlisted { "not on the roster" } else { "" };
            [
                moment(style, change.change_time),
                change.mark.replace('_', " "),
                change.machine_mark.replace('_', " "),
                listed.to_owned(),
            ]
        });
        let history = table(style, ["SINCE", "MARK", "MACHINE'S", ""], history.collect());
        let parts = [facts_of_it, why.collect::<Vec<_>>().join("\n"), corrections, history];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}
