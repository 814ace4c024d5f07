use std::{pin::Pin, sync::Arc, time::Duration};

use cavs_embedding::{PackDigest, UnitEmbedding};
use cavs_proto::{status_of, to_timestamp, v1};
use cavs_types::{ErrorReason, ProtocolError, SiteId, StudentId};
use futures_util::{Stream, TryStreamExt, stream};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use v1::enroll_from_images_request::Message;

use super::{
    convert::{caller, required_id, sighting_id},
    layer::in_time,
};
use crate::{
    biometrics::{TemplateInfo, TemplateSource},
    error::ServiceError,
    people::{EmbeddedFace, Enrolled, Enrollment, Picture, PictureFace, Refusal},
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
        let images = EnrollmentImages {
            site: caller(&request)?.site,
            enrollment: self.enrollment.clone(),
            shutdown: self.shutdown.clone(),
            inbound: request.into_inner(),
            student: None,
            images: 0,
        };
        let (site, enrollment) = (images.site, self.enrollment.clone());
        let looking = self.enrollment.clone();
        let looked = stream::try_unfold(images, EnrollmentImages::next)
            .map_ok(move |(student, image)| look(looking.clone(), student, image))
            .try_buffered(LOOKED_AT);
        Ok(Response::new(Box::pin(looked.and_then(move |looked| {
            // For as long as the call lasts.
            let _ = &place;
            judge(enrollment.clone(), site, looked)
        }))))
    }

    async fn enroll_from_sighting(
        &self,
        request: Request<v1::EnrollFromSightingRequest>,
    ) -> Result<Response<v1::EnrollFromSightingResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::EnrollFromSightingRequest { sighting_id: id, accept_unlike } = request.into_inner();
        let id = sighting_id(&id).map_err(status_of)?;
        let verdict = self.candidates.enroll(site, id, accept_unlike).await?;
        Ok(Response::new(v1::EnrollFromSightingResponse { verdict: Some(verdict_to_wire(verdict)) }))
    }

    async fn enroll_from_embeddings(
        &self,
        request: Request<v1::EnrollFromEmbeddingsRequest>,
    ) -> Result<Response<v1::EnrollFromEmbeddingsResponse>, Status> {
        let site = caller(&request)?.site;
        let (student, faces) = embedded_faces(request.into_inner()).map_err(status_of)?;
        let mut verdicts = Vec::with_capacity(faces.len());
        for face in faces {
            let verdict = self.enrollment.enroll_embedded(site, student, face).await?;
            verdicts.push(verdict_to_wire(verdict));
        }
        Ok(Response::new(v1::EnrollFromEmbeddingsResponse { verdicts }))
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

/// Embeddings of one call, at most.
const MOST_EMBEDDINGS: usize = 100;

fn embedded_faces(
    request: v1::EnrollFromEmbeddingsRequest,
) -> Result<(StudentId, Vec<EmbeddedFace>), ProtocolError> {
    let v1::EnrollFromEmbeddingsRequest { student_id, pack_digest, embeddings } = request;
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
            accept_unlike: given.accept_unlike,
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
        }
    }
}

/// The images of a call, as they come.
struct EnrollmentImages {
    site: SiteId,
    enrollment: Enrollment,
    shutdown: CancellationToken,
    inbound: Streaming<v1::EnrollFromImagesRequest>,
    student: Option<StudentId>,
    images: usize,
}

impl EnrollmentImages {
    /// The next image, and whose it is; `None` after the caller's last one.
    async fn next(mut self) -> Result<Option<((StudentId, v1::EnrollmentImage), Self)>, Status> {
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
                    return Ok(Some(((student, image), self)));
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

/// An image that was looked at.
struct LookedAt {
    student: StudentId,
    name: String,
    seen: Result<PictureFace, Refusal>,
}

async fn look(
    enrollment: Enrollment,
    student: StudentId,
    image: v1::EnrollmentImage,
) -> Result<LookedAt, Status> {
    let v1::EnrollmentImage { name, data, accept_unlike } = image;
    let picture = Picture { data, accept_unlike };
    let seen = in_time(async { Ok(enrollment.look(picture).await?) }).await?;
    Ok(LookedAt { student, name, seen })
}

async fn judge(
    enrollment: Enrollment,
    site: SiteId,
    looked: LookedAt,
) -> Result<v1::EnrollFromImagesResponse, Status> {
    let LookedAt { student, name, seen } = looked;
    let verdict = match seen {
        Ok(face) => in_time(async { Ok(enrollment.enroll(site, student, face).await?) }).await?,
        Err(refusal) => Err(refusal),
    };
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
