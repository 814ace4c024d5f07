use cavs_proto::{enum_to_wire, v1};

use super::convert::student_ref;
use crate::{fleet::ProxiedCamera, sightings::SightingAnswer};
use cavs_types::DeviceStatus;

pub(super) fn proxied_cameras(cameras: &[ProxiedCamera]) -> v1::ProxiedCameras {
    let camera = |camera: &ProxiedCamera| v1::ProxiedCamera {
        device_id: camera.id.to_string(),
        name: camera.name.clone(),
        classroom: camera.classroom.clone(),
        revoked: camera.status == DeviceStatus::Revoked,
        inactive: camera.status == DeviceStatus::Inactive,
        token_hashes: camera.token_hashes.iter().map(|hash| hash.clone().into()).collect(),
    };
    v1::ProxiedCameras { cameras: cameras.iter().map(camera).collect() }
}

impl From<SightingAnswer> for v1::SightingAnswer {
    fn from(answer: SightingAnswer) -> Self {
        Self {
            sighting_id: answer.id.to_string(),
            decision: enum_to_wire(answer.decision),
            reason: answer.reason.as_str().to_owned(),
            student: answer.student.map(student_ref),
            similarity: answer.similarity.map(|similarity| similarity.get()),
            threshold: answer.threshold,
        }
    }
}
