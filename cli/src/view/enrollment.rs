use cavs_proto::v1;
use cavs_types::Quality;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{facts, table},
};
use crate::{
    error::CliError,
    printer::{Report, Style},
};

/// Below this unified quality score, 0 to 100, a student's best picture is a poor one.
const WEAK: u8 = 40;

/// What became of one image.
#[derive(Debug, Clone, Serialize)]
pub struct VerdictView {
    /// Path of the image.
    pub image: String,
    /// Whether it became a template.
    pub accepted: bool,
    /// Whether it is a file of a folder that was not tried.
    pub left_out: bool,
    /// UUID of the template; null where the image was refused.
    pub template_id: Option<String>,
    /// Stable reason of a refusal.
    pub reason: Option<String>,
    /// The refusal in words.
    pub message: Option<String>,
    /// Quality of the face, where one was found.
    pub quality: Option<Quality>,
}

/// What became of the images of one student.
#[derive(Debug, Serialize)]
pub struct Enrollment {
    /// Who was enrolled.
    pub student: StudentRefView,
    /// Images that became templates.
    pub accepted: usize,
    /// Images that did not.
    pub refused: usize,
    /// Files of folders that were not tried.
    pub left_out: usize,
    /// One per image, in order, and then one per file that was left out.
    pub images: Vec<VerdictView>,
}

/// What became of one student's folder.
#[derive(Debug, Serialize)]
pub struct FolderEnrollment {
    /// Name of the folder: the student's number.
    pub number: String,
    /// What became of the images; null where it did not come to that.
    pub enrollment: Option<Enrollment>,
    /// Stable reason why this student was not, or not wholly, enrolled.
    pub error_reason: Option<String>,
    /// The error in words.
    pub error_message: Option<String>,
}

/// What became of a folder of students' folders.
#[derive(Debug, Serialize)]
pub struct BulkEnrollment {
    /// One per folder, in order of the numbers.
    pub students: Vec<FolderEnrollment>,
    /// Students with at least one new template.
    pub students_enrolled: usize,
    /// Students without.
    pub students_failed: usize,
    /// Numbers of students whose best new template is of a poor picture: another photograph would be better.
    pub weak: Vec<String>,
    /// Active students of the site who have no template.
    pub students_missing: u64,
    /// Images that became templates.
    pub accepted: usize,
    /// Images that did not.
    pub refused: usize,
    /// Files that were not tried, in the students' folders and beside them.
    pub left_out: usize,
    /// Those that lie beside the students' folders.
    pub beside: Vec<VerdictView>,
}

/// What would be enrolled from a folder of students' folders.
#[derive(Debug, Serialize)]
pub struct EnrollmentPreview {
    /// One per folder, in order of the numbers.
    pub students: Vec<FolderPreview>,
}

/// What would be enrolled from one student's folder.
#[derive(Debug, Serialize)]
pub struct FolderPreview {
    /// Name of the folder: the student's number.
    pub number: String,
    /// Whose number it is; null where it is nobody's.
    pub student: Option<StudentRefView>,
    /// Pictures that would be sent.
    pub images: usize,
    /// Files that would not be tried.
    pub left_out: usize,
}

impl EnrollmentPreview {
    /// Whether each folder is a student's, with pictures, and every file in it would be tried.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.students
            .iter()
            .all(|folder| folder.student.is_some() && folder.images > 0 && folder.left_out == 0)
    }
}

impl Report for EnrollmentPreview {
    const ROWS: Option<&'static str> = Some("students");

    fn table(&self, style: &Style) -> String {
        let rows = self.students.iter().map(|folder| {
            let name = folder.student.as_ref().map_or("nobody's number", |student| student.name.as_str());
            [folder.number.clone(), name.to_owned(), folder.images.to_string(), folder.left_out.to_string()]
        });
        table(style, ["NUMBER", "NAME", "IMAGES", "LEFT OUT"], rows.collect())
    }
}

impl VerdictView {
    /// The server's verdict on an image.
    #[must_use]
    pub fn of_server(image: String, verdict: v1::EnrollFromImagesResponse) -> Self {
        let v1::EnrollFromImagesResponse { name: _, template_id, reason, message, quality } = verdict;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            image,
            accepted: !template_id.is_empty(),
            left_out: false,
            template_id: given(template_id),
            reason: given(reason),
            message: given(message),
            quality: super::quality(quality),
        }
    }

    /// An image that was not even sent.
    #[must_use]
    pub fn not_sent(image: String, reason: &str, message: String) -> Self {
        let (reason, message) = (Some(reason.to_owned()), Some(message));
        Self { image, accepted: false, left_out: false, template_id: None, reason, message, quality: None }
    }

    /// A file of a folder that is not tried.
    #[must_use]
    pub fn left_out(file: String, reason: &str, message: String) -> Self {
        Self { left_out: true, ..Self::not_sent(file, reason, message) }
    }

    fn words(&self) -> String {
        match (self.accepted, &self.reason, &self.message) {
            (true, _, _) => String::new(),
            (false, _, Some(message)) => message.clone(),
            (false, Some(reason), None) => reason.clone(),
            (false, None, None) => "no reason was given".to_owned(),
        }
    }
}

