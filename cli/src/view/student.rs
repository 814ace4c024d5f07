use cavs_proto::{enum_from_wire, v1};
use cavs_types::{ErasureState, PhotoConsent, StudentField};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment, table},
    time, word,
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
    /// E-mail address; may be empty.
    pub email: String,
    /// May be empty.
    pub department: String,
    /// Class, course or group; may be empty.
    pub section: String,
    /// What another system calls the student; may be empty.
    pub external_id: String,
    /// YYYY-MM-DD; may be empty.
    pub enrollment_date: String,
    /// `unknown`, `given` or `refused`.
    pub photo_consent: &'static str,
    /// Whether the student belongs to the site now.
    pub active: bool,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// RFC 3339.
    pub update_time: Option<Timestamp>,
    /// Active templates.
    pub template_count: u32,
    /// Of this state of the student.
    pub etag: String,
    /// When the face was erased; RFC 3339; null where it was not.
    pub erase_time: Option<Timestamp>,
    /// How far that is; null where nothing is to be erased.
    pub erasure: Option<ErasureView>,
    /// Whether the student has changed, as their sightings say, and should be enrolled anew.
    pub re_enroll: bool,
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
        Self {
            id: student.id,
            number: student.number,
            name: student.name,
            email: student.email,
            department: student.department,
            section: student.section,
            external_id: student.external_id,
            enrollment_date: student.enrollment_date,
            photo_consent: word(student.photo_consent, PhotoConsent::as_str),
            active: student.active,
            create_time: time(student.create_time.as_ref()),
            update_time: time(student.update_time.as_ref()),
            template_count: student.template_count,
            etag: student.etag,
            erase_time: time(student.erase_time.as_ref()),
            erasure: student.erasure.map(ErasureView::from),
            re_enroll: student.re_enroll,
        }
    }
}

impl StudentView {
    /// In a word, who is not simply recognised.
    fn status(&self) -> &'static str {
        match (self.erase_time, self.active) {
            (Some(_), _) => "erased",
            (None, false) => "inactive",
            (None, true) if self.photo_consent == PhotoConsent::Refused.as_str() => "refused",
            (None, true) => "active",
        }
    }

    /// What is to be done about the student; empty where nothing is.
    fn remark(&self) -> &'static str {
        if self.re_enroll { "looks less and less like their pictures: enroll again" } else { "" }
    }

    /// The cells of a CSV file, in the order of the fields, and whether they are active.
    pub(crate) fn csv(self) -> impl Iterator<Item = String> {
        let active = if self.active { "yes" } else { "no" };
        let cell = |field: &StudentField| match field {
            StudentField::Number => self.number.clone(),
            StudentField::Name => self.name.clone(),
            StudentField::Email => self.email.clone(),
            StudentField::Department => self.department.clone(),
            StudentField::Section => self.section.clone(),
            StudentField::ExternalId => self.external_id.clone(),
            StudentField::EnrollmentDate => self.enrollment_date.clone(),
            StudentField::PhotoConsent => self.photo_consent.to_owned(),
        };
        let cells: Vec<String> = StudentField::ALL.iter().map(cell).chain([active.to_owned()]).collect();
        cells.into_iter()
    }
}

/// What a file of students changes, or would change.
#[derive(Debug, Serialize)]
pub struct ImportView {
    /// Whether anything was changed.
    pub applied: bool,
    /// Whether that was only tried.
    pub dry_run: bool,
    /// Students who were added.
    pub created: u64,
    /// Students who were changed.
    pub updated: u64,
    /// Students who were so before.
    pub unchanged: u64,
    /// Of those changed: not active any more.
    pub deactivated: u64,
    /// Of those changed: active again.
    pub reactivated: u64,
    /// Active students of whom a whole file says nothing.
    pub missing: u64,
    /// The first problems.
    pub problems: Vec<ImportProblemView>,
    /// How many there are.
    pub problem_count: u64,
    /// Columns that mean nothing.
    pub ignored_columns: Vec<String>,
}

