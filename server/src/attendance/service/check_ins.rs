use std::sync::Arc;

use argon2::Argon2;
use cavs_types::{CheckInKind, ClassSessionId, CredentialKind, ErrorReason, SiteId, StudentId, UserId};
use jiff::Timestamp;
use tracing::info;
use uuid::Uuid;

use super::{Corrections, Sheets};
use crate::{
    attendance::{
        AttendanceStore, CardNumber, CheckInPlace, CredentialTimes, MarkedSession, NewCheckIn, Pin,
        SessionCode, UnverifiedCode,
    },
    biometrics::{BiometricStore, Keys, SealError},
    db::{Database, DatabaseError},
    error::{ServiceError, blocking},
};

/// Wrong PINs of a student in a row; then nobody is told for a while whether one is right.
const MOST_ATTEMPTS: i32 = 5;

/// How people show that they are there by something else than their face, by themselves.
#[derive(Clone)]
pub struct CheckIns {
    store: AttendanceStore,
    corrections: Corrections,
    sheets: Sheets,
    biometrics: BiometricStore,
    keys: Arc<Keys>,
}

/// A code, as it is shown.
#[derive(Debug)]
pub struct ShownCode {
    /// What is shown.
    pub text: String,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// When the next one is to be shown.
    pub renew_at: Timestamp,
}

impl CheckIns {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(
        db: &Database,
        store: &AttendanceStore,
        corrections: &Corrections,
        sheets: &Sheets,
        keys: &Arc<Keys>,
    ) -> Self {
        Self {
            store: store.clone(),
            corrections: corrections.clone(),
            sheets: sheets.clone(),
            biometrics: BiometricStore::new(db),
            keys: Arc::clone(keys),
        }
    }

    /// A code for a session, from now on.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`.
    pub async fn code(
        &self,
        site: SiteId,
        session: ClassSessionId,
        by: UserId,
    ) -> Result<ShownCode, ServiceError> {
        self.sheets.sheet(site, session).await?;
        let code = SessionCode::new(site, session, Timestamp::now(), self.keys.newest_epoch());
        let tag = self.keys.tag_passing(code.epoch, &code.signed())?;
        info!(%session, %by, "showed a code of a session");
        Ok(ShownCode { text: code.text(&tag), expires_at: code.expires_at, renew_at: code.renew_at() })
    }

    /// Checks somebody in who has seen a code.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID`: the code, the number or the PIN. `LOGIN_THROTTLED`, `CLASS_SESSION_STATE`.
    pub async fn with_code(
        &self,
        code: &str,
        number: &str,
        pin: &Pin,
    ) -> Result<(MarkedSession, Timestamp), ServiceError> {
        let code = self.verified(code, Timestamp::now()).ok_or_else(|| {
            let message = "the code is none, or is not shown any more; scan the one that is shown now";
            ServiceError::refused(ErrorReason::CredentialsInvalid, message)
        })?;
        let student = self.of_pin(code.site, number, pin).await?;
        self.record(code.site, code.session, student, CheckInKind::Qr, None).await
    }

    /// Checks somebody in whose card was read.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID`: nobody has the card. `CLASS_SESSION_NOT_FOUND`, `CLASS_SESSION_STATE`.
    pub async fn with_card(
        &self,
        site: SiteId,
        card: &CardNumber,
        place: CheckInPlace,
        by: UserId,
    ) -> Result<(MarkedSession, Timestamp), ServiceError> {
        let digest = self.card_digest(site, card).await?;
        let student =
            self.store.student_of_card(site, &digest).await?.ok_or_else(|| {
                ServiceError::refused(ErrorReason::CredentialsInvalid, "the card is nobody's")
            })?;
        let session = self.session_at(site, place, student).await?;
        self.record(site, session, student, CheckInKind::Card, Some(by)).await
    }

    /// Checks somebody in who has typed their number and PIN.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID`, `LOGIN_THROTTLED`; `CLASS_SESSION_NOT_FOUND`, `CLASS_SESSION_STATE`.
    pub async fn with_pin(
        &self,
        site: SiteId,
        (number, pin): (&str, &Pin),
        place: CheckInPlace,
        by: UserId,
    ) -> Result<(MarkedSession, Timestamp), ServiceError> {
        let student = self.of_pin(site, number, pin).await?;
        let session = self.session_at(site, place, student).await?;
        self.record(site, session, student, CheckInKind::Pin, Some(by)).await
    }

    /// Notes a student's card, instead of the one before.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`, `STUDENT_ERASED`; `IN_USE`: the card is another student's.
    pub async fn set_card(
        &self,
        site: SiteId,
        student: StudentId,
        card: &CardNumber,
        by: UserId,
    ) -> Result<(), ServiceError> {
        let digest = self.card_digest(site, card).await?;
        self.set(site, student, (CredentialKind::Card, &digest), by).await
    }

