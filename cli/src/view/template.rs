use cavs_proto::v1;
use cavs_types::{EnrollmentGate, Quality};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{facts, moment, table},
    time, word,
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
    /// How strictly the face was looked at: `off`, `standard` or `strict`; null of older templates.
    pub gate: Option<&'static str>,
    /// User name of whoever enrolled it; null of older templates.
    pub enrolled_by: Option<String>,
    /// Whether a picture of the face is kept.
    pub has_portrait: bool,
}

/// One enrolled face.
#[derive(Debug, Serialize)]
pub struct TemplateShown {
    /// UUID of the student.
    pub student_id: String,
    /// The template.
    #[serde(flatten)]
    pub template: TemplateView,
    /// Where its picture was written to; null where it was not.
    pub portrait_file: Option<String>,
}

impl TemplateShown {
    /// The server's answer.
    #[must_use]
    pub fn new(template: v1::Template, portrait_file: Option<String>) -> Self {
        Self { student_id: template.student_id.clone(), template: template.into(), portrait_file }
    }
}

impl Report for TemplateShown {
    fn table(&self, style: &Style) -> String {
        let template = &self.template;
        let quality = template.quality.iter().flat_map(Quality::iter);
        let quality: Vec<String> =
            quality.map(|(name, value)| format!("{} {value}", name.replace('_', " "))).collect();
        facts(
            style,
            &[
                ("enrolled", moment(style, template.create_time)),
                ("by", template.enrolled_by.clone().unwrap_or_default()),
                ("gate", template.gate.unwrap_or_default().to_owned()),
                ("quality", quality.join(", ")),
                ("portrait", if template.has_portrait { "kept" } else { "not kept" }.to_owned()),
                ("written to", self.portrait_file.clone().unwrap_or_default()),
                ("pack", template.pack_digest.clone()),
                ("student", self.student_id.clone()),
                ("id", template.id.clone()),
            ],
        )
    }
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
        let v1::Template {
            id,
            student_id: _,
            pack_digest,
            quality,
            create_time,
            gate,
            enrolled_by,
            has_portrait,
        } = template;
        Self {
            id,
            pack_digest,
            quality: super::quality(quality),
            create_time: time(create_time.as_ref()),
            gate: (gate != 0).then(|| word(gate, EnrollmentGate::as_str)),
            enrolled_by: Some(enrolled_by).filter(|name| !name.is_empty()),
            has_portrait,
        }
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
                template.gate.unwrap_or_default().to_owned(),
                template.enrolled_by.clone().unwrap_or_default(),
                template.pack_digest.chars().take(12).collect(),
            ]
        });
        table(style, ["ID", "ENROLLED", "QUALITY", "GATE", "BY", "PACK"], rows.collect())
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
