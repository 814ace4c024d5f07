//! How long the marks of a term take, made anew of all its sightings.

use std::time::{Duration, Instant};

use cavs_tests::{Site, SiteOptions};
use tokio_postgres::Client;

use crate::Arguments;

/// Students of a group.
const OF_GROUP: u64 = 40;
/// Most seconds for a term of 2,000 students and 600 sessions, of five million sightings, on two cores.
const BAR_SECONDS: f64 = 60.0;
/// Longest wait.
const LIMIT: Duration = Duration::from_secs(3600);

/// The id of a numbered one of a kind in SQL, of an expression of the type `bigint`.
pub(crate) fn id(kind: &str, number: &str) -> String {
    format!("('01890000-0000-7000-{kind}-' || lpad(to_hex({number}), 12, '0'))::uuid")
}

/// Makes the marks of a term anew: whether that was fast enough.
pub(crate) async fn measure(arguments: &Arguments) -> bool {
    let Arguments { sightings, students, sessions, .. } = *arguments;
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::create(directory.path(), None, &SiteOptions::default());
    let client = site.database().await;
    let begun = Instant::now();
    fill(&client, arguments).await;
    println!("# filled after {:.0?}", begun.elapsed());

    let begun = Instant::now();
    client
        .batch_execute(
            "INSERT INTO attendance_queue (site_id, session_id) SELECT site_id, id FROM class_sessions",
        )
        .await
        .unwrap();
    while count(&client, "attendance_queue").await > 0 {
        assert!(begun.elapsed() < LIMIT, "the marks are not made");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let marks = count(&client, "marks").await;
    assert_eq!(marks, i64::try_from(sessions * OF_GROUP.min(students)).unwrap());
    let present = "marks WHERE mark = 'present'";
    println!("# {marks} marks, {} present, of {sightings} sightings", count(&client, present).await);
    // A smaller term has a smaller bar.
    let bar = BAR_SECONDS * sightings as f64 / 5_000_000.0;
    let is_met = took <= bar.max(2.0);
    println!("term_seconds {took:.1} {:.1} {}", bar.max(2.0), if is_met { "ok" } else { "SHORT" });
    assert_eq!(site.take_server().terminate(), Some(0));
    is_met
}

pub(crate) async fn count(client: &Client, of: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {of}"), &[]).await.unwrap().get(0)
}

/// Groups of forty with a room and a camera each, sessions of an hour in turns over the last sixty days, and
/// sightings of their people, some of whom are late.
async fn fill(client: &Client, arguments: &Arguments) {
    let Arguments { sightings, students, sessions, .. } = arguments;
    let groups = students.div_ceil(OF_GROUP);
    let (of_session, camera, student) = (sightings / sessions, id("8001", "n"), id("8002", "n"));
    let (group, room, session) = (id("8003", "n"), id("8004", "n"), id("8005", "n"));
    let of_group = |kind, number: &str| id(kind, &format!("{number} % {groups}"));
    client
        .batch_execute(&format!(
            "SET statement_timeout = 0; SET synchronous_commit = off; SET session_replication_role = replica;
             INSERT INTO students (site_id, id, number, name)
                 SELECT s.id, {student}, n::text, 'Student ' || n FROM sites s, generate_series(0, {students} - 1) n;
             INSERT INTO rooms (site_id, id, name)
                 SELECT s.id, {room}, 'Room ' || n FROM sites s, generate_series(0, {groups} - 1) n;
             INSERT INTO devices (site_id, id, name, kind, classroom, delivered_until)
                 SELECT s.id, {camera}, 'camera ' || n, 'agent', 'Room ' || n, now()
                 FROM sites s, generate_series(0, {groups} - 1) n;
             INSERT INTO watched_periods (site_id, device_id, started_at, ended_at, state)
                 SELECT site_id, id, now() - interval '70 d', now(), 'watching' FROM devices;
             INSERT INTO groups (site_id, id, name)
                 SELECT s.id, {group}, 'Group ' || n FROM sites s, generate_series(0, {groups} - 1) n;
             INSERT INTO group_members (site_id, group_id, student_id, starts_on)
                 SELECT s.id, {member_of}, {student}, current_date - 100
                 FROM sites s, generate_series(0, {students} - 1) n;
             INSERT INTO attendance_policies (site_id, settings, changed_by)
                 SELECT s.id, '{{\"finalise_after_days\": null}}', u.id FROM sites s, (SELECT id FROM users LIMIT 1) u;
             INSERT INTO class_sessions (site_id, id, group_id, starts_at, ends_at, state)
                 SELECT s.id, {session}, {held_by}, at, at + interval '1 h', 'closing'
                 FROM sites s, generate_series(0, {sessions} - 1) n,
                     LATERAL (SELECT date_trunc('hour', now()) - interval '1 d'
                         - interval '60 d' * n / {sessions} AS at) AS t;
             INSERT INTO class_session_rooms (site_id, session_id, room_id)
                 SELECT s.id, {session}, {held_in} FROM sites s, generate_series(0, {sessions} - 1) n;",
            member_of = id("8003", &format!("n / {OF_GROUP}")),
            held_by = of_group("8003", "n"),
            held_in = of_group("8004", "n"),
        ))
        .await
        .unwrap();
    // A part of the sessions at a time.
    for first in (0..*sessions).step_by(50) {
        let last = (first + 50).min(*sessions);
        client
            .batch_execute(&format!(
                "INSERT INTO sightings (site_id, id, device_id, via, boot_epoch, sequence, classroom, captured_at,
                     received_at, frame, clock_trust, box_x, box_y, box_width, box_height, detection_score, quality,
                     pack_digest, decision, reason, predicted_student_id, similarity, margin, threshold, candidates)
                 SELECT c.site_id, {id}, w.id, w.id, 1, {number}, 'Room', at, at + interval '1 s', '', 'synchronised',
                     0, 0, 100, 100, 0.9, '{{}}', decode(repeat('01', 32), 'hex'), 'accepted', 'MATCHED', {student},
                     0.7, 0.2, 0.5, '[]'
                 FROM generate_series({first}, {last} - 1) AS n,
                     LATERAL (SELECT * FROM class_sessions WHERE id = {session}) AS c,
                     LATERAL (SELECT {camera} AS id) AS w,
                     generate_series(0, {of_session} - 1) AS k,
                     LATERAL (SELECT k % {OF_GROUP} AS member, c.starts_at
                         + interval '1 h' * k / {of_session}
                         + CASE WHEN k % {OF_GROUP} = n % {OF_GROUP} THEN interval '12 min' ELSE interval '0' END AS at)
                         AS seen",
                number = "(n * 1000000 + k)",
                id = id("8006", "(n * 1000000 + k)::bigint"),
                student = id("8002", &format!("((n % {groups}) * {OF_GROUP} + member)::bigint")),
                camera = of_group("8001", "n"),
            ))
            .await
            .unwrap();
    }
    client.batch_execute("VACUUM (ANALYZE)").await.unwrap();
}
