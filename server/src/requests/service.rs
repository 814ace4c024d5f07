use std::{sync::Arc, time::Duration};

use cavs_types::{SiteId, UserId};
use ring::digest::{SHA256, digest};
use tracing::{debug, warn};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::AnswerStore;
use crate::{
    biometrics::{Keys, Owner},
    db::Database,
    error::ServiceError,
};

/// How long a repeat is known as one.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// After so long, a request that was not done was given up, as by a server that stopped: longer than any call takes.
pub const GIVEN_UP: Duration = Duration::from_secs(120);
/// Longest answer that is kept, in bytes.
const LONGEST: usize = 64 << 10;

/// A request that says which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Where.
    pub site: SiteId,
    /// Whose ids these are.
    pub user: UserId,
    /// Drawn by the caller.
    pub id: Uuid,
    /// Path of the method.
    pub method: String,
    /// SHA-256 of the request's bytes.
    pub body_hash: [u8; 32],
}

impl RequestKey {
    /// Of a request's bytes.
    #[must_use]
    pub fn new(site: SiteId, user: UserId, id: Uuid, method: &str, body: &[u8]) -> Self {
        let mut body_hash = [0; 32];
        body_hash.copy_from_slice(digest(&SHA256, body).as_ref());
        Self { site, user, id, method: method.to_owned(), body_hash }
    }
}

/// What a request with an id is.
#[derive(Debug)]
pub enum Begun {
    /// A new one: it is to be done, and then [`Answers::finish`] or [`Answers::forget`].
    New,
    /// A repeat of one that was done, with its answer.
    Answered(Zeroizing<Vec<u8>>),
    /// A repeat of one that was done, and whose answer is not kept.
    AnswerGone,
    /// A repeat of one that is not done yet.
    UnderWay,
    /// Another request had this id.
    Other,
}

/// Answers to requests that say which they are, kept for a day, sealed.
#[derive(Clone)]
pub struct Answers {
    store: AnswerStore,
    keys: Arc<Keys>,
}

impl Answers {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, keys: &Arc<Keys>) -> Self {
        Self { store: AnswerStore::new(db), keys: Arc::clone(keys) }
    }

    /// Begins a request.
    ///
    /// # Errors
    /// `Database`.
    pub async fn begin(&self, key: &RequestKey) -> Result<Begun, ServiceError> {
        let Some(known) = self.store.begin(key, REMEMBERED, GIVEN_UP).await? else { return Ok(Begun::New) };
        if known.method != key.method || known.body_hash != key.body_hash {
            return Ok(Begun::Other);
        }
        if !known.is_done {
            return Ok(Begun::UnderWay);
        }
        let opened = known.answer.map(|sealed| self.keys.open_passing(owner(key), &sealed));
        Ok(match opened {
            Some(Ok(answer)) => Begun::Answered(answer),
            Some(Err(cause)) => {
                debug!(%cause, "an answer does not open any more");
                Begun::AnswerGone
            }
            None => Begun::AnswerGone,
        })
    }

    /// Keeps the answer to a request that was done. That it can't be kept is no failure of the request.
    pub async fn finish(&self, key: &RequestKey, answer: &[u8]) {
        let sealed = (answer.len() <= LONGEST).then(|| self.keys.seal_passing(owner(key), answer));
        let kept = match sealed.transpose() {
            Ok(sealed) => self.store.finish(key, sealed.as_deref()).await.map_err(ServiceError::from),
            Err(cause) => Err(cause.into()),
        };
        if let Err(cause) = kept {
            warn!(%cause, "the answer to a request is not kept: a repeat is told so, or does it again");
        }
    }

    /// Forgets a request that failed: a repeat tries again.
    pub async fn forget(&self, key: &RequestKey) {
        if let Err(cause) = self.store.forget(key).await {
            debug!(%cause, "a request that failed is not forgotten: a repeat has to wait");
        }
    }

    /// Forgets requests of which a repeat is none any more; how many.
    ///
    /// # Errors
    /// `Database`.
    pub async fn forget_old(&self) -> Result<u64, ServiceError> {
        Ok(self.store.delete_older(REMEMBERED).await?)
    }
}

fn owner(key: &RequestKey) -> Owner {
    Owner::Answer(key.site, key.user, key.id)
}
