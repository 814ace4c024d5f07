//! How long it takes from a face before a device to the mark of its session.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cavs_models::Pack;
use cavs_proto::{
    to_timestamp,
    v1::{
        self, enrollment_service_client::EnrollmentServiceClient, ingest_service_client::IngestServiceClient,
        stream_request, stream_response, student_service_client::StudentServiceClient,
    },
};
use cavs_tests::{
    Device, Site, SiteOptions,
    flood::{channel, log_in, p99},
};
use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_postgres::Client;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::{
    Arguments,
    term::{count, id},
};

/// Longest time, in seconds, that 99 of 100 sightings may take to show in their session's marks.
const BAR_SECONDS: f64 = 2.0;
/// Students of a group, whose session has a room and a device.
const OF_GROUP: u64 = 40;
/// How often a device sends what it has seen.
const TICK: Duration = Duration::from_millis(250);
/// How often marks are looked at: what is measured is at most so much too long.
const LOOK: Duration = Duration::from_millis(100);
/// One in so many students is looked at.
const LOOKED_AT: u64 = 10;

/// Has faces come in, and looks at marks: whether they follow soon enough.
pub(crate) async fn measure(arguments: &Arguments) -> bool {
    let Arguments { students, rate, seconds, before, .. } = *arguments;
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::create(directory.path(), None, &SiteOptions::default());
    let client = site.database().await;
    let groups = students.div_ceil(OF_GROUP);
    let begun = Instant::now();
    let devices: Vec<Device> = (0..groups).map(|n| site.add_device(&format!("camera {n}"))).collect();
    let faces = Arc::new(faces(students));
    enroll(&site, students, &faces).await;
    fill(&client, &devices, before).await;
    let opened = Instant::now();
    while count(&client, "attendance_sheets").await < i64::try_from(groups).unwrap() {
        assert!(opened.elapsed() < Duration::from_secs(120), "the sessions are not opened");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("# {students} students in {groups} sessions that go on, filled after {:.0?}", begun.elapsed());

    let sent = Arc::new(AtomicU64::new(0));
    let (capturing, mut captured) = mpsc::channel(100_000);
    let stop = Instant::now() + Duration::from_secs(seconds);
    let mut streams = Vec::new();
    for (number, device) in devices.iter().enumerate() {
        let channel = channel(&site, site.device_port(), Some(device)).await;
        let of = Room {
            first: u64::try_from(number).unwrap() * OF_GROUP,
            students,
            a_second: rate as f64 / groups as f64,
            pack: site.pack_digest().to_string(),
            faces: Arc::clone(&faces),
            sent: Arc::clone(&sent),
            capturing: capturing.clone(),
        };
        streams.push(tokio::spawn(stream(channel, of, stop)));
    }
    drop(capturing);
    let mut times = Vec::new();
    let mut waiting: BTreeMap<u64, Vec<(Timestamp, Instant)>> = BTreeMap::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let sql = format!(
        "SELECT s.number, m.last_seen_at FROM marks m JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
         WHERE s.number::bigint % {LOOKED_AT} = 0 AND m.last_seen_at IS NOT NULL"
    );
    let statement = client.prepare(&sql).await.unwrap();
    loop {
        looks.tick().await;
        let rows = client.query(&statement, &[]).await.unwrap();
        let now = Instant::now();
        let mut all_sent = false;
        loop {
            match captured.try_recv() {
                Ok((student, at, when)) => waiting.entry(student).or_default().push((at, when)),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    all_sent = true;
                    break;
                }
            }
        }
        for row in rows {
            let (number, seen): (String, Timestamp) = (row.get(0), row.get(1));
            if let Some(of) = waiting.get_mut(&number.parse().unwrap()) {
                times.extend(of.extract_if(.., |(at, _)| *at <= seen).map(|(_, when)| now - when));
            }
        }
        let open: usize = waiting.values().map(Vec::len).sum();
        if all_sent && open == 0 || stop.elapsed() > Duration::from_secs(60) {
            // What is never seen took at least so long.
            times.extend(waiting.values().flatten().map(|(_, when)| now - *when));
            break;
        }
    }
    for stream in streams {
        stream.await.unwrap();
    }
    let sent = sent.load(Ordering::Relaxed);
    let a_second = sent as f64 / seconds as f64;
    println!("# {sent} sightings, {a_second:.0} a second; {} looked at", times.len());
    let stored = count(&client, "sightings WHERE decision = 'accepted' AND scope = 'roster'").await;
    println!("# {stored} of them accepted as somebody of the roster");
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    println!("# median {:.2} s", median.as_secs_f64());
    let (figure, came) = (p99(times).as_secs_f64(), a_second >= 0.95 * rate as f64);
    let is_met = figure <= BAR_SECONDS && came;
    println!("latency_p99_seconds {figure:.2} {BAR_SECONDS} {}", if is_met { "ok" } else { "SHORT" });
    assert_eq!(site.take_server().terminate(), Some(0));
    is_met
}

