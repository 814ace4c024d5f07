use std::path::Path;

use cavs_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{facts, moment, table},
    time,
};
use crate::printer::{Report, Style};

/// A sighting that a person is to judge without being told whom the machine meant.
#[derive(Debug, Serialize)]
pub struct AuditView {
    /// UUID.
    pub sighting_id: String,
    /// RFC 3339.
    pub capture_time: Option<Timestamp>,
    /// Where the picture of the face was written.
    pub evidence_file: String,
    /// Whom it may be, in an order that says nothing.
    pub choices: Vec<StudentRefView>,
}

impl AuditView {
    /// The server's answer, and where its picture is.
    #[must_use]
    pub fn new(audit: v1::Audit, file: &Path) -> Self {
        Self {
            sighting_id: audit.sighting_id,
            capture_time: time(audit.capture_time.as_ref()),
            evidence_file: file.display().to_string(),
            choices: audit.choices.into_iter().map(Into::into).collect(),
        }
    }
}

impl Report for AuditView {
    const ROWS: Option<&'static str> = Some("choices");

    fn table(&self, style: &Style) -> String {
        let numbers = facts(
            style,
            &[
                ("captured", moment(style, self.capture_time)),
                ("evidence", self.evidence_file.clone()),
                ("id", self.sighting_id.clone()),
            ],
        );
        let rows = self.choices.iter().map(|student| [student.number.clone(), student.name.clone()]);
        format!("{numbers}\n\n{}", table(style, ["NUMBER", "IT MAY BE"], rows.collect()))
    }
}

/// An audit that was answered.
#[derive(Debug, Serialize)]
pub struct AuditAnswered {
    /// UUID.
    pub sighting_id: String,
}

impl Report for AuditAnswered {
    fn table(&self, _style: &Style) -> String {
        format!("sighting {}: answered", self.sighting_id)
    }
}
