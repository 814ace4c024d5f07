use std::time::Duration;

use uuid::Uuid;

use super::RequestKey;
use crate::db::{Database, DatabaseError};

/// Answers in the database.
#[derive(Clone)]
pub struct AnswerStore {
    db: Database,
}

/// A request of an id that came before.
#[derive(Debug)]
pub struct KnownRequest {
    /// Path of the method.
    pub method: String,
    /// SHA-256 of the request's bytes.
    pub body_hash: Vec<u8>,
    /// Whether it was done.
    pub is_done: bool,
    /// The sealed answer, where it is kept.
    pub answer: Option<Vec<u8>>,
}

impl AnswerStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Notes that a request is begun; the one of the same id that came before, where there is one: not where it is older
    /// than `remembered`, nor where it was begun, and not done, for `given_up`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn begin(
        &self,
        key: &RequestKey,
        remembered: Duration,
        given_up: Duration,
    ) -> Result<Option<KnownRequest>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = "INSERT INTO request_answers AS r (site_id, user_id, request_id, method, body_hash)
                   VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (site_id, user_id, request_id) DO UPDATE
                       SET method = excluded.method, body_hash = excluded.body_hash, begun_at = now(),
                           is_done = false, answer = NULL
                       WHERE r.begun_at < now() - $6 * interval '1 second'
                           OR NOT r.is_done AND r.begun_at < now() - $7 * interval '1 second'
                               AND (r.method, r.body_hash) = (excluded.method, excluded.body_hash)
                   RETURNING true";
        let (site, user, id) = ids(key);
        let hash = key.body_hash.as_slice();
        let (remembered, given_up) = (remembered.as_secs_f64(), given_up.as_secs_f64());
        let begun =
            client.query_opt(sql, &[&site, &user, &id, &key.method, &hash, &remembered, &given_up]).await?;
        if begun.is_some() {
            return Ok(None);
        }
        let sql = "SELECT method, body_hash, is_done, answer FROM request_answers
                   WHERE site_id = $1 AND user_id = $2 AND request_id = $3";
        // Whoever had begun it may have given it up since: then the caller is told to come again.
        let row = client.query_opt(sql, &[&site, &user, &id]).await?;
        Ok(Some(match row {
            Some(row) => KnownRequest {
                method: row.try_get("method")?,
                body_hash: row.try_get("body_hash")?,
                is_done: row.try_get("is_done")?,
                answer: row.try_get("answer")?,
            },
            None => KnownRequest {
                method: key.method.clone(),
                body_hash: key.body_hash.to_vec(),
                is_done: false,
                answer: None,
            },
        }))
    }

    /// Notes that a request was done, with its sealed answer where that is kept.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn finish(&self, key: &RequestKey, answer: Option<&[u8]>) -> Result<(), DatabaseError> {
        let sql = "UPDATE request_answers SET is_done = true, answer = $4
                   WHERE site_id = $1 AND user_id = $2 AND request_id = $3";
        let (site, user, id) = ids(key);
        self.db.client().await?.execute(sql, &[&site, &user, &id, &answer]).await?;
        Ok(())
    }

    /// Forgets a request that was not done.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget(&self, key: &RequestKey) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM request_answers
                   WHERE site_id = $1 AND user_id = $2 AND request_id = $3 AND NOT is_done";
        let (site, user, id) = ids(key);
        self.db.client().await?.execute(sql, &[&site, &user, &id]).await?;
        Ok(())
    }

    /// Forgets requests that are older; how many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_older(&self, than: Duration) -> Result<u64, DatabaseError> {
        let sql = "DELETE FROM request_answers WHERE begun_at < now() - $1 * interval '1 second'";
        Ok(self.db.client().await?.execute(sql, &[&than.as_secs_f64()]).await?)
    }
}

fn ids(key: &RequestKey) -> (Uuid, Uuid, Uuid) {
    (key.site.uuid(), key.user.uuid(), key.id)
}
