//! What class sessions say of people, over the wire.

mod from_wire;
mod policy;
mod to_wire;

use std::{pin::Pin, time::Duration};

use cavs_proto::{enum_from_wire, status_of, to_timestamp, v1};
use cavs_types::{AppealState, ErrorReason, Role};
use futures_util::{Stream, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, optional_id, page_request, required_id, student_ref, total_to_wire},
    layer::Caller,
};
use crate::{
    attendance::{
        AppealDecision, Appeals, Corrections, Excuses, MarkFeed, MarkFilter, MarkNews, NewAppeal, NewCheckIn,
        NewExcuse, Policies, PolicyOf, PolicyVersion, Sheets, StoredPolicy, reason_text,
    },
    page::ListName,
};
use from_wire::{correction_from_wire, optional_time};
use policy::{PolicyChange, policy_to_wire};

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
        let Caller { site, role, .. } = caller(&request)?;
        let session = required_id("session_id", &request.into_inner().session_id).map_err(status_of)?;
        let mut sheet: v1::Sheet = self.sheets.sheet_with_false_matches(site, session).await?.into();
        hide_last_seen(role, sheet.marks.iter_mut());
        Ok(Response::new(v1::GetSheetResponse { sheet: Some(sheet) }))
    }

    async fn list_marks(
        &self,
        request: Request<v1::ListMarksRequest>,
    ) -> Result<Response<v1::ListMarksResponse>, Status> {
        let Caller { site, role, .. } = caller(&request)?;
        let request = request.into_inner();
        let filter = MarkFilter::try_from(&request).map_err(status_of)?;
        let list = filter.list_name();
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.sheets.list(site, &filter, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        let mut marks: Vec<v1::ListedMark> = found.items.into_iter().map(Into::into).collect();
        hide_last_seen(role, marks.iter_mut().filter_map(|listed| listed.mark.as_mut()));
        Ok(Response::new(v1::ListMarksResponse {
            marks,
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
        let Caller { site, role, .. } = caller(&request)?;
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
                        let MarkNews { sheet, left } = changed?;
                        let left_students = left.into_iter().map(student_ref).collect();
                        let mut sheet: v1::Sheet = sheet.into();
                        hide_last_seen(role, sheet.marks.iter_mut());
                        let told = v1::WatchMarksResponse { sheet: Some(sheet), left_students };
                        Ok(Some((told, watch)))
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
        let sheet = self.corrections.check_in(site, &new, Some(user)).await?;
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

/// Who checks in by a card, a code or a PIN is seen once: when somebody was last seen would say who does. Whoever may ask
/// why somebody has a mark may know it.
pub(super) fn hide_last_seen<'a>(role: Role, marks: impl Iterator<Item = &'a mut v1::PersonMark>) {
    if !role.includes(Role::Reviewer) {
        marks.for_each(|mark| mark.last_seen_time = None);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_sheet_does_not_say_who_checks_in() {
        let shown = |role| {
            let mut mark = v1::PersonMark {
                first_seen_time: Some(to_timestamp(Timestamp::UNIX_EPOCH)),
                last_seen_time: Some(to_timestamp(Timestamp::UNIX_EPOCH)),
                ..v1::PersonMark::default()
            };
            hide_last_seen(role, std::iter::once(&mut mark));
            (mark.first_seen_time.is_some(), mark.last_seen_time.is_some())
        };
        assert_eq!([Role::Admin, Role::Reviewer].map(shown), [(true, true); 2]);
        assert_eq!(shown(Role::Viewer), (true, false));
    }
}
