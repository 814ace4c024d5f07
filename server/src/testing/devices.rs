//! Devices that are not to speak for a while, that are worked on, and what they prove.

use std::collections::HashMap;

use cavs_types::{Decision, DeviceId, DeviceKind, DeviceStatus, ErrorReason, PredictionReason, WatchState};
use jiff::{SignedDuration, Timestamp};

use super::{MAIN, TestDatabase, face, sighting};
use crate::{
    fleet::{
        Device, DeviceChange, DeviceKey, DeviceWatch, GapReason, NewDevice, ReportedPeriod, SettingsChange,
        WatchReport, WatchedPeriod, coverage,
    },
    page::{ListName, PageRequest},
    services::Services,
};

fn change(status: DeviceStatus) -> DeviceChange {
    DeviceChange { status: Some(status), ..DeviceChange::default() }
}

async fn camera(app: &Services) -> Device {
    let new = NewDevice { name: "camera".into(), kind: DeviceKind::Agent, classroom: String::new() };
    app.devices.create_device(MAIN, &new).await.unwrap()
}

fn period(start: Timestamp, end: Timestamp, state: WatchState) -> ReportedPeriod {
    ReportedPeriod { camera: None, period: WatchedPeriod { start, end, state } }
}

fn minute(minute: i64) -> Timestamp {
    // As exactly as the database keeps times.
    let second = Timestamp::now().as_second() / 3600 * 3600 - 7200;
    Timestamp::from_second(second + 60 * minute).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_states_that_can_be_taken_back() {
    let database = TestDatabase::start().await;
    let (app, by) = (database.app().await, database.user("ada").await);
    let student = database.student(&app, "1").await;
    let template = database.template(student, &face(1)).await;
    app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
    let device = camera(&app).await;
    let update = async |seen, change: DeviceChange| {
        app.devices.update_device(MAIN, device.id, seen, &change, by).await.map_err(|error| error.reason())
    };
    let see = async |sequence| {
        let seen = sighting(sequence, face(1));
        app.ingest.ingest(MAIN, device.id, &[seen]).await.map(drop).map_err(|error| error.reason())
    };

    see(1).await.unwrap();
    let inactive = update(Some(device.version), change(DeviceStatus::Inactive)).await.unwrap();
    assert_eq!(see(2).await, Err(ErrorReason::DeviceInactive));
    let admitted = app.device_streams.admit(device.id).await.map_err(|error| error.reason());
    assert_eq!(admitted.err(), Some(ErrorReason::DeviceInactive));
    let stale = update(Some(device.version), change(DeviceStatus::Active)).await;
    assert_eq!(stale.unwrap_err(), ErrorReason::DeviceChanged, "somebody else was first");
    // Its name is its own meanwhile.
    let new = NewDevice { name: "camera".into(), kind: DeviceKind::Agent, classroom: String::new() };
    let taken = app.devices.create_device(MAIN, &new).await.map_err(|error| error.reason());
    assert_eq!(taken.err(), Some(ErrorReason::DeviceExists));

    let maintenance = update(Some(inactive.version), change(DeviceStatus::Maintenance)).await.unwrap();
    let same = update(None, change(DeviceStatus::Maintenance)).await.unwrap();
    assert_eq!(same.version, maintenance.version, "a change of nothing is none");
    see(2).await.unwrap();
    let note = DeviceChange { description: Some("above the door".into()), ..change(DeviceStatus::Active) };
    let noted = update(None, note.clone()).await.unwrap();
    assert_eq!((noted.status, noted.notes.description.as_str()), (DeviceStatus::Active, "above the door"));
    see(3).await.unwrap();
    let client = database.connect().await;
    let rows = client.query("SELECT decision, reason FROM sightings ORDER BY sequence", &[]).await;
    let rows: Vec<(String, String)> = rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        (Decision::Accepted, PredictionReason::Matched),
        (Decision::Pending, PredictionReason::DeviceInMaintenance),
        (Decision::Accepted, PredictionReason::Matched),
    ];
    assert_eq!(rows, expected.map(|(decision, reason)| (decision.to_string(), reason.to_string())));

    app.devices.revoke_device(MAIN, device.id, by).await.unwrap();
    assert_eq!(update(None, change(DeviceStatus::Active)).await.unwrap_err(), ErrorReason::DeviceRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_watched_is_known_however_it_is_told() {
    let database = TestDatabase::start().await;
    let (app, by) = (database.app().await, database.user("ada").await);
    let device = camera(&app).await;
    let window = (minute(0), minute(100));
    let known = async || -> DeviceWatch {
        let mut found: HashMap<DeviceId, DeviceWatch> =
            app.watches.of_devices(MAIN, &[device.id, DeviceId::generate()], window).await.unwrap();
        assert_eq!(found.len(), 1);
        found.remove(&device.id).unwrap()
    };
    assert_eq!(known().await, DeviceWatch::default());

    let watching = |from, until| period(minute(from), minute(until), WatchState::Watching);
    let frozen = period(minute(20), minute(30), WatchState::CameraFrozen);
    let somebody_elses = ReportedPeriod { camera: Some(DeviceId::generate()), ..watching(0, 90) };
    let report = |periods, until: i64| WatchReport { periods, delivered_until: Some(minute(until)) };
    for report in [
        report(vec![watching(0, 10)], 10),
        report(vec![watching(10, 25), frozen, somebody_elses], 30),
        report(vec![watching(0, 25)], 20),
        report(vec![watching(30, 40)], 45),
    ] {
        app.watch_reports.record(MAIN, device.id, &report).await.unwrap();
        app.watch_reports.record(MAIN, device.id, &report).await.unwrap();
    }
    let watch = known().await;
    assert_eq!(watch.delivered_until, Some(minute(45)));
    let expected = [watching(0, 20), frozen, watching(30, 40)].map(|reported| reported.period);
    assert_eq!(watch.periods, expected);
    let found = coverage(&watch, minute(10), minute(60));
    let reasons: Vec<GapReason> = found.gaps.iter().map(|gap| gap.reason).collect();
    let frozen = GapReason::State(WatchState::CameraFrozen);
    assert_eq!(reasons, [frozen, GapReason::NotWatched, GapReason::NotDelivered]);

    // Who does not say up to when has not delivered more.
    let silent = WatchReport { periods: vec![watching(0, 10)], delivered_until: None };
    app.watch_reports.record(MAIN, device.id, &silent).await.unwrap();
    assert_eq!(known().await.delivered_until, Some(minute(45)));

    // Ahead of the server's clock nothing can have been delivered.
    let ahead = Timestamp::now() + SignedDuration::from_mins(4);
    let report = WatchReport { periods: vec![], delivered_until: Some(ahead) };
    app.watch_reports.record(MAIN, device.id, &report).await.unwrap();
    assert!(known().await.delivered_until.unwrap() < ahead);

    // What it watched in maintenance proves nothing.
    let now = Timestamp::now();
    for status in [DeviceStatus::Maintenance, DeviceStatus::Active] {
        app.devices.update_device(MAIN, device.id, None, &change(status), by).await.unwrap();
    }
    let window = (now - SignedDuration::from_mins(1), Timestamp::now() + SignedDuration::from_mins(1));
    let watch = app.watches.of_devices(MAIN, &[device.id], window).await.unwrap().remove(&device.id).unwrap();
    assert_eq!(watch.periods.iter().map(|p| p.state).collect::<Vec<_>>(), [WatchState::Maintenance]);

    // A revoked device says nothing any more.
    app.devices.revoke_device(MAIN, device.id, by).await.unwrap();
    let refused = app.watch_reports.record(MAIN, device.id, &WatchReport::default()).await;
    assert_eq!(refused.unwrap_err().reason(), ErrorReason::DeviceRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_settings_says_what_it_changed() {
    let database = TestDatabase::start().await;
    let (app, by) = (database.app().await, database.user("ada").await);
    let device = camera(&app).await;
    for (set, unset) in [("5", None), ("2", None), ("2", Some("source.rate"))] {
        let set = unset.is_none().then(|| ("source.rate".to_owned(), set.to_owned()));
        let unset = unset.into_iter().map(str::to_owned).collect();
        let change = SettingsChange::new(false, unset, set).unwrap();
        app.devices.configure_device(MAIN, device.id, &change, by).await.unwrap();
    }
    let page = |token: &str| PageRequest::new(2, token, false, ListName::new("settings")).unwrap();
    let first = app.devices.settings_versions(MAIN, device.id, &page("")).await.unwrap();
    let second = app.devices.settings_versions(MAIN, device.id, &page(&first.next)).await.unwrap();
    assert_eq!(second.next, "");
    let told: Vec<_> = first.items.iter().chain(&second.items).collect();
    let versions: Vec<u64> = told.iter().map(|version| version.pushed.version).collect();
    assert_eq!(versions, [3, 2, 1]);
    assert_eq!((told[0].unset.as_slice(), told[0].set.len()), (&["source.rate".to_owned()][..], 0));
    assert_eq!((told[1].set["source.rate"].as_str(), told[1].unset.len()), ("2", 0));
    assert_eq!(told[2].pushed.pushed_by, "ada");
    let nobody = app.devices.settings_versions(MAIN, DeviceId::generate(), &page("")).await;
    assert_eq!(nobody.unwrap_err().reason(), ErrorReason::DeviceNotFound);
    let shown = app.devices.device(MAIN, &DeviceKey::Id(device.id)).await.unwrap();
    assert_eq!(shown.wanted.unwrap().version, 3);
}
