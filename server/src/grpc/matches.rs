use cavs_embedding::UnitEmbedding;
use cavs_proto::{enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::{ProtocolError, Quality};
use tonic::{Request, Response, Status};
use v1::{match_face::Face, verify_request::Student};

use super::{
    convert::{caller, page_request, required_id, student_ref, total_to_wire},
    layer::Caller,
};
use crate::{
    matching::{FaceToMatch, Identified, MatchRecord, MatchedFace, Matching, Verified},
    page::ListName,
    people::{StudentKey, StudentRef},
    recognition::Candidate,
    text::lookup_number,
};

pub(super) struct MatchApi(Matching);

impl MatchApi {
    pub(super) fn new(matching: Matching) -> Self {
        Self(matching)
    }
}

#[tonic::async_trait]
impl v1::match_service_server::MatchService for MatchApi {
    async fn identify(
        &self,
        request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let face = face_from_wire(request.into_inner().face).map_err(status_of)?;
        Ok(Response::new(self.0.identify(site, user, face).await?.into()))
    }

    async fn verify(
        &self,
        request: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::VerifyRequest { face, student } = request.into_inner();
        let face = face_from_wire(face).map_err(status_of)?;
        let student = student_from_wire(student).map_err(status_of)?;
        Ok(Response::new(self.0.verify(site, user, face, &student).await?.into()))
    }

    async fn list_matches(
        &self,
        request: Request<v1::ListMatchesRequest>,
    ) -> Result<Response<v1::ListMatchesResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListMatchesRequest { page_size, page_token, with_total_size } = request.into_inner();
        let page = page_request(page_size, &page_token, with_total_size, ListName::new("matches"))?;
        let found = self.0.list(site, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListMatchesResponse {
            matches: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }
}

fn face_from_wire(face: Option<v1::MatchFace>) -> Result<FaceToMatch, ProtocolError> {
    match face.and_then(|face| face.face).ok_or(ProtocolError::Missing { field: "face" })? {
        Face::Image(data) => Ok(FaceToMatch::Image(data)),
        Face::Embedding(given) => {
            let v1::MatchEmbedding { pack_digest, embedding, quality, liveness } = given;
            let pack = pack_digest
                .parse()
                .map_err(|error| ProtocolError::invalid("face.embedding.pack_digest", error))?;
            let embedding = UnitEmbedding::from_le_bytes(&embedding)
                .map_err(|error| ProtocolError::invalid("face.embedding.embedding", error))?;
            let missing = ProtocolError::Missing { field: "face.embedding.quality" };
            let quality = Quality::try_from(quality.ok_or(missing)?)?;
            if liveness.is_some_and(|live| !(0.0..=1.0).contains(&live)) {
                return Err(ProtocolError::invalid("face.embedding.liveness", "must be 0 to 1"));
            }
            Ok(FaceToMatch::Embedding { embedding, pack, quality, liveness })
        }
    }
}

fn student_from_wire(student: Option<Student>) -> Result<StudentKey, ProtocolError> {
    match student {
        Some(Student::StudentId(id)) => Ok(StudentKey::Id(required_id("student_id", &id)?)),
        Some(Student::StudentNumber(number)) => {
            Ok(StudentKey::Number(lookup_number("student_number", &number)?))
        }
        None => Err(ProtocolError::Missing { field: "student" }),
    }
}

fn candidate_to_wire(candidate: Candidate<StudentRef>) -> v1::Candidate {
    v1::Candidate { student: Some(student_ref(candidate.student)), similarity: candidate.similarity.get() }
}

impl From<Identified> for v1::IdentifyResponse {
    fn from(identified: Identified) -> Self {
        let Identified { face, candidates, margin } = identified;
        let MatchedFace { id, decision, reason, threshold, threshold_version, quality } = face;
        Self {
            match_id: id.to_string(),
            decision: enum_to_wire(decision),
            reason: reason.to_owned(),
            candidates: candidates.into_iter().map(candidate_to_wire).collect(),
            margin,
            threshold,
            threshold_version,
            quality: quality.map(Into::into),
        }
    }
}

impl From<Verified> for v1::VerifyResponse {
    fn from(verified: Verified) -> Self {
        let Verified { face, similarity } = verified;
        let is_theirs = face.is_accepted();
        let MatchedFace { id, decision: _, reason, threshold, threshold_version, quality } = face;
        Self {
            match_id: id.to_string(),
            verified: is_theirs,
            reason: reason.to_owned(),
            similarity: similarity.map(|similarity| similarity.get()),
            threshold,
            threshold_version,
            quality: quality.map(Into::into),
        }
    }
}

impl From<MatchRecord> for v1::Match {
    fn from(record: MatchRecord) -> Self {
        let similarity = record.best.as_ref().map(|best| best.similarity.get());
        Self {
            id: record.id.to_string(),
            kind: enum_to_wire(record.kind),
            asked_by: record.asked_by,
            ask_time: Some(to_timestamp(record.asked_at)),
            by_image: record.by_image,
            asked_student: record.asked.map(student_ref),
            decision: enum_to_wire(record.decision),
            reason: record.reason,
            student: record.best.map(|best| student_ref(best.student)),
            similarity,
        }
    }
}
