use std::{pin::Pin, sync::Arc, time::Duration};

use cavs_embedding::{PackDigest, UnitEmbedding};
use cavs_proto::{enum_from_wire, enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::{EnrollmentGate, ErrorReason, ProtocolError, SiteId, StudentId};
use futures_util::{Stream, TryStreamExt, stream};
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use v1::enroll_from_images_request::Message;

use super::{
    convert::{caller, required_id, sighting_id},
    layer::{Caller, in_time},
};
use crate::{
    biometrics::{TemplateInfo, TemplateSource},
    error::ServiceError,
    people::{
        EmbeddedFace, Enrolled, Enrollment, EnrollmentTerms, Picture, PictureFace, Refusal, StopAtDuplicate,
    },
    sightings::CandidateTemplates,
};

/// Longest silence of a caller.
const IDLE: Duration = Duration::from_secs(60);
/// Most images of one call.
const MAX_IMAGES: usize = 1000;
/// Calls that send images at a time: each may have a large one in memory.
const CALLS: usize = 16;
/// Images of one call that are looked at at a time: the next one, while the first is judged and stored.
const LOOKED_AT: usize = 2;
/// When it is worth while to try again where there are so many.
const RETRY: Duration = Duration::from_secs(5);

pub(super) struct EnrollmentApi {
    enrollment: Enrollment,
    candidates: CandidateTemplates,
    calls: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl EnrollmentApi {
    pub(super) fn new(
        enrollment: Enrollment,
        candidates: CandidateTemplates,
        shutdown: CancellationToken,
    ) -> Self {
        Self { enrollment, candidates, calls: Arc::new(Semaphore::new(CALLS)), shutdown }
    }
}

#[tonic::async_trait]
impl v1::enrollment_service_server::EnrollmentService for EnrollmentApi {
    type EnrollFromImagesStream =
        Pin<Box<dyn Stream<Item = Result<v1::EnrollFromImagesResponse, Status>> + Send>>;

    async fn enroll_from_images(
        &self,
        request: Request<Streaming<v1::EnrollFromImagesRequest>>,
    ) -> Result<Response<Self::EnrollFromImagesStream>, Status> {
        let busy = |_| ServiceError::Busy { what: "enrollment", retry_in: RETRY };
        let place = Arc::clone(&self.calls).try_acquire_owned().map_err(busy)?;
        let Caller { user: by, site, .. } = caller(&request)?;
        let images = EnrollmentImages {
            site,
            usual: EnrollmentTerms { gate: self.enrollment.gate(site).await?, accept_unlike: false, by },
            enrollment: self.enrollment.clone(),
            shutdown: self.shutdown.clone(),
            inbound: request.into_inner(),
            student: None,
            images: 0,
        };
        let (enrollment, looking) = (self.enrollment.clone(), self.enrollment.clone());
        let looked = stream::try_unfold(images, EnrollmentImages::next)
            .map_ok(move |image| look(looking.clone(), image))
            .try_buffered(LOOKED_AT);
        let call = Arc::<Mutex<StopAtDuplicate>>::default();
        Ok(Response::new(Box::pin(looked.and_then(move |looked| {
            // For as long as the call lasts.
            let _ = &place;
            judge(enrollment.clone(), site, looked, Arc::clone(&call))
        }))))
    }

    async fn enroll_from_sighting(
        &self,
        request: Request<v1::EnrollFromSightingRequest>,
    ) -> Result<Response<v1::EnrollFromSightingResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let v1::EnrollFromSightingRequest { sighting_id: id, accept_unlike, gate } = request.into_inner();
        let id = sighting_id(&id).map_err(status_of)?;
        let gate = self.gate(site, gate).await?;
        let verdict = self.candidates.enroll(site, id, EnrollmentTerms { gate, accept_unlike, by }).await?;
        Ok(Response::new(v1::EnrollFromSightingResponse { verdict: Some(verdict_to_wire(verdict)) }))
    }

    async fn enroll_from_embeddings(
        &self,
        request: Request<v1::EnrollFromEmbeddingsRequest>,
    ) -> Result<Response<v1::EnrollFromEmbeddingsResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let request = request.into_inner();
        let gate = self.gate(site, request.gate).await?;
        let terms = EnrollmentTerms { gate, accept_unlike: false, by };
        let (student, faces) = embedded_faces(request, terms).map_err(status_of)?;
        let (mut verdicts, mut call) = (Vec::with_capacity(faces.len()), StopAtDuplicate::default());
        for face in faces {
            let verdict = match call.refusal() {
                Some(refusal) => Err(refusal),
                None => self.enrollment.enroll_embedded(site, student, face).await?,
            };
            call.note(&verdict);
            verdicts.push(verdict_to_wire(verdict));
        }
        Ok(Response::new(v1::EnrollFromEmbeddingsResponse { verdicts }))
    }

    async fn get_enrollment_policy(
        &self,
        request: Request<v1::GetEnrollmentPolicyRequest>,
    ) -> Result<Response<v1::GetEnrollmentPolicyResponse>, Status> {
        let gate = self.enrollment.gate(caller(&request)?.site).await?;
        Ok(Response::new(v1::EnrollmentPolicy { gate: enum_to_wire(gate) }.into()))
    }

    async fn update_enrollment_policy(
        &self,
        request: Request<v1::UpdateEnrollmentPolicyRequest>,
    ) -> Result<Response<v1::UpdateEnrollmentPolicyResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let policy = request.into_inner().policy.unwrap_or_default();
        let gate = enum_from_wire("policy.gate", policy.gate).map_err(status_of)?;
        self.enrollment.set_gate(site, gate, by).await?;
        Ok(Response::new(policy.into()))
    }

    async fn get_template(
        &self,
        request: Request<v1::GetTemplateRequest>,
    ) -> Result<Response<v1::GetTemplateResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let v1::GetTemplateRequest { template_id, with_portrait } = request.into_inner();
        let id = required_id("template_id", &template_id).map_err(status_of)?;
        let (template, portrait) = self.enrollment.template(site, id, with_portrait, by).await?;
        Ok(Response::new(v1::GetTemplateResponse { template: Some(template.into()), portrait }))
    }

    async fn list_templates(
        &self,
        request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        let site = caller(&request)?.site;
        let student = required_id("student_id", &request.into_inner().student_id).map_err(status_of)?;
        let templates = self.enrollment.templates(site, student).await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListTemplatesResponse { templates }))
    }

    async fn delete_template(
        &self,
        request: Request<v1::DeleteTemplateRequest>,
    ) -> Result<Response<v1::DeleteTemplateResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("template_id", &request.into_inner().template_id).map_err(status_of)?;
        self.enrollment.delete_template(site, id).await?;
        Ok(Response::new(v1::DeleteTemplateResponse {}))
    }
}

