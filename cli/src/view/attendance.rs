//! Marks, and what is said of them.

use cavs_proto::v1;
use cavs_types::{AppealState, CorrectionSource, Decision, Mark, MatchScope, PendingCounts, SessionState};
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
    text::sanitised,
};

/// A session, as its marks name it.
#[derive(Debug, Clone, Serialize)]
pub struct MarkedSessionView {
    /// UUID.
    pub id: String,
    /// May be empty.
    pub name: String,
    /// UUID.
    pub group_id: String,
    /// Of whom it is.
    pub group_name: String,
    /// RFC 3339.
    pub start_time: Option<Timestamp>,
    /// RFC 3339.
    pub end_time: Option<Timestamp>,
    /// `planned`, `open`, `closing`, `finalised` or `cancelled`.
    pub state: &'static str,
}

/// What a session says of a person.
#[derive(Debug, Clone, Serialize)]
pub struct MarkChangeView {
    /// Who.
    pub student: StudentRefView,
    /// `present`, `late`, `left_early`, `absent`, `excused` or `undetermined`.
    pub mark: &'static str,
    /// What the records say without anybody's word.
    pub machine_mark: &'static str,
    /// UUID of the word in force; empty for none.
    pub correction_id: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen_time: Option<Timestamp>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_time: Option<Timestamp>,
    /// Whole minutes of the session that they were there.
    pub minutes_present: u32,
    /// Whole minutes after the start.
    pub minutes_late: u32,
    /// Whole minutes before the end.
    pub minutes_left_early: u32,
    /// Counts the changes of the mark.
    pub number: u32,
    /// RFC 3339.
    pub change_time: Option<Timestamp>,
}

/// A mark with its session.
#[derive(Debug, Clone, Serialize)]
pub struct MarkView {
    /// Which session.
    pub session: MarkedSessionView,
    /// What it says of whom.
    #[serde(flatten)]
    pub mark: MarkChangeView,
}

/// A rule that applied.
#[derive(Debug, Clone, Serialize)]
pub struct RuleView {
    /// Stable.
    pub rule: String,
    /// In words.
    pub text: String,
}

/// Somebody who came without being expected.
#[derive(Debug, Serialize)]
pub struct VisitorView {
    /// Who.
    pub student: StudentRefView,
    /// RFC 3339.
    pub first_seen_time: Option<Timestamp>,
    /// RFC 3339.
    pub last_seen_time: Option<Timestamp>,
    /// How often.
    pub sightings: u32,
}

/// All that a session says.
#[derive(Debug, Serialize)]
pub struct SheetView {
    /// Which session.
    pub session: MarkedSessionView,
    /// By name.
    pub rooms: Vec<String>,
    /// By number.
    pub marks: Vec<MarkChangeView>,
    /// By first time.
    pub visitors: Vec<VisitorView>,
    /// Why nobody is absent for not having been seen.
    pub unproven: Vec<RuleView>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate_time: Option<Timestamp>,
    /// How many faces are expected to be taken for somebody's whose they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_matches: Option<FalseMatchesView>,
}

/// How many faces are expected to be taken for somebody's whose they are not.
#[derive(Debug, Serialize)]
pub struct FalseMatchesView {
    /// Faces that were seen.
    pub faces: u64,
    /// If all of them were strangers'; `null`: nobody can say.
    pub at_most: Option<f64>,
    /// Of those who are expected; `null` where nobody is.
    pub roster: Option<ScopeRateView>,
    /// Of everybody of the site.
    pub site: ScopeRateView,
}

