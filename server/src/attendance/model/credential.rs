//! What people show instead of their face: cards, PINs, and codes of a session.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cavs_types::{ClassSessionId, CredentialKind, ProtocolError, RoomId, SiteId};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::schedule::ScheduleKey;

/// How long a code is shown, and how long it holds: whoever has seen it has time to type.
const SHOWN: SignedDuration = SignedDuration::from_secs(15);
const HOLDS: SignedDuration = SignedDuration::from_secs(60);
/// What every code begins with.
const PREFIX: &str = "CAVS1.";
/// Site, session, the second of its end, and the epoch of the key.
const SIGNED: usize = 16 + 16 + 8 + 4;
/// The tag.
const TAG: usize = 32;

/// Number of a card.
#[derive(Debug, Clone)]
pub struct CardNumber(SecretString);

impl CardNumber {
    /// As a reader gives it.
    ///
    /// # Errors
    /// `Missing`, `Invalid`.
    pub fn new(typed: &str) -> Result<Self, ProtocolError> {
        const FIELD: &str = "card_number";
        let is_between = |c: &char| matches!(c, ':' | '-' | ' ');
        let number: String =
            typed.chars().filter(|c| !is_between(c)).map(|c| c.to_ascii_uppercase()).collect();
        if number.is_empty() {
            return Err(ProtocolError::Missing { field: FIELD });
        }
        if !(4..=64).contains(&number.len()) || !number.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(ProtocolError::invalid(FIELD, "must be 4 to 64 letters and digits"));
        }
        Ok(Self(number.into()))
    }

    pub(in crate::attendance) fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

/// A number that somebody knows.
#[derive(Debug, Clone)]
pub struct Pin(SecretString);

impl Pin {
    /// As it is typed.
    ///
    /// # Errors
    /// `Missing`, `Invalid`.
    pub fn new(typed: &str) -> Result<Self, ProtocolError> {
        const FIELD: &str = "pin";
        let pin = typed.trim();
        if pin.is_empty() {
            return Err(ProtocolError::Missing { field: FIELD });
        }
        if !(6..=12).contains(&pin.len()) || !pin.bytes().all(|c| c.is_ascii_digit()) {
            return Err(ProtocolError::invalid(FIELD, "must be 6 to 12 digits"));
        }
        Ok(Self(pin.to_owned().into()))
    }

    /// Eight digits of random bits.
    #[must_use]
    pub fn of_bits(bits: u64) -> Self {
        Self(format!("{:08}", bits % 100_000_000).into())
    }

    /// The digits, to be told once.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Which credentials a student has, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialTimes(pub Vec<(CredentialKind, Timestamp)>);

impl CredentialTimes {
    /// When one was noted; `None` where there is none.
    #[must_use]
    pub fn of(&self, kind: CredentialKind) -> Option<Timestamp> {
        self.0.iter().find(|(of, _)| *of == kind).map(|(_, at)| *at)
    }
}

/// Where somebody checks in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckInPlace {
    /// In this session.
    Session(ClassSessionId),
    /// In the session that is open in this room, of a group that they are of.
    Room(ScheduleKey<RoomId>),
}

/// A code of a session, to be shown in its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCode {
    /// Of which site.
    pub site: SiteId,
    /// Of which session.
    pub session: ClassSessionId,
    /// Until when it holds, in whole seconds.
    pub expires_at: Timestamp,
    /// The epoch of the keyring that signs it.
    pub epoch: u32,
}

/// What a code says, and its tag: nobody has looked yet whether it is right.
#[derive(Debug, PartialEq, Eq)]
pub struct UnverifiedCode {
    /// What it says.
    pub code: SessionCode,
    /// The tag that it came with.
    pub tag: [u8; TAG],
}

impl SessionCode {
    /// A code that is shown from `now` on.
    #[must_use]
    pub fn new(site: SiteId, session: ClassSessionId, now: Timestamp, epoch: u32) -> Self {
        let end = now.checked_add(HOLDS).unwrap_or(now).as_second();
        let expires_at = Timestamp::from_second(end).unwrap_or(now);
        Self { site, session, expires_at, epoch }
    }

    /// When the next one is to be shown.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        self.expires_at.checked_sub(HOLDS - SHOWN).unwrap_or(self.expires_at)
    }

    /// What is signed.
    #[must_use]
    pub fn signed(&self) -> [u8; SIGNED] {
        let mut bytes = [0; SIGNED];
        bytes[..16].copy_from_slice(self.site.uuid().as_bytes());
        bytes[16..32].copy_from_slice(self.session.uuid().as_bytes());
        bytes[32..40].copy_from_slice(&self.expires_at.as_second().to_be_bytes());
        bytes[40..].copy_from_slice(&self.epoch.to_be_bytes());
        bytes
    }

    /// As it is shown, with its tag.
    #[must_use]
    pub fn text(&self, tag: &[u8; TAG]) -> String {
        let bytes = [self.signed().as_slice(), tag].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl UnverifiedCode {
    /// Reads a code; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim().strip_prefix(PREFIX)?).ok()?;
        let (signed, tag) = bytes.split_at_checked(SIGNED)?;
        let id = |at: usize| Some(Uuid::from_bytes(signed.get(at..at + 16)?.try_into().ok()?));
        let second = i64::from_be_bytes(signed.get(32..40)?.try_into().ok()?);
        let code = SessionCode {
            site: id(0)?.into(),
            session: id(16)?.into(),
            expires_at: Timestamp::from_second(second).ok()?,
            epoch: u32::from_be_bytes(signed.get(40..)?.try_into().ok()?),
        };
        Some(Self { code, tag: tag.try_into().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cards_and_pins_are_bounded() {
        assert_eq!(CardNumber::new(" 04:a2-Bf 11").unwrap().bytes(), b"04A2BF11");
        for wrong in ["", " ", "123", "12é45", &"1".repeat(65), "12;45"] {
            assert!(CardNumber::new(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Pin::new(" 001234 ").unwrap().digits(), "001234");
        for wrong in ["", "12345", "1234567890123", "12345a", "１２３４５６"] {
            assert!(Pin::new(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Pin::of_bits(7).digits(), "00000007");
        assert!(!format!("{:?}", Pin::of_bits(7)).contains('7'), "a PIN is in no log");
    }

    #[test]
    fn a_code_is_shown_for_less_than_it_holds() {
        let now: Timestamp = "2026-11-27T08:00:00.9Z".parse().unwrap();
        let code = SessionCode::new(SiteId::generate(), ClassSessionId::generate(), now, 3);
        assert_eq!(code.expires_at, "2026-11-27T08:01:00Z".parse().unwrap());
        assert_eq!(code.renew_at(), "2026-11-27T08:00:15Z".parse().unwrap());
        let text = code.text(&[7; TAG]);
        assert_eq!(text.len(), 108);
        assert_eq!(
            UnverifiedCode::parse(&format!(" {text}\n")),
            Some(UnverifiedCode { code, tag: [7; TAG] })
        );
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_a_code_or_none(text in "\\PC{0,120}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(UnverifiedCode::parse(&text).is_none_or(|code| code.code.text(&[0; TAG]).starts_with(PREFIX)));
            let encoded = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
            if let Some(read) = UnverifiedCode::parse(&encoded) {
                let signed = read.code.signed();
                prop_assert_eq!(signed.as_slice(), &bytes[..SIGNED]);
                prop_assert_eq!(read.tag.as_slice(), &bytes[SIGNED..]);
            }
        }
    }
}
