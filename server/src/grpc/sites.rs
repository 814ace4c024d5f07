use cavs_proto::{enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::ProtocolError;
use tonic::{Request, Response, Status};

use super::convert::{account, masked, page_request, required_id, total_to_wire};
use crate::{
    page::ListName,
    people::{SiteKey, SiteRole, Sites, site_name},
    schedule::time_zone,
    text::lookup_name,
};

pub(super) struct SiteApi(Sites);

impl SiteApi {
    pub(super) fn new(sites: Sites) -> Self {
        Self(sites)
    }
}

#[tonic::async_trait]
impl v1::site_service_server::SiteService for SiteApi {
    async fn create_site(
        &self,
        request: Request<v1::CreateSiteRequest>,
    ) -> Result<Response<v1::CreateSiteResponse>, Status> {
        let by = account(&request)?.user.id;
        let name = site_name(&request.into_inner().name).map_err(status_of)?;
        Ok(Response::new(v1::Site::from(self.0.create(&name, by).await?).into()))
    }

    async fn get_site(
        &self,
        request: Request<v1::GetSiteRequest>,
    ) -> Result<Response<v1::GetSiteResponse>, Status> {
        let user = account(&request)?.user.id;
        let key = SiteKey::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Site::from(self.0.get(user, &key).await?).into()))
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Result<Response<v1::ListSitesResponse>, Status> {
        let user = account(&request)?.user.id;
        let v1::ListSitesRequest { page_size, page_token, with_total_size } = request.into_inner();
        let page = page_request(page_size, &page_token, with_total_size, ListName::new("sites"))?;
        let found = self.0.list(user, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListSitesResponse {
            sites: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn rename_site(
        &self,
        request: Request<v1::RenameSiteRequest>,
    ) -> Result<Response<v1::RenameSiteResponse>, Status> {
        let by = account(&request)?.user.id;
        let v1::RenameSiteRequest { site_id, name } = request.into_inner();
        let id = required_id("site_id", &site_id).map_err(status_of)?;
        let name = site_name(&name).map_err(status_of)?;
        Ok(Response::new(v1::Site::from(self.0.update(id, Some(&name), None, by).await?).into()))
    }

    async fn update_site(
        &self,
        request: Request<v1::UpdateSiteRequest>,
    ) -> Result<Response<v1::UpdateSiteResponse>, Status> {
        let by = account(&request)?.user.id;
        let v1::UpdateSiteRequest { site, update_mask } = request.into_inner();
        let site = site.ok_or(ProtocolError::Missing { field: "site" }).map_err(status_of)?;
        let id = required_id("site.id", &site.id).map_err(status_of)?;
        let fields = [("name", !site.name.is_empty()), ("time_zone", !site.time_zone.is_empty())];
        let paths = masked(update_mask, &fields).map_err(status_of)?;
        let name = paths.contains(&"name").then(|| site_name(&site.name)).transpose().map_err(status_of)?;
        let zone = paths.contains(&"time_zone").then(|| time_zone("site.time_zone", &site.time_zone));
        let zone = zone.transpose().map_err(status_of)?.map(|(name, _)| name);
        let updated = self.0.update(id, name.as_deref(), zone.as_deref(), by).await?;
        Ok(Response::new(v1::Site::from(updated).into()))
    }

    async fn archive_site(
        &self,
        request: Request<v1::ArchiveSiteRequest>,
    ) -> Result<Response<v1::ArchiveSiteResponse>, Status> {
        let by = account(&request)?.user.id;
        let id = required_id("site_id", &request.into_inner().site_id).map_err(status_of)?;
        Ok(Response::new(v1::Site::from(self.0.archive(id, by).await?).into()))
    }
}

impl TryFrom<v1::GetSiteRequest> for SiteKey {
    type Error = ProtocolError;

    fn try_from(request: v1::GetSiteRequest) -> Result<Self, ProtocolError> {
        use v1::get_site_request::Key;
        match request.key {
            Some(Key::Id(id)) => Ok(Self::Id(required_id("id", &id)?)),
            Some(Key::Name(name)) => Ok(Self::Name(lookup_name("name", &name)?)),
            None => Err(ProtocolError::Missing { field: "key" }),
        }
    }
}

impl From<SiteRole> for v1::Site {
    fn from(SiteRole { site, role }: SiteRole) -> Self {
        Self {
            id: site.id.to_string(),
            name: site.name,
            create_time: Some(to_timestamp(site.created_at)),
            archive_time: site.archived_at.map(to_timestamp),
            role: enum_to_wire(role),
            time_zone: site.time_zone,
        }
    }
}
