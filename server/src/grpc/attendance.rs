use std::{collections::BTreeMap, pin::Pin, time::Duration};

use cavs_attendance::{Evidence, Policy, PolicyOverride, Rule};
use cavs_proto::{enum_from_wire, enum_to_wire, from_timestamp, status_of, to_timestamp, v1};
use cavs_types::{AppealState, CheckInKind, DeviceId, ErrorReason, Mark, ProtocolError};
use futures_util::{Stream, stream};
use jiff::{Timestamp, tz::TimeZone};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, optional_id, optional_name, page_request, required_id, student_ref, total_to_wire},
    layer::Caller,
};
use crate::{
    attendance::{
        Appeal, AppealDecision, Appeals, Corrections, ExcusedTime, Excuses, HistoryEntry, LateProposal,
        MarkCorrection, MarkDetails, MarkFeed, MarkFilter, MarkListed, MarkedSession, NewAppeal, NewCheckIn,
        NewCorrection, NewExcuse, Policies, PolicyOf, PolicyVersion, SessionSheet, SheetMark, Sheets,
        StoredPolicy, VisitorSeen, in_words, reason_text,
    },
    page::ListName,
};

/// How long a stream lasts: whoever may no longer look is not told for ever.
const WATCHED: Duration = Duration::from_secs(3600);

