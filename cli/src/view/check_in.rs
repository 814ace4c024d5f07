//! Check-ins, codes of sessions, and what students have instead of their face.

use cavs_proto::v1;
use jiff::Timestamp;
use qrcode::{QrCode, render::unicode::Dense1x2};
use serde::Serialize;

use super::{
    layout::{facts, moment},
    time,
};
use crate::printer::{Report, Style};

/// A check-in that was recorded.
#[derive(Debug, Serialize)]
pub struct CheckedInView {
    /// UUID.
    pub session_id: String,
    /// May be empty.
    pub session_name: String,
    /// Of whom the session is.
    pub group_name: String,
    /// RFC 3339.
    pub start_time: Option<Timestamp>,
    /// RFC 3339.
    pub check_in_time: Option<Timestamp>,
}

/// A code of a session.
#[derive(Debug, Serialize)]
pub struct SessionCodeView {
    /// To be shown in the room.
    pub code: String,
    /// RFC 3339.
    pub expire_time: Option<Timestamp>,
    /// When the next one is to be shown; RFC 3339.
    pub renew_time: Option<Timestamp>,
}

/// What a student has instead of their face.
#[derive(Debug, Serialize)]
pub struct CredentialsView {
    /// Since when they have a card; RFC 3339, `null`: none.
    pub card_time: Option<Timestamp>,
    /// Since when they have a PIN; RFC 3339, `null`: none.
    pub pin_time: Option<Timestamp>,
    /// The PIN that was drawn; empty otherwise.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub drawn_pin: String,
}

impl From<v1::CheckedIn> for CheckedInView {
    fn from(done: v1::CheckedIn) -> Self {
        Self {
            session_id: done.session_id,
            session_name: done.session_name,
            group_name: done.group_name,
            start_time: time(done.start_time.as_ref()),
            check_in_time: time(done.check_in_time.as_ref()),
        }
    }
}

impl From<v1::CreateSessionCodeResponse> for SessionCodeView {
    fn from(shown: v1::CreateSessionCodeResponse) -> Self {
        let (expire_time, renew_time) = (time(shown.expire_time.as_ref()), time(shown.renew_time.as_ref()));
        Self { code: shown.code, expire_time, renew_time }
    }
}

impl From<v1::GetStudentCredentialsResponse> for CredentialsView {
    fn from(found: v1::GetStudentCredentialsResponse) -> Self {
        let (card_time, pin_time) = (time(found.card_time.as_ref()), time(found.pin_time.as_ref()));
        Self { card_time, pin_time, drawn_pin: String::new() }
    }
}

impl Report for CheckedInView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("checked in", moment(style, self.check_in_time)),
                ("session", format!("{} {}", self.group_name, self.session_name).trim().to_owned()),
                ("begins", moment(style, self.start_time)),
            ],
        )
    }
}

impl Report for SessionCodeView {
    /// As a QR code that a phone reads from a screen or a projector, with the code below.
    fn table(&self, style: &Style) -> String {
        let picture = QrCode::new(self.code.as_bytes()).map(|code| code.render::<Dense1x2>().build());
        let expires = moment(style, self.expire_time);
        format!("{}\n\n{}\nholds until {expires}", picture.unwrap_or_default(), self.code)
    }
}

impl Report for CredentialsView {
    fn table(&self, style: &Style) -> String {
        let since = |at: Option<Timestamp>| match at {
            Some(_) => format!("since {}", moment(style, at)),
            None => "none".to_owned(),
        };
        facts(
            style,
            &[
                ("card", since(self.card_time)),
                ("PIN", since(self.pin_time)),
                ("the PIN", self.drawn_pin.clone()),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_picture_with_its_text() {
        let code = SessionCodeView { code: "CAVS1.abc".into(), expire_time: None, renew_time: None };
        let zone = jiff::tz::TimeZone::UTC;
        let text = code.table(&Style { width: None, zone, header: true, exact: false });
        assert!(text.contains('█') && text.contains("\nCAVS1.abc\n"), "{text}");
    }
}
