use cavs_proto::{enum_from_wire, enum_to_wire, from_timestamp, status_of, to_timestamp, v1};
use cavs_types::{ClassSessionId, ProtocolError, RoomId, SiteId};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::convert::{caller, masked, optional_id, page_request, required_id, total_to_wire};
use crate::{
    error::ServiceError,
    schedule::{
        ClassSession, PatternDates, ScheduleVersion, SessionChange, SessionFilter, SessionTimes, Sessions,
        WeeklyPattern, clock, local_time, optional_date, session_name,
    },
};

/// Most rooms of one session.
const MOST_ROOMS: usize = 50;

pub(super) struct SessionApi(Sessions);

impl SessionApi {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self(sessions)
    }

    /// A point in time that is given as such, or as the clocks of the site show it; `None` where neither is.
    async fn moment(
        &self,
        site: SiteId,
        (field, time): (&'static str, Option<&prost_types::Timestamp>),
        (local_field, local): (&'static str, &str),
    ) -> Result<Option<Timestamp>, Status> {
        match (time, local) {
            (None, "") => Ok(None),
            (Some(time), "") => from_timestamp(field, Some(time)).map(Some).map_err(status_of),
            (None, local) => {
                let local = local_time(local_field, local).map_err(status_of)?;
                Ok(Some(self.0.moment(site, local_field, local).await?))
            }
            (Some(_), _) => {
                let problem = ProtocolError::invalid(local_field, "is given beside a point in time");
                Err(status_of(problem))
            }
        }
    }

    async fn set_cancelled<R: From<v1::ClassSession>>(
        &self,
        site: SiteId,
        (session_id, etag): (&str, &str),
        cancelled: bool,
    ) -> Result<Response<R>, Status> {
        let id = required_id("session_id", session_id).map_err(status_of)?;
        let seen = ScheduleVersion::from_etag(etag).map_err(status_of)?;
        let session = self.0.set_cancelled(site, id, seen, cancelled).await?;
        Ok(Response::new(v1::ClassSession::from(session).into()))
    }
}

#[tonic::async_trait]
impl v1::session_service_server::SessionService for SessionApi {
    async fn create_class_session(
        &self,
        request: Request<v1::CreateClassSessionRequest>,
    ) -> Result<Response<v1::CreateClassSessionResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let group = required_id("group_id", &request.group_id).map_err(status_of)?;
        let name = session_name("name", &request.name).map_err(status_of)?;
        let rooms = rooms_from_wire(&request.room_ids).map_err(status_of)?;
        let missing = |field| move || status_of(ProtocolError::Missing { field });
        let (start, end) = (request.start_time.as_ref(), request.end_time.as_ref());
        let starts = self.moment(site, ("start_time", start), ("local_start", &request.local_start)).await?;
        let ends = self.moment(site, ("end_time", end), ("local_end", &request.local_end)).await?;
        let (starts, ends) =
            (starts.ok_or_else(missing("start_time"))?, ends.ok_or_else(missing("end_time"))?);
        let times = SessionTimes::new(starts, ends).map_err(status_of)?;
        let session = self.0.create(site, group, name, times, rooms).await?;
        Ok(Response::new(v1::ClassSession::from(session).into()))
    }

    async fn create_class_sessions(
        &self,
        request: Request<v1::CreateClassSessionsRequest>,
    ) -> Result<Response<v1::CreateClassSessionsResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let pattern = self.pattern(site, &request).await?;
        let (on_holidays, dry_run) = (request.on_holidays, request.dry_run);
        let made = self.0.create_by_pattern(site, &pattern, on_holidays, dry_run).await?;
        Ok(Response::new(v1::CreateClassSessionsResponse {
            sessions: made.sessions.into_iter().map(Into::into).collect(),
            existing: made.existing,
            holidays: made.holidays,
        }))
    }

    async fn get_class_session(
        &self,
        request: Request<v1::GetClassSessionRequest>,
    ) -> Result<Response<v1::GetClassSessionResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("session_id", &request.into_inner().session_id).map_err(status_of)?;
        Ok(Response::new(v1::ClassSession::from(self.0.get(site, id).await?).into()))
    }

    async fn list_class_sessions(
        &self,
        request: Request<v1::ListClassSessionsRequest>,
    ) -> Result<Response<v1::ListClassSessionsResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let mut filter = SessionFilter::try_from(&request).map_err(status_of)?;
        if let Some(day) = optional_date("date", &request.date).map_err(status_of)? {
            let (begins, ends) = self.0.day(site, day).await?;
            filter.from = Some(filter.from.map_or(begins, |from| from.max(begins)));
            filter.until = Some(filter.until.map_or(ends, |until| until.min(ends)));
        }
        let list = filter.list_name();
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.0.list(site, &filter, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListClassSessionsResponse {
            sessions: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn update_class_session(
        &self,
        request: Request<v1::UpdateClassSessionRequest>,
    ) -> Result<Response<v1::UpdateClassSessionResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let id: ClassSessionId = required_id("session_id", &request.session_id).map_err(status_of)?;
        let seen = ScheduleVersion::from_etag(&request.etag).map_err(status_of)?;
        let (start, end) = (request.start_time.as_ref(), request.end_time.as_ref());
        let starts = self.moment(site, ("start_time", start), ("local_start", &request.local_start)).await?;
        let ends = self.moment(site, ("end_time", end), ("local_end", &request.local_end)).await?;
        let change = session_change(&request, starts, ends).map_err(status_of)?;
        Ok(Response::new(v1::ClassSession::from(self.0.update(site, id, seen, &change).await?).into()))
    }

    async fn cancel_class_session(
        &self,
        request: Request<v1::CancelClassSessionRequest>,
    ) -> Result<Response<v1::CancelClassSessionResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::CancelClassSessionRequest { session_id, etag } = request.into_inner();
        self.set_cancelled(site, (&session_id, &etag), true).await
    }

    async fn reinstate_class_session(
        &self,
        request: Request<v1::ReinstateClassSessionRequest>,
    ) -> Result<Response<v1::ReinstateClassSessionResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ReinstateClassSessionRequest { session_id, etag } = request.into_inner();
        self.set_cancelled(site, (&session_id, &etag), false).await
    }

    async fn delete_class_session(
        &self,
        request: Request<v1::DeleteClassSessionRequest>,
    ) -> Result<Response<v1::DeleteClassSessionResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("session_id", &request.into_inner().session_id).map_err(status_of)?;
        self.0.delete(site, id).await?;
        Ok(Response::new(v1::DeleteClassSessionResponse {}))
    }
}