/// How often a stranger is accepted as one of some people.
#[derive(Debug, Serialize)]
pub struct ScopeRateView {
    /// Of those people.
    pub templates: u32,
    /// The similarity that is accepted.
    pub threshold: f32,
    /// Strangers, of 1,000; `null`: nobody can say.
    pub per_thousand: Option<f64>,
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

/// A time in which somebody need not be there.
#[derive(Debug, Serialize)]
pub struct ExcuseView {
    /// UUID.
    pub id: String,
    /// Who.
    pub student: StudentRefView,
    /// RFC 3339.
    pub start_time: Option<Timestamp>,
    /// RFC 3339.
    pub end_time: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// User name.
    pub created_by: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdraw_time: Option<Timestamp>,
}

/// What somebody says against their mark.
#[derive(Debug, Serialize)]
pub struct AppealView {
    /// UUID.
    pub id: String,
    /// Of which session.
    pub session: MarkedSessionView,
    /// Whose mark.
    pub student: StudentRefView,
    /// What it is now.
    pub current_mark: &'static str,
    /// What it should be.
    pub mark: &'static str,
    /// Why.
    pub reason: String,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// By when it is to be decided; RFC 3339.
    pub due_time: Option<Timestamp>,
    /// `open`, `accepted`, `rejected` or `withdrawn`.
    pub state: &'static str,
    /// What was answered.
    pub answer: String,
    /// User name; empty while it is open.
    pub decided_by: String,
}

/// What came to be known after marks were final.
#[derive(Debug, Serialize)]
pub struct ProposalView {
    /// Of which session.
    pub session: MarkedSessionView,
    /// Whose mark.
    pub student: StudentRefView,
    /// What it is now.
    pub current_mark: &'static str,
    /// What the records say.
    pub machine_mark: &'static str,
    /// Why.
    pub rules: Vec<RuleView>,
    /// RFC 3339.
    pub propose_time: Option<Timestamp>,
}

/// What somebody must do to be present.
#[derive(Debug, Serialize)]
pub struct AttendancePolicyView {
    /// In minutes.
    pub minutes_before: u32,
    /// In minutes.
    pub minutes_after: u32,
    /// In minutes.
    pub grace_minutes: u32,
    /// In minutes; `null`: no limit.
    pub too_late_minutes: Option<u32>,
    /// In minutes.
    pub least_minutes: u32,
    /// How many.
    pub sightings: u32,
    /// 0 to 1; `null`: all count.
    pub least_similarity: Option<f32>,
    /// `undetermined`, `present` or `nothing`.
    pub pending: &'static str,
    /// Whether it is looked at.
    pub leaving: bool,
    /// In minutes.
    pub leave_grace_minutes: u32,
    /// 0.5 to 1.
    pub least_watched: f32,
    /// In days; `null`: not by themselves.
    pub finalise_after_days: Option<u32>,
    /// In days.
    pub appeal_days: u32,
    /// Names of the settings that are set there.
    pub set_fields: Vec<String>,
    /// User name; empty unless something is set there.
    pub updated_by: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_time: Option<Timestamp>,
}

/// Marks of many sessions.
#[derive(Debug)]
pub struct MarkList;
/// Marks of a session, as they change.
#[derive(Debug)]
pub struct MarkChangeList;
/// Excuses, the latest to begin first.
#[derive(Debug)]
pub struct ExcuseList;
/// Appeals, those that are due first before others.
#[derive(Debug)]
pub struct AppealList;
/// Proposals, the oldest first.
#[derive(Debug)]
pub struct ProposalList;

impl From<v1::MarkedSession> for MarkedSessionView {
    fn from(session: v1::MarkedSession) -> Self {
        Self {
            id: session.id,
            name: session.name,
            group_id: session.group_id,
            group_name: session.group_name,
            start_time: time(session.start_time.as_ref()),
            end_time: time(session.end_time.as_ref()),
            state: word(session.state, SessionState::as_str),
        }
    }
}

impl From<v1::PersonMark> for MarkChangeView {
    fn from(mark: v1::PersonMark) -> Self {
        Self {
            student: mark.student.unwrap_or_default().into(),
            mark: word(mark.mark, Mark::as_str),
            machine_mark: word(mark.machine_mark, Mark::as_str),
            correction_id: mark.correction_id,
            first_seen_time: time(mark.first_seen_time.as_ref()),
            last_seen_time: time(mark.last_seen_time.as_ref()),
            minutes_present: mark.minutes_present,
            minutes_late: mark.minutes_late,
            minutes_left_early: mark.minutes_left_early,
            number: mark.number,
            change_time: time(mark.change_time.as_ref()),
        }
    }
}

impl From<v1::ListedMark> for MarkView {
    fn from(v1::ListedMark { session, mark }: v1::ListedMark) -> Self {
        Self { session: session.unwrap_or_default().into(), mark: mark.unwrap_or_default().into() }
    }
}

fn rules(rules: Vec<v1::AppliedRule>) -> Vec<RuleView> {
    rules.into_iter().map(|v1::AppliedRule { rule, text }| RuleView { rule, text }).collect()
}

impl From<v1::Visitor> for VisitorView {
    fn from(visitor: v1::Visitor) -> Self {
        Self {
            student: visitor.student.unwrap_or_default().into(),
            first_seen_time: time(visitor.first_seen_time.as_ref()),
            last_seen_time: time(visitor.last_seen_time.as_ref()),
            sightings: visitor.sightings,
        }
    }
}

impl From<v1::Sheet> for SheetView {
    fn from(sheet: v1::Sheet) -> Self {
        Self {
            session: sheet.session.unwrap_or_default().into(),
            rooms: sheet.rooms,
            marks: sheet.marks.into_iter().map(Into::into).collect(),
            visitors: sheet.visitors.into_iter().map(Into::into).collect(),
            unproven: rules(sheet.unproven),
            evaluate_time: time(sheet.evaluate_time.as_ref()),
            false_matches: sheet.false_matches.map(Into::into),
        }
    }
}

impl From<v1::FalseMatches> for FalseMatchesView {
    fn from(of: v1::FalseMatches) -> Self {
        let rate = |of: v1::ScopeRate| ScopeRateView {
            templates: of.templates,
            threshold: of.threshold,
            per_thousand: of.per_thousand,
        };
        let (roster, site) = (of.roster.map(rate), rate(of.site.unwrap_or_default()));
        Self { faces: of.faces, at_most: of.at_most, roster, site }
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

impl From<v1::Excuse> for ExcuseView {
    fn from(excuse: v1::Excuse) -> Self {
        Self {
            id: excuse.id,
            student: excuse.student.unwrap_or_default().into(),
            start_time: time(excuse.start_time.as_ref()),
            end_time: time(excuse.end_time.as_ref()),
            reason: excuse.reason,
            create_time: time(excuse.create_time.as_ref()),
            created_by: excuse.created_by,
            withdraw_time: time(excuse.withdraw_time.as_ref()),
        }
    }
}

impl From<v1::Appeal> for AppealView {
    fn from(appeal: v1::Appeal) -> Self {
        Self {
            id: appeal.id,
            session: appeal.session.unwrap_or_default().into(),
            student: appeal.student.unwrap_or_default().into(),
            current_mark: word(appeal.current_mark, Mark::as_str),
            mark: word(appeal.mark, Mark::as_str),
            reason: appeal.reason,
            create_time: time(appeal.create_time.as_ref()),
            due_time: time(appeal.due_time.as_ref()),
            state: word(appeal.state, AppealState::as_str),
            answer: appeal.answer,
            decided_by: appeal.decided_by,
        }
    }
}

impl From<v1::MarkProposal> for ProposalView {
    fn from(proposal: v1::MarkProposal) -> Self {
        Self {
            session: proposal.session.unwrap_or_default().into(),
            student: proposal.student.unwrap_or_default().into(),
            current_mark: word(proposal.current_mark, Mark::as_str),
            machine_mark: word(proposal.machine_mark, Mark::as_str),
            rules: rules(proposal.rules),
            propose_time: time(proposal.propose_time.as_ref()),
        }
    }
}

impl AttendancePolicyView {
    fn new(
        policy: v1::AttendancePolicy,
        set_fields: Vec<String>,
        (at, updated_by): (Option<Timestamp>, String),
    ) -> Self {
        Self {
            minutes_before: policy.minutes_before,
            minutes_after: policy.minutes_after,
            grace_minutes: policy.grace_minutes,
            too_late_minutes: policy.too_late_minutes,
            least_minutes: policy.least_minutes,
            sightings: policy.sightings,
            least_similarity: policy.least_similarity,
            pending: word(policy.pending, PendingCounts::as_str),
            leaving: policy.leaving,
            leave_grace_minutes: policy.leave_grace_minutes,
            least_watched: policy.least_watched,
            finalise_after_days: policy.finalise_after_days,
            appeal_days: policy.appeal_days,
            set_fields,
            updated_by,
            update_time: at,
        }
    }
}

impl From<v1::GetAttendancePolicyResponse> for AttendancePolicyView {
    fn from(found: v1::GetAttendancePolicyResponse) -> Self {
        let changed = (time(found.update_time.as_ref()), found.updated_by);
        Self::new(found.policy.unwrap_or_default(), found.set_fields, changed)
    }
}

impl From<v1::UpdateAttendancePolicyResponse> for AttendancePolicyView {
    fn from(found: v1::UpdateAttendancePolicyResponse) -> Self {
        let changed = (time(found.update_time.as_ref()), found.updated_by);
        Self::new(found.policy.unwrap_or_default(), found.set_fields, changed)
    }
}

impl MarkedSessionView {
    /// Group, name and start in a line.
    fn label(&self, style: &Style) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        format!("{}{name}, {}", self.group_name, moment(style, self.start_time))
    }
}

impl MarkChangeView {
    /// As people read it: a word that a person has said is marked.
    fn mark_text(&self) -> String {
        let mark = self.mark.replace('_', " ");
        if self.correction_id.is_empty() { mark } else { format!("{mark} *") }
    }

