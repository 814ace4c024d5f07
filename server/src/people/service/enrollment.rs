use std::sync::Arc;

use bytes::Bytes;
use cavs_embedding::Similarity;
use cavs_models::{Face, Upright};
use cavs_types::{ErrorReason, Quality, StudentId, TemplateId};
use tracing::info;

use super::Students;
use crate::{
    biometrics::{BiometricStore, Keys, NewTemplate, Owner, TemplateInfo},
    db::{Database, DatabaseError},
    error::ServiceError,
    people::StudentKey,
    recognition::{Recognition, Vision, VisionFailure},
};

/// Limits of enrollment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnrollmentLimits {
    /// Most templates of one student and pack.
    pub templates_per_student: u32,
    /// Least unified quality score, 0 to 100.
    pub min_quality: u8,
    /// From this similarity on, two pictures are the same picture.
    pub same_picture: Similarity,
    /// From this similarity on, a face belongs to the student who has it already; from 0.2 above the accept
    /// threshold on where it is `None`.
    pub same_person: Option<Similarity>,
}

impl EnrollmentLimits {
    /// Well above what is accepted as the same person: a sibling must not be refused, a second enrollment
    /// of one person under two numbers must.
    fn same_person(&self, accept: Similarity) -> Similarity {
        self.same_person.unwrap_or_else(|| Similarity::clamped((accept.get() + 0.2).min(0.9)))
    }
}

/// An accepted picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The new template.
    pub template: TemplateId,
    /// How good the picture is.
    pub quality: Quality,
}

/// A picture that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable.
    pub reason: &'static str,
    /// In words, with what to do.
    pub message: String,
    /// How good the picture is, where a face was found.
    pub quality: Option<Quality>,
}

/// Makes templates of pictures.
#[derive(Clone)]
pub struct Enrollment {
    students: Students,
    store: BiometricStore,
    keys: Arc<Keys>,
    recognition: Arc<Recognition>,
    vision: Vision,
    limits: EnrollmentLimits,
}

impl Enrollment {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(
        db: &Database,
        students: &Students,
        keys: &Arc<Keys>,
        recognition: &Arc<Recognition>,
        vision: &Vision,
        limits: EnrollmentLimits,
    ) -> Self {
        Self {
            students: students.clone(),
            store: BiometricStore::new(db),
            keys: Arc::clone(keys),
            recognition: Arc::clone(recognition),
            vision: vision.clone(),
            limits,
        }
    }

    /// Whether the student can be enrolled: asked before pictures are sent.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`, `STUDENT_ERASED`.
    pub async fn check_enrollable(&self, id: StudentId) -> Result<(), ServiceError> {
        match self.students.get(&StudentKey::Id(id)).await?.erased_at {
            None => Ok(()),
            Some(at) => {
                let message = format!("the student's face was erased at {at}");
                Err(ServiceError::refused(ErrorReason::StudentErased, message))
            }
        }
    }

    /// Makes a template of a picture with one face. The outer error is the server's; the inner one
    /// says what is wrong with the picture.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`, `Database`, `Stopped`.
    pub async fn enroll(
        &self,
        student: StudentId,
        image: Bytes,
    ) -> Result<Result<Enrolled, Refusal>, ServiceError> {
        let face = match self.vision.faces(image).await? {
            Ok(seen) => match portrait(seen, self.limits.min_quality) {
                Ok(face) => face,
                Err(refusal) => return Ok(Err(refusal)),
            },
            Err(failure) => return Ok(Err(unreadable(&failure))),
        };
        let quality = face.quality;
        let refuse = |reason, message| Ok(Err(Refusal { reason, message, quality: Some(quality) }));
        if let Some(likeness) = self.recognition.likeness(&face.embedding, student).await?
            && likeness >= self.limits.same_picture
        {
            return refuse("DUPLICATE_TEMPLATE", "the student has this picture already".into());
        }
        let same_person = self.limits.same_person(self.recognition.thresholds().thresholds.accept);
        let others = self.recognition.others_like(&face.embedding, same_person, student).await?;
        if let Some(other) = others.first() {
            let known = self.students.find(&StudentKey::Id(other.student)).await?;
            let number = known.map_or_else(|| other.student.to_string(), |student| student.number);
            let message = format!(
                "the face looks like student {number}'s (similarity {:.2}): is it the right person?",
                other.similarity.get()
            );
            return refuse("LOOKS_LIKE_ANOTHER_STUDENT", message);
        }
        match self.store_template(student, face, quality).await? {
            Some(template) => Ok(Ok(Enrolled { template, quality })),
            None => refuse(
                "TOO_MANY_TEMPLATES",
                format!(
                    "the student has {} templates, which is the limit",
                    self.limits.templates_per_student
                ),
            ),
        }
    }