impl SessionApi {
    async fn pattern(
        &self,
        site: SiteId,
        request: &v1::CreateClassSessionsRequest,
    ) -> Result<WeeklyPattern, Status> {
        let group = required_id("group_id", &request.group_id).map_err(status_of)?;
        let first = optional_date("start_date", &request.start_date).map_err(status_of)?;
        let last = optional_date("end_date", &request.end_date).map_err(status_of)?;
        let days = self.0.pattern_days(site, group, first, last).await?;
        let read = || {
            let clocks =
                (clock("start_clock", &request.start_clock)?, clock("end_clock", &request.end_clock)?);
            Ok::<_, ProtocolError>(WeeklyPattern {
                group,
                name: session_name("name", &request.name)?,
                rooms: rooms_from_wire(&request.room_ids)?,
                dates: PatternDates::new(days, &request.weekdays, clocks, request.week_interval)?,
            })
        };
        Ok(read().map_err(ServiceError::from)?)
    }
}

fn rooms_from_wire(ids: &[String]) -> Result<Vec<RoomId>, ProtocolError> {
    if ids.len() > MOST_ROOMS {
        return Err(ProtocolError::invalid("room_ids", format_args!("at most {MOST_ROOMS} rooms")));
    }
    let mut rooms = ids.iter().map(|id| required_id("room_ids", id)).collect::<Result<Vec<_>, _>>()?;
    rooms.sort_unstable();
    rooms.dedup();
    Ok(rooms)
}

fn session_change(
    request: &v1::UpdateClassSessionRequest,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
) -> Result<SessionChange, ProtocolError> {
    let fields = [
        ("name", request.name.is_some()),
        ("group_id", !request.group_id.is_empty()),
        ("start_time", starts_at.is_some()),
        ("end_time", ends_at.is_some()),
        ("room_ids", !request.room_ids.is_empty()),
    ];
    let mut change = SessionChange::default();
    for path in masked(request.update_mask.clone(), &fields)? {
        match path {
            "name" => change.name = Some(session_name("name", request.name.as_deref().unwrap_or_default())?),
            "group_id" => change.group = Some(required_id("group_id", &request.group_id)?),
            "start_time" => change.starts_at = Some(needed("start_time", starts_at)?),
            "end_time" => change.ends_at = Some(needed("end_time", ends_at)?),
            _ => change.rooms = Some(rooms_from_wire(&request.room_ids)?),
        }
    }
    Ok(change)
}

fn needed<T>(field: &'static str, value: Option<T>) -> Result<T, ProtocolError> {
    value.ok_or(ProtocolError::Missing { field })
}

impl TryFrom<&v1::ListClassSessionsRequest> for SessionFilter {
    type Error = ProtocolError;

    fn try_from(request: &v1::ListClassSessionsRequest) -> Result<Self, ProtocolError> {
        let time = |field, time: &Option<prost_types::Timestamp>| {
            time.as_ref().map(|time| from_timestamp(field, Some(time))).transpose()
        };
        Ok(Self {
            from: time("start_time", &request.start_time)?,
            until: time("end_time", &request.end_time)?,
            room: optional_id("room_id", &request.room_id)?,
            group: optional_id("group_id", &request.group_id)?,
            state: match request.state {
                0 => None,
                state => Some(enum_from_wire("state", state)?),
            },
        })
    }
}

impl From<ClassSession> for v1::ClassSession {
    fn from(session: ClassSession) -> Self {
        Self {
            id: session.id.to_string(),
            group: Some(session.group.into()),
            name: session.name,
            start_time: Some(to_timestamp(session.times.starts_at())),
            end_time: Some(to_timestamp(session.times.ends_at())),
            state: enum_to_wire(session.state),
            source: enum_to_wire(session.source),
            rooms: session.rooms.into_iter().map(Into::into).collect(),
            external_id: session.external_id,
            calendar_id: session.calendar.map(|calendar| calendar.to_string()).unwrap_or_default(),
            create_time: Some(to_timestamp(session.created_at)),
            update_time: Some(to_timestamp(session.updated_at)),
            etag: session.version.etag(),
        }
    }
}
