//! What follows from a file for the sessions that there are.

use std::collections::{BTreeSet, HashMap};

use cavs_types::{CalendarId, ClassSessionId, RoomId, SessionFormat, SessionSource, SessionState};

use super::{KnownSchedule, SessionFile, SessionImportOptions, WantedSession};
use crate::{
    people::ImportProblem,
    schedule::{ClassSession, NewClassSession, ScheduleVersion},
};

/// Most sessions of one file.
pub(super) const MOST: usize = 50_000;

/// A session that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSession {
    /// As it is.
    pub session: ClassSession,
    /// It was in no file of its calendar any more, and so was cancelled: one that has it again brings it back.
    pub is_cancelled_by_import: bool,
}

/// Changes of sessions, and why there are no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionPlan {
    /// Rooms to be added.
    pub new_rooms: Vec<(RoomId, String)>,
    /// To be added.
    pub create: Vec<NewClassSession>,
    /// To be changed, with the versions that they have; and whether they take place again.
    pub update: Vec<(NewClassSession, ScheduleVersion, bool)>,
    /// To be cancelled, with the versions that they have.
    pub cancel: Vec<(ClassSessionId, ScheduleVersion)>,
    /// Are so already.
    pub unchanged: u64,
    /// Differ from the file, but have begun, or were cancelled by a person.
    pub kept: u64,
    /// Events that are of no group, all day, or out of the days that are looked at.
    pub skipped: u64,
    /// In the order of the file.
    pub problems: Vec<ImportProblem>,
    /// Columns that mean nothing here.
    pub ignored_columns: Vec<String>,
}

impl SessionPlan {
    /// Compares a file with the sessions that there are: those of its calendar, or without one those of the file's
    /// groups at the file's starts that are not cancelled.
    #[must_use]
    pub fn new(
        file: SessionFile,
        there: Vec<KnownSession>,
        calendar: Option<CalendarId>,
        known: &KnownSchedule,
        options: &SessionImportOptions,
    ) -> Self {
        let SessionFile { wanted, problems, ignored_columns, skipped } = file;
        let mut plan = Self { problems, ignored_columns, skipped, ..Self::default() };
        if wanted.len() > MOST {
            let message = format!("holds more than {MOST} sessions");
            plan.problems.push(ImportProblem::new(&wanted[MOST].place, None, message));
            return plan;
        }
        let of_key = |found: &KnownSession| match calendar {
            Some(_) => found.session.external_id.clone(),
            None => format!("{} {}", found.session.group.id, found.session.times.starts_at()),
        };
        let mut there: HashMap<String, KnownSession> =
            there.into_iter().map(|found| (of_key(&found), found)).collect();
        let mut rooms = known.rooms.clone();
        let mut said: HashMap<String, u64> = HashMap::with_capacity(wanted.len());
        for wanted in &wanted {
            if let Some(line) = said.insert(wanted.key.clone(), wanted.place.line) {
                let message = format!("line {line} speaks of the same session");
                plan.problems.push(ImportProblem::new(&wanted.place, None, message));
                continue;
            }
            match plan.rooms_of(wanted, &mut rooms, options) {
                Ok(rooms) => plan.take(wanted, rooms, there.remove(&wanted.key), calendar, options.format),
                Err(problem) => plan.problems.push(problem),
            }
        }
        if calendar.is_some() {
            let gone = there.into_values().filter(|found| {
                let session = &found.session;
                session.state == SessionState::Planned && session.times.starts_at() > known.now
            });
            plan.cancel = gone.map(|found| (found.session.id, found.session.version)).collect();
            plan.cancel.sort_by_key(|(id, _)| *id);
        }
        plan.problems.sort_by(|a, b| a.place.cmp(&b.place));
        plan
    }

    /// Whether it may be done.
    #[must_use]
    pub const fn is_wanted(&self, options: &SessionImportOptions) -> bool {
        !options.dry_run && self.problems.is_empty()
    }

    /// The rooms of a session, by their names, where the file says any; those that are new are noted.
    fn rooms_of(
        &mut self,
        wanted: &WantedSession,
        rooms: &mut HashMap<String, RoomId>,
        options: &SessionImportOptions,
    ) -> Result<Option<Vec<RoomId>>, ImportProblem> {
        let Some(names) = &wanted.rooms else { return Ok(None) };
        let mut found = BTreeSet::new();
        for name in names {
            match rooms.get(name) {
                Some(id) => found.insert(*id),
                None if options.create_rooms => {
                    let id = RoomId::generate();
                    rooms.insert(name.clone(), id);
                    self.new_rooms.push((id, name.clone()));
                    found.insert(id)
                }
                None => {
                    let message = format!("no room is named {name:?}");
                    return Err(ImportProblem::new(&wanted.place, Some("room"), message));
                }
            };
        }
        Ok(Some(found.into_iter().collect()))
    }

    fn take(
        &mut self,
        wanted: &WantedSession,
        rooms: Option<Vec<RoomId>>,
        there: Option<KnownSession>,
        calendar: Option<CalendarId>,
        format: SessionFormat,
    ) {
        let mut new = NewClassSession {
            id: ClassSessionId::generate(),
            group: wanted.group,
            name: wanted.name.clone(),
            times: wanted.times,
            rooms: rooms.clone().unwrap_or_default(),
            source: match format {
                SessionFormat::Csv => SessionSource::Csv,
                SessionFormat::Icalendar => SessionSource::Icalendar,
            },
            external_id: calendar.map(|_| wanted.key.clone()).unwrap_or_default(),
            calendar,
        };
        let Some(KnownSession { session, is_cancelled_by_import }) = there else {
            self.create.push(new);
            return;
        };
        new.id = session.id;
        let of_it: BTreeSet<RoomId> = session.rooms.iter().map(|room| room.id).collect();
        if rooms.is_none() {
            new.rooms = of_it.iter().copied().collect();
        }
        let is_same = new.group == session.group.id
            && new.name == session.name
            && new.times == session.times
            && new.rooms.iter().copied().eq(of_it);
        match session.state {
            SessionState::Cancelled if is_cancelled_by_import => {
                self.update.push((new, session.version, true));
            }
            SessionState::Planned if !is_same => self.update.push((new, session.version, false)),
            SessionState::Cancelled => self.kept += 1,
            SessionState::Planned | SessionState::Open | SessionState::Closing | SessionState::Finalised => {
                if is_same {
                    self.unchanged += 1
                } else {
                    self.kept += 1
                }
            }
        }
    }
}
