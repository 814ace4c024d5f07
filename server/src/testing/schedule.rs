//! Groups, rooms and class sessions: what the database keeps by itself, whoever asks.

use cavs_types::{
    ClassSessionId, DeviceKind, DeviceRole, ErrorReason, GroupId, SessionSource, SessionState, StudentId,
};
use jiff::{SignedDuration, Timestamp, civil::date};

use crate::{
    db::DatabaseError,
    fleet::{DeviceKey, NewDevice},
    page::{ListName, PageRequest},
    schedule::{
        GroupChange, ListPosition, MemberEnd, NewClassSession, NewGroup, ScheduleKey, ScheduleStore,
        ScheduleVersion, SessionChange, SessionFilter, SessionTimes,
    },
    services::Services,
    testing::{MAIN, TestDatabase},
};

async fn group(app: &Services, name: &str) -> GroupId {
    let new = NewGroup { name: name.into(), term: None, external_id: String::new() };
    app.groups.create(MAIN, &new).await.unwrap().id
}

fn hours(from: i64, to: i64) -> SessionTimes {
    let begins: Timestamp = "2026-09-01T00:00:00Z".parse().unwrap();
    SessionTimes::new(begins + SignedDuration::from_hours(from), begins + SignedDuration::from_hours(to))
        .unwrap()
}

