use std::sync::Arc;

use bytes::Bytes;
use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_models::{Face, Upright};
use cavs_types::{
    ConfusableKind, EnrollmentGate, ErrorReason, PhotoConsent, Quality, SiteId, StudentId, TemplateId, UserId,
};
use tracing::info;
use zeroize::Zeroizing;

use super::Students;
use crate::{
    biometrics::{BiometricStore, Keys, NewTemplate, Owner, TemplateInfo, TemplateOutcome, TemplateSource},
    db::{Database, DatabaseError},
    error::ServiceError,
    people::{SiteStore, StudentKey, same_person, shortfall, unlike_at},
    recognition::{Galleries, Looked, Recognition, Vision, VisionFailure},
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
    /// Below this similarity to all of a student's own pictures, a face is somebody else's; below half of the review
    /// threshold where it is `None`.
    pub unlike_below: Option<Similarity>,
    /// Whether the pictures of faces are kept beside their templates, sealed.
    pub keep_portraits: bool,
}

/// On what terms a face is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrollmentTerms {
    /// How strictly it is looked at.
    pub gate: EnrollmentGate,
    /// It is taken although it is unlike the student's other pictures.
    pub accept_unlike: bool,
    /// Who enrolls.
    pub by: UserId,
}

/// An accepted picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The new template.
    pub template: TemplateId,
    /// How good the picture is.
    pub quality: Quality,
}

/// A picture that is to become a template.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Of a kind that `PhotographReader` reads.
    pub data: Bytes,
    /// On what terms it is taken.
    pub terms: EnrollmentTerms,
}

/// The one face of a picture that may become a template.
pub struct PictureFace {
    face: Face,
    /// JPEG of it, where portraits are kept.
    portrait: Option<Zeroizing<Vec<u8>>>,
    terms: EnrollmentTerms,
}

/// A face that was made into an embedding elsewhere.
#[derive(Debug)]
pub struct EmbeddedFace {
    /// Of unit length.
    pub embedding: UnitEmbedding,
    /// Whose networks made it.
    pub pack: PackDigest,
    /// How good its picture was.
    pub quality: Quality,
    /// JPEG of the face, which is kept where portraits are.
    pub portrait: Option<Zeroizing<Vec<u8>>>,
    /// Where it comes from.
    pub source: TemplateSource,
    /// On what terms it is taken.
    pub terms: EnrollmentTerms,
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

/// Pictures of one call, all of one student: where the first face that could be taken looks like another student's,
/// the call may be of the wrong student, and nothing more of it is taken.
#[derive(Debug, Default)]
pub struct StopAtDuplicate {
    was_taken: bool,
    stopped: bool,
}

impl StopAtDuplicate {
    /// What is said of the next picture, where nothing more is taken.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.stopped.then(|| Refusal {
            reason: "STOPPED_AT_DUPLICATE",
            message: "the first face looks like another student's, so that the pictures may be of the wrong student: \
                      nothing more was tried"
                .to_owned(),
            quality: None,
        })
    }

    /// Notes what became of a picture.
    pub fn note(&mut self, verdict: &Result<Enrolled, Refusal>) {
        match verdict {
            Ok(_) => self.was_taken = true,
            Err(refusal) => self.stopped |= !self.was_taken && refusal.reason == DUPLICATE_STUDENT,
        }
    }
}

/// The reason of a refusal of a face that is another student's.
const DUPLICATE_STUDENT: &str = "LOOKS_LIKE_ANOTHER_STUDENT";