impl EnrollmentApi {
    /// The gate that a request names, or else the site's.
    async fn gate(&self, site: SiteId, asked: i32) -> Result<EnrollmentGate, Status> {
        match gate_from_wire(asked).map_err(status_of)? {
            Some(gate) => Ok(gate),
            None => Ok(self.enrollment.gate(site).await?),
        }
    }
}

fn gate_from_wire(asked: i32) -> Result<Option<EnrollmentGate>, ProtocolError> {
    match asked {
        0 => Ok(None),
        number => enum_from_wire("gate", number).map(Some),
    }
}

/// Embeddings of one call, at most.
const MOST_EMBEDDINGS: usize = 100;

fn embedded_faces(
    request: v1::EnrollFromEmbeddingsRequest,
    terms: EnrollmentTerms,
) -> Result<(StudentId, Vec<EmbeddedFace>), ProtocolError> {
    let v1::EnrollFromEmbeddingsRequest { student_id, pack_digest, embeddings, gate: _ } = request;
    let student = required_id("student_id", &student_id)?;
    let pack: PackDigest =
        pack_digest.parse().map_err(|error| ProtocolError::invalid("pack_digest", error))?;
    if embeddings.is_empty() || embeddings.len() > MOST_EMBEDDINGS {
        return Err(ProtocolError::invalid("embeddings", format_args!("1 to {MOST_EMBEDDINGS}")));
    }
    let faces = embeddings.into_iter().map(|given| {
        let embedding = UnitEmbedding::from_le_bytes(&given.embedding)
            .map_err(|error| ProtocolError::invalid("embeddings.embedding", error))?;
        let quality = given.quality.ok_or(ProtocolError::Missing { field: "embeddings.quality" })?;
        let quality = quality.try_into()?;
        Ok(EmbeddedFace {
            embedding,
            pack,
            quality,
            portrait: None,
            source: TemplateSource::Embedding,
            terms: EnrollmentTerms { accept_unlike: given.accept_unlike, ..terms },
        })
    });
    Ok((student, faces.collect::<Result<_, _>>()?))
}

fn verdict_to_wire(verdict: Result<Enrolled, Refusal>) -> v1::EnrollmentVerdict {
    match verdict {
        Ok(enrolled) => {
            v1::EnrollmentVerdict { template_id: enrolled.template.to_string(), ..Default::default() }
        }
        Err(Refusal { reason, message, .. }) => {
            v1::EnrollmentVerdict { reason: reason.to_owned(), message, ..Default::default() }
        }
    }
}

