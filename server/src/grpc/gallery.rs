use std::sync::Arc;

use cavs_proto::{enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::{ProtocolError, StudentId};
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, optional_id, page_request, required_id, student_ref, total_to_wire},
    layer::Caller,
};
use crate::{
    page::ListName,
    people::{ConfusablePair, Pairs},
    recognition::{
        Calibrated, Galleries, GalleryReport, RateReason, Recognition, Suggestion, ThresholdChange,
        ThresholdVersion, Thresholds,
    },
    sightings::{DecisionCounts, RateCost, Reviews, ThresholdEffect},
};

pub(super) struct GalleryApi {
    galleries: Arc<Galleries>,
    reviews: Reviews,
    pairs: Pairs,
}

impl GalleryApi {
    pub(super) fn new(galleries: Arc<Galleries>, reviews: Reviews, pairs: Pairs) -> Self {
        Self { galleries, reviews, pairs }
    }

    /// The gallery of the site that a call is about.
    async fn gallery<T>(&self, request: &Request<T>) -> Result<Arc<Recognition>, Status> {
        Ok(self.galleries.of(caller(request)?.site).await?)
    }
}

#[tonic::async_trait]
impl v1::gallery_service_server::GalleryService for GalleryApi {
    async fn get_gallery(
        &self,
        request: Request<v1::GetGalleryRequest>,
    ) -> Result<Response<v1::GetGalleryResponse>, Status> {
        let gallery = self.gallery(&request).await?;
        let cost = self.reviews.rate_cost(&gallery).await?;
        let floor = gallery.configured_thresholds().thresholds.accept.get();
        let rate_cost = cost.map(|RateCost { sightings, left_to_people }| v1::RateCost {
            floor,
            sightings,
            left_to_people,
        });
        Ok(Response::new(v1::Gallery { rate_cost, ..gallery.report().await?.into() }.into()))
    }

    async fn suggest_threshold(
        &self,
        request: Request<v1::SuggestThresholdRequest>,
    ) -> Result<Response<v1::SuggestThresholdResponse>, Status> {
        let gallery = self.gallery(&request).await?;
        let wanted = request.into_inner().false_matches_per_thousand;
        Ok(Response::new(gallery.suggest_threshold(wanted).await?.into()))
    }

    async fn preview_thresholds(
        &self,
        request: Request<v1::PreviewThresholdsRequest>,
    ) -> Result<Response<v1::PreviewThresholdsResponse>, Status> {
        let gallery = self.gallery(&request).await?;
        let v1::PreviewThresholdsRequest {
            accept,
            review,
            margin,
            false_matches_per_thousand: wanted_rate,
            liveness,
        } = request.into_inner();
        let change = ThresholdChange { accept, wanted_rate, review, margin, liveness };
        Ok(Response::new(self.reviews.preview_thresholds(&gallery, change).await?.into()))
    }

    async fn set_thresholds(
        &self,
        request: Request<v1::SetThresholdsRequest>,
    ) -> Result<Response<v1::SetThresholdsResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let v1::SetThresholdsRequest {
            accept,
            review,
            margin,
            expected_version,
            false_matches_per_thousand: wanted_rate,
            liveness,
        } = request.into_inner();
        let change = ThresholdChange { accept, wanted_rate, review, margin, liveness };
        let expected = expected_version
            .ok_or(ProtocolError::Missing { field: "expected_version" })
            .map_err(status_of)?;
        let (before, after) = self.galleries.of(site).await?.set_thresholds(change, expected, by).await?;
        Ok(Response::new(v1::SetThresholdsResponse {
            before: Some(before.into()),
            after: Some(after.into()),
        }))
    }

    async fn list_thresholds(
        &self,
        request: Request<v1::ListThresholdsRequest>,
    ) -> Result<Response<v1::ListThresholdsResponse>, Status> {
        let versions = self.gallery(&request).await?.threshold_versions().await?;
        let thresholds = versions.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListThresholdsResponse { thresholds }))
    }

    async fn list_confusable_pairs(
        &self,
        request: Request<v1::ListConfusablePairsRequest>,
    ) -> Result<Response<v1::ListConfusablePairsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListConfusablePairsRequest { page_size, page_token, with_total_size, student_id } =
            request.into_inner();
        let student = optional_id("student_id", &student_id).map_err(status_of)?;
        let list = ListName::new("confusable pairs").with("student", Some(&student_id));
        let page = page_request(page_size, &page_token, with_total_size, list)?;
        let found = self.pairs.list(site, student, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListConfusablePairsResponse {
            pairs: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn create_confusable_pair(
        &self,
        request: Request<v1::CreateConfusablePairRequest>,
    ) -> Result<Response<v1::CreateConfusablePairResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let v1::CreateConfusablePairRequest { student_id, other_student_id, request_id: _ } =
            request.into_inner();
        let (one, other) = two_students(&student_id, &other_student_id)?;
        Ok(Response::new(v1::ConfusablePair::from(self.pairs.note_twins(site, one, other, by).await?).into()))
    }

    async fn delete_confusable_pair(
        &self,
        request: Request<v1::DeleteConfusablePairRequest>,
    ) -> Result<Response<v1::DeleteConfusablePairResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let v1::DeleteConfusablePairRequest { student_id, other_student_id } = request.into_inner();
        let (one, other) = two_students(&student_id, &other_student_id)?;
        self.pairs.delete(site, one, other, by).await?;
        Ok(Response::new(v1::DeleteConfusablePairResponse {}))
    }
}

