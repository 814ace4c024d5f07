use std::collections::BTreeMap;

use cavs_attendance::{Evidence, Rule};
use cavs_proto::{enum_to_wire, to_timestamp, v1};
use cavs_types::DeviceId;
use jiff::tz::TimeZone;

use super::policy::policy_to_wire;
use crate::{
    attendance::{
        Appeal, DecidedSighting, ExcusedTime, FalseMatches, HistoryEntry, LateProposal, MarkCorrection,
        MarkDetails, MarkListed, MarkedSession, SessionSheet, SheetMark, VisitorSeen, in_words,
    },
    grpc::convert::student_ref,
    recognition::ScopeRate,
};

impl From<MarkedSession> for v1::MarkedSession {
    fn from(session: MarkedSession) -> Self {
        Self {
            id: session.id.to_string(),
            name: session.name,
            group_id: session.group.to_string(),
            group_name: session.group_name,
            start_time: Some(to_timestamp(session.starts_at)),
            end_time: Some(to_timestamp(session.ends_at)),
            state: enum_to_wire(session.state),
        }
    }
}

impl From<SheetMark> for v1::PersonMark {
    fn from(mark: SheetMark) -> Self {
        Self {
            student: Some(student_ref(mark.student)),
            mark: enum_to_wire(mark.mark),
            machine_mark: enum_to_wire(mark.machine_mark),
            correction_id: mark.correction.map(|id| id.to_string()).unwrap_or_default(),
            first_seen_time: mark.first_seen_at.map(to_timestamp),
            last_seen_time: mark.last_seen_at.map(to_timestamp),
            minutes_present: mark.minutes_present,
            minutes_late: mark.minutes_late,
            minutes_left_early: mark.minutes_left_early,
            number: mark.number,
            change_time: Some(to_timestamp(mark.changed_at)),
        }
    }
}

impl From<MarkListed> for v1::ListedMark {
    fn from(MarkListed { session, mark }: MarkListed) -> Self {
        Self { session: Some(session.into()), mark: Some(mark.into()) }
    }
}

impl From<VisitorSeen> for v1::Visitor {
    fn from(visitor: VisitorSeen) -> Self {
        Self {
            student: Some(student_ref(visitor.student)),
            first_seen_time: Some(to_timestamp(visitor.first_seen_at)),
            last_seen_time: Some(to_timestamp(visitor.last_seen_at)),
            sightings: visitor.sightings,
        }
    }
}

/// Rules by their stable names, and in words.
fn rules_to_wire(
    rules: &[Rule],
    devices: &BTreeMap<DeviceId, String>,
    zone: &TimeZone,
) -> Vec<v1::AppliedRule> {
    rules
        .iter()
        .map(|rule| v1::AppliedRule { rule: rule.name().to_owned(), text: in_words(rule, devices, zone) })
        .collect()
}

impl From<SessionSheet> for v1::Sheet {
    fn from(sheet: SessionSheet) -> Self {
        Self {
            unproven: rules_to_wire(&sheet.unproven, &sheet.devices, &sheet.zone),
            session: Some(sheet.session.into()),
            rooms: sheet.rooms,
            marks: sheet.marks.into_iter().map(Into::into).collect(),
            visitors: sheet.visitors.into_iter().map(Into::into).collect(),
            evaluate_time: sheet.evaluated_at.map(to_timestamp),
            policy: Some(policy_to_wire(sheet.policy)),
            false_matches: sheet.false_matches.map(Into::into),
        }
    }
}

impl From<FalseMatches> for v1::FalseMatches {
    fn from(of: FalseMatches) -> Self {
        let scope = |of: ScopeRate| v1::ScopeRate {
            templates: of.templates,
            threshold: of.accept.get(),
            per_thousand: of.per_thousand,
        };
        let at_most = of.at_most();
        Self { faces: of.faces, at_most, roster: of.roster.map(scope), site: Some(scope(of.site)) }
    }
}

