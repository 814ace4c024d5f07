use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use cavs_proto::{ErrorReason, ProtocolError};
use jiff::{SignedDuration, Timestamp};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tracing::info;

use super::{App, AppError, blocking};
use crate::{
    domain::{Credentials, Role, User},
    store::{Store, StoreError},
    vault::VaultError,
};

/// How long a session lasts.
const SESSION: SignedDuration = SignedDuration::from_hours(12);
/// Failed logins of one user name before it has to wait.
const FAILURES: u32 = 5;
/// How long it has to wait, from the last failure on.
const PENALTY: Duration = Duration::from_secs(30);
/// User names whose failures are remembered at most.
const REMEMBERED: usize = 10_000;

/// A hash of no one's password, to take as long for an unknown name as for a wrong password.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$mhYbPl0sPLJMbsBDZc3oMGHWKUX5bmMFVcbZyUgVlMk";

/// Logins: how often a name failed, and how many passwords are checked at a time.
pub struct Accounts {
    failures: Mutex<HashMap<String, (u32, Instant)>>,
    /// Each check takes 19 MiB and tens of milliseconds of a core.
    checks: Semaphore,
}

/// A session that has begun.
pub struct LoggedIn {
    /// The token; only its hash is stored.
    pub token: SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub user: User,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { failures: Mutex::default(), checks: Semaphore::new(2) }
    }
}

impl Accounts {
    fn is_throttled(&self, username: &str) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(username).is_some_and(|(count, last)| *count >= FAILURES && last.elapsed() < PENALTY)
    }

    fn note(&self, username: &str, succeeded: bool) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if succeeded {
            failures.remove(username);
            return;
        }
        if failures.len() >= REMEMBERED {
            failures.retain(|_, (_, last)| last.elapsed() < PENALTY);
        }
        // An old failure counts no more; a flood of made-up names is not remembered beyond the limit.
        if failures.len() < REMEMBERED || failures.contains_key(username) {
            let entry = failures.entry(username.to_owned()).or_insert((0, Instant::now()));
            let count = if entry.1.elapsed() < PENALTY { entry.0 + 1 } else { 1 };
            *entry = (count, Instant::now());
        }
    }
}

impl App {
    /// Begins a session.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID`, `LOGIN_THROTTLED`, `OVERLOADED`.
    pub async fn log_in(&self, credentials: Credentials) -> Result<LoggedIn, AppError> {
        let username = credentials.username.clone();
        if self.accounts.is_throttled(&username) {
            let message = format!("too many failed logins; wait {} seconds", PENALTY.as_secs());
            return Err(AppError::refused(ErrorReason::LoginThrottled, message));
        }
        let known = self.store.user_by_name(&username).await?;
        let hash = known.as_ref().map_or_else(|| NOBODY.to_owned(), |(_, hash)| hash.clone());
        let permit = tokio::time::timeout(Duration::from_secs(5), self.accounts.checks.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(AppError::refused(ErrorReason::Overloaded, "too many logins at once; try again"));
        };
        let matches = blocking(move || verify(&credentials.password, &hash)).await?;
        self.accounts.note(&username, matches && known.is_some());
        let Some((user, _)) = known.filter(|_| matches) else {
            return Err(AppError::refused(ErrorReason::CredentialsInvalid, "wrong user name or password"));
        };
        let token = new_token()?;
        let expires_at = Timestamp::now() + SESSION;
        self.store.create_session(&hash_token(token.expose_secret()), user.id, expires_at).await?;
        info!(user = %user.id, "logged in");
        Ok(LoggedIn { token, expires_at, user })
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`.
    pub async fn authenticate(&self, token: &str) -> Result<User, AppError> {
        // What was never a token costs the database nothing.
        let user = match is_token(token) {
            true => self.store.session_user(&hash_token(token)).await?,
            false => None,
        };
        user.ok_or_else(|| {
            let message = "the session has ended or never was; log in";
            AppError::refused(ErrorReason::Unauthenticated, message)
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// `Store`.
    pub async fn log_out(&self, token: &str) -> Result<(), AppError> {
        Ok(self.store.delete_session(&hash_token(token)).await?)
    }
}

/// Adds a user; needs the database only, so that the first administrator can be made.
///
/// # Errors
/// `Protocol`: a weak password or a taken name. `Store`.
pub async fn create_user(store: &Store, credentials: Credentials, role: Role) -> Result<User, AppError> {
    if !credentials.is_strong() {
        return Err(ProtocolError::invalid("password", "at least 8 characters").into());
    }
    let Credentials { username, password } = credentials;
    let hash = blocking(move || {
        Argon2::default().hash_password(password.expose_secret().as_bytes()).map(|hash| hash.to_string())
    })
    .await?
    .map_err(|_| VaultError::NoRandomness)?;
    match store.create_user(&username, &hash, role).await {
        Err(StoreError::Taken) => {
            Err(ProtocolError::invalid("username", format_args!("{username:?} is taken")).into())
        }
        created => Ok(created?),
    }
}

fn verify(password: &SecretString, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
    })
}

/// 256 random bits in hexadecimal.
pub(super) fn new_token() -> Result<SecretString, AppError> {
    let mut bytes = zeroize::Zeroizing::new([0u8; 32]);
    SystemRandom::new().fill(bytes.as_mut()).map_err(|_| VaultError::NoRandomness)?;
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(text.into())
}

/// Whether a text has the form of [`new_token`]'s.
fn is_token(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Tokens have 256 bits of entropy: a plain hash is enough.
pub(super) fn hash_token(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_nobody_is_well_formed() {
        assert!(PasswordHash::new(NOBODY).is_ok());
        assert!(!verify(&SecretString::from("nobody"), NOBODY));
    }

    #[test]
    fn only_what_has_the_form_of_a_token_is_looked_up() {
        let token = new_token().unwrap();
        assert!(is_token(token.expose_secret()));
        let upper = token.expose_secret().to_uppercase().replace(|c: char| c.is_ascii_digit(), "A");
        for wrong in ["", "x", &token.expose_secret()[1..], &format!("{}0", token.expose_secret()), &upper] {
            assert!(!is_token(wrong), "{wrong}");
        }
    }

    #[test]
    fn five_failures_are_throttled_and_a_success_forgives() {
        let accounts = Accounts::default();
        for _ in 0..FAILURES {
            assert!(!accounts.is_throttled("ada"));
            accounts.note("ada", false);
        }
        assert!(accounts.is_throttled("ada") && !accounts.is_throttled("bob"));
        accounts.note("ada", true);
        assert!(!accounts.is_throttled("ada"));
    }
}
