//! Mails to those who were there too seldom.

use cavs_proto::v1;
use cavs_reports::Rate;
use cavs_types::MailState;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{facts, moment},
    time, word,
};
use crate::{
    list::List,
    printer::{Report, Style},
};

/// Who is written to of the students of a section.
#[derive(Debug, Serialize)]
pub struct WarningContactView {
    /// The section's name.
    pub section: String,
    /// An address.
    pub email: String,
}

/// Who is written to, and from when on.
#[derive(Debug, Serialize)]
pub struct WarningPolicyView {
    /// Whether mails are sent.
    pub enabled: bool,
    /// Below which share, in percent.
    pub below: f64,
    /// Of fewer sessions that count nothing is said.
    pub least_sessions: u32,
    /// Whether the students themselves are written to.
    pub to_students: bool,
    /// By section.
    pub contacts: Vec<WarningContactView>,
    /// Whether the server has a mail server.
    pub can_send: bool,
    /// User name; empty unless it was ever set.
    pub updated_by: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_time: Option<Timestamp>,
}

/// A mail.
#[derive(Debug, Serialize)]
pub struct WarningMailView {
    /// UUID.
    pub id: String,
    /// Of whom it is.
    pub student: StudentRefView,
    /// The term's name.
    pub term_name: String,
    /// Below which share, in percent.
    pub below: f64,
    /// To whom.
    pub recipient: String,
    /// How often they were there.
    pub attended: u32,
    /// Of how many sessions.
    pub counted: u32,
    /// `waiting`, `sending`, `sent`, `failed`, `unsure` or `dropped`.
    pub state: &'static str,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong last; may be empty.
    pub problem: String,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_time: Option<Timestamp>,
}

/// Mails, the newest first.
#[derive(Debug)]
pub struct WarningMailList;

fn percent(permille: u32) -> f64 {
    u16::try_from(permille).ok().and_then(Rate::of_permille).map_or(0.0, Rate::percent)
}

impl From<v1::WarningPolicy> for WarningPolicyView {
    fn from(policy: v1::WarningPolicy) -> Self {
        let contact = |v1::WarningContact { section, email }| WarningContactView { section, email };
        Self {
            enabled: policy.enabled,
            below: percent(policy.below_permille),
            least_sessions: policy.least_sessions,
            to_students: policy.to_students,
            contacts: policy.contacts.into_iter().map(contact).collect(),
            can_send: policy.can_send,
            updated_by: policy.updated_by,
            update_time: time(policy.update_time.as_ref()),
        }
    }
}

impl From<v1::WarningMail> for WarningMailView {
    fn from(mail: v1::WarningMail) -> Self {
        Self {
            id: mail.id,
            student: mail.student.unwrap_or_default().into(),
            term_name: mail.term_name,
            below: percent(mail.below_permille),
            recipient: mail.recipient,
            attended: mail.attended,
            counted: mail.counted,
            state: word(mail.state, MailState::as_str),
            attempts: mail.attempts,
            problem: mail.problem,
            create_time: time(mail.create_time.as_ref()),
            send_time: time(mail.send_time.as_ref()),
        }
    }
}

impl Report for WarningPolicyView {
    fn table(&self, style: &Style) -> String {
        let contacts: Vec<_> =
            self.contacts.iter().map(|contact| format!("{}: {}", contact.section, contact.email)).collect();
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        facts(
            style,
            &[
                ("enabled", yes(self.enabled)),
                ("below", format!("{:.1} %", self.below)),
                ("least sessions", self.least_sessions.to_string()),
                ("to students", yes(self.to_students)),
                ("contacts", contacts.join("\n")),
                ("mail server", if self.can_send { "configured" } else { "none is configured" }.to_owned()),
                ("changed by", self.updated_by.clone()),
                ("changed", moment(style, self.update_time)),
            ],
        )
    }
}

impl Report for WarningMailView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("student", self.student.label()),
                ("term", self.term_name.clone()),
                ("recipient", self.recipient.clone()),
                ("attended", format!("{} of {}", self.attended, self.counted)),
                ("state", self.state.to_owned()),
                ("attempts", self.attempts.to_string()),
                ("problem", self.problem.clone()),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl List for WarningMailList {
    type Entry = WarningMailView;
    const FIELD: &'static str = "mails";
    const NAME: &'static str = "mails";
    const HEADER: &'static [&'static str] =
        &["NOTED", "STUDENT", "TERM", "ATTENDED", "RECIPIENT", "STATE", "PROBLEM", "ID"];

    fn cells(mail: &WarningMailView, style: &Style) -> Vec<String> {
        vec![
            moment(style, mail.create_time),
            mail.student.label(),
            mail.term_name.clone(),
            format!("{} of {}", mail.attended, mail.counted),
            mail.recipient.clone(),
            mail.state.to_owned(),
            mail.problem.clone(),
            mail.id.clone(),
        ]
    }
}
