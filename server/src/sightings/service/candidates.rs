//! Faces of sightings that become templates: an admin's own step, after a person has said who it is.

use cavs_embedding::UnitEmbedding;
use cavs_types::{PhotoConsent, SightingId, SiteId, Verdict};
use zeroize::Zeroizing;

use super::Reviews;
use crate::{
    biometrics::{Owner, TemplateSource},
    error::ServiceError,
    people::{EmbeddedFace, Enrolled, Enrollment, EnrollmentTerms, Refusal, StudentKey, Students},
};

/// Makes templates of sightings.
#[derive(Clone)]
pub struct CandidateTemplates {
    reviews: Reviews,
    students: Students,
    enrollment: Enrollment,
}

impl CandidateTemplates {
    /// Of sightings that these give, and for students that these enroll.
    #[must_use]
    pub fn new(reviews: &Reviews, students: &Students, enrollment: &Enrollment) -> Self {
        Self { reviews: reviews.clone(), students: students.clone(), enrollment: enrollment.clone() }
    }

    /// Makes a template of the face of a sighting that a person has approved or corrected, for the student whom they
    /// named, if that student has given their consent. It is checked as a picture is, and goes when a person says that it
    /// is somebody else. The outer error is the server's; the inner one says why the face was not taken.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`, `DATA_DAMAGED`; as of [`Enrollment::check_enrollable`].
    pub async fn enroll(
        &self,
        site: SiteId,
        id: SightingId,
        terms: EnrollmentTerms,
    ) -> Result<Result<Enrolled, Refusal>, ServiceError> {
        let sighting = self.reviews.sighting(site, id).await?;
        let quality = sighting.quality;
        let refuse = |reason, message: &str| {
            Ok(Err(Refusal { reason, message: message.to_owned(), quality: Some(quality) }))
        };
        let verdict = sighting.review.map(|review| review.verdict);
        let (Some(Verdict::Approved | Verdict::Rejected), Some(student)) = (verdict, sighting.student) else {
            return refuse("NOT_APPROVED", "nobody has said who it is: approve the sighting first");
        };
        let known = self.students.get(site, &StudentKey::Id(student.id)).await?;
        if known.state.profile.photo_consent != PhotoConsent::Given {
            let message = "the student's consent to photographs is not on record";
            return refuse("PHOTO_CONSENT_MISSING", message);
        }
        let Some(embedding) = self.probe(site, id, sighting.pack).await? else {
            return refuse("PROBE_GONE", "the face is not kept any more, as the site's retention says");
        };
        let evidence = self.reviews.evidence(site, id).await?;
        let portrait = (!evidence.is_empty()).then(|| Zeroizing::new(evidence.to_vec()));
        let (pack, source) = (sighting.pack, TemplateSource::Sighting(id));
        let face = EmbeddedFace { embedding, pack, quality, portrait, source, terms };
        self.enrollment.enroll_embedded(site, student.id, face).await
    }

    async fn probe(
        &self,
        site: SiteId,
        id: SightingId,
        pack: cavs_embedding::PackDigest,
    ) -> Result<Option<UnitEmbedding>, ServiceError> {
        let Reviews { biometrics, keys, .. } = &self.reviews;
        let Some(sealed) = biometrics.probe(site, id).await? else { return Ok(None) };
        let plain = keys.unseal(biometrics, site, Owner::Probe(id, pack), &sealed).await?;
        Ok(UnitEmbedding::from_le_bytes(&plain).ok())
    }
}