/// What is wrong in a file.
#[derive(Debug, Serialize)]
pub struct ImportProblemView {
    /// Of a bundle, the file in it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// From 1; 0 for the whole file.
    pub line: u64,
    /// Field of a student; may be empty.
    pub field: String,
    /// In words.
    pub message: String,
}

impl ImportView {
    /// The server's answer on an import that was meant so.
    #[must_use]
    pub fn new(done: v1::ImportStudentsResponse, dry_run: bool) -> Self {
        Self {
            applied: done.applied,
            dry_run,
            created: done.created,
            updated: done.updated,
            unchanged: done.unchanged,
            deactivated: done.deactivated,
            reactivated: done.reactivated,
            missing: done.missing,
            problems: done.problems.into_iter().map(Into::into).collect(),
            problem_count: done.problem_count,
            ignored_columns: done.ignored_columns,
        }
    }
}

impl From<v1::ImportProblem> for ImportProblemView {
    fn from(problem: v1::ImportProblem) -> Self {
        let v1::ImportProblem { file, line, field, message } = problem;
        Self { file, line, field, message }
    }
}

/// What is wrong in a file, for people.
pub(super) fn problem_parts(
    style: &Style,
    problems: &[ImportProblemView],
    problem_count: u64,
    ignored_columns: &[String],
) -> Vec<String> {
    let rows = problems.iter().map(|problem| {
        let place = match (problem.file.as_str(), problem.line) {
            (file, 0) => file.to_owned(),
            ("", line) => line.to_string(),
            (file, line) => format!("{file}:{line}"),
        };
        [place, problem.field.clone(), problem.message.clone()]
    });
    let mut parts = vec![table(style, ["LINE", "FIELD", "PROBLEM"], rows.collect())];
    let shown = problems.len() as u64;
    if shown < problem_count {
        parts.push(format!("{} more problems", problem_count - shown));
    }
    if !ignored_columns.is_empty() {
        let columns = ignored_columns.iter().map(|column| sanitised(column));
        parts.push(format!("columns that mean nothing here: {}", columns.collect::<Vec<_>>().join(", ")));
    }
    parts
}

/// What is said before what a file changes.
pub(super) const fn would(applied: bool, dry_run: bool) -> &'static str {
    match (applied, dry_run) {
        (true, _) => "",
        (false, true) => "nothing was changed, as it was a dry run; would be: ",
        (false, false) => "nothing was changed, as there are problems; without them: ",
    }
}

impl Report for ImportView {
    fn table(&self, style: &Style) -> String {
        let Self { created, updated, unchanged, deactivated, reactivated, missing, .. } = self;
        let mut parts = problem_parts(style, &self.problems, self.problem_count, &self.ignored_columns);
        let would = would(self.applied, self.dry_run);
        let mut summary = format!("{would}{created} added, {updated} changed, {unchanged} as before");
        for (count, what) in [
            (deactivated, "not active any more"),
            (reactivated, "active again"),
            (missing, "not in the file"),
        ] {
            if *count > 0 {
                summary.push_str(&format!("; {count} {what}"));
            }
        }
        parts.push(summary);
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
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
    pub(crate) fn label(&self) -> String {
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
                ("e-mail", self.email.clone()),
                ("department", self.department.clone()),
                ("section", self.section.clone()),
                ("external id", self.external_id.clone()),
                ("since", self.enrollment_date.clone()),
                ("consent", self.photo_consent.to_owned()),
                ("status", self.status().to_owned()),
                ("templates", self.template_count.to_string()),
                ("remark", self.remark().to_owned()),
                ("created", moment(style, self.create_time)),
                ("changed", moment(style, self.update_time)),
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
    const HEADER: &'static [&'static str] = &["NUMBER", "NAME", "SECTION", "TEMPLATES", "STATUS", "ID"];

    fn cells(student: &StudentView, _style: &Style) -> Vec<String> {
        vec![
            student.number.clone(),
            student.name.clone(),
            student.section.clone(),
            student.template_count.to_string(),
            student.status().to_owned(),
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