/// What the service is made of.
pub(super) struct AttendanceApi {
    pub(super) sheets: Sheets,
    pub(super) corrections: Corrections,
    pub(super) excuses: Excuses,
    pub(super) appeals: Appeals,
    pub(super) policies: Policies,
    pub(super) feed: MarkFeed,
    /// Ends streams.
    pub(super) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl v1::attendance_service_server::AttendanceService for AttendanceApi {
    type WatchMarksStream = Pin<Box<dyn Stream<Item = Result<v1::WatchMarksResponse, Status>> + Send>>;

    async fn get_sheet(
        &self,
        request: Request<v1::GetSheetRequest>,
    ) -> Result<Response<v1::GetSheetResponse>, Status> {
        let site = caller(&request)?.site;
        let session = required_id("session_id", &request.into_inner().session_id).map_err(status_of)?;
        let sheet = self.sheets.sheet(site, session).await?;
        Ok(Response::new(v1::GetSheetResponse { sheet: Some(sheet.into()) }))
    }

    async fn list_marks(
        &self,
        request: Request<v1::ListMarksRequest>,
    ) -> Result<Response<v1::ListMarksResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let filter = MarkFilter::try_from(&request).map_err(status_of)?;
        let list = filter.list_name();
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.sheets.list(site, &filter, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListMarksResponse {
            marks: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn explain_mark(
        &self,
        request: Request<v1::ExplainMarkRequest>,
    ) -> Result<Response<v1::ExplainMarkResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ExplainMarkRequest { session_id, student_id } = request.into_inner();
        let session = required_id("session_id", &session_id).map_err(status_of)?;
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let explanation = Some(self.sheets.details(site, session, student).await?.into());
        Ok(Response::new(v1::ExplainMarkResponse { explanation }))
    }

    async fn watch_marks(
        &self,
        request: Request<v1::WatchMarksRequest>,
    ) -> Result<Response<Self::WatchMarksStream>, Status> {
        let site = caller(&request)?.site;
        let session = required_id("session_id", &request.into_inner().session_id).map_err(status_of)?;
        let watch = self.feed.watch(site, session).await?;
        let (until, shutdown) = (Instant::now() + WATCHED, self.shutdown.clone());
        let told = stream::try_unfold(watch, move |mut watch| {
            let shutdown = shutdown.clone();
            async move {
                tokio::select! {
                    () = shutdown.cancelled() => {
                        Err(cavs_proto::status(ErrorReason::ShuttingDown, "the server is stopping"))
                    }
                    () = tokio::time::sleep_until(until) => Ok(None),
                    changed = watch.next() => {
                        Ok(Some((v1::WatchMarksResponse { sheet: Some(changed?.into()) }, watch)))
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn correct_mark(
        &self,
        request: Request<v1::CorrectMarkRequest>,
    ) -> Result<Response<v1::CorrectMarkResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::CorrectMarkRequest { session_id, student_id, mark, reason } = request.into_inner();
        let session = required_id("session_id", &session_id).map_err(status_of)?;
        let said = correction_from_wire(&student_id, mark).map_err(status_of)?;
        let reason = reason_text("reason", &reason).map_err(status_of)?;
        let explanation = Some(self.corrections.correct(site, session, said, &reason, user).await?.into());
        Ok(Response::new(v1::CorrectMarkResponse { explanation }))
    }

    async fn take_roll_call(
        &self,
        request: Request<v1::TakeRollCallRequest>,
    ) -> Result<Response<v1::TakeRollCallResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::TakeRollCallRequest { session_id, entries } = request.into_inner();
        let session = required_id("session_id", &session_id).map_err(status_of)?;
        let said = entries.iter().map(|entry| correction_from_wire(&entry.student_id, entry.mark));
        let said = said.collect::<Result<Vec<_>, _>>().map_err(status_of)?;
        let sheet = self.corrections.take_roll_call(site, session, &said, user).await?;
        Ok(Response::new(v1::TakeRollCallResponse { sheet: Some(sheet.into()) }))
    }

    async fn withdraw_correction(
        &self,
        request: Request<v1::WithdrawCorrectionRequest>,
    ) -> Result<Response<v1::WithdrawCorrectionResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let id = required_id("correction_id", &request.into_inner().correction_id).map_err(status_of)?;
        let explanation = Some(self.corrections.withdraw(site, id, user).await?.into());
        Ok(Response::new(v1::WithdrawCorrectionResponse { explanation }))
    }

    async fn check_in(
        &self,
        request: Request<v1::CheckInRequest>,
    ) -> Result<Response<v1::CheckInResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let new = NewCheckIn::try_from(request.into_inner()).map_err(status_of)?;
        let sheet = self.corrections.check_in(site, &new, user).await?;
        Ok(Response::new(v1::CheckInResponse { sheet: Some(sheet.into()) }))
    }

    async fn finalise_session(
        &self,
        request: Request<v1::FinaliseSessionRequest>,
    ) -> Result<Response<v1::FinaliseSessionResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let session = required_id("session_id", &request.into_inner().session_id).map_err(status_of)?;
        let sheet = self.sheets.finalise(site, session, user).await?;
        Ok(Response::new(v1::FinaliseSessionResponse { sheet: Some(sheet.into()) }))
    }

    async fn create_excuse(
        &self,
        request: Request<v1::CreateExcuseRequest>,
    ) -> Result<Response<v1::CreateExcuseResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let new = NewExcuse::try_from(request.into_inner()).map_err(status_of)?;
        let excuse = self.excuses.create(site, &new, user).await?;
        Ok(Response::new(v1::CreateExcuseResponse { excuse: Some(excuse.into()) }))
    }

    async fn list_excuses(
        &self,
        request: Request<v1::ListExcusesRequest>,
    ) -> Result<Response<v1::ListExcusesResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let student = optional_id("student_id", &request.student_id).map_err(status_of)?;
        let at = optional_time("hold_time", request.hold_time.as_ref()).map_err(status_of)?;
        let list = ListName::new("excuses")
            .with("student", Some(&request.student_id))
            .with("at", at.map(|at| at.to_string()).as_deref());
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.excuses.list(site, student, at, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListExcusesResponse {
            excuses: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn withdraw_excuse(
        &self,
        request: Request<v1::WithdrawExcuseRequest>,
    ) -> Result<Response<v1::WithdrawExcuseResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let id = required_id("excuse_id", &request.into_inner().excuse_id).map_err(status_of)?;
        let excuse = self.excuses.withdraw(site, id, user).await?;
        Ok(Response::new(v1::WithdrawExcuseResponse { excuse: Some(excuse.into()) }))
    }

    async fn create_appeal(
        &self,
        request: Request<v1::CreateAppealRequest>,
    ) -> Result<Response<v1::CreateAppealResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let new = NewAppeal::try_from(request.into_inner()).map_err(status_of)?;
        let appeal = self.appeals.create(site, &new, user).await?;
        Ok(Response::new(v1::CreateAppealResponse { appeal: Some(appeal.into()) }))
    }

    async fn list_appeals(
        &self,
        request: Request<v1::ListAppealsRequest>,
    ) -> Result<Response<v1::ListAppealsResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let student = optional_id("student_id", &request.student_id).map_err(status_of)?;
        let state = match request.state {
            0 => AppealState::Open,
            state => enum_from_wire("state", state).map_err(status_of)?,
        };
        let list = ListName::new("appeals")
            .with("student", Some(&request.student_id))
            .with("state", Some(state.as_str()));
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.appeals.list(site, state, student, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListAppealsResponse {
            appeals: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn decide_appeal(
        &self,
        request: Request<v1::DecideAppealRequest>,
    ) -> Result<Response<v1::DecideAppealResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::DecideAppealRequest { appeal_id, accept, answer } = request.into_inner();
        let appeal = required_id("appeal_id", &appeal_id).map_err(status_of)?;
        let answer = reason_text("answer", &answer).map_err(status_of)?;
        let appeal = self.appeals.decide(site, &AppealDecision { appeal, accept, answer }, user).await?;
        Ok(Response::new(v1::DecideAppealResponse { appeal: Some(appeal.into()) }))
    }

    async fn withdraw_appeal(
        &self,
        request: Request<v1::WithdrawAppealRequest>,
    ) -> Result<Response<v1::WithdrawAppealResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let id = required_id("appeal_id", &request.into_inner().appeal_id).map_err(status_of)?;
        let appeal = self.appeals.withdraw(site, id, user).await?;
        Ok(Response::new(v1::WithdrawAppealResponse { appeal: Some(appeal.into()) }))
    }

    async fn list_mark_proposals(
        &self,
        request: Request<v1::ListMarkProposalsRequest>,
    ) -> Result<Response<v1::ListMarkProposalsResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let list = ListName::new("proposals of marks");
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.appeals.proposals(site, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListMarkProposalsResponse {
            proposals: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn decide_mark_proposal(
        &self,
        request: Request<v1::DecideMarkProposalRequest>,
    ) -> Result<Response<v1::DecideMarkProposalResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::DecideMarkProposalRequest { session_id, student_id, machine_mark, accept } =
            request.into_inner();
        let session = required_id("session_id", &session_id).map_err(status_of)?;
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let mark = enum_from_wire("machine_mark", machine_mark).map_err(status_of)?;
        let explanation =
            Some(self.appeals.decide_proposal(site, (session, student), mark, accept, user).await?.into());
        Ok(Response::new(v1::DecideMarkProposalResponse { explanation }))
    }

    async fn get_attendance_policy(
        &self,
        request: Request<v1::GetAttendancePolicyRequest>,
    ) -> Result<Response<v1::GetAttendancePolicyResponse>, Status> {
        use v1::get_attendance_policy_request::Of;
        let site = caller(&request)?.site;
        let of = match request.into_inner().of {
            None => PolicyOf::Site,
            Some(Of::GroupId(id)) => PolicyOf::Group(required_id("group_id", &id).map_err(status_of)?),
            Some(Of::SessionId(id)) => PolicyOf::Session(required_id("session_id", &id).map_err(status_of)?),
        };
        let StoredPolicy { in_force, set, version, changed } = self.policies.get(site, of).await?;
        let (update_time, updated_by) =
            changed.map_or((None, String::new()), |(at, by)| (Some(to_timestamp(at)), by));
        Ok(Response::new(v1::GetAttendancePolicyResponse {
            policy: Some(policy_to_wire(in_force)),
            set_fields: set.names().into_iter().map(str::to_owned).collect(),
            update_time,
            updated_by,
            etag: version.etag(),
        }))
    }

    async fn update_attendance_policy(
        &self,
        request: Request<v1::UpdateAttendancePolicyRequest>,
    ) -> Result<Response<v1::UpdateAttendancePolicyResponse>, Status> {
        use v1::update_attendance_policy_request::Of;
        let Caller { user, site, .. } = caller(&request)?;
        let request = request.into_inner();
        let of = match &request.of {
            None => PolicyOf::Site,
            Some(Of::GroupId(id)) => PolicyOf::Group(required_id("group_id", id).map_err(status_of)?),
            Some(Of::SessionId(id)) => PolicyOf::Session(required_id("session_id", id).map_err(status_of)?),
        };
        let seen = PolicyVersion::from_etag(&request.etag).map_err(status_of)?;
        let change = PolicyChange::try_from(request).map_err(status_of)?;
        let stored = self.policies.set(site, of, seen, |set| change.applied_to(set), user).await?;
        let StoredPolicy { in_force, set, version, changed } = stored;
        let (update_time, updated_by) =
            changed.map_or((None, String::new()), |(at, by)| (Some(to_timestamp(at)), by));
        Ok(Response::new(v1::UpdateAttendancePolicyResponse {
            policy: Some(policy_to_wire(in_force)),
            set_fields: set.names().into_iter().map(str::to_owned).collect(),
            update_time,
            updated_by,
            etag: version.etag(),
        }))
    }
}

/// Settings that are to be set, and settings that are to be set no more.
struct PolicyChange {
    to: Policy,
    set: Vec<String>,
    reset: Vec<String>,
}

impl PolicyChange {
    fn applied_to(&self, mut settings: PolicyOverride) -> PolicyOverride {
        for name in &self.reset {
            settings.set(name, None);
        }
        for name in &self.set {
            settings.set(name, Some(&self.to));
        }
        settings
    }
}

impl TryFrom<v1::UpdateAttendancePolicyRequest> for PolicyChange {
    type Error = ProtocolError;

    fn try_from(request: v1::UpdateAttendancePolicyRequest) -> Result<Self, ProtocolError> {
        let set = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let reset = request.reset_mask.map(|mask| mask.paths).unwrap_or_default();
        if set.is_empty() && reset.is_empty() {
            return Err(ProtocolError::Missing { field: "update_mask" });
        }
        for (field, names) in [("update_mask", &set), ("reset_mask", &reset)] {
            if let Some(unknown) = names.iter().find(|name| !PolicyOverride::default().set(name, None)) {
                let shown: String = unknown.chars().take(64).collect();
                return Err(ProtocolError::invalid(field, format_args!("{shown:?} is no setting")));
            }
        }
        let wire = request.policy.unwrap_or_default();
        let begins = Policy::default();
        let is_set = |name: &str| set.iter().any(|path| path == name);
        let minutes = |name: &'static str, value: u32| {
            u16::try_from(value).map_err(|_| ProtocolError::invalid(name, "is too large"))
        };
        let to = Policy {
            minutes_before: minutes("minutes_before", wire.minutes_before)?,
            minutes_after: minutes("minutes_after", wire.minutes_after)?,
            grace_minutes: minutes("grace_minutes", wire.grace_minutes)?,
            too_late_minutes: wire
                .too_late_minutes
                .map(|value| minutes("too_late_minutes", value))
                .transpose()?,
            least_minutes: minutes("least_minutes", wire.least_minutes)?,
            sightings: minutes("sightings", wire.sightings)?,
            least_similarity: wire.least_similarity,
            pending: if is_set("pending") {
                enum_from_wire("pending", wire.pending)?
            } else {
                begins.pending
            },
            leaving: wire.leaving,
            leave_grace_minutes: minutes("leave_grace_minutes", wire.leave_grace_minutes)?,
            least_watched: wire.least_watched,
            finalise_after_days: wire
                .finalise_after_days
                .map(|value| minutes("finalise_after_days", value))
                .transpose()?,
            appeal_days: minutes("appeal_days", wire.appeal_days)?,
        };
        Ok(Self { to, set, reset })
    }
}

fn policy_to_wire(policy: Policy) -> v1::AttendancePolicy {
    v1::AttendancePolicy {
        minutes_before: policy.minutes_before.into(),
        minutes_after: policy.minutes_after.into(),
        grace_minutes: policy.grace_minutes.into(),
        too_late_minutes: policy.too_late_minutes.map(Into::into),
        least_minutes: policy.least_minutes.into(),
        sightings: policy.sightings.into(),
        least_similarity: policy.least_similarity,
        pending: enum_to_wire(policy.pending),
        leaving: policy.leaving,
        leave_grace_minutes: policy.leave_grace_minutes.into(),
        least_watched: policy.least_watched,
        finalise_after_days: policy.finalise_after_days.map(Into::into),
        appeal_days: policy.appeal_days.into(),
    }
}

fn correction_from_wire(student_id: &str, mark: i32) -> Result<NewCorrection, ProtocolError> {
    Ok(NewCorrection { student: required_id("student_id", student_id)?, mark: enum_from_wire("mark", mark)? })
}

fn optional_time(
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

impl From<MarkedSession> for v1::MarkedSession {
    fn from(session: MarkedSession) -> Self {
        Self {
            id: session.id.to_string(),
            name: session.name,
            group_id: session.group.to_string(),
            group_name: session.group_name,
            start_time: Some(to_timestamp(session.starts_at)),
            end_time: Some(to_timestamp(session.ends_at)),
            state: enum_to_wire(session.state),
        }
    }
}

impl From<SheetMark> for v1::PersonMark {
    fn from(mark: SheetMark) -> Self {
        Self {
            student: Some(student_ref(mark.student)),
            mark: enum_to_wire(mark.mark),
            machine_mark: enum_to_wire(mark.machine_mark),
            correction_id: mark.correction.map(|id| id.to_string()).unwrap_or_default(),
            first_seen_time: mark.first_seen_at.map(to_timestamp),
            last_seen_time: mark.last_seen_at.map(to_timestamp),
            minutes_present: mark.minutes_present,
            minutes_late: mark.minutes_late,
            minutes_left_early: mark.minutes_left_early,
            number: mark.number,
            change_time: Some(to_timestamp(mark.changed_at)),
        }
    }
}

impl From<MarkListed> for v1::ListedMark {
    fn from(MarkListed { session, mark }: MarkListed) -> Self {
        Self { session: Some(session.into()), mark: Some(mark.into()) }
    }
}

impl From<VisitorSeen> for v1::Visitor {
    fn from(visitor: VisitorSeen) -> Self {
        Self {
            student: Some(student_ref(visitor.student)),
            first_seen_time: Some(to_timestamp(visitor.first_seen_at)),
            last_seen_time: Some(to_timestamp(visitor.last_seen_at)),
            sightings: visitor.sightings,
        }
    }
}

/// Rules by their stable names, and in words.
fn rules_to_wire(
    rules: &[Rule],
    devices: &BTreeMap<DeviceId, String>,
    zone: &TimeZone,
) -> Vec<v1::AppliedRule> {
    rules
        .iter()
        .map(|rule| v1::AppliedRule { rule: rule.name().to_owned(), text: in_words(rule, devices, zone) })
        .collect()
}

impl From<SessionSheet> for v1::Sheet {
    fn from(sheet: SessionSheet) -> Self {
        Self {
            unproven: rules_to_wire(&sheet.unproven, &sheet.devices, &sheet.zone),
            session: Some(sheet.session.into()),
            rooms: sheet.rooms,
            marks: sheet.marks.into_iter().map(Into::into).collect(),
            visitors: sheet.visitors.into_iter().map(Into::into).collect(),
            evaluate_time: sheet.evaluated_at.map(to_timestamp),
            policy: Some(policy_to_wire(sheet.policy)),
        }
    }
}

impl From<MarkCorrection> for v1::Correction {
    fn from(correction: MarkCorrection) -> Self {
        let (withdraw_time, withdrawn_by) =
            correction.withdrawn.map_or((None, String::new()), |(at, by)| (Some(to_timestamp(at)), by));
        Self {
            id: correction.id.to_string(),
            mark: enum_to_wire(correction.mark),
            source: enum_to_wire(correction.source),
            reason: correction.reason,
            make_time: Some(to_timestamp(correction.made_at)),
            made_by: correction.made_by,
            withdraw_time,
            withdrawn_by,
        }
    }
}

impl From<HistoryEntry> for v1::MarkChange {
    fn from(entry: HistoryEntry) -> Self {
        Self {
            number: entry.number,
            mark: enum_to_wire(entry.mark),
            machine_mark: enum_to_wire(entry.machine_mark),
            correction_id: entry.correction.map(|id| id.to_string()).unwrap_or_default(),
            unlisted: !entry.is_listed,
            change_time: Some(to_timestamp(entry.changed_at)),
        }
    }
}

impl From<MarkDetails> for v1::MarkExplanation {
    fn from(details: MarkDetails) -> Self {
        let rules = rules_to_wire(&details.rules, &details.devices, &details.zone);
        let (mut sighting_ids, mut check_in_ids) = (Vec::new(), Vec::new());
        for evidence in details.evidence {
            match evidence {
                Evidence::Sighting(id) => sighting_ids.push(id.to_string()),
                Evidence::CheckIn(id) => check_in_ids.push(id.to_string()),
            }
        }
        Self {
            session: Some(details.listed.session.into()),
            mark: Some(details.listed.mark.into()),
            rules,
            sighting_ids,
            check_in_ids,
            corrections: details.corrections.into_iter().map(Into::into).collect(),
            history: details.history.into_iter().map(Into::into).collect(),
            policy: Some(policy_to_wire(details.policy)),
        }
    }
}

impl From<ExcusedTime> for v1::Excuse {
    fn from(excuse: ExcusedTime) -> Self {
        Self {
            id: excuse.id.to_string(),
            student: Some(student_ref(excuse.student)),
            start_time: Some(to_timestamp(excuse.starts_at)),
            end_time: Some(to_timestamp(excuse.ends_at)),
            reason: excuse.reason,
            create_time: Some(to_timestamp(excuse.made_at)),
            created_by: excuse.made_by,
            withdraw_time: excuse.withdrawn_at.map(to_timestamp),
        }
    }
}

impl From<Appeal> for v1::Appeal {
    fn from(appeal: Appeal) -> Self {
        let (decide_time, decided_by) =
            appeal.decided.map_or((None, String::new()), |(at, by)| (Some(to_timestamp(at)), by));
        Self {
            id: appeal.id.to_string(),
            session: Some(appeal.session.into()),
            student: Some(student_ref(appeal.student)),
            current_mark: enum_to_wire(appeal.mark_now),
            mark: enum_to_wire(appeal.mark),
            reason: appeal.reason,
            create_time: Some(to_timestamp(appeal.made_at)),
            created_by: appeal.made_by,
            due_time: Some(to_timestamp(appeal.due_at)),
            state: enum_to_wire(appeal.state),
            answer: appeal.answer,
            decide_time,
            decided_by,
        }
    }
}

impl From<LateProposal> for v1::MarkProposal {
    fn from(proposal: LateProposal) -> Self {
        let rules = rules_to_wire(&proposal.rules, &proposal.devices, &proposal.zone);
        Self {
            session: Some(proposal.session.into()),
            student: Some(student_ref(proposal.student)),
            current_mark: enum_to_wire(proposal.mark_now),
            machine_mark: enum_to_wire(proposal.machine_mark),
            rules,
            propose_time: Some(to_timestamp(proposal.proposed_at)),
        }
    }
}