/// The people before one device.
struct Room {
    first: u64,
    students: u64,
    a_second: f64,
    pack: String,
    faces: Arc<Vec<Vec<u8>>>,
    sent: Arc<AtomicU64>,
    capturing: mpsc::Sender<(u64, Timestamp, Instant)>,
}

/// Sends what a device sees until `stop`, a batch at a time, and waits until all of it is stored.
async fn stream(channel: tonic::transport::Channel, room: Room, stop: Instant) {
    let (sending, requests) = mpsc::channel(4);
    let hello = v1::Hello {
        agent_version: "bench".into(),
        pack_digest: room.pack.clone(),
        boot_epoch: 1,
        ..v1::Hello::default()
    };
    let request = |message| v1::StreamRequest { message: Some(message) };
    sending.send(request(stream_request::Message::Hello(hello))).await.unwrap();
    let mut client = IngestServiceClient::new(channel);
    let mut answers = client.stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    let in_flight = Arc::new(tokio::sync::Semaphore::new(4));
    let acknowledged = Arc::clone(&in_flight);
    let reading = tokio::spawn(async move {
        while let Ok(Some(answer)) = answers.message().await {
            if matches!(answer.message, Some(stream_response::Message::Ack(_))) {
                acknowledged.add_permits(1);
            }
        }
    });
    let mut ticks = interval(TICK);
    let (begun, mut sequence) = (Instant::now(), 0_u64);
    while Instant::now() < stop {
        ticks.tick().await;
        let due = (begun.elapsed().as_secs_f64() * room.a_second) as u64;
        let mut sightings = Vec::new();
        while sequence < due && sightings.len() < 64 {
            let student = room.first + sequence % OF_GROUP;
            sequence += 1;
            if student >= room.students {
                continue;
            }
            let (at, when) = (Timestamp::now(), Instant::now());
            sightings.push(sighting(&room, student, sequence, at));
            if student.is_multiple_of(LOOKED_AT) {
                // As exactly as the database keeps times.
                let at = Timestamp::from_microsecond(at.as_microsecond()).unwrap();
                room.capturing.send((student, at, when)).await.unwrap();
            }
        }
        if sightings.is_empty() {
            continue;
        }
        in_flight.acquire().await.unwrap().forget();
        room.sent.fetch_add(sightings.len() as u64, Ordering::Relaxed);
        let batch = v1::SightingBatch { batch_id: sequence, sightings };
        sending.send(request(stream_request::Message::Sightings(batch))).await.unwrap();
    }
    // All four are back.
    let _all = in_flight.acquire_many(4).await.unwrap();
    reading.abort();
}

fn sighting(room: &Room, student: u64, sequence: u64, at: Timestamp) -> v1::CapturedSighting {
    v1::CapturedSighting {
        boot_epoch: 1,
        sequence,
        capture_time: Some(to_timestamp(at)),
        embedding: room.faces[usize::try_from(student).unwrap()].clone().into(),
        pack_digest: room.pack.clone(),
        bounding_box: Some(v1::BoundingBox { x: 10.0, y: 10.0, width: 100.0, height: 100.0 }),
        detection_score: 0.9,
        quality: Some(quality()),
        frame: format!("frame-{sequence}"),
        clock: Some(v1::CaptureClock {
            trust: v1::capture_clock::Trust::Synchronised.into(),
            ..v1::CaptureClock::default()
        }),
        ..v1::CapturedSighting::default()
    }
}

fn quality() -> v1::FaceQuality {
    v1::FaceQuality {
        unified_score: 90,
        inter_eye_distance: 90,
        head_size: 90,
        sharpness: 90,
        under_exposure_prevention: 90,
        over_exposure_prevention: 90,
        head_pose_yaw: 90,
        head_pose_pitch: 90,
        head_pose_roll: 90,
        landmark_confidence: Some(90),
    }
}

/// Made-up faces, as they travel: vectors of length 1 that are no more alike than chance has it.
fn faces(students: u64) -> Vec<Vec<u8>> {
    let dimension = Pack::open_or_built_in(None).unwrap().dimension();
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f32 / (1_u64 << 53) as f32 - 0.5
    };
    let face = |_| {
        let vector: Vec<f32> = (0..dimension).map(|_| next()).collect();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().flat_map(|x| (x / norm).to_le_bytes()).collect()
    };
    (0..students).map(face).collect()
}