    /// What of it was missed, in words.
    fn missed(&self) -> String {
        let late = (self.minutes_late > 0).then(|| format!("{} min late", self.minutes_late));
        let left =
            (self.minutes_left_early > 0).then(|| format!("left {} min early", self.minutes_left_early));
        [late, left].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn row(&self, style: &Style) -> [String; 7] {
        [
            self.student.number.clone(),
            self.student.name.clone(),
            self.mark_text(),
            clock(style, self.first_seen_time),
            clock(style, self.last_seen_time),
            self.minutes_present.to_string(),
            self.missed(),
        ]
    }
}

/// The time of the day, or exactly for programs.
fn clock(style: &Style, time: Option<Timestamp>) -> String {
    if style.exact {
        return moment(style, time);
    }
    time.map(|time| time.to_zoned(style.zone.clone()).strftime("%H:%M").to_string()).unwrap_or_default()
}

impl Report for SheetView {
    const ROWS: Option<&'static str> = Some("marks");

    fn table(&self, style: &Style) -> String {
        let session = &self.session;
        let head = format!(
            "{} to {}{} ({})",
            sanitised(&session.label(style)),
            clock(style, session.end_time),
            if self.rooms.is_empty() {
                String::new()
            } else {
                format!(", {}", sanitised(&self.rooms.join(", ")))
            },
            session.state
        );
        let header = ["NUMBER", "NAME", "MARK", "FIRST SEEN", "LAST SEEN", "MINUTES", "REMARK"];
        let rows = self.marks.iter().map(|mark| mark.row(style)).collect();
        let counts = Mark::ALL.iter().filter_map(|mark| {
            let count = self.marks.iter().filter(|of| of.mark == mark.as_str()).count();
            (count > 0).then(|| format!("{count} {}", mark.as_str().replace('_', " ")))
        });
        let mut parts = vec![head, table(style, header, rows), counts.collect::<Vec<_>>().join(", ")];
        if self.marks.iter().any(|mark| !mark.correction_id.is_empty()) {
            parts.push("* a person has said so".to_owned());
        }
        if !self.visitors.is_empty() {
            let visitors =
                self.visitors.iter().map(|visitor| sanitised(&visitor.student.label()).into_owned());
            parts.push(format!("not expected: {}", visitors.collect::<Vec<_>>().join(", ")));
        }
        if self.marks.iter().any(|mark| mark.mark == Mark::Undetermined.as_str()) && !self.unproven.is_empty()
        {
            let why = self.unproven.iter().map(|rule| format!("- {}", sanitised(&rule.text)));
            parts.push(format!("nobody is known to be absent, for:\n{}", why.collect::<Vec<_>>().join("\n")));
        }
        parts.extend(self.false_matches.as_ref().and_then(FalseMatchesView::text));
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}

impl FalseMatchesView {
    /// In a line; nothing where nobody can say.
    fn text(&self) -> Option<String> {
        let at_most = self.at_most?;
        // Below, the figure says no more than that it is small.
        let at_most =
            if at_most < 0.001 { "fewer than 0.001".to_owned() } else { format!("at most {at_most:.3}") };
        let of = |rate: &ScopeRateView, of: &str| {
            let per_thousand = rate.per_thousand.unwrap_or_default();
            format!(
                "{per_thousand:.2} of 1,000 strangers at {:.3} among {} templates of the {of}",
                rate.threshold, rate.templates
            )
        };
        let rates = self.roster.iter().map(|rate| of(rate, "roster")).chain([of(&self.site, "site")]);
        Some(format!(
            "expected false matches: {at_most}, if the {} faces seen were strangers' ({})",
            self.faces,
            rates.collect::<Vec<_>>().join("; ")
        ))
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

impl Report for ExcuseView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("student", self.student.label()),
                ("from", moment(style, self.start_time)),
                ("until", moment(style, self.end_time)),
                ("reason", self.reason.clone()),
                ("recorded by", self.created_by.clone()),
                ("taken back", moment(style, self.withdraw_time)),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl Report for AppealView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("student", self.student.label()),
                ("session", self.session.label(style)),
                ("mark now", self.current_mark.replace('_', " ")),
                ("should be", self.mark.replace('_', " ")),
                ("reason", self.reason.clone()),
                ("due", moment(style, self.due_time)),
                ("state", self.state.to_owned()),
                ("answer", self.answer.clone()),
                ("decided by", self.decided_by.clone()),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl Report for AttendancePolicyView {
    fn table(&self, style: &Style) -> String {
        let minutes = |minutes: u32| format!("{minutes} minutes");
        let set = |name: &str, value: String| {
            if self.set_fields.iter().any(|field| field == name) {
                format!("{value} (set here)")
            } else {
                value
            }
        };
        let settings = [
            ("minutes_before", minutes(self.minutes_before)),
            ("minutes_after", minutes(self.minutes_after)),
            ("grace_minutes", minutes(self.grace_minutes)),
            ("too_late_minutes", self.too_late_minutes.map_or("none".to_owned(), minutes)),
            ("least_minutes", minutes(self.least_minutes)),
            ("sightings", self.sightings.to_string()),
            (
                "least_similarity",
                self.least_similarity.map_or("none".to_owned(), |least| format!("{least:.2}")),
            ),
            ("pending", self.pending.to_owned()),
            ("leaving", self.leaving.to_string()),
            ("leave_grace_minutes", minutes(self.leave_grace_minutes)),
            ("least_watched", format!("{:.2}", self.least_watched)),
            (
                "finalise_after_days",
                self.finalise_after_days.map_or("none".to_owned(), |days| format!("{days} days")),
            ),
            ("appeal_days", format!("{} days", self.appeal_days)),
        ];
        let mut rows: Vec<(&str, String)> =
            settings.into_iter().map(|(name, value)| (name, set(name, value))).collect();
        rows.push(("changed by", self.updated_by.clone()));
        rows.push(("changed", moment(style, self.update_time)));
        facts(style, &rows)
    }
}

impl List for MarkList {
    type Entry = MarkView;
    const FIELD: &'static str = "marks";
    const NAME: &'static str = "marks";
    const HEADER: &'static [&'static str] = &["SESSION", "NUMBER", "NAME", "MARK", "MINUTES", "REMARK"];

    fn cells(entry: &MarkView, style: &Style) -> Vec<String> {
        let mark = &entry.mark;
        vec![
            entry.session.label(style),
            mark.student.number.clone(),
            mark.student.name.clone(),
            mark.mark_text(),
            mark.minutes_present.to_string(),
            mark.missed(),
        ]
    }
}

impl List for MarkChangeList {
    type Entry = MarkChangeView;
    const FIELD: &'static str = "marks";
    const NAME: &'static str = "marks";
    const HEADER: &'static [&'static str] = &["CHANGED", "NUMBER", "NAME", "MARK", "REMARK"];