fn two_students(one: &str, other: &str) -> Result<(StudentId, StudentId), Status> {
    let one = required_id("student_id", one).map_err(status_of)?;
    Ok((one, required_id("other_student_id", other).map_err(status_of)?))
}

impl From<ConfusablePair> for v1::ConfusablePair {
    fn from(pair: ConfusablePair) -> Self {
        Self {
            first: Some(student_ref(pair.first)),
            second: Some(student_ref(pair.second)),
            kind: enum_to_wire(pair.kind),
            noted_by: pair.noted_by,
            note_time: Some(to_timestamp(pair.noted_at)),
        }
    }
}

impl From<GalleryReport> for v1::Gallery {
    fn from(report: GalleryReport) -> Self {
        let GalleryReport { state, sequence, thresholds, calibration } = report;
        let (stats, counters) = (state.stats, state.stats.counters);
        Self {
            pack_digest: state.setup.pack.to_string(),
            dimension: u32::try_from(state.setup.dimension).unwrap_or(u32::MAX),
            mode: enum_to_wire(state.setup.mode),
            grouping: enum_to_wire(state.setup.grouping),
            templates: stats.templates as u64,
            students: stats.students as u64,
            quarantined: state.quarantined as u64,
            memory_bytes: stats.memory as u64,
            sequence,
            epoch: state.epoch,
            graph: stats.graph.map(|graph| v1::GalleryGraph {
                templates: graph.templates as u64,
                waiting: graph.waiting as u64,
                busy: graph.busy,
                builds: graph.builds,
            }),
            searches: Some(v1::GallerySearches {
                exact: counters.exact,
                graph: counters.graph,
                confirmed: counters.confirmed,
                changed: counters.changed,
                audited: counters.audited,
                refuted: counters.refuted,
            }),
            calibration: calibration.map(|c| calibration_to_wire(&c, &thresholds)),
            rate_cost: None,
            thresholds: Some(thresholds.into()),
        }
    }
}

impl From<Suggestion> for v1::SuggestThresholdResponse {
    fn from(Suggestion { accept, calibration, in_force }: Suggestion) -> Self {
        Self {
            accept: accept.get(),
            false_matches_per_thousand: calibration.calibration.false_matches_per_thousand(accept),
            calibration: Some(calibration_to_wire(&calibration, &in_force)),
            in_force: Some(in_force.into()),
        }
    }
}

impl From<ThresholdEffect> for v1::PreviewThresholdsResponse {
    fn from(effect: ThresholdEffect) -> Self {
        let ThresholdEffect { before, after, calibration, decisions: [decided, would] } = effect;
        let rate = |version: &ThresholdVersion| {
            let calibration = &calibration.as_ref()?.calibration;
            Some(calibration.false_matches_per_thousand(version.thresholds.accept))
        };
        Self {
            false_matches_before: rate(&before),
            false_matches_after: rate(&after),
            before: Some(before.into()),
            after: Some(after.into()),
            decisions_before: Some(decided.into()),
            decisions_after: Some(would.into()),
        }
    }
}

impl From<ThresholdVersion> for v1::Thresholds {
    fn from(ThresholdVersion { version, thresholds, rate, set_at, set_by }: ThresholdVersion) -> Self {
        let Thresholds { accept, review, margin, liveness } = thresholds;
        Self {
            version,
            accept: accept.get(),
            review: review.get(),
            margin,
            liveness,
            set_time: set_at.map(to_timestamp),
            set_by: set_by.unwrap_or_default(),
            rate: rate.map(|RateReason { wanted, basis, templates }| v1::RateReason {
                false_matches_per_thousand: wanted,
                basis: enum_to_wire(basis),
                templates,
            }),
        }
    }
}

impl From<DecisionCounts> for v1::DecisionCounts {
    fn from(DecisionCounts { accepted, pending, unknown }: DecisionCounts) -> Self {
        Self { accepted, pending, unknown }
    }
}

fn calibration_to_wire(calibrated: &Calibrated, in_force: &ThresholdVersion) -> v1::Calibration {
    let calibration = &calibrated.calibration;
    v1::Calibration {
        samples: u32::try_from(calibration.samples()).unwrap_or(u32::MAX),
        time: Some(to_timestamp(calibrated.at)),
        false_matches_per_thousand: calibration.false_matches_per_thousand(in_force.thresholds.accept),
    }
}
