use cavs_proto::{
    enum_from_wire, status_of, to_timestamp,
    v1::{self, answer_audit_request::Answer},
};
use cavs_types::{ProtocolError, QueueOrder, Role, SightingId};
use tonic::{Request, Response, Status};

use super::{
    convert::{
        caller, filter_from_wire, optional_id, optional_name, page_request, sighting_id, student_ref,
        total_to_wire,
    },
    layer::Caller,
};
use crate::biometrics::Portrait;
use crate::sightings::{
    AuditAnswer, BulkReview, BulkReviewed, ClaimedBy, NewClaim, NewReview, NewWithdrawal, QueueFilter,
    QueueRequest, Reviews,
};

pub(super) struct ReviewApi(Reviews);

impl ReviewApi {
    pub(super) fn new(reviews: Reviews) -> Self {
        Self(reviews)
    }
}

#[tonic::async_trait]
impl v1::review_service_server::ReviewService for ReviewApi {
    async fn list_pending(
        &self,
        request: Request<v1::ListPendingRequest>,
    ) -> Result<Response<v1::ListPendingResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListPendingRequest {
            page_size,
            page_token,
            filter,
            with_total_size,
            queue_filter,
            order,
            by_visit,
        } = request.into_inner();
        let queue = queue_from_wire(filter.as_ref(), queue_filter, order, by_visit).map_err(status_of)?;
        let page = page_request(page_size, &page_token, with_total_size, queue.list_name())?;
        let found = self.0.review_queue(site, &queue, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListPendingResponse {
            sightings: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn get_review_item(
        &self,
        request: Request<v1::GetReviewItemRequest>,
    ) -> Result<Response<v1::GetReviewItemResponse>, Status> {
        let site = caller(&request)?.site;
        let id = sighting_id(&request.into_inner().sighting_id).map_err(status_of)?;
        let (sighting, evidence) = self.0.review_item(site, id).await?;
        Ok(Response::new(v1::GetReviewItemResponse { sighting: Some(sighting.into()), evidence }))
    }

    async fn list_candidate_portraits(
        &self,
        request: Request<v1::ListCandidatePortraitsRequest>,
    ) -> Result<Response<v1::ListCandidatePortraitsResponse>, Status> {
        let site = caller(&request)?.site;
        let id = sighting_id(&request.into_inner().sighting_id).map_err(status_of)?;
        let portraits = self.0.candidate_portraits(site, id).await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListCandidatePortraitsResponse { portraits }))
    }

    async fn review_sighting(
        &self,
        request: Request<v1::ReviewSightingRequest>,
    ) -> Result<Response<v1::ReviewSightingResponse>, Status> {
        let Caller { user: reviewer, site, .. } = caller(&request)?;
        let request = request.into_inner();
        let whole_visit = request.whole_visit;
        let review = NewReview::try_from(request).map_err(status_of)?;
        let (sighting, also_reviewed) = if whole_visit {
            self.0.review_visit(site, &review, reviewer).await?
        } else {
            (self.0.review(site, &review, reviewer).await?, 0)
        };
        Ok(Response::new(v1::ReviewSightingResponse { sighting: Some(sighting.into()), also_reviewed }))
    }

    async fn review_pending(
        &self,
        request: Request<v1::ReviewPendingRequest>,
    ) -> Result<Response<v1::ReviewPendingResponse>, Status> {
        let Caller { user: reviewer, site, .. } = caller(&request)?;
        let bulk = BulkReview::try_from(request.into_inner()).map_err(status_of)?;
        let BulkReviewed { chosen, reviewed, passed_over } =
            self.0.review_many(site, &bulk, reviewer).await?;
        Ok(Response::new(v1::ReviewPendingResponse { chosen, reviewed, passed_over }))
    }

