use cavs_proto::{enum_from_wire, enum_to_wire, status_of, to_timestamp, v1};
use cavs_reports::Rate;
use cavs_types::{MailState, ProtocolError};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    convert::{caller, page_request, student_ref, total_to_wire},
    layer::Caller,
};
use crate::{
    mail::{NewWarningPolicy, WarningContact, WarningMail, WarningMails, WarningPolicy},
    page::ListName,
};

pub(super) struct WarningApi(WarningMails);

impl WarningApi {
    pub(super) fn new(mails: WarningMails) -> Self {
        Self(mails)
    }
}

#[tonic::async_trait]
impl v1::warning_service_server::WarningService for WarningApi {
    async fn get_warning_policy(
        &self,
        request: Request<v1::GetWarningPolicyRequest>,
    ) -> Result<Response<v1::GetWarningPolicyResponse>, Status> {
        let site = caller(&request)?.site;
        let policy = Some(policy_to_wire(self.0.policy(site).await?));
        Ok(Response::new(v1::GetWarningPolicyResponse { policy }))
    }

    async fn update_warning_policy(
        &self,
        request: Request<v1::UpdateWarningPolicyRequest>,
    ) -> Result<Response<v1::UpdateWarningPolicyResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let policy = request.into_inner().policy;
        let policy = policy.ok_or(ProtocolError::Missing { field: "policy" }).map_err(status_of)?;
        let new = NewWarningPolicy::try_from(policy).map_err(status_of)?;
        let policy = Some(policy_to_wire(self.0.set_policy(site, new, user).await?));
        Ok(Response::new(v1::UpdateWarningPolicyResponse { policy }))
    }

    async fn list_warning_mails(
        &self,
        request: Request<v1::ListWarningMailsRequest>,
    ) -> Result<Response<v1::ListWarningMailsResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let state = match request.state {
            0 => None,
            state => Some(enum_from_wire::<MailState>("state", state).map_err(status_of)?),
        };
        let list = ListName::new("warning mails").with("state", state.map(MailState::as_str));
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.0.list(site, state, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListWarningMailsResponse {
            mails: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn resend_warning_mail(
        &self,
        request: Request<v1::ResendWarningMailRequest>,
    ) -> Result<Response<v1::ResendWarningMailResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let id = request.into_inner().mail_id;
        let id: Uuid =
            id.parse().map_err(|error: uuid::Error| status_of(ProtocolError::invalid("mail_id", error)))?;
        let mail = Some(self.0.resend(site, id, user).await?.into());
        Ok(Response::new(v1::ResendWarningMailResponse { mail }))
    }
}

impl TryFrom<v1::WarningPolicy> for NewWarningPolicy {
    type Error = ProtocolError;

    fn try_from(policy: v1::WarningPolicy) -> Result<Self, ProtocolError> {
        let below = u16::try_from(policy.below_permille).ok().and_then(Rate::of_permille);
        let contacts =
            policy.contacts.iter().map(|contact| WarningContact::new(&contact.section, &contact.email));
        Ok(Self {
            is_enabled: policy.enabled,
            below: below.ok_or_else(|| ProtocolError::invalid("below_permille", "must be from 1 to 1000"))?,
            least_sessions: policy.least_sessions,
            to_students: policy.to_students,
            contacts: contacts.collect::<Result<_, _>>()?,
        })
    }
}

fn policy_to_wire((WarningPolicy { policy, changed }, can_send): (WarningPolicy, bool)) -> v1::WarningPolicy {
    let (update_time, updated_by) =
        changed.map_or((None, String::new()), |(at, by)| (Some(to_timestamp(at)), by));
    let contact = |WarningContact { section, email }| v1::WarningContact { section, email };
    v1::WarningPolicy {
        enabled: policy.is_enabled,
        below_permille: policy.below.permille().into(),
        least_sessions: policy.least_sessions,
        to_students: policy.to_students,
        contacts: policy.contacts.into_iter().map(contact).collect(),
        update_time,
        updated_by,
        can_send,
    }
}

impl From<WarningMail> for v1::WarningMail {
    fn from(mail: WarningMail) -> Self {
        let (attended, counted) = mail.share;
        Self {
            id: mail.id.to_string(),
            student: Some(student_ref(mail.student)),
            term_name: mail.term,
            below_permille: mail.below.permille().into(),
            recipient: mail.recipient,
            attended,
            counted,
            state: enum_to_wire(mail.state),
            attempts: mail.attempts,
            problem: mail.problem,
            create_time: Some(to_timestamp(mail.created_at)),
            send_time: mail.sent_at.map(to_timestamp),
        }
    }
}
