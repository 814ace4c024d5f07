//! How long the site keeps what.

use cavs_proto::{to_timestamp, v1};
use tonic::{Request, Response, Status};

use super::Service;

const COMMON: v1::RetentionPolicy = v1::RetentionPolicy {
    unknown_probes_days: Some(7),
    reviewed_probes_days: Some(30),
    evidence_days: Some(30),
    portraits_days: Some(0),
    sightings_days: Some(400),
};

impl Service {
    fn retention(&self) -> v1::Retention {
        let at = |time: &str| Some(to_timestamp(time.parse().unwrap()));
        let own = self.state().retention;
        let run = v1::RetentionRun {
            start_time: at("2026-03-01T10:00:00Z"),
            end_time: at("2026-03-01T10:00:01Z"),
            state: v1::RetentionState::Done.into(),
            policy: Some(COMMON),
            probes: 1200,
            evidence: 340,
            ..Default::default()
        };
        let failed = v1::RetentionRun {
            state: v1::RetentionState::Failed.into(),
            problem: "the database does not answer".to_owned(),
            ..run.clone()
        };
        v1::Retention {
            in_force: Some(v1::RetentionPolicy {
                evidence_days: own.and_then(|own| own.evidence_days).or(COMMON.evidence_days),
                sightings_days: own.and_then(|own| own.sightings_days).or(COMMON.sightings_days),
                ..COMMON
            }),
            set_by: own.map(|_| "admin".to_owned()).unwrap_or_default(),
            set_time: own.and(at("2026-03-02T10:00:00Z")),
            own: Some(own.unwrap_or_default()),
            runs: vec![failed, run],
        }
    }
}

#[tonic::async_trait]
impl v1::retention_service_server::RetentionService for Service {
    async fn get_retention(
        &self,
        request: Request<v1::GetRetentionRequest>,
    ) -> Result<Response<v1::GetRetentionResponse>, Status> {
        self.authorise(&request)?;
        Ok(Response::new(self.retention().into()))
    }

    async fn update_retention(
        &self,
        request: Request<v1::UpdateRetentionRequest>,
    ) -> Result<Response<v1::UpdateRetentionResponse>, Status> {
        self.authorise(&request)?;
        let v1::UpdateRetentionRequest { policy, update_mask } = request.into_inner();
        assert_eq!(update_mask.unwrap().paths, ["evidence_days", "portraits_days", "sightings_days"]);
        self.state().retention = policy;
        Ok(Response::new(self.retention().into()))
    }
}
