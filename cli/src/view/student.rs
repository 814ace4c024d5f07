use cavs_proto::{enum_from_wire, v1};
use cavs_types::ErasureState;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment},
    time,
};
use crate::{
    list::List,
    printer::{Report, Style},
    text::sanitised,
};

/// A student of the site, with the number of templates.
#[derive(Debug, Clone, Serialize)]
pub struct StudentView {
    /// UUID of the student.
    pub id: String,
    /// The site's own number; a pseudonym after an erasure.
    pub number: String,
    /// Name; empty after an erasure.
    pub name: String,
    /// Class, course or department; may be empty.
    pub section: String,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// Active templates.
    pub template_count: u32,
    /// When the face was erased; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase_time: Option<Timestamp>,
    /// How far that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure: Option<ErasureView>,
}

/// How far an erasure is.
#[derive(Debug, Clone, Serialize)]
pub struct ErasureView {
    /// UUID.
    pub id: String,
    /// `pending`, `purging` or `purged`.
    pub state: &'static str,
    /// Templates that were destroyed.
    pub templates: u64,
    /// Sightings whose face was taken away.
    pub sightings: u64,
    /// When the erasure was asked for; RFC 3339.
    pub request_time: Option<Timestamp>,
    /// Since when nothing is left in the database's tables; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purge_time: Option<Timestamp>,
    /// What it waits for; empty where it waits for nobody.
    pub waits_for: String,
}

/// A student whose face is no more.
#[derive(Debug, Serialize)]
pub struct StudentErased {
    /// Who it was, in one line; for people only, as nothing is to keep it.
    #[serde(skip)]
    pub was: String,
    /// What is left of them: a pseudonym.
    pub student: StudentRefView,
    /// How far the erasure is, with all that it has destroyed.
    pub erasure: ErasureView,
}

/// Students, ordered by number.
#[derive(Debug)]
pub struct StudentList;

/// A student in another result.
#[derive(Debug, Clone, Serialize)]
pub struct StudentRefView {
    /// UUID of the student.
    pub id: String,
    /// The site's own number.
    pub number: String,
    /// As people call the student.
    pub name: String,
}

impl From<v1::Student> for StudentView {
    fn from(student: v1::Student) -> Self {
        let v1::Student { id, number, name, section, create_time, template_count, erase_time, erasure } =
            student;
        let (create_time, erase_time) = (time(create_time.as_ref()), time(erase_time.as_ref()));
        let erasure = erasure.map(ErasureView::from);
        Self { id, number, name, section, create_time, template_count, erase_time, erasure }
    }
}

impl From<v1::Erasure> for ErasureView {
    fn from(erasure: v1::Erasure) -> Self {
        let state =
            enum_from_wire::<ErasureState>("state", erasure.state).map_or("unknown", ErasureState::as_str);
        let v1::Erasure { id, state: _, templates, sightings, request_time, purge_time, waits_for } = erasure;
        let (request_time, purge_time) = (time(request_time.as_ref()), time(purge_time.as_ref()));
        Self { id, state, templates, sightings, request_time, purge_time, waits_for }
    }
}

impl ErasureView {
    /// What is done and what is not, for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        match (self.purge_time.is_some(), self.waits_for.is_empty()) {
            (true, _) => "nothing is left in the database's tables".to_owned(),
            (false, true) => {
                "the database's files still hold what was erased; they are being rewritten".to_owned()
            }
            (false, false) => format!(
                "the database's files still hold what was erased; the erasure waits for {}",
                sanitised(&self.waits_for)
            ),
        }
    }
}

impl From<v1::StudentRef> for StudentRefView {
    fn from(student: v1::StudentRef) -> Self {
        let v1::StudentRef { id, number, name } = student;
        Self { id, number, name }
    }
}

impl StudentRefView {
    /// In one line.
    pub(super) fn label(&self) -> String {
        // An erased student has no name.
        format!("{} {}", self.number, self.name).trim_end().to_owned()
    }
}

impl From<&StudentView> for StudentRefView {
    fn from(student: &StudentView) -> Self {
        Self { id: student.id.clone(), number: student.number.clone(), name: student.name.clone() }
    }
}

impl Report for StudentView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("number", self.number.clone()),
                ("name", self.name.clone()),
                ("section", self.section.clone()),
                ("templates", self.template_count.to_string()),
                ("created", moment(style, self.create_time)),
                ("erased", moment(style, self.erase_time)),
                ("erasure", self.erasure.as_ref().map(ErasureView::in_words).unwrap_or_default()),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl List for StudentList {
    type Entry = StudentView;
    const FIELD: &'static str = "students";
    const NAME: &'static str = "students";
    const HEADER: &'static [&'static str] = &["NUMBER", "NAME", "SECTION", "TEMPLATES", "ID"];

    fn cells(student: &StudentView, _style: &Style) -> Vec<String> {
        vec![
            student.number.clone(),
            student.name.clone(),
            student.section.clone(),
            student.template_count.to_string(),
            student.id.clone(),
        ]
    }
}

impl StudentErased {
    /// What the server says of the erasure of a student who was called so before.
    #[must_use]
    pub fn new(before: v1::Student, done: v1::EraseStudentResponse) -> Self {
        let was = StudentRefView { id: before.id, number: before.number, name: before.name }.label();
        let v1::Student { id, number, name, .. } = done.student.unwrap_or_default();
        let student = StudentRefView { id, number, name };
        Self { was, student, erasure: done.erasure.unwrap_or_default().into() }
    }
}

impl Report for StudentErased {
    fn table(&self, _style: &Style) -> String {
        format!(
            "erased {}: {} templates destroyed, {} sightings left without a face, of {}; {}",
            sanitised(&self.was),
            self.erasure.templates,
            self.erasure.sightings,
            sanitised(&self.student.number),
            self.erasure.in_words()
        )
    }
}
