use std::sync::Arc;

use cavs_net::{Peer, Refusals};
use cavs_proto::{enum_from_wire, status_of, to_timestamp, v1};
use cavs_types::{CredentialKind, ProtocolError};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, required_id},
    layer::Caller,
};
use crate::{
    attendance::{CardNumber, CheckInPlace, CheckIns, MarkedSession, Pin},
    biometrics::Keys,
    error::ServiceError,
    schedule::{ScheduleKey, room_name},
    text::lookup_number,
};

/// What the service is made of.
pub(super) struct CheckInApi {
    pub(super) check_ins: CheckIns,
    pub(super) keys: Arc<Keys>,
    pub(super) refusals: Arc<Refusals>,
}

impl CheckInApi {
    /// Says that a credential was refused: of whose number, by a pseudonym that is the same each time.
    fn say_refused(&self, peer: Option<&Peer>, number: &str, refused: &ServiceError) {
        let Some(peer) = peer else { return };
        let (name, reason) = (self.keys.pseudonym(number), refused.reason().as_str());
        self.refusals.log(peer.address, reason, Some(&name), "a check-in was refused");
    }
}

#[tonic::async_trait]
impl v1::check_in_service_server::CheckInService for CheckInApi {
    async fn create_session_code(
        &self,
        request: Request<v1::CreateSessionCodeRequest>,
    ) -> Result<Response<v1::CreateSessionCodeResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let session = required_id("session_id", &request.into_inner().session_id).map_err(status_of)?;
        let shown = self.check_ins.code(site, session, user).await?;
        Ok(Response::new(v1::CreateSessionCodeResponse {
            code: shown.text,
            expire_time: Some(to_timestamp(shown.expires_at)),
            renew_time: Some(to_timestamp(shown.renew_at)),
        }))
    }

    async fn check_in_with_code(
        &self,
        request: Request<v1::CheckInWithCodeRequest>,
    ) -> Result<Response<v1::CheckInWithCodeResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let v1::CheckInWithCodeRequest { code, student_number, pin } = request.into_inner();
        let number = lookup_number("student_number", &student_number).map_err(status_of)?;
        let pin = Pin::new(&pin).map_err(status_of)?;
        let done = self.check_ins.with_code(&code, &number, &pin).await;
        let done = done.inspect_err(|refused| self.say_refused(peer.as_ref(), &number, refused))?;
        Ok(Response::new(v1::CheckInWithCodeResponse { check_in: Some(checked_in(done)) }))
    }

    async fn check_in_with_card(
        &self,
        request: Request<v1::CheckInWithCardRequest>,
    ) -> Result<Response<v1::CheckInWithCardResponse>, Status> {
        use v1::check_in_with_card_request::Place;
        let Caller { user, site, .. } = caller(&request)?;
        let peer = request.extensions().get::<Peer>().cloned();
        let v1::CheckInWithCardRequest { card_number, place } = request.into_inner();
        let place = match place {
            Some(Place::SessionId(id)) => in_session(&id),
            Some(Place::RoomId(id)) => in_room(&id),
            Some(Place::RoomName(name)) => in_room_named(&name),
            None => Err(ProtocolError::Missing { field: "place" }),
        };
        let place = place.map_err(status_of)?;
        let card = CardNumber::new(&card_number).map_err(status_of)?;
        let done = self.check_ins.with_card(site, &card, place, user).await;
        let done = done.inspect_err(|refused| self.say_refused(peer.as_ref(), "a card", refused))?;
        Ok(Response::new(v1::CheckInWithCardResponse { check_in: Some(checked_in(done)) }))
    }

    async fn check_in_with_pin(
        &self,
        request: Request<v1::CheckInWithPinRequest>,
    ) -> Result<Response<v1::CheckInWithPinResponse>, Status> {
        use v1::check_in_with_pin_request::Place;
        let Caller { user, site, .. } = caller(&request)?;
        let peer = request.extensions().get::<Peer>().cloned();
        let v1::CheckInWithPinRequest { student_number, pin, place } = request.into_inner();
        let place = match place {
            Some(Place::SessionId(id)) => in_session(&id),
            Some(Place::RoomId(id)) => in_room(&id),
            Some(Place::RoomName(name)) => in_room_named(&name),
            None => Err(ProtocolError::Missing { field: "place" }),
        };
        let place = place.map_err(status_of)?;
        let number = lookup_number("student_number", &student_number).map_err(status_of)?;
        let pin = Pin::new(&pin).map_err(status_of)?;
        let done = self.check_ins.with_pin(site, (&number, &pin), place, user).await;
        let done = done.inspect_err(|refused| self.say_refused(peer.as_ref(), &number, refused))?;
        Ok(Response::new(v1::CheckInWithPinResponse { check_in: Some(checked_in(done)) }))
    }

    async fn set_student_card(
        &self,
        request: Request<v1::SetStudentCardRequest>,
    ) -> Result<Response<v1::SetStudentCardResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::SetStudentCardRequest { student_id, card_number } = request.into_inner();
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let card = CardNumber::new(&card_number).map_err(status_of)?;
        self.check_ins.set_card(site, student, &card, user).await?;
        Ok(Response::new(v1::SetStudentCardResponse {}))
    }

    async fn set_student_pin(
        &self,
        request: Request<v1::SetStudentPinRequest>,
    ) -> Result<Response<v1::SetStudentPinResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::SetStudentPinRequest { student_id, pin } = request.into_inner();
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let (pin, drawn_pin) = if pin.trim().is_empty() {
            let drawn = CheckIns::draw_pin();
            let digits = drawn.digits().to_owned();
            (drawn, digits)
        } else {
            (Pin::new(&pin).map_err(status_of)?, String::new())
        };
        self.check_ins.set_pin(site, student, &pin, user).await?;
        Ok(Response::new(v1::SetStudentPinResponse { drawn_pin }))
    }

    async fn delete_student_credential(
        &self,
        request: Request<v1::DeleteStudentCredentialRequest>,
    ) -> Result<Response<v1::DeleteStudentCredentialResponse>, Status> {
        let Caller { user, site, .. } = caller(&request)?;
        let v1::DeleteStudentCredentialRequest { student_id, kind } = request.into_inner();
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let kind: CredentialKind = enum_from_wire("kind", kind).map_err(status_of)?;
        self.check_ins.delete(site, student, kind, user).await?;
        Ok(Response::new(v1::DeleteStudentCredentialResponse {}))
    }

    async fn get_student_credentials(
        &self,
        request: Request<v1::GetStudentCredentialsRequest>,
    ) -> Result<Response<v1::GetStudentCredentialsResponse>, Status> {
        let site = caller(&request)?.site;
        let student = required_id("student_id", &request.into_inner().student_id).map_err(status_of)?;
        let found = self.check_ins.credentials(site, student).await?;
        let of = |kind| found.of(kind).map(to_timestamp);
        Ok(Response::new(v1::GetStudentCredentialsResponse {
            card_time: of(CredentialKind::Card),
            pin_time: of(CredentialKind::Pin),
        }))
    }
}

fn in_session(id: &str) -> Result<CheckInPlace, ProtocolError> {
    Ok(CheckInPlace::Session(required_id("session_id", id)?))
}

fn in_room(id: &str) -> Result<CheckInPlace, ProtocolError> {
    Ok(CheckInPlace::Room(ScheduleKey::Id(required_id("room_id", id)?)))
}

fn in_room_named(name: &str) -> Result<CheckInPlace, ProtocolError> {
    Ok(CheckInPlace::Room(ScheduleKey::Name(room_name("room_name", name)?)))
}

/// Nothing of who it was: whoever stands behind sees the reader, too.
fn checked_in((session, at): (MarkedSession, Timestamp)) -> v1::CheckedIn {
    v1::CheckedIn {
        session_id: session.id.to_string(),
        session_name: session.name,
        group_name: session.group_name,
        start_time: Some(to_timestamp(session.starts_at)),
        check_in_time: Some(to_timestamp(at)),
    }
}
