use cavs_proto::v1;
use cavs_types::Quality;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{moment, table},
    time,
};
use crate::{
    printer::{Report, Style},
    text::sanitised,
};

/// An enrolled face; the face itself never leaves the server.
#[derive(Debug, Serialize)]
pub struct TemplateView {
    /// UUID of the template.
    pub id: String,
    /// The model pack that made it.
    pub pack_digest: String,
    /// How good the picture was.
    pub quality: Option<Quality>,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
}

/// The enrolled faces of a student.
#[derive(Debug, Serialize)]
pub struct TemplateList {
    /// Whose templates they are.
    pub student: StudentRefView,
    /// Oldest first.
    pub templates: Vec<TemplateView>,
}

/// A template that is no more.
#[derive(Debug, Serialize)]
pub struct TemplateDeleted {
    /// UUID of the template.
    pub id: String,
}

/// What became of a face.
#[derive(Debug, Serialize)]
pub struct TemplateAdded {
    /// UUID of the new template; null where the face was refused.
    pub template_id: Option<String>,
    /// Stable reason of a refusal; empty where there was none.
    pub reason: String,
    /// The refusal in words.
    pub message: String,
}

impl From<v1::EnrollmentVerdict> for TemplateAdded {
    fn from(verdict: v1::EnrollmentVerdict) -> Self {
        let v1::EnrollmentVerdict { template_id, reason, message } = verdict;
        Self { template_id: Some(template_id).filter(|id| !id.is_empty()), reason, message }
    }
}

impl TemplateList {
    /// The server's answer about a student.
    #[must_use]
    pub fn new(student: v1::Student, templates: Vec<v1::Template>) -> Self {
        let student = StudentRefView { id: student.id, number: student.number, name: student.name };
        Self { student, templates: templates.into_iter().map(Into::into).collect() }
    }
}

impl From<v1::Template> for TemplateView {
    fn from(template: v1::Template) -> Self {
        let v1::Template { id, student_id: _, pack_digest, quality, create_time } = template;
        Self { id, pack_digest, quality: super::quality(quality), create_time: time(create_time.as_ref()) }
    }
}

impl Report for TemplateList {
    const ROWS: Option<&'static str> = Some("templates");

    fn table(&self, style: &Style) -> String {
        let rows = self.templates.iter().map(|template| {
            [
                template.id.clone(),
                moment(style, template.create_time),
                template.quality.as_ref().map_or_else(String::new, |q| q.unified_score.to_string()),
                template.pack_digest.chars().take(12).collect(),
            ]
        });
        table(style, ["ID", "ENROLLED", "QUALITY", "PACK"], rows.collect())
    }
}

impl Report for TemplateDeleted {
    fn table(&self, _style: &Style) -> String {
        format!("deleted {}", self.id)
    }
}

impl Report for TemplateAdded {
    fn table(&self, _style: &Style) -> String {
        match &self.template_id {
            Some(id) => format!("added {id}"),
            None => format!("refused: {} ({})", sanitised(&self.message), sanitised(&self.reason)),
        }
    }
}