    async fn list_own_reviews(
        &self,
        request: Request<v1::ListOwnReviewsRequest>,
    ) -> Result<Response<v1::ListOwnReviewsResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let sightings = self.0.reviewed_by(site, user).await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListOwnReviewsResponse { sightings }))
    }

    async fn withdraw_review(
        &self,
        request: Request<v1::WithdrawReviewRequest>,
    ) -> Result<Response<v1::WithdrawReviewResponse>, Status> {
        let Caller { user, site, role } = caller(&request)?;
        let v1::WithdrawReviewRequest { sighting_id: id, notes, given_together, own } = request.into_inner();
        let withdrawal = sighting_id(&id)
            .and_then(|id| NewWithdrawal::new(id, &notes, role.includes(Role::Admin) && !own));
        let withdrawal = withdrawal.map_err(status_of)?;
        let (sighting, also_withdrawn) = if given_together {
            self.0.withdraw_together(site, &withdrawal, user).await?
        } else {
            (self.0.withdraw(site, &withdrawal, user).await?, 0)
        };
        Ok(Response::new(v1::WithdrawReviewResponse { sighting: Some(sighting.into()), also_withdrawn }))
    }

    async fn get_next_audit(
        &self,
        request: Request<v1::GetNextAuditRequest>,
    ) -> Result<Response<v1::GetNextAuditResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let audit = self.0.next_audit(site, user).await?.map(|audit| v1::Audit {
            sighting_id: audit.sighting.to_string(),
            capture_time: Some(to_timestamp(audit.captured_at)),
            evidence: audit.evidence,
            choices: audit.choices.into_iter().map(student_ref).collect(),
        });
        Ok(Response::new(v1::GetNextAuditResponse { audit }))
    }

    async fn answer_audit(
        &self,
        request: Request<v1::AnswerAuditRequest>,
    ) -> Result<Response<v1::AnswerAuditResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::AnswerAuditRequest { sighting_id: id, answer } = request.into_inner();
        let id = sighting_id(&id).map_err(status_of)?;
        let answer = audit_answer(answer).map_err(status_of)?;
        self.0.answer_audit(site, id, user, answer).await?;
        Ok(Response::new(v1::AnswerAuditResponse {}))
    }

    async fn claim_pending(
        &self,
        request: Request<v1::ClaimPendingRequest>,
    ) -> Result<Response<v1::ClaimPendingResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::ClaimPendingRequest { filter, queue_filter, order, by_visit, limit, lease_seconds } =
            request.into_inner();
        let claim = queue_from_wire(filter.as_ref(), queue_filter, order, by_visit)
            .and_then(|queue| NewClaim::new(queue, limit, lease_seconds))
            .map_err(status_of)?;
        let sightings = self.0.claim(site, &claim, user).await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ClaimPendingResponse { sightings }))
    }

    async fn release_claims(
        &self,
        request: Request<v1::ReleaseClaimsRequest>,
    ) -> Result<Response<v1::ReleaseClaimsResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let sightings = sighting_ids(&request.into_inner().sighting_ids).map_err(status_of)?;
        let named = (!sightings.is_empty()).then_some(sightings.as_slice());
        let released = self.0.release_claims(site, named, user).await?;
        Ok(Response::new(v1::ReleaseClaimsResponse { released: u32::try_from(released).unwrap_or(u32::MAX) }))
    }

    async fn assign_pending(
        &self,
        request: Request<v1::AssignPendingRequest>,
    ) -> Result<Response<v1::AssignPendingResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::AssignPendingRequest { sighting_ids: ids, reviewer } = request.into_inner();
        let sightings = sighting_ids(&ids).map_err(status_of)?;
        if sightings.is_empty() {
            return Err(status_of(ProtocolError::Missing { field: "sighting_ids" }));
        }
        let reviewer = optional_name("reviewer", &reviewer).map_err(status_of)?;
        let assigned = self.0.assign(site, &sightings, reviewer.as_deref(), user).await?;
        Ok(Response::new(v1::AssignPendingResponse { assigned: u32::try_from(assigned).unwrap_or(u32::MAX) }))
    }
}

/// Sightings that one call names, at most.
const MOST_NAMED: usize = 1000;

fn sighting_ids(ids: &[String]) -> Result<Vec<SightingId>, ProtocolError> {
    if ids.len() > MOST_NAMED {
        return Err(ProtocolError::invalid("sighting_ids", format_args!("at most {MOST_NAMED}")));
    }
    ids.iter().map(|id| id.parse().map_err(|error| ProtocolError::invalid("sighting_ids", error))).collect()
}

