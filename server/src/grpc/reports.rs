use cavs_proto::{enum_to_wire, status_of, to_timestamp, v1};
use cavs_reports::{Rate, Tally};
use cavs_types::ProtocolError;
use tonic::{Request, Response, Status};

use super::{
    attendance::hide_last_seen,
    convert::{caller, optional_id, optional_name, required_id, student_ref},
    layer::Caller,
};
use crate::{
    attendance::{
        MarkedSession, PersonReport, ReportDays, ReportHead, ReportSpan, Reports, RoomReport, RoomUse,
        SheetReport, WarningFilter, WarningReport, WarningRow, WeekOf, WeekReport, WeekRow,
    },
    schedule::optional_date,
    text::lookup_name,
};

pub(super) struct ReportApi(Reports);

impl ReportApi {
    pub(super) fn new(reports: Reports) -> Self {
        Self(reports)
    }
}

#[tonic::async_trait]
impl v1::report_service_server::ReportService for ReportApi {
    async fn get_sheet_report(
        &self,
        request: Request<v1::GetSheetReportRequest>,
    ) -> Result<Response<v1::GetSheetReportResponse>, Status> {
        let Caller { site, role, .. } = caller(&request)?;
        let session = required_id("session_id", &request.into_inner().session_id).map_err(status_of)?;
        let mut response: v1::GetSheetReportResponse = self.0.sheet(site, session).await?.into();
        hide_last_seen(role, response.sheet.iter_mut().flat_map(|sheet| sheet.marks.iter_mut()));
        Ok(Response::new(response))
    }

    async fn get_week_report(
        &self,
        request: Request<v1::GetWeekReportRequest>,
    ) -> Result<Response<v1::GetWeekReportResponse>, Status> {
        use v1::get_week_report_request::Of;
        let site = caller(&request)?.site;
        let v1::GetWeekReportRequest { of, date } = request.into_inner();
        let of = match of {
            Some(Of::GroupId(id)) => WeekOf::Group(required_id("group_id", &id).map_err(status_of)?),
            Some(Of::Section(section)) => {
                WeekOf::Section(lookup_name("section", &section).map_err(status_of)?)
            }
            None => return Err(status_of(ProtocolError::Missing { field: "of" })),
        };
        let day = optional_date("date", &date).map_err(status_of)?;
        Ok(Response::new(self.0.week(site, of, day).await?.into()))
    }

    async fn get_person_report(
        &self,
        request: Request<v1::GetPersonReportRequest>,
    ) -> Result<Response<v1::GetPersonReportResponse>, Status> {
        let Caller { site, role, .. } = caller(&request)?;
        let v1::GetPersonReportRequest { student_id, days } = request.into_inner();
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let span = span_from_wire(days).map_err(status_of)?;
        let mut response: v1::GetPersonReportResponse = self.0.person(site, student, span).await?.into();
        hide_last_seen(role, response.marks.iter_mut().filter_map(|listed| listed.mark.as_mut()));
        Ok(Response::new(response))
    }

    async fn get_warning_report(
        &self,
        request: Request<v1::GetWarningReportRequest>,
    ) -> Result<Response<v1::GetWarningReportResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let filter = WarningFilter::try_from(&request).map_err(status_of)?;
        let span = span_from_wire(request.days).map_err(status_of)?;
        Ok(Response::new(self.0.warnings(site, &filter, span).await?.into()))
    }

    async fn get_room_report(
        &self,
        request: Request<v1::GetRoomReportRequest>,
    ) -> Result<Response<v1::GetRoomReportResponse>, Status> {
        let site = caller(&request)?.site;
        let span = span_from_wire(request.into_inner().days).map_err(status_of)?;
        Ok(Response::new(self.0.rooms(site, span).await?.into()))
    }
}

fn span_from_wire(days: Option<v1::ReportDays>) -> Result<ReportSpan, ProtocolError> {
    let v1::ReportDays { term_id, start_date, end_date } = days.unwrap_or_default();
    let (first, last) = (optional_date("start_date", &start_date)?, optional_date("end_date", &end_date)?);
    match (optional_id("term_id", &term_id)?, first, last) {
        (Some(term), None, None) => Ok(ReportSpan::Term(term)),
        (Some(_), _, _) => {
            Err(ProtocolError::invalid("start_date", "a term has its days: say one or the other"))
        }
        (None, Some(first), last) => Ok(ReportSpan::Days(first, last)),
        (None, None, Some(_)) => Err(ProtocolError::Missing { field: "start_date" }),
        (None, None, None) => Ok(ReportSpan::CurrentTerm),
    }
}

