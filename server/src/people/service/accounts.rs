use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use cavs_types::{ErrorReason, ProtocolError, SiteId};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tracing::info;

use super::sites::no_site;
use crate::{
    biometrics::SealError,
    db::{Database, DatabaseError},
    error::{ServiceError, blocking},
    people::{Credentials, Grant, NoSite, SiteKey, SiteRole, User, UserStore, only_site},
    text,
    token::{hash_token, is_token, new_token},
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
#[derive(Clone)]
pub struct Accounts {
    store: UserStore,
    attempts: Arc<Attempts>,
}

struct Attempts {
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

/// Who is calling, and which site they may mean.
#[derive(Debug)]
pub struct Session {
    /// Who.
    pub user: User,
    /// The site that they say.
    named: Option<SiteKey>,
    /// Two at most.
    meant: Vec<SiteRole>,
}

impl Session {
    /// The site of the call, and what the caller may do there.
    ///
    /// # Errors
    /// `SITE_NOT_FOUND`, also where there is one that the caller has no role in; `SITE_REQUIRED`.
    pub fn site(self) -> Result<SiteRole, ServiceError> {
        only_site(self.meant).map_err(|why| match (why, self.named) {
            (NoSite::None, Some(key)) => no_site(&key),
            (NoSite::None, None) => {
                ServiceError::refused(ErrorReason::SiteNotFound, "you have a role in no site")
            }
            (NoSite::Several, _) => {
                let message = "you have several sites: name one in the request's metadata `cavs-site`, by its id \
                               or its name (`--site` or CAVS_SITE of `cavs`)";
                ServiceError::refused(ErrorReason::SiteRequired, message)
            }
        })
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self { failures: Mutex::default(), checks: Semaphore::new(2) }
    }
}

impl Attempts {
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

impl Accounts {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { store: UserStore::new(db), attempts: Arc::default() }
    }

    /// Begins a session.
    ///
    /// # Errors
    /// `CREDENTIALS_INVALID`, `LOGIN_THROTTLED`, `OVERLOADED`.
    pub async fn log_in(&self, credentials: Credentials) -> Result<LoggedIn, ServiceError> {
        let username = credentials.username.clone();
        if self.attempts.is_throttled(&username) {
            let message = format!("too many failed logins; wait {} seconds", PENALTY.as_secs());
            return Err(ServiceError::refused(ErrorReason::LoginThrottled, message));
        }
        let known = self.store.user_by_name(&username).await?;
        let hash = known.as_ref().map_or_else(|| NOBODY.to_owned(), |(_, hash)| hash.clone());
        let permit = tokio::time::timeout(Duration::from_secs(5), self.attempts.checks.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(ServiceError::refused(ErrorReason::Overloaded, "too many logins at once; try again"));
        };
        let matches = blocking(move || verify(&credentials.password, &hash)).await?;
        self.attempts.note(&username, matches && known.is_some());
        let Some((user, _)) = known.filter(|_| matches) else {
            return Err(ServiceError::refused(
                ErrorReason::CredentialsInvalid,
                "wrong user name or password",
            ));
        };
        let token = new_token()?;
        let expires_at = Timestamp::now() + SESSION;
        self.store.create_session(&hash_token(token.expose_secret()), user.id, expires_at).await?;
        info!(user = %user.id, "logged in");
        Ok(LoggedIn { token, expires_at, user })
    }

    /// Whose token it is, and which site they may mean; `named` is the one that they say.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`.
    pub async fn authenticate(&self, token: &str, named: Option<SiteKey>) -> Result<Session, ServiceError> {
        // What was never a token costs the database nothing.
        let session = match is_token(token) {
            true => self.store.session(&hash_token(token), named.as_ref()).await?,
            false => None,
        };
        let (user, meant) = session.ok_or_else(|| {
            let message = "the session has ended or never was; log in";
            ServiceError::refused(ErrorReason::Unauthenticated, message)
        })?;
        Ok(Session { user, named, meant })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// `Database`.
    pub async fn log_out(&self, token: &str) -> Result<(), ServiceError> {
        Ok(self.store.delete_session(&hash_token(token)).await?)
    }
}

/// Adds a user; needs the database only, so that the first one can be made.
///
/// # Errors
/// `Protocol`: a weak password or a taken name; `SITE_NOT_FOUND`, `SITE_REQUIRED`. `Database`.
pub async fn create_user(
    db: &Database,
    credentials: Credentials,
    grant: Grant,
) -> Result<User, ServiceError> {
    if !credentials.is_strong() {
        return Err(ProtocolError::invalid("password", "at least 8 characters").into());
    }
    let Credentials { username, password } = credentials;
    let store = UserStore::new(db);
    let grant = in_a_site(&store, grant).await?;
    let hash = blocking(move || {
        Argon2::default().hash_password(password.expose_secret().as_bytes()).map(|hash| hash.to_string())
    })
    .await?
    .map_err(|_| SealError::NoRandomness)?;
    match store.create_user(&username, &hash, &grant).await {
        Err(DatabaseError::Taken(_)) => {
            Err(ProtocolError::invalid("username", format_args!("{username:?} is taken")).into())
        }
        created => Ok(created?),
    }
}

/// Gives somebody a role in a site, in the place of the one that they had there, or makes them an operator.
///
/// # Errors
/// `Protocol`: no such user; `SITE_NOT_FOUND`, `SITE_REQUIRED`. `Database`.
pub async fn grant(db: &Database, username: &str, grant: Grant) -> Result<(), ServiceError> {
    let username = text::required("username", text::identifier("username", username, 64)?)?;
    let store = UserStore::new(db);
    let grant = in_a_site(&store, grant).await?;
    match store.grant(&username, &grant).await {
        Err(DatabaseError::NotFound) => {
            Err(ProtocolError::invalid("username", format_args!("nobody is called {username:?}")).into())
        }
        granted => Ok(granted?),
    }
}

/// Finds the site of a role.
async fn in_a_site(store: &UserStore, grant: Grant) -> Result<Grant<SiteId>, ServiceError> {
    let (role, named) = match grant {
        Grant::Operator => return Ok(Grant::Operator),
        Grant::Role(role, named) => (role, named),
    };
    let found = store.sites(named.as_ref()).await?;
    match (found.as_slice(), named) {
        ([site], _) => Ok(Grant::Role(role, *site)),
        (_, None) => {
            Err(ServiceError::refused(ErrorReason::SiteRequired, "say in which site: give --site NAME"))
        }
        (_, Some(SiteKey::Id(id))) => {
            Err(ServiceError::refused(ErrorReason::SiteNotFound, format!("no active site has the id {id}")))
        }
        (_, Some(SiteKey::Name(name))) => {
            let message = format!("no active site is named {name:?}");
            Err(ServiceError::refused(ErrorReason::SiteNotFound, message))
        }
    }
}

fn verify(password: &SecretString, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
    })
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
    fn five_failures_are_throttled_and_a_success_forgives() {
        let attempts = Attempts::default();
        for _ in 0..FAILURES {
            assert!(!attempts.is_throttled("ada"));
            attempts.note("ada", false);
        }
        assert!(attempts.is_throttled("ada") && !attempts.is_throttled("bob"));
        attempts.note("ada", true);
        assert!(!attempts.is_throttled("ada"));
    }
}
