use cavs_proto::{status_of, to_timestamp, v1};
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, optional_id, page_request, required_id, student_ref, total_to_wire},
    layer::Caller,
};
use crate::sightings::{LateMatch, LateMatches, late_match_days, late_match_list};

/// What the service is made of.
pub(super) struct LateMatchApi(pub(super) LateMatches);

#[tonic::async_trait]
impl v1::late_match_service_server::LateMatchService for LateMatchApi {
    async fn get_late_match_policy(
        &self,
        request: Request<v1::GetLateMatchPolicyRequest>,
    ) -> Result<Response<v1::GetLateMatchPolicyResponse>, Status> {
        let days = self.0.days(caller(&request)?.site).await?;
        Ok(Response::new(v1::GetLateMatchPolicyResponse { policy: Some(v1::LateMatchPolicy { days }) }))
    }

    async fn update_late_match_policy(
        &self,
        request: Request<v1::UpdateLateMatchPolicyRequest>,
    ) -> Result<Response<v1::UpdateLateMatchPolicyResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let days = request.into_inner().policy.unwrap_or_default().days;
        let days = late_match_days(days).map_err(status_of)?;
        self.0.set_days(site, days, user).await?;
        Ok(Response::new(v1::UpdateLateMatchPolicyResponse { policy: Some(v1::LateMatchPolicy { days }) }))
    }

    async fn list_late_matches(
        &self,
        request: Request<v1::ListLateMatchesRequest>,
    ) -> Result<Response<v1::ListLateMatchesResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let student = optional_id("student_id", &request.student_id).map_err(status_of)?;
        let list = late_match_list(student);
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.0.list(site, student, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListLateMatchesResponse {
            matches: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn decide_late_match(
        &self,
        request: Request<v1::DecideLateMatchRequest>,
    ) -> Result<Response<v1::DecideLateMatchResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::DecideLateMatchRequest { sighting_id, student_id, accept } = request.into_inner();
        let sighting = required_id("sighting_id", &sighting_id).map_err(status_of)?;
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        self.0.decide(site, (sighting, student), accept, user).await?;
        Ok(Response::new(v1::DecideLateMatchResponse {}))
    }
}

impl From<LateMatch> for v1::LateMatch {
    fn from(found: LateMatch) -> Self {
        Self {
            sighting_id: found.sighting.to_string(),
            student: Some(student_ref(found.student)),
            similarity: found.similarity.get(),
            threshold: found.threshold,
            capture_time: Some(to_timestamp(found.captured_at)),
            device_name: found.device_name,
            classroom: found.classroom,
            find_time: Some(to_timestamp(found.found_at)),
        }
    }
}