impl From<MarkCorrection> for v1::Correction {
    fn from(correction: MarkCorrection) -> Self {
        let (withdraw_time, withdrawn_by) =
            correction.withdrawn.map_or((None, String::new()), |(at, by)| (Some(to_timestamp(at)), by));
        Self {
            id: correction.id.to_string(),
            mark: enum_to_wire(correction.mark),
            source: enum_to_wire(correction.source),
            reason: correction.reason,
            make_time: Some(to_timestamp(correction.made_at)),
            made_by: correction.made_by,
            withdraw_time,
            withdrawn_by,
        }
    }
}

impl From<HistoryEntry> for v1::MarkChange {
    fn from(entry: HistoryEntry) -> Self {
        Self {
            number: entry.number,
            mark: enum_to_wire(entry.mark),
            machine_mark: enum_to_wire(entry.machine_mark),
            correction_id: entry.correction.map(|id| id.to_string()).unwrap_or_default(),
            unlisted: !entry.is_listed,
            change_time: Some(to_timestamp(entry.changed_at)),
        }
    }
}

impl From<MarkDetails> for v1::MarkExplanation {
    fn from(details: MarkDetails) -> Self {
        let rules = rules_to_wire(&details.rules, &details.devices, &details.zone);
        let (mut sighting_ids, mut check_in_ids) = (Vec::new(), Vec::new());
        for evidence in details.evidence {
            match evidence {
                Evidence::Sighting(id) => sighting_ids.push(id.to_string()),
                Evidence::CheckIn(id) => check_in_ids.push(id.to_string()),
            }
        }
        Self {
            session: Some(details.listed.session.into()),
            mark: Some(details.listed.mark.into()),
            rules,
            sighting_ids,
            check_in_ids,
            sightings: details.sightings.into_iter().map(Into::into).collect(),
            corrections: details.corrections.into_iter().map(Into::into).collect(),
            history: details.history.into_iter().map(Into::into).collect(),
            policy: Some(policy_to_wire(details.policy)),
        }
    }
}

impl From<DecidedSighting> for v1::ProvingSighting {
    fn from(sighting: DecidedSighting) -> Self {
        Self {
            id: sighting.id.to_string(),
            capture_time: Some(to_timestamp(sighting.captured_at)),
            decision: enum_to_wire(sighting.decision),
            similarity: sighting.similarity,
            threshold: sighting.threshold,
            threshold_version: sighting.threshold_version,
            scope: enum_to_wire(sighting.scope),
            scope_templates: sighting.scope_templates,
        }
    }
}

impl From<ExcusedTime> for v1::Excuse {
    fn from(excuse: ExcusedTime) -> Self {
        Self {
            id: excuse.id.to_string(),
            student: Some(student_ref(excuse.student)),
            start_time: Some(to_timestamp(excuse.starts_at)),
            end_time: Some(to_timestamp(excuse.ends_at)),
            reason: excuse.reason,
            create_time: Some(to_timestamp(excuse.made_at)),
            created_by: excuse.made_by,
            withdraw_time: excuse.withdrawn_at.map(to_timestamp),
        }
    }
}

impl From<Appeal> for v1::Appeal {
    fn from(appeal: Appeal) -> Self {
        let (decide_time, decided_by) =
            appeal.decided.map_or((None, String::new()), |(at, by)| (Some(to_timestamp(at)), by));
        Self {
            id: appeal.id.to_string(),
            session: Some(appeal.session.into()),
            student: Some(student_ref(appeal.student)),
            current_mark: enum_to_wire(appeal.mark_now),
            mark: enum_to_wire(appeal.mark),
            reason: appeal.reason,
            create_time: Some(to_timestamp(appeal.made_at)),
            created_by: appeal.made_by,
            due_time: Some(to_timestamp(appeal.due_at)),
            state: enum_to_wire(appeal.state),
            answer: appeal.answer,
            decide_time,
            decided_by,
        }
    }
}

impl From<LateProposal> for v1::MarkProposal {
    fn from(proposal: LateProposal) -> Self {
        let rules = rules_to_wire(&proposal.rules, &proposal.devices, &proposal.zone);
        Self {
            session: Some(proposal.session.into()),
            student: Some(student_ref(proposal.student)),
            current_mark: enum_to_wire(proposal.mark_now),
            machine_mark: enum_to_wire(proposal.machine_mark),
            rules,
            propose_time: Some(to_timestamp(proposal.proposed_at)),
        }
    }
}
