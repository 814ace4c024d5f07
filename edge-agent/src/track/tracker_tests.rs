use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::vision::fake;

const DIMENSION: usize = 64;

fn at(millis: u64) -> Stamp {
    Stamp::default().after(Duration::from_millis(millis))
}

/// A reproducible number between -1 and 1.
fn noise(seed: u64) -> f32 {
    let mixed = (seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed >> 40) as f32 / (1 << 23) as f32) - 1.0
}

/// A person's face at a place: genuine pairs are at a cosine of about 0.75, impostors near 0.
fn face(person: usize, frame: u64, x: f32, quality: u8) -> Face {
    let mut components: Vec<f32> =
        (0..DIMENSION as u64).map(|i| 0.12 * noise(frame * 7919 + person as u64 * 104_729 + i)).collect();
    components[person % DIMENSION] += 1.0;
    let mut face = fake::face(0);
    face.embedding = UnitEmbedding::normalize(components).unwrap();
    face.bounding_box = BoundingBox { x, y: 100.0, width: 60.0, height: 80.0 };
    face.quality.unified_score = quality;
    face
}

fn person_of(tracked: &TrackedFace) -> usize {
    let components = tracked.face.embedding.as_slice().iter().enumerate();
    components.max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
}

/// The bar: a class of 24 at five frames a second for ten minutes is 72,000 faces, and at most one
/// sighting per person and interval.
#[test]
fn a_class_that_sits_still_is_sent_once_per_person_and_interval() {
    let options = TrackingOptions { resend_interval: Duration::from_secs(60), ..Default::default() };
    let mut tracker = Tracker::new(options);
    let mut sent: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    let mut faces_seen = 0;
    for frame in 0..3000_u64 {
        let seat = |person: usize| person as f32 * 100.0 + 5.0 * noise(frame + person as u64);
        let faces: Vec<_> = (0..24)
            // Somebody looks down now and then.
            .filter(|person| noise(frame / 10 * 31 + *person as u64) < 0.8)
            .map(|person| face(person, frame, seat(person), 50))
            .collect();
        faces_seen += faces.len();
        for tracked in tracker.on_frame(at(frame * 200), &frame.to_string(), faces) {
            sent.entry(person_of(&tracked)).or_default().push(Duration::from_millis(frame * 200));
        }
    }
    assert!(faces_seen > 60_000);
    assert_eq!(sent.len(), 24);
    for (person, times) in &sent {
        assert!((9..=10).contains(&times.len()), "{person}: {times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= options.resend_interval), "{times:?}");
        assert!(times[0] <= Duration::from_secs(15), "{person} is known soon");
    }
}

#[test]
fn the_best_shots_decide_and_the_stay_is_told() {
    let mut tracker = Tracker::new(TrackingOptions::default());
    let mut sent = Vec::new();
    for frame in 0..50 {
        let quality = if frame == 7 { 90 } else { 20 };
        sent.extend(tracker.on_frame(
            at(frame * 200),
            &frame.to_string(),
            vec![face(3, frame, 10.0, quality)],
        ));
    }
    for frame in 50..200 {
        sent.extend(tracker.on_frame(at(frame * 200), "", vec![]));
    }
    assert_eq!(sent.len(), 1);
    let first = &sent[0];
    assert_eq!((first.frame.as_str(), first.taken), ("7", at(1400)));
    assert_eq!((first.track.entered, first.track.last_seen, first.track.left), (at(0), at(2000), false));
    assert_eq!((first.track.shots, first.track.ordinal), (11, 0));
    // Sixty minutes later the room is still empty: the leave was told with the last sighting.
    let last = tracker.on_frame(at(3_600_000), "", vec![]);
    assert_eq!(last.len(), 1);
    assert_eq!((last[0].track.last_seen, last[0].track.left, last[0].track.ordinal), (at(9800), true, 1));
    assert!(tracker.tracks.is_empty() || tracker.on_frame(at(7_200_000), "", vec![]).is_empty());
}

#[test]
fn the_vote_is_nearer_to_the_person_than_single_shots() {
    let mut tracker = Tracker::new(TrackingOptions::default());
    let truth = {
        let mut components = vec![0.0; DIMENSION];
        components[5] = 1.0;
        UnitEmbedding::new(components).unwrap()
    };
    let (mut singles, mut voted) = (Vec::new(), None);
    for frame in 0..12 {
        let shot = face(5, frame, 10.0, 40);
        singles.push(similarity(&truth, &shot.embedding).unwrap());
        voted = tracker.on_frame(at(frame * 200), "", vec![shot]).pop().or(voted);
    }
    let best = singles.iter().copied().fold(0.0, f32::max);
    assert!(similarity(&truth, &voted.unwrap().face.embedding).unwrap() > best);
}

#[test]
fn people_who_cross_keep_their_tracks() {
    let mut tracker = Tracker::new(TrackingOptions { settle: Duration::from_secs(1), ..Default::default() });
    let mut sent = Vec::new();
    for frame in 0..60_u64 {
        let x = frame as f32 * 10.0;
        let faces = vec![face(1, frame, x, 50), face(2, frame, 600.0 - x, 50)];
        sent.extend(tracker.on_frame(at(frame * 200), "", faces));
    }
    sent.extend(tracker.finish());
    let mut people: HashMap<u64, Vec<usize>> = HashMap::new();
    for tracked in &sent {
        people.entry(tracked.track.id).or_default().push(person_of(tracked));
    }
    assert_eq!(people.len(), 2, "{people:?}");
    assert!(people.values().all(|people| people.windows(2).all(|pair| pair[0] == pair[1])), "{people:?}");
}

#[test]
fn who_comes_back_within_the_interval_is_not_sent_again_too_soon() {
    let mut tracker = Tracker::new(TrackingOptions::default());
    let mut sent = Vec::new();
    for frame in 0..1000_u64 {
        // Away for a minute of every two, and back at another place.
        let present = frame % 600 < 300;
        let faces = if present { vec![face(9, frame, (frame / 600) as f32 * 400.0, 50)] } else { vec![] };
        sent.extend(tracker.on_frame(at(frame * 200), "", faces));
    }
    assert_eq!(sent.len(), 1, "{:?}", sent.iter().map(|s| s.track).collect::<Vec<_>>());
}

#[test]
fn a_still_room_keeps_its_people() {
    let options = TrackingOptions { resend_interval: Duration::from_secs(60), ..Default::default() };
    let mut tracker = Tracker::new(options);
    let mut sent = Vec::new();
    for second in 0..300_u64 {
        // The gate lets a heartbeat frame through every 30 seconds.
        if second < 5 || second % 30 == 0 {
            sent.extend(tracker.on_frame(at(second * 1000), "", vec![face(4, second, 10.0, 50)]));
        } else {
            sent.extend(tracker.on_still_frame(at(second * 1000)));
        }
    }
    assert!((4..=6).contains(&sent.len()), "{}", sent.len());
    assert!(sent.iter().all(|tracked| !tracked.track.left && tracked.track.id == 1));
}

#[test]
fn a_crowd_is_bounded_and_nobody_in_it_is_lost() {
    let mut tracker = Tracker::new(TrackingOptions::default());
    let mut sent = 0;
    for frame in 0..20_u64 {
        // Opposite directions give two unlike faces per component; x keeps them apart.
        let faces = (0..40).map(|i| {
            let mut stranger = face(0, frame * 40 + i, i as f32 * 100.0, 50);
            let components = (0..512).map(|c| noise(frame * 1_000_003 + i * 7919 + c)).collect();
            stranger.embedding = UnitEmbedding::normalize(components).unwrap();
            stranger
        });
        sent += tracker.on_frame(at(frame * 100_000), "", faces.collect()).len();
        assert!(tracker.tracks.len() <= MAX_TRACKS);
    }
    assert_eq!(sent + tracker.finish().len(), 800);
}

/// People who come and go by a plan, with gaps in which the detector misses them.
fn plans() -> impl Strategy<Value = Vec<(u64, u64, f32)>> {
    prop::collection::vec((0..400_u64, 1..400_u64, 0.0..2000.0_f32), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everybody_is_sent_and_nobody_twice_in_an_interval(
        plans in plans(),
        interval in 5..60_u64,
        misses: u64,
    ) {
        let interval = Duration::from_secs(interval);
        let options = TrackingOptions { resend_interval: interval, ..Default::default() };
        let mut tracker = Tracker::new(options);
        let mut sent: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
        let mut seen: BTreeMap<usize, u32> = BTreeMap::new();
        let mut told: BTreeMap<usize, u32> = BTreeMap::new();
        for frame in 0..800_u64 {
            let mut faces = Vec::new();
            for (person, (from, length, x)) in plans.iter().enumerate() {
                let present = (*from..from + length).contains(&frame);
                if present && noise(misses ^ (frame * 31 + person as u64)) < 0.5 {
                    let x = x + 3.0 * frame as f32 * noise(person as u64 + 99);
                    faces.push(face(person, frame, x, 50));
                    *seen.entry(person).or_default() += 1;
                }
            }
            for tracked in tracker.on_frame(at(frame * 200), "", faces) {
                sent.entry(person_of(&tracked)).or_default().push(Duration::from_millis(frame * 200));
                *told.entry(person_of(&tracked)).or_default() += tracked.track.shots;
            }
        }
        for (person, times) in &sent {
            prop_assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= interval), "{person}: {times:?}");
        }
        for tracked in tracker.finish() {
            *told.entry(person_of(&tracked)).or_default() += tracked.track.shots;
        }
        prop_assert_eq!(told, seen, "every face is in exactly one sighting, of its own person");
    }

    #[test]
    fn nonsense_is_survived(
        faces in prop::collection::vec((any::<f32>(), any::<f32>(), any::<u8>(), -1.0..1.0_f32), 0..60),
        times in prop::collection::vec(any::<u64>(), 60),
    ) {
        let mut tracker = Tracker::new(TrackingOptions::default());
        for ((x, width, quality, y), time) in faces.into_iter().zip(times) {
            let mut face = face(1, 1, x, quality);
            face.bounding_box.width = width;
            face.score = x;
            face.embedding = UnitEmbedding::normalize(vec![y, 0.5, -y]).unwrap();
            // Even a clock that goes back does no harm.
            tracker.on_frame(at(time % 1_000_000), "", vec![face.clone(), face]);
        }
        tracker.finish();
    }
}