async fn members(app: &Services, group: GroupId, on: Option<jiff::civil::Date>) -> Vec<String> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let list = ListName::new("members");
        let page = PageRequest::<ListPosition<String>>::new(2, &token, false, list).unwrap();
        let page = app.groups.members(MAIN, group, on, &page).await.unwrap();
        found.extend(page.items.into_iter().map(|member| member.student.number));
        token = page.next;
        if token.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_in_a_group_twice_on_a_day_and_the_erased_stay_as_pseudonyms() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let first = group(&app, "3b").await;
    let mut students: Vec<StudentId> = Vec::new();
    for number in ["17", "18", "19", "20", "21"] {
        students.push(database.student(&app, number).await);
    }
    let (september, december) = (date(2026, 9, 1), date(2026, 12, 31));
    for student in &students {
        app.groups.add_member(MAIN, first, *student, (september, Some(december))).await.unwrap();
    }
    let add = async |from, until| {
        let added = app.groups.add_member(MAIN, first, students[0], (from, until)).await;
        added.map(|_| ()).map_err(|error| error.reason())
    };
    // On the last day, over all of them, or within.
    for (from, until) in [
        (december, None),
        (date(2026, 1, 1), None),
        (date(2026, 10, 1), Some(date(2026, 10, 2))),
        (september, Some(september)),
    ] {
        assert_eq!(add(from, until).await, Err(ErrorReason::MemberExists));
    }
    add(date(2027, 1, 1), None).await.unwrap();
    let all = ["17", "18", "19", "20", "21"];
    assert_eq!(members(&app, first, Some(december)).await, all);
    assert_eq!(members(&app, first, Some(date(2027, 1, 1))).await, ["17"]);
    assert_eq!(members(&app, first, Some(date(2026, 8, 31))).await, [""; 0]);
    assert_eq!(members(&app, first, None).await, ["17", "17", "18", "19", "20", "21"]);

    // Two at once, of which one waits for the other and finds it there.
    let second = group(&app, "3c").await;
    let store = ScheduleStore::new(&database.store);
    let both = [september, date(2026, 9, 2)].map(|from| {
        let (store, student) = (store.clone(), students[1]);
        tokio::spawn(async move { store.add_member(MAIN, second, student, (from, None)).await })
    });
    let mut done = 0;
    for one in both {
        match one.await.unwrap() {
            Ok(()) => done += 1,
            Err(error) => assert!(matches!(error, DatabaseError::Taken(_)), "{error:?}"),
        }
    }
    assert_eq!(done, 1);

    let by = database.user("ada").await;
    app.students.erase(MAIN, students[4], by).await.unwrap();
    let left = members(&app, first, Some(december)).await;
    assert!(left.len() == 5 && left[4].starts_with("erased-"), "{left:?}");
    let again = app.groups.add_member(MAIN, second, students[4], (september, None)).await;
    assert_eq!(again.unwrap_err().reason(), ErrorReason::StudentErased);

    let end = |end| app.groups.remove_member(MAIN, first, students[0], Some(end));
    end(MemberEnd::After(date(2026, 10, 31))).await.unwrap();
    assert_eq!(members(&app, first, Some(date(2026, 10, 31))).await[0], "17");
    assert_eq!(members(&app, first, Some(date(2026, 11, 1))).await[0], "18");
    assert!(members(&app, first, Some(date(2027, 1, 1))).await.is_empty());
    end(MemberEnd::Entirely).await.unwrap();
    assert_eq!(end(MemberEnd::Entirely).await.unwrap_err().reason(), ErrorReason::MemberNotFound);
    let none = app.groups.of_student(MAIN, students[0], None).await.unwrap();
    assert_eq!(none, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classroom_is_a_room_in_one_place() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let new = |name: &str, kind| NewDevice { name: name.into(), kind, classroom: "Room 1".into() };
    let proxy = app.devices.create_device(MAIN, &new("door", DeviceKind::Agent)).await.unwrap();
    let camera = app.devices.create_device(MAIN, &new("wall", DeviceKind::Esp32Cam)).await.unwrap();
    let key = ScheduleKey::Name("Room 1".to_owned());
    let room = app.rooms.get(MAIN, &key).await.unwrap();
    let roles: Vec<_> = room.devices.iter().map(|device| (device.name.as_str(), device.role)).collect();
    assert_eq!(roles, [("door", DeviceRole::Inside), ("wall", DeviceRole::Inside)]);

    // A new name of the room is the devices' classroom; who saw the old one does not overwrite it.
    let renamed = app.rooms.rename(MAIN, room.id, Some(room.version), "Hall").await.unwrap();
    assert_eq!(renamed.devices.len(), 2);
    let found = app.devices.device(MAIN, &DeviceKey::Id(camera.id)).await.unwrap();
    assert_eq!(found.classroom, "Hall");
    let late = app.rooms.rename(MAIN, room.id, Some(room.version), "Aula").await;
    assert_eq!(late.unwrap_err().reason(), ErrorReason::ScheduleChanged);
    assert_eq!(app.rooms.delete(MAIN, room.id).await.unwrap_err().reason(), ErrorReason::InUse);

    let placed = app.rooms.place_device(MAIN, proxy.id, Some(room.id), Some(DeviceRole::Entry)).await;
    assert_eq!(placed.unwrap().unwrap().devices[0].role, DeviceRole::Entry);
    // Another machine in its place sees what it saw; a revoked one sees nothing.
    let by = database.user("ada").await;
    let replaced = app.devices.replace_device(MAIN, proxy.id, by).await.unwrap();
    let devices = app.rooms.get(MAIN, &ScheduleKey::Id(room.id)).await.unwrap().devices;
    assert_eq!((devices.len(), devices[0].id, devices[0].role), (2, replaced.id, DeviceRole::Entry));
    let nowhere = app.rooms.place_device(MAIN, camera.id, None, None).await.unwrap();
    assert_eq!(nowhere, None);
    assert_eq!(app.rooms.get(MAIN, &ScheduleKey::Id(room.id)).await.unwrap().devices.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalised_session_stays_what_it_was() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let store = ScheduleStore::new(&database.store);
    let (maths, other) = (group(&app, "Maths").await, group(&app, "Art").await);
    let room = app.rooms.create(MAIN, "Lab").await.unwrap().id;
    let session =
        app.class_sessions.create(MAIN, maths, String::new(), hours(8, 9), vec![room]).await.unwrap();
    assert_eq!((session.rooms[0].name.as_str(), session.state), ("Lab", SessionState::Planned));
    let id = session.id;

    // No step is left out, and one that another server has done is not done again.
    let step = async |from, to| store.set_state(MAIN, id, (from, to), None).await;
    use SessionState::{Cancelled, Closing, Finalised, Open, Planned};
    assert!(matches!(step(Planned, Finalised).await, Err(DatabaseError::Damaged { .. })));
    assert!(step(Planned, Open).await.unwrap() && !step(Planned, Open).await.unwrap());
    // Whoever reinstates takes back a cancellation, and nothing else.
    let state = async |cancelled| {
        let set = app.class_sessions.set_cancelled(MAIN, id, None, cancelled).await;
        set.map(|session| session.state).map_err(|error| error.reason())
    };
    assert_eq!(state(false).await, Err(ErrorReason::ClassSessionState));
    assert_eq!((state(true).await, state(false).await), (Ok(Cancelled), Ok(Planned)));
    let moved = SessionChange { ends_at: Some(hours(8, 10).ends_at()), ..SessionChange::default() };
    let late = app.class_sessions.update(MAIN, id, Some(session.version), &moved).await;
    assert_eq!(late.unwrap_err().reason(), ErrorReason::ScheduleChanged);
    let found = app.class_sessions.update(MAIN, id, None, &moved).await.unwrap();
    assert_eq!((found.times, found.rooms.len()), (hours(8, 10), 1));
    for (from, to) in [(Planned, Open), (Open, Closing), (Closing, Finalised)] {
        assert!(step(from, to).await.unwrap());
    }

    for change in [
        moved.clone(),
        SessionChange { group: Some(other), ..SessionChange::default() },
        SessionChange { rooms: Some(vec![]), ..SessionChange::default() },
    ] {
        let refused = app.class_sessions.update(MAIN, id, None, &change).await;
        assert_eq!(refused.unwrap_err().reason(), ErrorReason::ClassSessionState);
    }
    let name = SessionChange { name: Some("Vectors".into()), ..SessionChange::default() };
    assert_eq!(app.class_sessions.update(MAIN, id, None, &name).await.unwrap().name, "Vectors");
    assert_eq!(state(true).await, Err(ErrorReason::ClassSessionState));
    let kept = app.class_sessions.delete(MAIN, id).await;
    assert_eq!(kept.unwrap_err().reason(), ErrorReason::ClassSessionState);
    assert_eq!(app.groups.delete(MAIN, maths).await.unwrap_err().reason(), ErrorReason::InUse);
    // Nor does anybody get around it behind the server's back.
    let behind = database.connect().await;
    for sql in [
        format!("UPDATE class_sessions SET ends_at = ends_at + interval '1 hour' WHERE id = '{id}'"),
        format!("UPDATE class_sessions SET state = 'planned' WHERE id = '{id}'"),
        format!("DELETE FROM class_sessions WHERE id = '{id}'"),
        format!("DELETE FROM class_session_rooms WHERE session_id = '{id}'"),
    ] {
        let refused = behind.batch_execute(&sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "CV201", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_by_start_and_planned_once() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let store = ScheduleStore::new(&database.store);
    let (maths, art) = (group(&app, "Maths").await, group(&app, "Art").await);
    let room = app.rooms.create(MAIN, "Lab").await.unwrap().id;
    let planned = |group, from: i64, rooms: &[cavs_types::RoomId]| NewClassSession {
        id: ClassSessionId::generate(),
        group,
        name: String::new(),
        times: hours(from, from + 1),
        rooms: rooms.to_vec(),
        source: SessionSource::Pattern,
        external_id: String::new(),
        calendar: None,
    };
    let all: Vec<_> = (0..7)
        .map(|n| planned(if n % 2 == 0 { maths } else { art }, n / 2, &[room][..n as usize % 2]))
        .collect();
    store.create_sessions(MAIN, &all).await.unwrap();
    let listed = async |filter: &SessionFilter| {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = PageRequest::new(2, &token, false, filter.list_name()).unwrap();
            let page = app.class_sessions.list(MAIN, filter, &page).await.unwrap();
            found.extend(page.items);
            token = page.next;
            if token.is_empty() {
                return found;
            }
        }
    };
    let found = listed(&SessionFilter::default()).await;
    assert_eq!(found.len(), 7);
    assert!(found.windows(2).all(|two| two[0].times.starts_at() <= two[1].times.starts_at()));
    let filter =
        SessionFilter { room: Some(room), from: Some(hours(1, 2).starts_at()), ..Default::default() };
    assert_eq!(listed(&filter).await.len(), 2);
    let filter = SessionFilter { group: Some(maths), until: Some(hours(2, 3).starts_at()), ..filter };
    assert_eq!(listed(&SessionFilter { room: None, from: None, ..filter }).await.len(), 2);

    // What is there is not made again, but for what was cancelled.
    app.class_sessions.set_cancelled(MAIN, all[0].id, None, true).await.unwrap();
    let again = [0, 1, 9].map(|from| planned(maths, from, &[])).to_vec();
    let dry = store.create_missing_sessions(MAIN, maths, again.clone(), true).await.unwrap();
    assert_eq!((dry.len(), listed(&SessionFilter::default()).await.len()), (2, 7));
    let made = store.create_missing_sessions(MAIN, maths, again.clone(), false).await.unwrap();
    let starts: Vec<_> = made.iter().map(|session| session.times.starts_at()).collect();
    assert_eq!(starts, [hours(0, 1).starts_at(), hours(9, 10).starts_at()]);
    assert_eq!(store.create_missing_sessions(MAIN, maths, again, false).await.unwrap(), []);

    // An archived group's name is free; what it had stays.
    let archived = app.groups.archive(MAIN, art).await.unwrap();
    assert!(archived.archived_at.is_some());
    group(&app, "Art").await;
    let seen = Some(ScheduleVersion(1));
    let late = app.groups.update(MAIN, art, seen, &GroupChange::default()).await;
    assert_eq!(late.unwrap_err().reason(), ErrorReason::ScheduleChanged);
    assert_eq!(listed(&SessionFilter { group: Some(art), ..Default::default() }).await.len(), 3);
}
