use cavs_proto::{enum_from_wire, from_timestamp, v1};
use cavs_types::{CheckInKind, Mark, ProtocolError};
use jiff::Timestamp;

use crate::{
    attendance::{MarkFilter, NewAppeal, NewCheckIn, NewCorrection, NewExcuse, reason_text},
    grpc::convert::{optional_id, optional_name, required_id},
};

pub(super) fn correction_from_wire(student_id: &str, mark: i32) -> Result<NewCorrection, ProtocolError> {
    Ok(NewCorrection { student: required_id("student_id", student_id)?, mark: enum_from_wire("mark", mark)? })
}

pub(super) fn optional_time(
    field: &'static str,
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<Timestamp>, ProtocolError> {
    time.map(|time| from_timestamp(field, Some(time))).transpose()
}

impl TryFrom<&v1::ListMarksRequest> for MarkFilter {
    type Error = ProtocolError;

    fn try_from(request: &v1::ListMarksRequest) -> Result<Self, ProtocolError> {
        let mark = match request.mark {
            0 => None,
            mark => Some(enum_from_wire::<Mark>("mark", mark)?),
        };
        Ok(Self {
            from: optional_time("start_time", request.start_time.as_ref())?,
            until: optional_time("end_time", request.end_time.as_ref())?,
            group: optional_id("group_id", &request.group_id)?,
            student: optional_id("student_id", &request.student_id)?,
            mark,
            section: optional_name("section", &request.section)?,
        })
    }
}

impl TryFrom<v1::CheckInRequest> for NewCheckIn {
    type Error = ProtocolError;

    fn try_from(request: v1::CheckInRequest) -> Result<Self, ProtocolError> {
        let at = optional_time("check_in_time", request.check_in_time.as_ref())?;
        Ok(Self {
            session: required_id("session_id", &request.session_id)?,
            student: required_id("student_id", &request.student_id)?,
            kind: enum_from_wire::<CheckInKind>("kind", request.kind)?,
            at: at.unwrap_or_else(Timestamp::now),
        })
    }
}

impl TryFrom<v1::CreateExcuseRequest> for NewExcuse {
    type Error = ProtocolError;

    fn try_from(request: v1::CreateExcuseRequest) -> Result<Self, ProtocolError> {
        let times = (
            from_timestamp("start_time", request.start_time.as_ref())?,
            from_timestamp("end_time", request.end_time.as_ref())?,
        );
        Self::new(
            required_id("student_id", &request.student_id)?,
            times,
            reason_text("reason", &request.reason)?,
        )
    }
}

impl TryFrom<v1::CreateAppealRequest> for NewAppeal {
    type Error = ProtocolError;

    fn try_from(request: v1::CreateAppealRequest) -> Result<Self, ProtocolError> {
        Ok(Self {
            session: required_id("session_id", &request.session_id)?,
            student: required_id("student_id", &request.student_id)?,
            mark: enum_from_wire("mark", request.mark)?,
            reason: reason_text("reason", &request.reason)?,
        })
    }
}
