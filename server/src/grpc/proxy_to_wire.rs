use cavs_proto::v1;

use super::convert::{decision_to_wire, student_ref};
use crate::domain::{DeviceStatus, ProxiedCamera, SightingAnswer};

pub(super) fn proxied_cameras(cameras: &[ProxiedCamera]) -> v1::ProxiedCameras {
    let camera = |camera: &ProxiedCamera| v1::ProxiedCamera {
        device_id: camera.id.to_string(),
        name: camera.name.clone(),
        classroom: camera.classroom.clone(),
        revoked: match camera.status {
            DeviceStatus::Active => false,
            DeviceStatus::Revoked => true,
        },
        token_hashes: camera.token_hashes.iter().map(|hash| hash.clone().into()).collect(),
    };
    v1::ProxiedCameras { cameras: cameras.iter().map(camera).collect() }
}

impl From<SightingAnswer> for v1::SightingAnswer {
    fn from(answer: SightingAnswer) -> Self {
        Self {
            sighting_id: answer.id.to_string(),
            decision: decision_to_wire(answer.decision).into(),
            reason: answer.reason,
            student: answer.student.map(student_ref),
            similarity: answer.similarity.map(|similarity| similarity.get()),
            threshold: answer.threshold,
        }
    }
}