    /// A student's templates, oldest first.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`.
    pub async fn templates(&self, student: StudentId) -> Result<Vec<TemplateInfo>, ServiceError> {
        self.students.get(&StudentKey::Id(student)).await?;
        Ok(self.store.student_templates(student).await?)
    }

    /// Deletes a template: when this returns, it is never found again here.
    ///
    /// # Errors
    /// `TEMPLATE_NOT_FOUND`.
    pub async fn delete_template(&self, id: TemplateId) -> Result<(), ServiceError> {
        if !self.store.delete_template(id).await? {
            let message = format!("no template has the id {id}");
            return Err(ServiceError::refused(ErrorReason::TemplateNotFound, message));
        }
        self.recognition.bring_into_force(&[id]).await?;
        info!(template = %id, "deleted a template");
        Ok(())
    }

    async fn store_template(
        &self,
        student: StudentId,
        face: Face,
        quality: Quality,
    ) -> Result<Option<TemplateId>, ServiceError> {
        let id = TemplateId::generate();
        let pack = self.recognition.pack();
        let key = self.keys.student_key(&self.store, student).await?;
        let owner = Owner::Template(id, pack);
        let sealed = key.seal(owner, &zeroize::Zeroizing::new(face.embedding.to_le_bytes()))?;
        let new = NewTemplate { id, student, pack, sealed: &sealed, quality };
        let stored = self.store.create_template(&new, self.limits.templates_per_student).await;
        match stored {
            Ok(false) => Ok(None),
            Ok(true) => {
                // In force here before it is acknowledged; other servers follow within a second.
                self.recognition.bring_into_force(&[id]).await?;
                info!(%student, template = %id, "enrolled a template");
                Ok(Some(id))
            }
            Err(DatabaseError::NotFound) => {
                let message = format!("no student has the id {student}");
                Err(ServiceError::refused(ErrorReason::StudentNotFound, message))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The face of a photograph that may become a template: alone, upright, and of at least `min_quality`.
///
/// # Errors
/// What is wrong with the photograph.
pub fn portrait(seen: Upright, min_quality: u8) -> Result<Face, Refusal> {
    let Upright { mut faces, doubtful, .. } = seen;
    let refuse = |reason, message: String, quality| Err(Refusal { reason, message, quality });
    let face = match faces.len() {
        0 => return refuse("NO_FACE", "no face was found in the picture".into(), None),
        1 => faces.remove(0),
        several => {
            let message =
                format!("{several} faces were found: cut the picture so that it shows the student alone");
            return refuse("SEVERAL_FACES", message, None);
        }
    };
    let quality = face.quality;
    if doubtful || !quality.is_upright() {
        let message = "the face lies on its side, stands on its head, or can't be made out: turn the picture \
                       so that the face is upright";
        return refuse("FACE_NOT_UPRIGHT", message.into(), Some(quality));
    }
    if quality.unified_score < min_quality {
        let message = format!(
            "the face scores {} of 100 in quality, {min_quality} are needed: take a sharp, frontal, well lit \
             picture",
            quality.unified_score
        );
        return refuse("LOW_QUALITY", message, Some(quality));
    }
    Ok(face)
}

fn unreadable(failure: &VisionFailure) -> Refusal {
    Refusal { reason: failure.reason(), message: failure.to_string(), quality: None }
}