    /// Notes a student's PIN, instead of the one before.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`, `STUDENT_ERASED`.
    pub async fn set_pin(
        &self,
        site: SiteId,
        student: StudentId,
        pin: &Pin,
        by: UserId,
    ) -> Result<(), ServiceError> {
        let key = self.keys.student_key(&self.biometrics, site, student).await?;
        let tag = key.tag(&of_pin(pin));
        self.set(site, student, (CredentialKind::Pin, &tag), by).await
    }

    /// A PIN that nobody has chosen.
    #[must_use]
    pub fn draw_pin() -> Pin {
        // Of the 122 random bits of an id, some that are all random.
        Pin::of_bits((Uuid::new_v4().as_u128() & u128::from(u32::MAX)) as u64)
    }

    /// Takes a student's card or PIN away, if there is one.
    ///
    /// # Errors
    /// `Database`.
    pub async fn delete(
        &self,
        site: SiteId,
        student: StudentId,
        kind: CredentialKind,
        by: UserId,
    ) -> Result<(), ServiceError> {
        self.store.delete_credential(site, student, kind).await?;
        info!(%student, %kind, %by, "took a credential away");
        Ok(())
    }

    /// Which credentials a student has.
    ///
    /// # Errors
    /// `Database`.
    pub async fn credentials(
        &self,
        site: SiteId,
        student: StudentId,
    ) -> Result<CredentialTimes, ServiceError> {
        Ok(self.store.credentials(site, student).await?)
    }

    async fn set(
        &self,
        site: SiteId,
        student: StudentId,
        credential: (CredentialKind, &[u8; 32]),
        by: UserId,
    ) -> Result<(), ServiceError> {
        match self.store.set_credential(site, student, credential, by).await {
            Err(DatabaseError::Taken(_)) => {
                Err(ServiceError::refused(ErrorReason::InUse, "the card is another student's"))
            }
            Err(DatabaseError::NotFound) => {
                let message = format!("no student has the id {student}");
                Err(ServiceError::refused(ErrorReason::StudentNotFound, message))
            }
            Err(other) => Err(other.into()),
            Ok(()) => {
                info!(%student, kind = %credential.0, %by, "noted a credential");
                Ok(())
            }
        }
    }

    /// What a code says, where it is one of ours that is still shown.
    fn verified(&self, text: &str, now: Timestamp) -> Option<SessionCode> {
        let UnverifiedCode { code, tag } = UnverifiedCode::parse(text)?;
        let is_right = self.keys.verifies_passing(code.epoch, &code.signed(), &tag);
        (is_right && now < code.expires_at).then_some(code)
    }

    /// Whose number and PIN these are.
    async fn of_pin(&self, site: SiteId, number: &str, pin: &Pin) -> Result<StudentId, ServiceError> {
        let wrong =
            || ServiceError::refused(ErrorReason::CredentialsInvalid, "the number or the PIN is wrong");
        let (student, tag) = self.store.pin_of_number(site, number).await?.ok_or_else(wrong)?;
        // Counted first, so that nobody tries many at once.
        if self.store.count_attempt(site, student, MOST_ATTEMPTS).await? > MOST_ATTEMPTS.unsigned_abs() {
            let message = "too many wrong PINs; wait 15 minutes, or have a new one set";
            return Err(ServiceError::refused(ErrorReason::LoginThrottled, message));
        }
        let key = self.keys.student_key(&self.biometrics, site, student).await?;
        if !key.verifies(&of_pin(pin), &tag) {
            return Err(wrong());
        }
        self.store.forget_attempts(site, student).await?;
        Ok(student)
    }

    async fn session_at(
        &self,
        site: SiteId,
        place: CheckInPlace,
        student: StudentId,
    ) -> Result<ClassSessionId, ServiceError> {
        match place {
            CheckInPlace::Session(session) => Ok(session),
            CheckInPlace::Room(room) => {
                let found = self.store.open_session_in(site, &room, student, Timestamp::now()).await?;
                found.ok_or_else(|| {
                    let message = "no session of a group of theirs is open in the room";
                    ServiceError::refused(ErrorReason::ClassSessionNotFound, message)
                })
            }
        }
    }

    async fn record(
        &self,
        site: SiteId,
        session: ClassSessionId,
        student: StudentId,
        kind: CheckInKind,
        by: Option<UserId>,
    ) -> Result<(MarkedSession, Timestamp), ServiceError> {
        let at = Timestamp::now();
        let new = NewCheckIn { session, student, kind, at };
        let sheet = self.corrections.check_in(site, &new, by).await?;
        Ok((sheet.session, at))
    }

    /// What a card is found by.
    async fn card_digest(&self, site: SiteId, card: &CardNumber) -> Result<[u8; 32], ServiceError> {
        let (salt, card) = (self.store.card_salt(site).await?, card.clone());
        let hashed = blocking(move || {
            let mut digest = [0; 32];
            Argon2::default().hash_password_into(card.bytes(), &salt, &mut digest).map(|()| digest)
        });
        // Salt and length are right.
        Ok(hashed.await?.map_err(|_| SealError::NoRandomness)?)
    }
}

/// What is tagged of a PIN: no name begins so.
fn of_pin(pin: &Pin) -> Vec<u8> {
    [b"\0pin\0".as_slice(), pin.digits().as_bytes()].concat()
}
