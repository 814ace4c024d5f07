use cavs_proto::{enum_from_wire, enum_to_wire, from_timestamp, status_of, to_timestamp, v1};
use cavs_types::{ClassSessionId, ImportFormat, ProtocolError, RoomId, SessionFormat, SiteId};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{caller, masked, optional_id, page_request, required_id, total_to_wire},
    layer::Caller,
    uploads::{IMPORTS, RETRY, problems_to_wire, receive_file},
};
use crate::{
    error::ServiceError,
    people::ImportOptions,
    schedule::{
        ClassSession, PatternDates, ScheduleVersion, SessionChange, SessionFilter, SessionImportOptions,
        SessionTimes, Sessions, WeeklyPattern, clock, local_time, optional_date, schedule_name, session_name,
    },
    text::lookup_name,
};

/// Most texts that say of which group an event is.
const MOST_MAPPINGS: usize = 1000;
/// Most rooms of one session.
const MOST_ROOMS: usize = 50;

pub(super) struct SessionApi(Sessions, Semaphore);

impl SessionApi {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self(sessions, Semaphore::new(IMPORTS))
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

    async fn import_class_sessions(
        &self,
        request: Request<Streaming<v1::ImportClassSessionsRequest>>,
    ) -> Result<Response<v1::ImportClassSessionsResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let busy = |_| ServiceError::Busy { what: "the import of sessions", retry_in: RETRY };
        let _place = self.1.try_acquire().map_err(busy)?;
        let (options, data) = receive_file(request.into_inner()).await?;
        let options = SessionImportOptions::try_from(options).map_err(status_of)?;
        let (plan, applied) = self.0.import(site, data, options, by).await?;
        let (problems, problem_count) = problems_to_wire(plan.problems);
        Ok(Response::new(v1::ImportClassSessionsResponse {
            applied,
            created: plan.create.len() as u64,
            updated: plan.update.len() as u64,
            cancelled: plan.cancel.len() as u64,
            unchanged: plan.unchanged,
            kept: plan.kept,
            skipped: plan.skipped,
            problems,
            problem_count,
            ignored_columns: plan.ignored_columns,
        }))
    }
}

impl TryFrom<v1::SessionImportOptions> for SessionImportOptions {
    type Error = ProtocolError;

    fn try_from(options: v1::SessionImportOptions) -> Result<Self, ProtocolError> {
        let format = enum_from_wire("options.format", options.format)?;
        let calendar = match options.calendar.as_str() {
            "" => None,
            name => Some(schedule_name("options.calendar", name)?),
        };
        if format == SessionFormat::Icalendar && calendar.is_none() {
            return Err(ProtocolError::Missing { field: "options.calendar" });
        }
        if options.mappings.len() > MOST_MAPPINGS {
            let problem = format!("at most {MOST_MAPPINGS} texts");
            return Err(ProtocolError::invalid("options.mappings", problem));
        }
        let mapping = |mapping: v1::GroupMapping| {
            let text = lookup_name("options.mappings.text", &mapping.text)?.to_lowercase();
            Ok::<_, ProtocolError>((text, required_id("options.mappings.group_id", &mapping.group_id)?))
        };
        Ok(Self {
            format,
            text: ImportOptions::new(ImportFormat::Csv, &options.encoding, &options.delimiter)?,
            dry_run: options.dry_run,
            create_rooms: options.create_rooms,
            calendar,
            group: optional_id("options.group_id", &options.group_id)?,
            mappings: options.mappings.into_iter().map(mapping).collect::<Result<_, _>>()?,
            skip_unknown: options.skip_unknown,
        })
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