impl Enrollment {
    /// Counts the verdicts; `left_out` are those on files that were not tried.
    #[must_use]
    pub fn new(student: StudentRefView, mut images: Vec<VerdictView>, left_out: Vec<VerdictView>) -> Self {
        let accepted = images.iter().filter(|image| image.accepted).count();
        let (refused, count) = (images.len() - accepted, left_out.len());
        images.extend(left_out);
        Self { student, accepted, refused, left_out: count, images }
    }

    fn summary(&self) -> String {
        let Self { accepted, refused, left_out, .. } = self;
        format!(
            "{}: {accepted} accepted, {refused} refused{}",
            self.student.label(),
            also_left_out(*left_out)
        )
    }
}

impl FolderEnrollment {
    /// What became of a folder, as far as it went.
    #[must_use]
    pub fn new(number: String, enrollment: Option<Enrollment>, error: Option<&CliError>) -> Self {
        Self {
            number,
            enrollment,
            error_reason: error.map(|error| error.reason().into_owned()),
            error_message: error.map(ToString::to_string),
        }
    }

    fn is_weak(&self) -> bool {
        let images = self.enrollment.iter().flat_map(|done| &done.images);
        let accepted = images.filter(|image| image.accepted).filter_map(|image| image.quality);
        accepted.map(|quality| quality.unified_score).max().is_some_and(|best| best < WEAK)
    }

    fn counts(&self) -> (usize, usize) {
        self.enrollment.as_ref().map_or((0, 0), |done| (done.accepted, done.refused))
    }
}

impl BulkEnrollment {
    /// Counts the students and images.
    #[must_use]
    pub fn new(students: Vec<FolderEnrollment>, beside: Vec<VerdictView>) -> Self {
        let students_enrolled = students.iter().filter(|student| student.counts().0 > 0).count();
        let left_out = students.iter().filter_map(|student| student.enrollment.as_ref());
        Self {
            left_out: left_out.map(|done| done.left_out).sum::<usize>() + beside.len(),
            beside,
            students_enrolled,
            students_failed: students.len() - students_enrolled,
            weak: students.iter().filter(|student| student.is_weak()).map(|s| s.number.clone()).collect(),
            students_missing: 0,
            accepted: students.iter().map(|student| student.counts().0).sum(),
            refused: students.iter().map(|student| student.counts().1).sum(),
            students,
        }
    }
}

impl BulkEnrollment {
    /// Calls images otherwise.
    pub(crate) fn rename_images(&mut self, name: impl Fn(&str) -> String) {
        let enrollments = self.students.iter_mut().filter_map(|student| student.enrollment.as_mut());
        let images = enrollments.flat_map(|done| &mut done.images).chain(&mut self.beside);
        images.for_each(|image| image.image = name(&image.image));
    }
}

/// The end of a summary, where files were not tried.
fn also_left_out(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", {count} left out") }
}

fn verdicts<'a>(style: &Style, images: impl Iterator<Item = &'a VerdictView>) -> String {
    let rows = images.map(|image| {
        [
            image.image.clone(),
            match (image.accepted, image.left_out) {
                (true, _) => "accepted",
                (false, true) => "left out",
                (false, false) => "refused",
            }
            .to_owned(),
            image.quality.map(|quality| quality.unified_score.to_string()).unwrap_or_default(),
            if image.accepted { String::new() } else { image.reason.clone().unwrap_or_default() },
            image.words(),
        ]
    });
    table(style, ["IMAGE", "VERDICT", "QUALITY", "REASON", "MESSAGE"], rows.collect())
}

impl Report for Enrollment {
    const ROWS: Option<&'static str> = Some("images");

    fn table(&self, style: &Style) -> String {
        let summary = facts(style, &[("student", self.summary())]);
        format!("{}\n\n{summary}", verdicts(style, self.images.iter()))
    }
}

impl Report for BulkEnrollment {
    const ROWS: Option<&'static str> = Some("students");

    fn table(&self, style: &Style) -> String {
        let rows = self.students.iter().map(|student| {
            let (accepted, refused) = student.counts();
            let name = student.enrollment.as_ref().map(|done| done.student.name.clone());
            [
                student.number.clone(),
                name.unwrap_or_default(),
                accepted.to_string(),
                refused.to_string(),
                student.error_message.clone().unwrap_or_default(),
            ]
        });
        let header = ["NUMBER", "NAME", "ACCEPTED", "REFUSED", "ERROR"];
        let mut parts = vec![table(style, header, rows.collect())];
        let enrollments = self.students.iter().filter_map(|student| student.enrollment.as_ref());
        // Of hundreds of images, a person wants to see those that need another photograph.
        let images = enrollments.flat_map(|done| &done.images).chain(&self.beside);
        parts.push(verdicts(style, images.filter(|image| !image.accepted)));
        parts.push(format!(
            "{} students enrolled, {} not; {} images accepted, {} refused{}",
            self.students_enrolled,
            self.students_failed,
            self.accepted,
            self.refused,
            also_left_out(self.left_out)
        ));
        if !self.weak.is_empty() {
            parts.push(format!("poor pictures only, better ones are worth while: {}", self.weak.join(", ")));
        }
        if self.students_missing > 0 {
            parts.push(format!(
                "{} active students have no template: cavs students list --active --not-enrolled",
                self.students_missing
            ));
        }
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}
