//! Sites: one, and those that are added.

use cavs_proto::{status, to_timestamp, v1};
use cavs_types::ErrorReason;
use tonic::{Request, Response, Status};
use v1::get_site_request::Key;

use super::Service;

fn site(number: usize, name: &str) -> v1::Site {
    v1::Site {
        id: format!("01890000-0000-7000-8000-0000000000a{number}"),
        name: name.to_owned(),
        create_time: Some(to_timestamp("2026-03-01T10:00:00Z".parse().unwrap())),
        archive_time: None,
        role: v1::Role::Admin.into(),
        time_zone: "UTC".to_owned(),
    }
}

impl Service {
    pub(super) fn sites(&self) -> Vec<v1::Site> {
        let mut sites = vec![site(0, "main")];
        sites.extend(self.state().sites.clone());
        sites
    }

    fn change<R: From<v1::Site>>(
        &self,
        id: &str,
        change: impl FnOnce(&mut v1::Site),
    ) -> Result<Response<R>, Status> {
        let mut state = self.state();
        let site = state.sites.iter_mut().find(|site| site.id == id);
        let site = site.ok_or_else(|| status(ErrorReason::SiteNotFound, "you have no such site"))?;
        change(site);
        Ok(Response::new(site.clone().into()))
    }
}

#[tonic::async_trait]
impl v1::site_service_server::SiteService for Service {
    async fn create_site(
        &self,
        request: Request<v1::CreateSiteRequest>,
    ) -> Result<Response<v1::CreateSiteResponse>, Status> {
        self.authorise(&request)?;
        let added = site(self.sites().len(), &request.into_inner().name);
        self.state().sites.push(added.clone());
        Ok(Response::new(added.into()))
    }

    async fn get_site(
        &self,
        request: Request<v1::GetSiteRequest>,
    ) -> Result<Response<v1::GetSiteResponse>, Status> {
        self.authorise(&request)?;
        let is_it = |site: &v1::Site| match &request.get_ref().key {
            Some(Key::Id(id)) => site.id == *id,
            Some(Key::Name(name)) => site.name == *name,
            None => false,
        };
        let found = self.sites().into_iter().find(is_it);
        found
            .map(|found| Response::new(found.into()))
            .ok_or_else(|| status(ErrorReason::SiteNotFound, "you have no such site"))
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Result<Response<v1::ListSitesResponse>, Status> {
        self.authorise(&request)?;
        let sites = self.sites();
        let total_size = sites.len() as u64;
        Ok(Response::new(v1::ListSitesResponse {
            sites,
            next_page_token: String::new(),
            total_size,
            total_size_exact: true,
        }))
    }

    async fn rename_site(
        &self,
        request: Request<v1::RenameSiteRequest>,
    ) -> Result<Response<v1::RenameSiteResponse>, Status> {
        self.authorise(&request)?;
        let v1::RenameSiteRequest { site_id, name } = request.into_inner();
        self.change(&site_id, |site| site.name = name)
    }

    async fn update_site(
        &self,
        request: Request<v1::UpdateSiteRequest>,
    ) -> Result<Response<v1::UpdateSiteResponse>, Status> {
        self.authorise(&request)?;
        let v1::UpdateSiteRequest { site, update_mask } = request.into_inner();
        let (changed, paths) = (site.unwrap(), update_mask.unwrap().paths);
        self.change(&changed.id, |site| {
            for path in &paths {
                match path.as_str() {
                    "name" => site.name.clone_from(&changed.name),
                    "time_zone" => site.time_zone.clone_from(&changed.time_zone),
                    _ => panic!("{path}"),
                }
            }
        })
    }

    async fn archive_site(
        &self,
        request: Request<v1::ArchiveSiteRequest>,
    ) -> Result<Response<v1::ArchiveSiteResponse>, Status> {
        self.authorise(&request)?;
        let at = "2026-03-02T10:00:00Z".parse().unwrap();
        self.change(&request.into_inner().site_id, |site| site.archive_time = Some(to_timestamp(at)))
    }
}
