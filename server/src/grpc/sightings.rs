use cavs_proto::{status_of, v1};
use tonic::{Request, Response, Status};

use super::convert::{caller, filter_from_wire, page_request, required_id, total_to_wire};
use crate::sightings::Reviews;

pub(super) struct SightingApi(Reviews);

impl SightingApi {
    pub(super) fn new(sightings: Reviews) -> Self {
        Self(sightings)
    }
}

#[tonic::async_trait]
impl v1::sighting_service_server::SightingService for SightingApi {
    async fn list_sightings(
        &self,
        request: Request<v1::ListSightingsRequest>,
    ) -> Result<Response<v1::ListSightingsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListSightingsRequest { page_size, page_token, filter, with_total_size } =
            request.into_inner();
        let filter = filter_from_wire(filter.as_ref()).map_err(status_of)?;
        let page = page_request(page_size, &page_token, with_total_size, filter.list_name("sightings"))?;
        let found = self.0.sightings(site, &filter, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListSightingsResponse {
            sightings: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn get_sighting(
        &self,
        request: Request<v1::GetSightingRequest>,
    ) -> Result<Response<v1::GetSightingResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("id", &request.into_inner().id).map_err(status_of)?;
        Ok(Response::new(v1::Sighting::from(self.0.sighting(site, id).await?).into()))
    }
}