async fn enroll(site: &Site, students: u64, faces: &[Vec<u8>]) {
    let token = log_in(site).await;
    let connection = channel(site, site.api_port(), None).await;
    let pack = site.pack_digest().to_string();
    let bearer = format!("Bearer {token}");
    for number in 0..students {
        let mut request = Request::new(v1::CreateStudentRequest {
            number: number.to_string(),
            name: format!("Student {number}"),
            ..v1::CreateStudentRequest::default()
        });
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let created = StudentServiceClient::new(connection.clone()).create_student(request).await.unwrap();
        let embedding = v1::EnrollmentEmbedding {
            embedding: faces[usize::try_from(number).unwrap()].clone().into(),
            quality: Some(quality()),
            accept_unlike: false,
        };
        let mut request = Request::new(v1::EnrollFromEmbeddingsRequest {
            student_id: created.into_inner().student.unwrap().id,
            pack_digest: pack.clone(),
            embeddings: vec![embedding],
            ..v1::EnrollFromEmbeddingsRequest::default()
        });
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let answer = EnrollmentServiceClient::new(connection.clone()).enroll_from_embeddings(request).await;
        let verdicts = answer.unwrap().into_inner().verdicts;
        assert!(verdicts.iter().all(|verdict| !verdict.template_id.is_empty()), "{verdicts:?}");
    }
}

/// Groups of forty whose sessions began half an hour ago, each in a room with a device, and what was seen in them.
async fn fill(client: &Client, devices: &[Device], before: u64) {
    let (group, session) = (id("8003", "n"), id("8005", "n"));
    let groups = devices.len();
    for (number, device) in devices.iter().enumerate() {
        let sql = format!("UPDATE devices SET classroom = 'Room {number}' WHERE id = '{}'", device.id);
        client.batch_execute(&sql).await.unwrap();
    }
    client
        .batch_execute(&format!(
            "INSERT INTO groups (site_id, id, name)
                 SELECT s.id, {group}, 'Group ' || n FROM sites s, generate_series(0, {groups} - 1) n;
             INSERT INTO group_members (site_id, group_id, student_id, starts_on)
                 SELECT s.site_id, {member_of}, s.id, current_date - 100
                 FROM students s, LATERAL (SELECT s.number::bigint AS n) AS numbered;
             SET session_replication_role = replica;
             INSERT INTO sightings (site_id, id, device_id, via, boot_epoch, sequence, classroom, captured_at,
                 received_at, frame, clock_trust, box_x, box_y, box_width, box_height, detection_score, quality,
                 pack_digest, decision, reason, predicted_student_id, similarity, margin, threshold, candidates)
             SELECT d.site_id, {sighting}, d.id, d.id, 0, k, d.classroom, at, at + interval '1 s', '', 'synchronised',
                 0, 0, 100, 100, 0.9, '{{}}', decode(repeat('01', 32), 'hex'), 'accepted', 'MATCHED', s.id, 0.7, 0.2,
                 0.5, '[]'
             FROM devices d, LATERAL (SELECT substr(d.classroom, 6)::bigint AS n) AS room,
                 generate_series(0, {before} - 1) AS k,
                 LATERAL (SELECT id FROM students WHERE site_id = d.site_id
                     AND number = (room.n * {OF_GROUP} + k % {OF_GROUP})::text) AS s,
                 LATERAL (SELECT now() - interval '25 min' * k / greatest({before}, 1) - interval '1 min' AS at) AS t
             WHERE d.classroom LIKE 'Room %';
             SET session_replication_role = origin;
             INSERT INTO class_sessions (site_id, id, group_id, starts_at, ends_at)
                 SELECT s.id, {session}, {group}, now() - interval '30 min', now() + interval '60 min'
                 FROM sites s, generate_series(0, {groups} - 1) n;
             INSERT INTO class_session_rooms (site_id, session_id, room_id)
                 SELECT r.site_id, {of_room}, r.id FROM rooms r WHERE r.name LIKE 'Room %' AND EXISTS (
                     SELECT FROM class_sessions c WHERE c.id = {of_room});
             ANALYZE",
            member_of = id("8003", &format!("n / {OF_GROUP}")),
            sighting = id("8006", "(room.n * 1000000 + k)::bigint"),
            of_room = id("8005", "substr(r.name, 6)::bigint"),
        ))
        .await
        .unwrap();
}
