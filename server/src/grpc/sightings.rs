use std::{pin::Pin, sync::Arc, time::Duration};

use cavs_proto::{status_of, v1};
use cavs_types::{ErrorReason, SiteId};
use futures_util::{Stream, stream};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, filter_from_wire, optional_id, page_request, required_id, total_to_wire},
    layer::in_time,
};
use crate::sightings::{Reviews, SightingFeed, SightingFilter};

/// How long a stream lasts: then it is asked for again, by somebody who still may.
const WATCHED: Duration = Duration::from_secs(3600);
/// Sightings in one message of an export.
const EXPORTED: u32 = 500;
/// Pages of exports that are read at a time, so that people who list are not kept waiting.
const PAGES: usize = 4;

pub(super) struct SightingApi {
    sightings: Reviews,
    feed: SightingFeed,
    pages: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl SightingApi {
    pub(super) fn new(sightings: Reviews, feed: SightingFeed, shutdown: CancellationToken) -> Self {
        Self { sightings, feed, pages: Arc::new(Semaphore::new(PAGES)), shutdown }
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::sighting_service_server::SightingService for SightingApi {
    type WatchSightingsStream = Messages<v1::WatchSightingsResponse>;
    type ExportSightingsStream = Messages<v1::ExportSightingsResponse>;

    async fn list_sightings(
        &self,
        request: Request<v1::ListSightingsRequest>,
    ) -> Result<Response<v1::ListSightingsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListSightingsRequest { page_size, page_token, filter, with_total_size } =
            request.into_inner();
        let filter = filter_from_wire(filter.as_ref()).map_err(status_of)?;
        let page = page_request(page_size, &page_token, with_total_size, filter.list_name("sightings"))?;
        let found = self.sightings.sightings(site, &filter, &page).await?;
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
        Ok(Response::new(v1::Sighting::from(self.sightings.sighting(site, id).await?).into()))
    }

    async fn watch_sightings(
        &self,
        request: Request<v1::WatchSightingsRequest>,
    ) -> Result<Response<Self::WatchSightingsStream>, Status> {
        let site = caller(&request)?.site;
        let v1::WatchSightingsRequest { filter, after_sighting_id } = request.into_inner();
        let filter = filter_from_wire(filter.as_ref()).map_err(status_of)?;
        let after = optional_id("after_sighting_id", &after_sighting_id).map_err(status_of)?;
        let watch = self.feed.watch(site, filter, after)?;
        let (until, shutdown) = (Instant::now() + WATCHED, self.shutdown.clone());
        let told = stream::try_unfold(watch, move |mut watch| {
            let shutdown = shutdown.clone();
            async move {
                tokio::select! {
                    () = shutdown.cancelled() => Err(stopping()),
                    () = tokio::time::sleep_until(until) => Ok(None),
                    found = watch.next() => {
                        let sightings = found?.into_iter().map(Into::into).collect();
                        Ok(Some((v1::WatchSightingsResponse { sightings }, watch)))
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn export_sightings(
        &self,
        request: Request<v1::ExportSightingsRequest>,
    ) -> Result<Response<Self::ExportSightingsStream>, Status> {
        let site = caller(&request)?.site;
        let filter = filter_from_wire(request.into_inner().filter.as_ref()).map_err(status_of)?;
        let export = Export {
            sightings: self.sightings.clone(),
            site,
            filter,
            token: Some(String::new()),
            pages: Arc::clone(&self.pages),
            until: Instant::now() + WATCHED,
            shutdown: self.shutdown.clone(),
        };
        Ok(Response::new(Box::pin(stream::try_unfold(export, Export::next))))
    }
}

fn stopping() -> Status {
    cavs_proto::status(ErrorReason::ShuttingDown, "the server is stopping")
}

struct Export {
    sightings: Reviews,
    site: SiteId,
    filter: SightingFilter,
    /// Of the next page; `None` after the last one.
    token: Option<String>,
    pages: Arc<Semaphore>,
    /// Whoever may no longer look is not told for ever.
    until: Instant,
    shutdown: CancellationToken,
}

impl Export {
    async fn next(mut self) -> Result<Option<(v1::ExportSightingsResponse, Self)>, Status> {
        let Some(token) = self.token.take() else { return Ok(None) };
        if Instant::now() > self.until {
            let message = "the export has taken an hour: export shorter times";
            return Err(cavs_proto::status(ErrorReason::CallTimeout, message));
        }
        let page = page_request(EXPORTED, &token, false, self.filter.list_name("export"))?;
        let read = in_time(async {
            let _place = self.pages.acquire().await;
            Ok(self.sightings.sightings(self.site, &self.filter, &page).await?)
        });
        let found = self.shutdown.run_until_cancelled(read).await.ok_or_else(stopping)??;
        if found.items.is_empty() {
            return Ok(None);
        }
        let sightings = found.items.into_iter().map(Into::into).collect();
        self.token = Some(found.next).filter(|next| !next.is_empty());
        Ok(Some((v1::ExportSightingsResponse { sightings }, self)))
    }
}
