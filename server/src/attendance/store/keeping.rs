//! What a keeper knows of the sessions that it looks after, so that a room that is being filled costs what was seen
//! since, and not all that was seen.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cavs_attendance::{Attendance, Records, Session, Sighting, Visitor, evaluate};
use cavs_types::{ClassSessionId, SessionState, SiteId, StudentId};
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{
    marks::{KEPT, write_marks},
    records::sightings,
};
use crate::{
    attendance::{SessionHead, SessionPlan},
    db::{DatabaseError, read_text},
};

/// Sightings that a keeper remembers, of all sessions together: a hundred bytes each.
const REMEMBERED: usize = 1_000_000;
/// With more new ones than that, all are read.
const MOST_NEW: usize = 5000;
/// How long only what is new is read.
const ALL_AGAIN: Duration = Duration::from_secs(60);

/// The sessions that a keeper looks after.
pub(in crate::attendance) struct Keeping {
    /// Says of a session in the database that it is looked after.
    pub(in crate::attendance) keeper: Uuid,
    known: Mutex<HashMap<(SiteId, ClassSessionId), KnownSession>>,
    remembered: usize,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { keeper: Uuid::new_v4(), known: Mutex::default(), remembered: REMEMBERED }
    }
}

impl Keeping {
    /// Takes what is known of a session: whoever has it puts it back when the database has what was made of it.
    pub(super) fn take(&self, site: SiteId, id: ClassSessionId) -> Option<KnownSession> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(site, id))
    }

    /// Remembers a session, and forgets those that nothing has happened in for longest where they are too many.
    pub(super) fn put(&self, session: KnownSession) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((session.head.site, session.head.id), session);
        let mut all: usize = known.values().map(KnownSession::size).sum();
        while all > self.remembered {
            let oldest = known.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            let Some(forgotten) = oldest.and_then(|key| known.remove(&key)) else { break };
            all -= forgotten.size();
        }
    }
}

/// A session with the records that its marks were made of.
pub(in crate::attendance) struct KnownSession {
    head: SessionHead,
    session: Session,
    /// Without the sightings.
    records: Records,
    sightings: HashMap<StudentId, Vec<Sighting>>,
    visitors: BTreeMap<StudentId, Visitor>,
    /// Of the sheet: who has made the marks since knows more.
    renewal: i64,
    used: Instant,
    /// When everything was read.
    read_at: Instant,
}

/// The sightings that a session was in the queue for; `None` where it was so for something else, too, or for a great
/// many.
pub(super) fn only_sightings(causes: Vec<Option<Vec<Uuid>>>) -> Option<Vec<Uuid>> {
    let seen: Vec<Uuid> = causes.into_iter().collect::<Option<Vec<_>>>()?.concat();
    (seen.len() <= MOST_NEW).then_some(seen)
}

impl KnownSession {
    pub(super) fn new(
        head: &SessionHead,
        plan: &SessionPlan,
        session: Session,
        mut records: Records,
        attendance: Attendance,
        renewal: i64,
    ) -> Self {
        let mut sightings: HashMap<StudentId, Vec<Sighting>> = HashMap::new();
        for sighting in std::mem::take(&mut records.sightings) {
            sightings.entry(sighting.student).or_default().push(sighting);
        }
        let visitors = attendance.visitors.into_iter().map(|visitor| (visitor.student, visitor)).collect();
        // As the transaction leaves it.
        let head = SessionHead { state: plan.state, ..head.clone() };
        let now = Instant::now();
        Self { head, session, records, sightings, visitors, renewal, used: now, read_at: now }
    }

    fn size(&self) -> usize {
        // The rest of a session counts, too.
        100 + self.sightings.values().map(Vec::len).sum::<usize>()
    }

