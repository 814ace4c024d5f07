use cavs_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment, table},
    time,
};
use crate::{
    paging::Listing,
    printer::{Report, Style},
    text::harmless,
};

/// A student.
#[derive(Debug, Clone, Serialize)]
pub struct StudentView {
    /// UUID.
    pub id: String,
    /// The site's own number.
    pub number: String,
    /// Name.
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
}

/// A student whose face is no more.
#[derive(Debug, Serialize)]
pub struct StudentErased {
    /// Who.
    pub student: StudentRefView,
    /// Templates that were destroyed.
    pub templates: u64,
    /// Sightings whose face was taken away.
    pub sightings: u64,
}

/// Students.
#[derive(Debug, Serialize)]
pub struct StudentList {
    /// Ordered by number.
    pub students: Vec<StudentView>,
    /// How many there are on the server.
    pub total_size: u64,
}

/// A student in another result.
#[derive(Debug, Clone, Serialize)]
pub struct StudentRefView {
    /// UUID.
    pub id: String,
    /// The site's own number.
    pub number: String,
    /// Name.
    pub name: String,
}

impl From<v1::Student> for StudentView {
    fn from(student: v1::Student) -> Self {
        let v1::Student { id, number, name, section, create_time, template_count, erase_time } = student;
        let (create_time, erase_time) = (time(create_time.as_ref()), time(erase_time.as_ref()));
        Self { id, number, name, section, create_time, template_count, erase_time }
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
        format!("{} {}", self.number, self.name)
    }
}

impl From<&StudentView> for StudentRefView {
    fn from(student: &StudentView) -> Self {
        Self { id: student.id.clone(), number: student.number.clone(), name: student.name.clone() }
    }
}

impl From<Listing<v1::Student>> for StudentList {
    fn from(listing: Listing<v1::Student>) -> Self {
        Self { students: listing.items.into_iter().map(Into::into).collect(), total_size: listing.total }
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
                ("id", self.id.clone()),
            ],
        )
    }
}

impl Report for StudentList {
    fn table(&self, style: &Style) -> String {
        let rows = self.students.iter().map(|student| {
            [
                student.number.clone(),
                student.name.clone(),
                student.section.clone(),
                student.template_count.to_string(),
                student.id.clone(),
            ]
        });
        table(style, ["NUMBER", "NAME", "SECTION", "TEMPLATES", "ID"], rows.collect())
    }
}

impl From<v1::EraseStudentResponse> for StudentErased {
    fn from(done: v1::EraseStudentResponse) -> Self {
        let v1::Student { id, number, name, .. } = done.student.unwrap_or_default();
        let student = StudentRefView { id, number, name };
        Self { student, templates: done.templates, sightings: done.sightings }
    }
}

impl Report for StudentErased {
    fn table(&self, _style: &Style) -> String {
        format!(
            "erased {}: {} templates destroyed, {} sightings left without a face",
            harmless(&self.student.label()),
            self.templates,
            self.sightings
        )
    }
}
