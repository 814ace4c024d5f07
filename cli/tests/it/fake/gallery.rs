//! The gallery of the server.

use cavs_proto::{invalid_argument, status, to_timestamp, v1};
use cavs_types::ErrorReason;
use tonic::{Request, Response, Status};

use super::Service;

fn in_force() -> v1::Thresholds {
    v1::Thresholds {
        version: 3,
        accept: 0.42,
        review: 0.28,
        margin: 0.06,
        set_time: Some(to_timestamp("2026-03-01T10:00:00Z".parse().unwrap())),
        set_by: "ada\u{1b}[2J".to_owned(),
        rate: Some(v1::RateReason {
            false_matches_per_thousand: 0.1,
            basis: v1::RateBasis::Gallery.into(),
            templates: 199_000,
        }),
        liveness: Some(0.3),
    }
}

fn calibration() -> v1::Calibration {
    let time = Some(to_timestamp("2026-03-02T10:00:00Z".parse().unwrap()));
    v1::Calibration { samples: 1000, time, false_matches_per_thousand: 1.234 }
}

#[tonic::async_trait]
impl v1::gallery_service_server::GalleryService for Service {
    async fn get_gallery(
        &self,
        request: Request<v1::GetGalleryRequest>,
    ) -> Result<Response<v1::GetGalleryResponse>, Status> {
        self.authorise(&request)?;
        Ok(Response::new(
            v1::Gallery {
                pack_digest: "ab".repeat(32),
                dimension: 512,
                mode: v1::GalleryMode::Auto.into(),
                grouping: v1::Grouping::Best.into(),
                templates: 200_000,
                students: 50_000,
                quarantined: 2,
                memory_bytes: 226_000_000,
                sequence: 200_017,
                epoch: 196,
                graph: Some(v1::GalleryGraph { templates: 199_990, waiting: 10, busy: true, builds: 1 }),
                searches: Some(v1::GallerySearches {
                    exact: 5,
                    graph: 900,
                    confirmed: 90,
                    changed: 12,
                    audited: 3,
                    refuted: 0,
                }),
                thresholds: Some(in_force()),
                calibration: Some(calibration()),
                rate_cost: Some(v1::RateCost { floor: 0.4, sightings: 10_000, left_to_people: 31 }),
            }
            .into(),
        ))
    }

    async fn suggest_threshold(
        &self,
        request: Request<v1::SuggestThresholdRequest>,
    ) -> Result<Response<v1::SuggestThresholdResponse>, Status> {
        self.authorise(&request)?;
        if self.state().students.is_empty() {
            return Err(status(ErrorReason::GalleryTooSmall, "too few faces"));
        }
        Ok(Response::new(v1::SuggestThresholdResponse {
            accept: 0.5,
            false_matches_per_thousand: request.into_inner().false_matches_per_thousand,
            in_force: Some(in_force()),
            calibration: Some(calibration()),
        }))
    }

    async fn preview_thresholds(
        &self,
        request: Request<v1::PreviewThresholdsRequest>,
    ) -> Result<Response<v1::PreviewThresholdsResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        let of_rate = request.false_matches_per_thousand.map(|_| 0.45);
        let accept = request.accept.or(of_rate).unwrap_or(in_force().accept);
        if accept < in_force().review {
            return Err(invalid_argument("review", "exceeds the accept threshold"));
        }
        Ok(Response::new(v1::PreviewThresholdsResponse {
            before: Some(in_force()),
            after: Some(v1::Thresholds { version: 0, accept, ..in_force() }),
            false_matches_before: Some(1.234),
            false_matches_after: Some(0.0004),
            decisions_before: Some(v1::DecisionCounts { accepted: 900, pending: 60, unknown: 40 }),
            decisions_after: Some(v1::DecisionCounts { accepted: 850, pending: 110, unknown: 40 }),
        }))
    }

    async fn set_thresholds(
        &self,
        request: Request<v1::SetThresholdsRequest>,
    ) -> Result<Response<v1::SetThresholdsResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        if request.expected_version != Some(in_force().version) {
            return Err(status(ErrorReason::ThresholdsChanged, "version 3 is in force"));
        }
        let of_rate = request.false_matches_per_thousand.map(|_| 0.45);
        let accept = request.accept.or(of_rate).unwrap_or(in_force().accept);
        Ok(Response::new(v1::SetThresholdsResponse {
            before: Some(in_force()),
            after: Some(v1::Thresholds { version: 4, accept, ..in_force() }),
        }))
    }

    async fn list_thresholds(
        &self,
        request: Request<v1::ListThresholdsRequest>,
    ) -> Result<Response<v1::ListThresholdsResponse>, Status> {
        self.authorise(&request)?;
        let configured = v1::Thresholds { accept: 0.4, review: 0.28, margin: 0.06, ..Default::default() };
        Ok(Response::new(v1::ListThresholdsResponse { thresholds: vec![in_force(), configured] }))
    }

    async fn list_confusable_pairs(
        &self,
        request: Request<v1::ListConfusablePairsRequest>,
    ) -> Result<Response<v1::ListConfusablePairsResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        let pairs: Vec<_> = self.state().pairs.clone();
        let pairs = pairs.into_iter().filter(|pair| {
            let of = |student: &Option<v1::StudentRef>| {
                student.as_ref().is_some_and(|s| s.id == request.student_id)
            };
            request.student_id.is_empty() || of(&pair.first) || of(&pair.second)
        });
        Ok(Response::new(v1::ListConfusablePairsResponse { pairs: pairs.collect(), ..Default::default() }))
    }

    async fn create_confusable_pair(
        &self,
        request: Request<v1::CreateConfusablePairRequest>,
    ) -> Result<Response<v1::CreateConfusablePairResponse>, Status> {
        self.authorise(&request)?;
        let v1::CreateConfusablePairRequest { student_id, other_student_id, request_id: _ } =
            request.into_inner();
        let mut state = self.state();
        let named = |id: &str| {
            let student = state.students.iter().find(|student| student.id == id).unwrap().clone();
            Some(v1::StudentRef { id: student.id, number: student.number, name: student.name })
        };
        let pair = v1::ConfusablePair {
            first: named(&student_id),
            second: named(&other_student_id),
            kind: v1::ConfusableKind::Twins.into(),
            noted_by: "admin".to_owned(),
            note_time: None,
        };
        state.pairs.push(pair.clone());
        Ok(Response::new(pair.into()))
    }

    async fn delete_confusable_pair(
        &self,
        request: Request<v1::DeleteConfusablePairRequest>,
    ) -> Result<Response<v1::DeleteConfusablePairResponse>, Status> {
        self.authorise(&request)?;
        match self.state().pairs.pop() {
            Some(_) => Ok(Response::new(v1::DeleteConfusablePairResponse {})),
            None => Err(status(ErrorReason::PairNotFound, "they are no pair")),
        }
    }
}