    /// Whether nobody has made the marks since, and time has not taken the session on. The transaction holds it.
    pub(super) async fn holds(
        &self,
        transaction: &Transaction<'_>,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        // A sighting that was committed beside the windows is in no row of the queue.
        if self.read_at.elapsed() > ALL_AGAIN {
            return Ok(false);
        }
        let plan = self.head.plan(now);
        let is_going_on = matches!(plan.state, SessionState::Open | SessionState::Closing);
        if plan.state != self.head.state || !is_going_on || !plan.is_evaluated {
            return Ok(false);
        }
        let sql = "SELECT c.state, e.renewal FROM class_sessions c JOIN attendance_sheets e
                       ON e.site_id = c.site_id AND e.session_id = c.id
                   WHERE c.site_id = $1 AND c.id = $2";
        let statement = transaction.prepare_cached(sql).await?;
        let found =
            transaction.query_opt(&statement, &[&self.head.site.uuid(), &self.head.id.uuid()]).await?;
        let Some(found) = found else { return Ok(false) };
        let state: SessionState = read_text(&found, "class_sessions", "state")?;
        Ok(state == self.head.state && found.try_get::<_, i64>("renewal")? == self.renewal)
    }

    /// Makes the marks of those anew whom these sightings show, or may show.
    pub(super) async fn add(
        mut self,
        transaction: &Transaction<'_>,
        seen: &[Uuid],
        now: Timestamp,
        keeper: Uuid,
    ) -> Result<Self, DatabaseError> {
        let plan = self.head.plan(now);
        let new = sightings(transaction, &self.head, &plan, &self.session, Some(seen)).await?;
        let people: BTreeSet<StudentId> = new.iter().map(|sighting| sighting.student).collect();
        for sighting in new {
            let known = self.sightings.entry(sighting.student).or_default();
            // Read before, while it was being committed.
            if !known.iter().rev().take(MOST_NEW).any(|other| other.id == sighting.id) {
                known.push(sighting);
            }
        }
        let attendance = evaluate(&self.session, &plan.policy, &self.records_of(&people), now);
        write_marks(transaction, &self.head, &attendance.marks).await?;
        self.visitors.retain(|student, _| !people.contains(student));
        self.visitors.extend(attendance.visitors.into_iter().map(|visitor| (visitor.student, visitor)));
        let mut visitors: Vec<Visitor> = self.visitors.values().copied().collect();
        visitors.sort_by_key(|visitor| (visitor.first_seen_at, visitor.student));
        let sql = format!(
            "UPDATE attendance_sheets SET visitors = $3, evaluated_at = $4, renewal = renewal + 1, kept_by = $5,
                 kept_until = now() + interval '{KEPT}'
             WHERE site_id = $1 AND session_id = $2"
        );
        let statement = transaction.prepare_cached(&sql).await?;
        let (site, session) = (self.head.site.uuid(), self.head.id.uuid());
        transaction.execute(&statement, &[&site, &session, &Json(&visitors), &now, &keeper]).await?;
        self.renewal += 1;
        self.used = Instant::now();
        Ok(self)
    }

    /// What is known of some people: everybody's marks are made of what is known of them alone, and of the session.
    fn records_of(&self, people: &BTreeSet<StudentId>) -> Records {
        let Records { roster, check_ins, corrections, excuses, watched, .. } = &self.records;
        let of = |student: &StudentId| people.contains(student);
        Records {
            roster: roster.intersection(people).copied().collect(),
            sightings: people
                .iter()
                .filter_map(|student| self.sightings.get(student))
                .flatten()
                .cloned()
                .collect(),
            check_ins: check_ins.iter().filter(|one| of(&one.student)).cloned().collect(),
            corrections: corrections.iter().filter(|one| of(&one.student)).cloned().collect(),
            excuses: excuses.iter().filter(|one| of(&one.student)).cloned().collect(),
            watched: watched.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_is_read_alone() {
        let [a, b] = [(); 2].map(|()| Uuid::new_v4());
        assert_eq!(only_sightings(vec![Some(vec![a]), Some(vec![b])]), Some(vec![a, b]));
        assert_eq!(only_sightings(vec![Some(vec![a]), None]), None);
        assert_eq!(only_sightings(vec![]), Some(vec![]));
        assert_eq!(only_sightings(vec![Some(vec![a; MOST_NEW + 1])]), None);
    }
}
