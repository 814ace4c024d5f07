//! Marks as they change, told to those who watch a session.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cavs_types::{ClassSessionId, SiteId, StudentId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::Sheets;
use crate::{
    attendance::{SessionSheet, SheetMark},
    db::{Database, Heard},
    error::ServiceError,
    people::StudentRef,
};

const CHANNEL: &str = "cavs_marks";
/// Most who watch at a time, of all sites.
const WATCHERS: usize = 64;
/// When it is worth while to try again where there are so many.
const RETRY: Duration = Duration::from_secs(30);
/// Changes come one after another: how long those of a moment are waited for.
const GATHERED: Duration = Duration::from_millis(200);
/// Changes that a slow watcher may be behind. What it missed it finds on the sheet.
const BEHIND: usize = 64;

/// Tells of marks as they change, by whichever server.
#[derive(Clone)]
pub struct MarkFeed {
    db: Database,
    sheets: Sheets,
    /// Of this session, or perhaps of all.
    changed: broadcast::Sender<Option<(SiteId, ClassSessionId)>>,
    watchers: Arc<Semaphore>,
}

impl MarkFeed {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, sheets: &Sheets) -> Self {
        Self {
            db: db.clone(),
            sheets: sheets.clone(),
            changed: broadcast::channel(BEHIND).0,
            watchers: Arc::new(Semaphore::new(WATCHERS)),
        }
    }

    /// Follows the database until `shutdown`.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let hear = |heard: Heard<'_>| {
            let about = match heard {
                Heard::Listening => None,
                Heard::Told { payload, .. } => payload
                    .split_once(' ')
                    .and_then(|(site, session)| Some((site.parse().ok()?, session.parse().ok()?))),
            };
            // Nobody has to be there.
            let _ = self.changed.send(about);
        };
        let listening = self.db.listen_always(&[CHANNEL], "changes of marks", hear);
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = listening => {}
        }
    }

    /// Watches a session's marks.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`; `OVERLOADED`: too many watch.
    pub async fn watch(&self, site: SiteId, session: ClassSessionId) -> Result<MarkWatch, ServiceError> {
        let busy = |_| ServiceError::Busy { what: "watching", retry_in: RETRY };
        let place = Arc::clone(&self.watchers).try_acquire_owned().map_err(busy)?;
        let changed = self.changed.subscribe();
        self.sheets.sheet(site, session).await?;
        let told = BTreeMap::new();
        Ok(MarkWatch {
            sheets: self.sheets.clone(),
            changed,
            site,
            session,
            told,
            is_behind: true,
            _place: place,
        })
    }
}

/// What has changed of a session's marks.
#[derive(Debug)]
pub struct MarkNews {
    /// The sheet, with those marks alone that have changed.
    pub sheet: SessionSheet,
    /// Who was told of, and has left the roster.
    pub left: Vec<StudentRef>,
}

/// One watching.
pub struct MarkWatch {
    sheets: Sheets,
    changed: broadcast::Receiver<Option<(SiteId, ClassSessionId)>>,
    site: SiteId,
    session: ClassSessionId,
    told: BTreeMap<StudentId, SheetMark>,
    /// There may be something that was not told.
    is_behind: bool,
    _place: OwnedSemaphorePermit,
}

impl MarkWatch {
    /// Waits for marks that are others than those told before, first all of them, and for people who have left the
    /// roster. The sheet holds these marks alone.
    ///
    /// # Errors
    /// `Database`.
    pub async fn next(&mut self) -> Result<MarkNews, ServiceError> {
        let is_first = self.told.is_empty() && self.is_behind;
        loop {
            if !std::mem::replace(&mut self.is_behind, false) {
                self.heard().await;
                tokio::time::sleep(GATHERED).await;
            }
            let mut sheet = self.sheets.sheet(self.site, self.session).await?;
            let listed: BTreeSet<StudentId> = sheet.marks.iter().map(|mark| mark.student.id).collect();
            let left: Vec<StudentRef> = self
                .told
                .extract_if(.., |student, _| !listed.contains(student))
                .map(|(_, mark)| mark.student)
                .collect();
            sheet.marks.retain(|mark| self.told.get(&mark.student.id) != Some(mark));
            if is_first || !sheet.marks.is_empty() || !left.is_empty() {
                self.told.extend(sheet.marks.iter().map(|mark| (mark.student.id, mark.clone())));
                return Ok(MarkNews { sheet, left });
            }
        }
    }

    /// Waits until something of the session has changed, or may have.
    async fn heard(&mut self) {
        loop {
            match self.changed.recv().await {
                Ok(Some(about)) if about != (self.site, self.session) => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                // Nobody tells any more: the server is being stopped.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