/// Makes templates of pictures.
#[derive(Clone)]
pub struct Enrollment {
    students: Students,
    sites: SiteStore,
    store: BiometricStore,
    keys: Arc<Keys>,
    galleries: Arc<Galleries>,
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
        galleries: &Arc<Galleries>,
        vision: &Vision,
        limits: EnrollmentLimits,
    ) -> Self {
        Self {
            students: students.clone(),
            sites: SiteStore::new(db),
            store: BiometricStore::new(db),
            keys: Arc::clone(keys),
            galleries: Arc::clone(galleries),
            vision: vision.clone(),
            limits,
        }
    }

    /// Whether the student can be enrolled: asked before pictures are sent.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`, `STUDENT_ERASED`, `STUDENT_INACTIVE`, `PHOTO_CONSENT_REFUSED`.
    pub async fn check_enrollable(&self, site: SiteId, id: StudentId) -> Result<(), ServiceError> {
        let student = self.students.get(site, &StudentKey::Id(id)).await?;
        let refuse = |reason, message: String| Err(ServiceError::refused(reason, message));
        if let Some(at) = student.erased_at {
            return refuse(ErrorReason::StudentErased, format!("the student's face was erased at {at}"));
        }
        if !student.state.is_active {
            return refuse(ErrorReason::StudentInactive, "the student is not active".to_owned());
        }
        match student.state.profile.photo_consent {
            PhotoConsent::Refused => {
                let message = "the student has refused to be recognised by pictures";
                refuse(ErrorReason::PhotoConsentRefused, message.to_owned())
            }
            PhotoConsent::Unknown | PhotoConsent::Given => Ok(()),
        }
    }

    /// How strictly a site looks at faces.
    ///
    /// # Errors
    /// `Database`.
    pub async fn gate(&self, site: SiteId) -> Result<EnrollmentGate, ServiceError> {
        Ok(self.sites.enrollment_gate(site).await?)
    }

    /// Has a site look at faces so strictly from now on.
    ///
    /// # Errors
    /// `Database`.
    pub async fn set_gate(&self, site: SiteId, gate: EnrollmentGate, by: UserId) -> Result<(), ServiceError> {
        self.sites.set_enrollment_gate(site, gate).await?;
        info!(%site, %gate, %by, "set the gate of enrollment");
        Ok(())
    }

    /// Looks for the one face of a picture. Several pictures may be looked at before [`Self::enroll`] judges the first.
    /// The outer error is the server's; the inner one says what is wrong with the picture.
    ///
    /// # Errors
    /// `Busy`, `VISION_UNAVAILABLE`.
    pub async fn look(&self, picture: Picture) -> Result<Result<PictureFace, Refusal>, ServiceError> {
        let Picture { data, terms } = picture;
        Ok(match self.vision.look(data, self.limits.keep_portraits).await? {
            Ok(Looked { upright, portrait: crop }) => portrait(upright, terms.gate, self.limits.min_quality)
                .map(|face| PictureFace { face, portrait: crop, terms }),
            Err(failure) => Err(unreadable(&failure)),
        })
    }

    /// Makes a template of the face of a picture. The outer error is the server's; the inner one says what is wrong
    /// with the face.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`, `Database`, `Stopped`.
    pub async fn enroll(
        &self,
        site: SiteId,
        student: StudentId,
        seen: PictureFace,
    ) -> Result<Result<Enrolled, Refusal>, ServiceError> {
        let PictureFace { face: Face { embedding, quality, .. }, portrait, terms } = seen;
        let gallery = self.galleries.of(site).await?;
        let judged = self.judge(site, &gallery, student, &embedding, terms).await?;
        if let Err((reason, message)) = judged {
            return Ok(Err(Refusal { reason, message, quality: Some(quality) }));
        }
        self.take(&gallery, student, &embedding, quality, (portrait, TemplateSource::Image, terms)).await
    }

    /// Makes a template of a face that no photograph gives: of a sighting, or of an integrator. The outer error is the
    /// server's; the inner one says what is wrong with the face.
    ///
    /// # Errors
    /// As of [`Self::check_enrollable`]; `Database`, `Stopped`.
    pub async fn enroll_embedded(
        &self,
        site: SiteId,
        student: StudentId,
        face: EmbeddedFace,
    ) -> Result<Result<Enrolled, Refusal>, ServiceError> {
        self.check_enrollable(site, student).await?;
        let EmbeddedFace { embedding, pack, quality, portrait, source, terms } = face;
        if let Err(refusal) = good_enough(quality, false, terms.gate, self.limits.min_quality) {
            return Ok(Err(refusal));
        }
        let gallery = self.galleries.of(site).await?;
        let refuse = |(reason, message)| Ok(Err(Refusal { reason, message, quality: Some(quality) }));
        if pack != gallery.pack() || embedding.dimension() != gallery.dimension() {
            let message =
                format!("the face is of model pack {pack}, the site's gallery of {}", gallery.pack());
            return refuse(("PACK_NOT_SERVED", message));
        }
        if let Err(refusal) = self.judge(site, &gallery, student, &embedding, terms).await? {
            return refuse(refusal);
        }
        let portrait = portrait.filter(|_| self.limits.keep_portraits);
        self.take(&gallery, student, &embedding, quality, (portrait, source, terms)).await
    }

    /// Whether a face may be the student's, by all that is enrolled: or else a stable reason and what it means.
    async fn judge(
        &self,
        site: SiteId,
        gallery: &Recognition,
        student: StudentId,
        embedding: &UnitEmbedding,
        terms: EnrollmentTerms,
    ) -> Result<Result<(), (&'static str, String)>, ServiceError> {
        let refuse = |reason, message| Ok(Err((reason, message)));
        // `None` where it is the student's first picture.
        let likeness = gallery.likeness(embedding, student).await?;
        if likeness.is_some_and(|likeness| likeness >= self.limits.same_picture) {
            return refuse("DUPLICATE_TEMPLATE", "the student has this picture already".into());
        }
        let thresholds = gallery.thresholds().thresholds;
        let same_person = same_person(terms.gate, thresholds.accept, self.limits.same_person);
        let others = gallery.others_like(embedding, same_person, student).await?;
        let pairs = gallery.confusable_pairs();
        let is_twin = |other: StudentId| pairs.kind(student, other) == Some(ConfusableKind::Twins);
        if let Some(other) = others.iter().find(|other| !is_twin(other.student)) {
            let known = self.students.find(site, &StudentKey::Id(other.student)).await?;
            let number =
                known.map_or_else(|| other.student.to_string(), |student| student.state.profile.number);
            let message = format!(
                "the face looks like student {number}'s (similarity {:.2}): is it the right person? Of twins, an admin \
                 can say that they are",
                other.similarity.get()
            );
            return refuse(DUPLICATE_STUDENT, message);
        }
        let unlike_below = unlike_at(terms.gate, thresholds, self.limits.unlike_below);
        if let (Some(likeness), Some(unlike_below)) = (likeness, unlike_below)
            && likeness < unlike_below
            && !terms.accept_unlike
        {
            let message = format!(
                "the face is unlike the student's other pictures (similarity {:.2}): this one or those before may be \
                 somebody else's. Who knows that all are the student's may have it accepted all the same",
                likeness.get()
            );
            return refuse("UNLIKE_OTHER_PICTURES", message);
        }
        Ok(Ok(()))
    }

    /// Stores what was judged.
    async fn take(
        &self,
        gallery: &Recognition,
        student: StudentId,
        embedding: &UnitEmbedding,
        quality: Quality,
        of: (Option<Zeroizing<Vec<u8>>>, TemplateSource, EnrollmentTerms),
    ) -> Result<Result<Enrolled, Refusal>, ServiceError> {
        let terms = of.2;
        Ok(match self.store_template(gallery, student, embedding, quality, of).await? {
            Some(template) => {
                info!(%student, %template, gate = %terms.gate, by = %terms.by, "enrolled a template");
                Ok(Enrolled { template, quality })
            }
            None => {
                let most = self.limits.templates_per_student;
                let message = format!("the student has {most} templates, which is the limit");
                Err(Refusal { reason: "TOO_MANY_TEMPLATES", message, quality: Some(quality) })
            }
        })
    }

    /// A student's templates, oldest first.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`.
    pub async fn templates(
        &self,
        site: SiteId,
        student: StudentId,
    ) -> Result<Vec<TemplateInfo>, ServiceError> {
        self.students.get(site, &StudentKey::Id(student)).await?;
        Ok(self.store.student_templates(site, student).await?)
    }

    /// A template, and the picture that was kept with it where that is asked for, which is noted in the log.
    ///
    /// # Errors
    /// `TEMPLATE_NOT_FOUND`, `DATA_DAMAGED`.
    pub async fn template(
        &self,
        site: SiteId,
        id: TemplateId,
        with_portrait: bool,
        by: UserId,
    ) -> Result<(TemplateInfo, Bytes), ServiceError> {
        let found = self.store.template_info(site, id).await?.ok_or_else(|| not_found(id))?;
        let mut portrait = Bytes::new();
        if with_portrait && let Some(sealed) = self.store.portrait(site, id).await? {
            info!(template = %id, %by, "looked at a portrait");
            let mut plain = self.keys.open(&sealed.key)?.open(Owner::Portrait(id), &sealed.sealed)?;
            portrait = Bytes::from(std::mem::take(&mut *plain));
        }
        Ok((found, portrait))
    }

    /// Deletes a template: when this returns, it is never found again here.
    ///
    /// # Errors
    /// `TEMPLATE_NOT_FOUND`.
    pub async fn delete_template(&self, site: SiteId, id: TemplateId) -> Result<(), ServiceError> {
        if !self.store.delete_template(site, id).await? {
            return Err(not_found(id));
        }
        self.galleries.bring_into_force(site, &[id]).await?;
        info!(template = %id, "deleted a template");
        Ok(())
    }

    async fn store_template(
        &self,
        gallery: &Recognition,
        student: StudentId,
        embedding: &UnitEmbedding,
        quality: Quality,
        (crop, source, terms): (Option<Zeroizing<Vec<u8>>>, TemplateSource, EnrollmentTerms),
    ) -> Result<Option<TemplateId>, ServiceError> {
        let id = TemplateId::generate();
        let (site, pack) = (gallery.site(), gallery.pack());
        let key = self.keys.student_key(&self.store, site, student).await?;
        let owner = Owner::Template(id, pack);
        let sealed = key.seal(owner, &Zeroizing::new(embedding.to_le_bytes()))?;
        let portrait = crop.map(|crop| key.seal(Owner::Portrait(id), &crop)).transpose()?;
        let portrait = portrait.as_deref();
        let EnrollmentTerms { gate, by, accept_unlike: _ } = terms;
        let admitted = Some((gate, by));
        let new = NewTemplate { id, student, pack, sealed: &sealed, quality, portrait, source, admitted };
        let stored = self.store.create_template(site, &new, self.limits.templates_per_student).await;
        match stored {
            Ok(TemplateOutcome::TooMany) => Ok(None),
            Ok(TemplateOutcome::NotWanted) => {
                // Since the first picture; says why.
                self.check_enrollable(site, student).await?;
                let message = "the student was not to be recognised a moment ago";
                Err(ServiceError::refused(ErrorReason::StudentChanged, message))
            }
            Ok(TemplateOutcome::Stored) => {
                // In force here before it is acknowledged; other servers follow within a second.
                gallery.bring_into_force(&[id]).await?;
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

fn not_found(id: TemplateId) -> ServiceError {
    ServiceError::refused(ErrorReason::TemplateNotFound, format!("no template has the id {id}"))
}

/// The face of a photograph that may become a template: alone, upright, and as good as the gate asks, and every
/// component of its quality `min_quality` at least.
///
/// # Errors
/// What is wrong with the photograph.
pub fn portrait(seen: Upright, gate: EnrollmentGate, min_quality: u8) -> Result<Face, Refusal> {
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
    good_enough(face.quality, doubtful, gate, min_quality).map(|()| face)
}

/// Whether a face is upright (and there is no doubt of it) and as good as the gate asks.
fn good_enough(
    quality: Quality,
    doubtful: bool,
    gate: EnrollmentGate,
    min_quality: u8,
) -> Result<(), Refusal> {
    let refuse = |reason, message: String, quality| Err(Refusal { reason, message, quality });
    if doubtful || !quality.is_upright() {
        let message = "the face lies on its side, stands on its head, or can't be made out: turn the picture \
                       so that the face is upright";
        return refuse("FACE_NOT_UPRIGHT", message.into(), Some(quality));
    }
    if let Some(shortfall) = shortfall(gate, quality, min_quality) {
        return refuse(shortfall.reason, shortfall.message(), Some(quality));
    }
    Ok(())
}

fn unreadable(failure: &VisionFailure) -> Refusal {
    Refusal { reason: failure.reason(), message: failure.to_string(), quality: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_face_that_is_another_students_stops_the_call() {
        let quality = Quality::uniform(90);
        let refused = |reason| Err(Refusal { reason, message: String::new(), quality: None });
        let taken = || Ok(Enrolled { template: TemplateId::generate(), quality });
        let stops = |verdicts: Vec<Result<Enrolled, Refusal>>| {
            let mut call = StopAtDuplicate::default();
            verdicts.iter().for_each(|verdict| call.note(verdict));
            call.refusal().map(|refusal| refusal.reason)
        };
        assert_eq!(stops(vec![refused("NO_FACE")]), None);
        assert_eq!(stops(vec![refused("NO_FACE"), refused(DUPLICATE_STUDENT)]), Some("STOPPED_AT_DUPLICATE"));
        assert_eq!(stops(vec![taken(), refused(DUPLICATE_STUDENT)]), None);
        assert_eq!(stops(vec![refused(DUPLICATE_STUDENT), taken()]), Some("STOPPED_AT_DUPLICATE"));
    }
}
