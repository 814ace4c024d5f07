//! Faces that were taken for nobody and are like somebody who was enrolled since.

use cavs_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{facts, moment},
    time,
};
use crate::{
    list::List,
    printer::{Report, Style},
};

/// What was found of a face.
#[derive(Debug, Serialize)]
pub struct LateMatchView {
    /// UUID.
    pub sighting_id: String,
    /// Whom it may show.
    pub student: StudentRefView,
    /// Cosine to their templates, -1 to 1.
    pub similarity: f32,
    /// What would have been accepted without a person.
    pub threshold: f32,
    /// RFC 3339.
    pub capture_time: Option<Timestamp>,
    /// By what it was captured.
    pub device_name: String,
    /// Where.
    pub classroom: String,
    /// RFC 3339.
    pub find_time: Option<Timestamp>,
}

/// How many days a site looks back.
#[derive(Debug, Serialize)]
pub struct LateMatchPolicyView {
    /// `null`: it doesn't.
    pub days: Option<u32>,
}

/// What was found, the first found first.
#[derive(Debug)]
pub struct LateMatchList;

impl From<v1::LateMatch> for LateMatchView {
    fn from(found: v1::LateMatch) -> Self {
        Self {
            sighting_id: found.sighting_id,
            student: found.student.unwrap_or_default().into(),
            similarity: found.similarity,
            threshold: found.threshold,
            capture_time: time(found.capture_time.as_ref()),
            device_name: found.device_name,
            classroom: found.classroom,
            find_time: time(found.find_time.as_ref()),
        }
    }
}

impl From<v1::LateMatchPolicy> for LateMatchPolicyView {
    fn from(policy: v1::LateMatchPolicy) -> Self {
        Self { days: policy.days }
    }
}

impl Report for LateMatchPolicyView {
    fn table(&self, style: &Style) -> String {
        let text = match self.days {
            Some(days) => format!("those of the last {days} days"),
            None => "none".to_owned(),
        };
        facts(style, &[("faces that are looked up for who is enrolled", text)])
    }
}

impl List for LateMatchList {
    type Entry = LateMatchView;
    const FIELD: &'static str = "matches";
    const NAME: &'static str = "late matches";
    const HEADER: &'static [&'static str] =
        &["SEEN", "STUDENT", "SIMILARITY", "ACCEPTED", "WHERE", "SIGHTING"];

    fn cells(found: &LateMatchView, style: &Style) -> Vec<String> {
        vec![
            moment(style, found.capture_time),
            found.student.label(),
            format!("{:.3}", found.similarity),
            format!("{:.3}", found.threshold),
            format!("{} {}", found.classroom, found.device_name).trim().to_owned(),
            found.sighting_id.clone(),
        ]
    }
}