fn audit_answer(answer: Option<Answer>) -> Result<AuditAnswer, ProtocolError> {
    match answer {
        Some(Answer::StudentId(id)) => {
            id.parse().map(AuditAnswer::Student).map_err(|error| ProtocolError::invalid("student_id", error))
        }
        Some(Answer::NoneOfThem(true)) => Ok(AuditAnswer::NoneOfThem),
        Some(Answer::CannotTell(true)) => Ok(AuditAnswer::CannotTell),
        Some(Answer::NoneOfThem(false)) => Err(ProtocolError::invalid("none_of_them", "must be true")),
        Some(Answer::CannotTell(false)) => Err(ProtocolError::invalid("cannot_tell", "must be true")),
        None => Err(ProtocolError::Missing { field: "answer" }),
    }
}

fn queue_from_wire(
    sightings: Option<&v1::SightingFilter>,
    queue: Option<v1::QueueFilter>,
    order: i32,
    by_visit: bool,
) -> Result<QueueRequest, ProtocolError> {
    let order = match order {
        0 => QueueOrder::OldestFirst,
        number => enum_from_wire("order", number)?,
    };
    Ok(QueueRequest { filter: queue_filter_from_wire(sightings, queue)?, order, by_visit })
}

fn queue_filter_from_wire(
    sightings: Option<&v1::SightingFilter>,
    queue: Option<v1::QueueFilter>,
) -> Result<QueueFilter, ProtocolError> {
    let sightings = filter_from_wire(sightings)?;
    if sightings.decision.is_some() {
        return Err(ProtocolError::invalid("filter.decision", "must be unset"));
    }
    let v1::QueueFilter {
        reason,
        least_similarity,
        similarity_below,
        section,
        predicted_student_id,
        flagged,
        claimed_by,
        unclaimed,
    } = queue.unwrap_or_default();
    let claimed_by = optional_name("queue_filter.claimed_by", &claimed_by)?;
    if unclaimed && claimed_by.is_some() {
        let problem = "must be unset where claimed_by is set";
        return Err(ProtocolError::invalid("queue_filter.unclaimed", problem));
    }
    let similarity = |field, value: Option<f32>| match value {
        Some(value) if !(-1.0..=1.0).contains(&value) => {
            Err(ProtocolError::invalid(field, "must be between -1 and 1"))
        }
        value => Ok(value),
    };
    Ok(QueueFilter {
        sightings,
        reason: match reason.as_str() {
            "" => None,
            word => {
                Some(word.parse().map_err(|unknown| ProtocolError::invalid("queue_filter.reason", unknown))?)
            }
        },
        least_similarity: similarity("queue_filter.least_similarity", least_similarity)?,
        similarity_below: similarity("queue_filter.similarity_below", similarity_below)?,
        section: optional_name("queue_filter.section", &section)?,
        predicted: optional_id("queue_filter.predicted_student_id", &predicted_student_id)?,
        flagged,
        claimed: claimed_by.map(ClaimedBy::Reviewer).or(unclaimed.then_some(ClaimedBy::Nobody)),
    })
}

impl From<Portrait> for v1::CandidatePortrait {
    fn from(Portrait { student, jpeg }: Portrait) -> Self {
        Self { student_id: student.to_string(), portrait: jpeg }
    }
}

impl TryFrom<v1::ReviewPendingRequest> for BulkReview {
    type Error = ProtocolError;

    fn try_from(request: v1::ReviewPendingRequest) -> Result<Self, ProtocolError> {
        let v1::ReviewPendingRequest { filter, queue_filter, verdict, notes, limit, dry_run } = request;
        let filter = queue_filter_from_wire(filter.as_ref(), queue_filter)?;
        Self::new(filter, enum_from_wire("verdict", verdict)?, &notes, limit, dry_run)
    }
}

impl TryFrom<v1::ReviewSightingRequest> for NewReview {
    type Error = ProtocolError;

    fn try_from(request: v1::ReviewSightingRequest) -> Result<Self, ProtocolError> {
        Self::new(
            sighting_id(&request.sighting_id)?,
            enum_from_wire("verdict", request.verdict)?,
            &request.notes,
            optional_id("corrected_student_id", &request.corrected_student_id)?,
            request.replace,
        )
    }
}