impl From<TemplateInfo> for v1::Template {
    fn from(template: TemplateInfo) -> Self {
        Self {
            id: template.id.to_string(),
            student_id: template.student.to_string(),
            pack_digest: template.pack.to_string(),
            quality: Some(template.quality.into()),
            create_time: Some(to_timestamp(template.created_at)),
            gate: template.gate.map(enum_to_wire).unwrap_or_default(),
            enrolled_by: template.enrolled_by.unwrap_or_default(),
            has_portrait: template.has_portrait,
        }
    }
}

/// The images of a call, as they come.
struct EnrollmentImages {
    site: SiteId,
    /// The terms of an image that says nothing of them.
    usual: EnrollmentTerms,
    enrollment: Enrollment,
    shutdown: CancellationToken,
    inbound: Streaming<v1::EnrollFromImagesRequest>,
    student: Option<StudentId>,
    images: usize,
}

impl EnrollmentImages {
    /// The next image, and whose it is; `None` after the caller's last one.
    async fn next(mut self) -> Result<Option<(EnrollmentImage, Self)>, Status> {
        loop {
            let Some(message) = self.receive().await? else { return Ok(None) };
            match (message.message, self.student) {
                (Some(Message::StudentId(text)), None) => {
                    let id = required_id("student_id", &text).map_err(status_of)?;
                    self.enrollment.check_enrollable(self.site, id).await?;
                    self.student = Some(id);
                }
                (Some(Message::Image(image)), Some(student)) => {
                    self.images += 1;
                    if self.images > MAX_IMAGES {
                        let message = format!("at most {MAX_IMAGES} images in one call");
                        return Err(cavs_proto::status(ErrorReason::Overloaded, message));
                    }
                    let v1::EnrollmentImage { name, data, accept_unlike, gate } = image;
                    let gate = gate_from_wire(gate).map_err(status_of)?.unwrap_or(self.usual.gate);
                    let terms = EnrollmentTerms { gate, accept_unlike, ..self.usual };
                    let picture = Picture { data, terms };
                    return Ok(Some((EnrollmentImage { student, name, picture }, self)));
                }
                (Some(Message::StudentId(_)), Some(_)) | (Some(Message::Image(_)) | None, _) => {
                    let message = "the student's id comes first and once, then images";
                    return Err(cavs_proto::status(ErrorReason::StreamOrder, message));
                }
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<v1::EnrollFromImagesRequest>, Status> {
        let received = self.shutdown.run_until_cancelled(timeout(IDLE, self.inbound.message())).await;
        match received {
            None => Err(cavs_proto::status(ErrorReason::ShuttingDown, "the server is stopping")),
            Some(Err(_)) => Err(cavs_proto::status(ErrorReason::IdleTimeout, "no image for 60 seconds")),
            Some(Ok(message)) => message,
        }
    }
}

/// An image that came.
struct EnrollmentImage {
    student: StudentId,
    name: String,
    picture: Picture,
}

/// An image that was looked at.
struct LookedAt {
    student: StudentId,
    name: String,
    seen: Result<PictureFace, Refusal>,
}

async fn look(enrollment: Enrollment, image: EnrollmentImage) -> Result<LookedAt, Status> {
    let EnrollmentImage { student, name, picture } = image;
    let seen = in_time(async { Ok(enrollment.look(picture).await?) }).await?;
    Ok(LookedAt { student, name, seen })
}

async fn judge(
    enrollment: Enrollment,
    site: SiteId,
    looked: LookedAt,
    call: Arc<Mutex<StopAtDuplicate>>,
) -> Result<v1::EnrollFromImagesResponse, Status> {
    let LookedAt { student, name, seen } = looked;
    let mut call = call.lock().await;
    let seen = call.refusal().map_or(seen, Err);
    let verdict = match seen {
        Ok(face) => in_time(async { Ok(enrollment.enroll(site, student, face).await?) }).await?,
        Err(refusal) => Err(refusal),
    };
    call.note(&verdict);
    Ok(match verdict {
        Ok(enrolled) => v1::EnrollFromImagesResponse {
            name,
            template_id: enrolled.template.to_string(),
            quality: Some(enrolled.quality.into()),
            ..Default::default()
        },
        Err(refusal) => v1::EnrollFromImagesResponse {
            name,
            reason: refusal.reason.to_owned(),
            message: refusal.message,
            quality: refusal.quality.map(Into::into),
            ..Default::default()
        },
    })
}