    fn cells(mark: &MarkChangeView, style: &Style) -> Vec<String> {
        vec![
            moment(style, mark.change_time),
            mark.student.number.clone(),
            mark.student.name.clone(),
            mark.mark_text(),
            mark.missed(),
        ]
    }
}

impl List for ExcuseList {
    type Entry = ExcuseView;
    const FIELD: &'static str = "excuses";
    const NAME: &'static str = "excuses";
    const HEADER: &'static [&'static str] = &["STUDENT", "FROM", "UNTIL", "REASON", "TAKEN BACK", "ID"];

    fn cells(excuse: &ExcuseView, style: &Style) -> Vec<String> {
        vec![
            excuse.student.label(),
            moment(style, excuse.start_time),
            moment(style, excuse.end_time),
            excuse.reason.clone(),
            moment(style, excuse.withdraw_time),
            excuse.id.clone(),
        ]
    }
}

impl List for AppealList {
    type Entry = AppealView;
    const FIELD: &'static str = "appeals";
    const NAME: &'static str = "appeals";
    const HEADER: &'static [&'static str] =
        &["DUE", "STUDENT", "SESSION", "MARK", "SHOULD BE", "REASON", "ID"];

    fn cells(appeal: &AppealView, style: &Style) -> Vec<String> {
        vec![
            moment(style, appeal.due_time),
            appeal.student.label(),
            appeal.session.label(style),
            appeal.current_mark.replace('_', " "),
            appeal.mark.replace('_', " "),
            appeal.reason.clone(),
            appeal.id.clone(),
        ]
    }
}

impl List for ProposalList {
    type Entry = ProposalView;
    const FIELD: &'static str = "proposals";
    const NAME: &'static str = "proposals";
    const HEADER: &'static [&'static str] =
        &["PROPOSED", "STUDENT", "SESSION", "MARK", "PROPOSAL", "SESSION ID"];

    fn cells(proposal: &ProposalView, style: &Style) -> Vec<String> {
        vec![
            moment(style, proposal.propose_time),
            proposal.student.label(),
            proposal.session.label(style),
            proposal.current_mark.replace('_', " "),
            proposal.machine_mark.replace('_', " "),
            proposal.session.id.clone(),
        ]
    }
}