impl TryFrom<&v1::GetWarningReportRequest> for WarningFilter {
    type Error = ProtocolError;

    fn try_from(request: &v1::GetWarningReportRequest) -> Result<Self, ProtocolError> {
        let below = u16::try_from(request.below_permille).ok().filter(|permille| *permille > 0);
        let below = below.and_then(Rate::of_permille);
        Ok(Self {
            below: below.ok_or_else(|| ProtocolError::invalid("below_permille", "must be from 1 to 1000"))?,
            group: optional_id("group_id", &request.group_id)?,
            section: optional_name("section", &request.section)?,
            final_only: request.final_only,
        })
    }
}

impl From<ReportHead> for v1::ReportHead {
    fn from(head: ReportHead) -> Self {
        Self {
            site_name: head.site_name,
            time_zone: head.zone_name,
            make_time: Some(to_timestamp(head.made_at)),
        }
    }
}

impl From<ReportDays> for v1::FoundDays {
    fn from(ReportDays { days, term }: ReportDays) -> Self {
        Self { start_date: days.first().to_string(), end_date: days.last().to_string(), term_name: term }
    }
}

fn tally_to_wire(tally: Tally) -> v1::MarkTally {
    v1::MarkTally {
        present: tally.present,
        late: tally.late,
        left_early: tally.left_early,
        absent: tally.absent,
        excused: tally.excused,
        undetermined: tally.undetermined,
        attendance_permille: tally.rate().map(|rate| rate.permille().into()),
    }
}

impl From<SheetReport> for v1::GetSheetReportResponse {
    fn from(SheetReport { head, sheet }: SheetReport) -> Self {
        Self { head: Some(head.into()), sheet: Some(sheet.into()) }
    }
}

impl From<WeekReport> for v1::GetWeekReportResponse {
    fn from(report: WeekReport) -> Self {
        let rows = report.rows.into_iter().map(|row| week_row(row, &report.sessions)).collect();
        Self {
            head: Some(report.head.into()),
            of_name: report.of,
            days: Some(report.days.into()),
            sessions: report.sessions.into_iter().map(Into::into).collect(),
            rows,
        }
    }
}

fn week_row(row: WeekRow, sessions: &[MarkedSession]) -> v1::WeekRow {
    let mark = |mark: crate::attendance::WeekMark| {
        // A session that was planned between the two readings has no column yet.
        let place = sessions.iter().position(|session| session.id == mark.session)?;
        Some(v1::WeekMark {
            session_index: u32::try_from(place).ok()?,
            mark: enum_to_wire(mark.mark),
            is_corrected: mark.is_corrected,
        })
    };
    v1::WeekRow {
        student: Some(student_ref(row.student)),
        marks: row.marks.into_iter().filter_map(mark).collect(),
        tally: Some(tally_to_wire(row.tally)),
    }
}

impl From<PersonReport> for v1::GetPersonReportResponse {
    fn from(report: PersonReport) -> Self {
        Self {
            head: Some(report.head.into()),
            student: Some(student_ref(report.student)),
            section: report.section,
            days: Some(report.days.into()),
            marks: report.marks.into_iter().map(Into::into).collect(),
            tally: Some(tally_to_wire(report.tally)),
        }
    }
}

impl From<WarningRow> for v1::WarningRow {
    fn from(WarningRow { student, section, tally }: WarningRow) -> Self {
        Self { student: Some(student_ref(student)), section, tally: Some(tally_to_wire(tally)) }
    }
}

impl From<WarningReport> for v1::GetWarningReportResponse {
    fn from(WarningReport { head, days, group, rows }: WarningReport) -> Self {
        Self {
            head: Some(head.into()),
            days: Some(days.into()),
            group_name: group,
            rows: rows.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<RoomUse> for v1::RoomUse {
    fn from(RoomUse { id, name, sessions, minutes, tally }: RoomUse) -> Self {
        Self {
            room_id: id.to_string(),
            room_name: name,
            sessions,
            minutes,
            tally: Some(tally_to_wire(tally)),
        }
    }
}

impl From<RoomReport> for v1::GetRoomReportResponse {
    fn from(RoomReport { head, days, rows }: RoomReport) -> Self {
        Self {
            head: Some(head.into()),
            days: Some(days.into()),
            rows: rows.into_iter().map(Into::into).collect(),
        }
    }
}
