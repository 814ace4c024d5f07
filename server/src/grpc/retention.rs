use cavs_proto::{enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::{MOST_RETENTION_DAYS, ProtocolError};
use tonic::{Request, Response, Status};

use super::{convert::caller, layer::Caller};
use crate::biometrics::{
    OwnPolicy, PolicyChange, RetentionPolicies, RetentionPolicy, RetentionReport, RetentionRun,
};

pub(super) struct RetentionApi(RetentionPolicies);

impl RetentionApi {
    pub(super) fn new(policies: RetentionPolicies) -> Self {
        Self(policies)
    }
}

#[tonic::async_trait]
impl v1::retention_service_server::RetentionService for RetentionApi {
    async fn get_retention(
        &self,
        request: Request<v1::GetRetentionRequest>,
    ) -> Result<Response<v1::GetRetentionResponse>, Status> {
        Ok(Response::new(v1::Retention::from(self.0.get(caller(&request)?.site).await?).into()))
    }

    async fn update_retention(
        &self,
        request: Request<v1::UpdateRetentionRequest>,
    ) -> Result<Response<v1::UpdateRetentionResponse>, Status> {
        let Caller { site, user: by, .. } = caller(&request)?;
        let change = PolicyChange::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Retention::from(self.0.update(site, &change, by).await?).into()))
    }
}

impl TryFrom<v1::UpdateRetentionRequest> for PolicyChange {
    type Error = ProtocolError;

    fn try_from(request: v1::UpdateRetentionRequest) -> Result<Self, ProtocolError> {
        let policy = request.policy.unwrap_or_default();
        let paths = request.update_mask.unwrap_or_default().paths;
        if paths.is_empty() {
            return Err(ProtocolError::Missing { field: "update_mask" });
        }
        let mut change = Self::default();
        for path in &paths {
            let (changed, days) = match path.as_str() {
                "unknown_probes_days" => (&mut change.unknown_probes, policy.unknown_probes_days),
                "reviewed_probes_days" => (&mut change.reviewed_probes, policy.reviewed_probes_days),
                "evidence_days" => (&mut change.evidence, policy.evidence_days),
                "portraits_days" => (&mut change.portraits, policy.portraits_days),
                "sightings_days" => (&mut change.sightings, policy.sightings_days),
                _ => {
                    return Err(ProtocolError::invalid(
                        "update_mask",
                        "names a field that `policy` does not have",
                    ));
                }
            };
            if days.is_some_and(|days| days > MOST_RETENTION_DAYS) {
                let message = format_args!("days are 1 to {MOST_RETENTION_DAYS}, or 0 for ever");
                return Err(ProtocolError::invalid("policy", message));
            }
            *changed = Some(days);
        }
        Ok(change)
    }
}

impl From<RetentionReport> for v1::Retention {
    fn from(RetentionReport { own, set, in_force, runs }: RetentionReport) -> Self {
        let (set_by, set_time) = set.unzip();
        Self {
            own: Some(own.into()),
            in_force: Some(in_force.into()),
            set_by: set_by.unwrap_or_default(),
            set_time: set_time.map(to_timestamp),
            runs: runs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<OwnPolicy> for v1::RetentionPolicy {
    fn from(own: OwnPolicy) -> Self {
        Self {
            unknown_probes_days: own.unknown_probes,
            reviewed_probes_days: own.reviewed_probes,
            evidence_days: own.evidence,
            portraits_days: own.portraits,
            sightings_days: own.sightings,
        }
    }
}

impl From<RetentionPolicy> for v1::RetentionPolicy {
    fn from(policy: RetentionPolicy) -> Self {
        let days = |days: Option<u32>| Some(days.unwrap_or(0));
        Self {
            unknown_probes_days: days(policy.unknown_probes),
            reviewed_probes_days: days(policy.reviewed_probes),
            evidence_days: days(policy.evidence),
            portraits_days: days(policy.portraits),
            sightings_days: days(policy.sightings),
        }
    }
}

impl From<RetentionRun> for v1::RetentionRun {
    fn from(run: RetentionRun) -> Self {
        Self {
            start_time: Some(to_timestamp(run.started_at)),
            end_time: run.finished_at.map(to_timestamp),
            state: enum_to_wire(run.state),
            policy: Some(run.policy.into()),
            probes: run.deleted.probes,
            evidence: run.deleted.evidence,
            portraits: run.deleted.portraits,
            sightings: run.deleted.sightings,
            problem: run.problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(paths: &[&str], evidence_days: Option<u32>) -> v1::UpdateRetentionRequest {
        let policy = Some(v1::RetentionPolicy { evidence_days, ..Default::default() });
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        v1::UpdateRetentionRequest { policy, update_mask: Some(prost_types::FieldMask { paths }) }
    }

    #[test]
    fn what_the_mask_names_is_changed() {
        let change = PolicyChange::try_from(request(&["evidence_days"], Some(60))).unwrap();
        assert_eq!(change, PolicyChange { evidence: Some(Some(60)), ..PolicyChange::default() });
        // Named and unset: as the server's configuration says.
        let change = PolicyChange::try_from(request(&["evidence_days", "sightings_days"], None)).unwrap();
        let expected =
            PolicyChange { evidence: Some(None), sightings: Some(None), ..PolicyChange::default() };
        assert_eq!(change, expected);
        for (paths, days) in
            [(&[][..], Some(60)), (&["evidence"], Some(60)), (&["evidence_days"], Some(36_501))]
        {
            assert!(PolicyChange::try_from(request(paths, days)).is_err(), "{paths:?} {days:?}");
        }
    }
}
