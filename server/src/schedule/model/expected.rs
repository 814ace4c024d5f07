//! Who is expected in sight of a device, and when.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use cavs_types::{ClassSessionId, DeviceId, StudentId};
use jiff::Timestamp;

use crate::recognition::ExpectedPeople;

/// A device looks at a session for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionWindow {
    /// Which device.
    pub device: DeviceId,
    /// Which session.
    pub session: ClassSessionId,
    /// Its first moment.
    pub from: Timestamp,
    /// The moment after its last.
    pub until: Timestamp,
}

/// The sessions of a stretch of time, as one reading of the database has them.
#[derive(Debug, Default)]
pub struct ExpectedAt {
    windows: HashMap<DeviceId, Vec<SessionWindow>>,
    people: HashMap<ClassSessionId, Vec<StudentId>>,
    /// Of the sessions that were asked for together, by their ids: one object for each, so that a batch is searched
    /// with it once.
    together: Mutex<HashMap<BTreeSet<ClassSessionId>, Arc<ExpectedPeople>>>,
}

impl ExpectedAt {
    /// Of these windows, and the people of each session.
    #[must_use]
    pub fn new(windows: Vec<SessionWindow>, people: HashMap<ClassSessionId, Vec<StudentId>>) -> Self {
        let mut by_device: HashMap<DeviceId, Vec<SessionWindow>> = HashMap::new();
        for window in windows {
            by_device.entry(window.device).or_default().push(window);
        }
        Self { windows: by_device, people, together: Mutex::default() }
    }

    /// Those who are expected in sight of a device at a time: of all sessions that it looks at then. `None` where there
    /// is none, or nobody is expected.
    #[must_use]
    pub fn by(&self, device: DeviceId, at: Timestamp) -> Option<Arc<ExpectedPeople>> {
        let sessions: BTreeSet<ClassSessionId> = self
            .windows
            .get(&device)?
            .iter()
            .filter(|window| (window.from..window.until).contains(&at))
            .map(|window| window.session)
            .collect();
        if sessions.is_empty() {
            return None;
        }
        let mut together = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        let people = together.entry(sessions).or_insert_with_key(|sessions| {
            let people = sessions.iter().filter_map(|session| self.people.get(session)).flatten().copied();
            Arc::new(people.collect())
        });
        (people.count() > 0).then(|| Arc::clone(people))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_expected_where_and_when_their_session_is() {
        let [door, hall] = [(); 2].map(|()| DeviceId::generate());
        let [maths, art, empty] = [(); 3].map(|()| ClassSessionId::generate());
        let [ada, bob, cid] = [(); 3].map(|()| StudentId::generate());
        let at = |minute: i64| Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        let window = |device, session, from, until| SessionWindow {
            device,
            session,
            from: at(from),
            until: at(until),
        };
        let windows = vec![
            window(door, maths, 0, 60),
            window(door, art, 50, 120),
            window(hall, art, 50, 120),
            window(hall, empty, 200, 260),
        ];
        let people = [(maths, vec![ada, bob]), (art, vec![bob, cid])].into();
        let expected = ExpectedAt::new(windows, people);
        let by = |device, minute| {
            let people = expected.by(device, at(minute))?;
            Some([ada, bob, cid].map(|student| people.contains(student)))
        };
        assert_eq!(by(door, -1), None);
        assert_eq!(by(door, 0), Some([true, true, false]));
        assert_eq!(by(door, 55), Some([true, true, true]), "between two lessons, both are");
        assert_eq!(by(door, 60), Some([false, true, true]));
        assert_eq!(by(hall, 0), None);
        assert_eq!(by(hall, 55), Some([false, true, true]));
        assert_eq!(by(hall, 210), None, "a session of nobody");
        assert_eq!(by(DeviceId::generate(), 55), None);
        let again = [expected.by(door, at(51)).unwrap(), expected.by(door, at(59)).unwrap()];
        assert!(Arc::ptr_eq(&again[0], &again[1]), "one object for the same sessions");
    }
}
