use cavs_proto::{enum_from_wire, status_of, v1};
use cavs_types::{ProtocolError, Role};
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, filter_from_wire, optional_id, page_request, sighting_id, total_to_wire},
    layer::Caller,
};
use crate::sightings::{NewReview, NewWithdrawal, Reviews};

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
        let v1::ListPendingRequest { page_size, page_token, filter, with_total_size } = request.into_inner();
        let filter = filter_from_wire(filter.as_ref()).map_err(status_of)?;
        if filter.decision.is_some() {
            return Err(status_of(ProtocolError::invalid("filter.decision", "must be unset")));
        }
        let page = page_request(page_size, &page_token, with_total_size, filter.list_name("queue"))?;
        let found = self.0.review_queue(site, &filter, &page).await?;
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
    ) -> Result<Response<v1::ReviewItem>, Status> {
        let site = caller(&request)?.site;
        let id = sighting_id(&request.into_inner().sighting_id).map_err(status_of)?;
        let (sighting, evidence) = self.0.review_item(site, id).await?;
        Ok(Response::new(v1::ReviewItem { sighting: Some(sighting.into()), evidence }))
    }

    async fn review_sighting(
        &self,
        request: Request<v1::ReviewSightingRequest>,
    ) -> Result<Response<v1::Sighting>, Status> {
        let Caller { user: reviewer, site, .. } = caller(&request)?;
        let review = NewReview::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(self.0.review(site, &review, reviewer).await?.into()))
    }

    async fn withdraw_review(
        &self,
        request: Request<v1::WithdrawReviewRequest>,
    ) -> Result<Response<v1::Sighting>, Status> {
        let Caller { user, site, role } = caller(&request)?;
        let v1::WithdrawReviewRequest { sighting_id: id, notes } = request.into_inner();
        let withdrawal =
            sighting_id(&id).and_then(|id| NewWithdrawal::new(id, &notes, role.includes(Role::Admin)));
        Ok(Response::new(self.0.withdraw(site, &withdrawal.map_err(status_of)?, user).await?.into()))
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
