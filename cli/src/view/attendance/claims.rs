//! What people say of marks, and what came to be known late.

use cavs_proto::v1;
use cavs_types::{AppealState, Mark};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    explanation::{RuleView, rules},
    marks::MarkedSessionView,
};
use crate::{
    list::List,
    printer::{Report, Style},
    view::{
        StudentRefView,
        layout::{facts, moment},
        time, word,
    },
};

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

/// Excuses, the latest to begin first.
#[derive(Debug)]
pub struct ExcuseList;

/// Appeals, those that are due first before others.
#[derive(Debug)]
pub struct AppealList;

/// Proposals, the oldest first.
#[derive(Debug)]
pub struct ProposalList;

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
