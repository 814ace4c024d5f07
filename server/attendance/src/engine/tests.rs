use cavs_types::{CheckInId, CheckInKind, CorrectionId, ExcuseId, SightingId};
use proptest::{prelude::*, sample::subsequence};
use uuid::Uuid;

use super::*;
use crate::{Neighbour, Period};

const INSIDE: u128 = 1;
const ENTRY: u128 = 2;
const EXIT: u128 = 3;

/// Minutes after the start of a session of an hour.
fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn student(number: u128) -> StudentId {
    StudentId::from_uuid(Uuid::from_u128(number))
}

fn device(number: u128) -> DeviceId {
    DeviceId::from_uuid(Uuid::from_u128(number))
}

fn sighting(id: u128, who: u128, by: u128, minute: i64) -> Sighting {
    Sighting {
        id: SightingId::from_uuid(Uuid::from_u128(id)),
        student: student(who),
        device: device(by),
        entered_at: at(minute),
        captured_at: at(minute),
        last_seen_at: at(minute),
        standing: Standing::Accepted,
        similarity: Some(0.8),
        time_trusted: true,
    }
}

fn watching(from: i64, until: i64) -> Watched {
    Watched {
        periods: vec![Period { from: at(from), until: at(until), blind: None }],
        delivered_until: Some(at(until)),
    }
}

/// A session with a roster of three, whose devices watch all of it.
#[derive(Debug)]
struct Case {
    session: Session,
    policy: Policy,
    records: Records,
    as_of: Timestamp,
}

impl Case {
    fn new(devices: &[u128]) -> Self {
        let role = |number| match number {
            ENTRY => DeviceRole::Entry,
            EXIT => DeviceRole::Exit,
            _ => DeviceRole::Inside,
        };
        Self {
            session: Session {
                starts_at: at(0),
                ends_at: at(60),
                devices: devices.iter().map(|number| (device(*number), role(*number))).collect(),
                neighbours: Vec::new(),
            },
            policy: Policy::default(),
            records: Records {
                roster: (1..=3).map(student).collect(),
                watched: devices.iter().map(|number| (device(*number), watching(-15, 75))).collect(),
                ..Records::default()
            },
            as_of: at(75),
        }
    }

    fn seen(mut self, by: u128, minutes: &[i64]) -> Self {
        for minute in minutes {
            let id = 100 + self.records.sightings.len() as u128;
            self.records.sightings.push(sighting(id, 1, by, *minute));
        }
        self
    }

    fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    fn records(mut self, change: impl FnOnce(&mut Records)) -> Self {
        change(&mut self.records);
        self
    }

    fn at(mut self, minute: i64) -> Self {
        self.as_of = at(minute);
        self
    }

    fn all(&self) -> Attendance {
        evaluate(&self.session, &self.policy, &self.records, self.as_of)
    }

    fn person(&self) -> PersonMark {
        self.all().marks[&student(1)].clone()
    }

    fn mark(&self) -> Mark {
        self.person().mark
    }
}

fn excuse(from: i64, until: i64) -> Excuse {
    Excuse {
        id: ExcuseId::from_uuid(Uuid::from_u128(9)),
        student: student(1),
        starts_at: at(from),
        ends_at: at(until),
    }
}

#[test]
fn what_belongs_to_the_sessions_before_and_after_is_theirs() {
    let case = |stays: &[(i64, i64)]| {
        let mut case = Case::new(&[INSIDE]).policy(|policy| {
            (policy.leaving, policy.sightings) = (true, 1);
            (policy.minutes_before, policy.minutes_after) = (10, 10);
        });
        case.session.neighbours = vec![neighbour(-60, -5), neighbour(65, 120)];
        for (index, (entered, left)) in stays.iter().enumerate() {
            let stay = Sighting {
                entered_at: at(*entered),
                captured_at: at((entered + left) / 2),
                last_seen_at: at(*left),
                ..sighting(100 + index as u128, 1, INSIDE, 0)
            };
            case.records.sightings.push(stay);
        }
        case.mark()
    };
    // Who was in the lesson before and comes back late, is late; who stays is not.
    assert_eq!(case(&[(-50, -4), (20, 60)]), Mark::Late);
    assert_eq!(case(&[(-50, 30), (31, 60)]), Mark::Present);
    assert_eq!(case(&[(-4, -2), (20, 60)]), Mark::Present, "who came for this one and was seen before it");
    // Who goes and comes back for the next lesson has gone.
    assert_eq!(case(&[(1, 30), (62, 75)]), Mark::LeftEarly);
    assert_eq!(case(&[(1, 30), (40, 75)]), Mark::Present);
    // Where nothing follows, who is seen after the end was there to the end.
    let mut alone = Case::new(&[INSIDE]).policy(|policy| policy.leaving = true).seen(INSIDE, &[1, 30, 62]);
    assert_eq!(alone.mark(), Mark::Present);
    alone.session.neighbours = vec![neighbour(65, 120)];
    assert_eq!(alone.mark(), Mark::LeftEarly);
    // Of those who are not expected there, and of other rooms, nothing is another session's.
    alone.session.neighbours[0].roster.remove(&student(1));
    assert_eq!(alone.mark(), Mark::Present);
    alone.session.neighbours = vec![Neighbour { devices: BTreeSet::new(), ..neighbour(65, 120) }];
    assert_eq!(alone.mark(), Mark::Present);
    // A time that is not trusted says nothing of whose it is.
    alone.session.neighbours = vec![neighbour(65, 120)];
    alone.records.sightings[2].time_trusted = false;
    assert_eq!(alone.mark(), Mark::Present, "they may have been there");
}

/// A session in the same room with the same people.
fn neighbour(from: i64, until: i64) -> Neighbour {
    Neighbour {
        starts_at: at(from),
        ends_at: at(until),
        devices: [INSIDE, ENTRY, EXIT].into_iter().map(device).collect(),
        roster: (1..=3).map(student).collect(),
    }
}

#[test]
fn who_comes_in_time_is_present() {
    let case = Case::new(&[INSIDE]).seen(INSIDE, &[3, 20, 58]);
    let person = case.person();
    assert_eq!((person.mark, person.machine_mark, person.correction), (Mark::Present, Mark::Present, None));
    assert_eq!((person.first_seen_at, person.last_seen_at), (Some(at(3)), Some(at(58))));
    assert_eq!((person.minutes_present, person.minutes_late, person.minutes_left_early), (55, 0, 0));
    let evidence: Vec<u128> = person
        .evidence
        .iter()
        .map(|evidence| match evidence {
            Evidence::Sighting(id) => id.uuid().as_u128(),
            Evidence::CheckIn(_) => 0,
        })
        .collect();
    assert_eq!(evidence, [100, 101, 102]);
    assert_eq!(
        person.rules,
        [
            Rule::Seen { first: at(3), last: at(58), times: 3 },
            Rule::EnoughSightings { independent: 3, needed: 2 },
            Rule::InTime
        ]
    );
}

#[test]
fn grace_ends_where_the_policy_says() {
    assert_eq!(Case::new(&[INSIDE]).seen(INSIDE, &[10, 20]).mark(), Mark::Present);
    let late = Case::new(&[INSIDE]).seen(INSIDE, &[11, 20]).person();
    assert_eq!((late.mark, late.minutes_late), (Mark::Late, 11));
    assert!(late.rules.contains(&Rule::LateBy { minutes: 11 }));
    let grace = Case::new(&[INSIDE]).seen(INSIDE, &[1, 20]).policy(|policy| policy.grace_minutes = 0);
    assert_eq!(grace.mark(), Mark::Late);
    assert_eq!(Case::new(&[INSIDE]).seen(INSIDE, &[57, 59]).mark(), Mark::Late);
    // After the end it may be the next session.
    assert_eq!(Case::new(&[INSIDE]).seen(INSIDE, &[59, 61]).mark(), Mark::Undetermined);
}

#[test]
fn one_sighting_may_be_a_mistake() {
    let once = Case::new(&[INSIDE]).seen(INSIDE, &[5]);
    assert_eq!(once.mark(), Mark::Undetermined);
    assert!(once.person().rules.contains(&Rule::TooFewSightings { independent: 1, needed: 2 }));
    // The same moment again is the same mistake; by another device it is another.
    assert_eq!(Case::new(&[INSIDE]).seen(INSIDE, &[5, 5, 5]).mark(), Mark::Undetermined);
    assert_eq!(Case::new(&[INSIDE, ENTRY]).seen(INSIDE, &[5]).seen(ENTRY, &[5]).mark(), Mark::Present);
    let near = |seconds| {
        Case::new(&[INSIDE]).seen(INSIDE, &[5, 5]).records(|records| {
            let moved = records.sightings[1].captured_at + SignedDuration::from_secs(seconds);
            (records.sightings[1].captured_at, records.sightings[1].last_seen_at) = (moved, moved);
        })
    };
    assert_eq!(near(29).mark(), Mark::Undetermined);
    assert_eq!(near(30).mark(), Mark::Present);
    // A person's approval is enough, and so is a policy that says so.
    let approved = Case::new(&[INSIDE]).seen(INSIDE, &[5]).records(|records| {
        records.sightings[0].standing = Standing::Approved;
    });
    assert_eq!(approved.mark(), Mark::Present);
    assert_eq!(
        Case::new(&[INSIDE]).seen(INSIDE, &[5]).policy(|policy| policy.sightings = 1).mark(),
        Mark::Present
    );
}

#[test]
fn only_proven_absence_is_absence() {
    let proven = Case::new(&[INSIDE]);
    assert_eq!(proven.mark(), Mark::Absent);
    assert_eq!(proven.person().rules, [Rule::NotSeen, Rule::AbsenceProven]);
    assert_eq!(proven.all().unproven, []);

    let behind = Case::new(&[INSIDE]).records(|records| {
        records.watched.get_mut(&device(INSIDE)).unwrap().delivered_until = Some(at(59));
    });
    let rule = Rule::DeviceBehind { device: device(INSIDE), delivered_until: Some(at(59)) };
    assert_eq!((behind.mark(), behind.all().unproven), (Mark::Undetermined, vec![rule]));
    let silent = Case::new(&[INSIDE]).records(|records| records.watched.clear());
    let rule = Rule::DeviceBehind { device: device(INSIDE), delivered_until: None };
    assert_eq!((silent.mark(), silent.all().unproven), (Mark::Undetermined, vec![rule]));
    // One of two is enough to know nothing.
    let one_of_two = Case::new(&[INSIDE, ENTRY]).records(|records| {
        records.watched.remove(&device(ENTRY));
    });
    assert_eq!(one_of_two.mark(), Mark::Undetermined);
    assert_eq!(Case::new(&[]).all().unproven, [Rule::NoDevices]);
    assert_eq!(Case::new(&[]).mark(), Mark::Undetermined);
    // Who was not seen to go may have come.
    assert_eq!(Case::new(&[EXIT]).all().unproven, [Rule::NoDevices]);
}

#[test]
fn what_was_not_watched_proves_nothing() {
    let watched_from = |by: u128, minute: i64| {
        let case = Case::new(&[by]).records(|records| {
            records.watched.insert(device(by), watching(minute, 75));
        });
        case.all().unproven
    };
    assert_eq!(watched_from(INSIDE, 6), []);
    let seconds = 7 * 60;
    assert_eq!(watched_from(INSIDE, 7), [Rule::NotWatched { device: device(INSIDE), seconds, why: None }]);
    // People pass a door within seconds, and come before the start.
    assert_eq!(watched_from(ENTRY, -14), []);
    let seconds = 2 * 60;
    assert_eq!(watched_from(ENTRY, -13), [Rule::NotWatched { device: device(ENTRY), seconds, why: None }]);
    let exit = Case::new(&[INSIDE, EXIT]).records(|records| {
        records.watched.insert(device(EXIT), watching(2, 75));
    });
    assert_eq!(exit.all().unproven, [Rule::NotWatched { device: device(EXIT), seconds, why: None }]);

    let frozen = Case::new(&[INSIDE]).records(|records| {
        let blind = Some("frozen".to_owned());
        let watched = records.watched.get_mut(&device(INSIDE)).unwrap();
        watched.periods.push(Period { from: at(10), until: at(40), blind });
    });
    let why = Some("frozen".to_owned());
    assert_eq!(frozen.all().unproven, [Rule::NotWatched { device: device(INSIDE), seconds: 1800, why }]);
    assert_eq!(frozen.mark(), Mark::Undetermined);
}

#[test]
fn nobody_is_absent_before_the_end() {
    assert_eq!(Case::new(&[INSIDE]).at(-1).all().unproven, [Rule::NotBegun]);
    assert_eq!(Case::new(&[INSIDE]).at(0).all().unproven, [Rule::Running]);
    assert_eq!(Case::new(&[INSIDE]).at(59).mark(), Mark::Undetermined);
    assert_eq!(Case::new(&[INSIDE]).at(60).mark(), Mark::Absent);
    // Who is there is, at once.
    let present = Case::new(&[INSIDE]).seen(INSIDE, &[1, 2]).at(5).person();
    assert_eq!((present.mark, present.minutes_present), (Mark::Present, 1));
    assert_eq!(Case::new(&[ENTRY]).seen(ENTRY, &[-5, -4]).at(-1).mark(), Mark::Present);
}

#[test]
fn only_the_sessions_time_and_devices_count() {
    // Those of the session before and of the one after, inside.
    assert_eq!(Case::new(&[INSIDE]).seen(INSIDE, &[-9, -5]).mark(), Mark::Absent);
    assert_eq!(Case::new(&[INSIDE]).seen(INSIDE, &[60, 70]).mark(), Mark::Absent);
    // But who was there before and stays came then.
    let stays = Case::new(&[INSIDE]).seen(INSIDE, &[-9, 30, 31]).person();
    assert_eq!((stays.mark, stays.first_seen_at, stays.minutes_present), (Mark::Present, Some(at(-9)), 31));
    // At the entry, people come early.
    assert_eq!(Case::new(&[ENTRY]).seen(ENTRY, &[-15, -14]).mark(), Mark::Present);
    // Who came for the session before may have stayed, where nothing looks inside.
    assert_eq!(Case::new(&[ENTRY]).seen(ENTRY, &[-17]).mark(), Mark::Undetermined);
    assert_eq!(Case::new(&[ENTRY, INSIDE]).seen(ENTRY, &[-17]).mark(), Mark::Absent);
    assert_eq!(Case::new(&[ENTRY]).mark(), Mark::Absent);
    assert_eq!(Case::new(&[ENTRY]).seen(ENTRY, &[60, 61]).mark(), Mark::Absent);
    assert_eq!(Case::new(&[INSIDE]).seen(7, &[5, 6, 7]).mark(), Mark::Absent);
    // A track that began before the window is there in it.
    let long = Case::new(&[INSIDE]).seen(INSIDE, &[5, 6]).records(|records| {
        records.sightings[0].entered_at = at(-40);
        records.sightings[1].last_seen_at = at(90);
    });
    let person = long.person();
    assert_eq!((person.first_seen_at, person.last_seen_at), (Some(at(-15)), Some(at(75))));
    assert_eq!(person.minutes_present, 60);
}

#[test]
fn who_is_seen_to_go_was_there() {
    let devices = [ENTRY, EXIT];
    let only_exit = Case::new(&devices).seen(EXIT, &[58, 59]).person();
    assert_eq!((only_exit.mark, only_exit.minutes_late), (Mark::Present, 0));
    assert!(only_exit.rules.contains(&Rule::ArrivalNotSeen));
    // Of the session before.
    assert_eq!(Case::new(&devices).seen(EXIT, &[1, 9]).mark(), Mark::Absent);
    assert_eq!(Case::new(&devices).seen(EXIT, &[10, 11]).mark(), Mark::Present);
    // Came, and went before it began: somebody has to say.
    let left = Case::new(&devices).seen(ENTRY, &[-12, -11]).seen(EXIT, &[-3]);
    assert_eq!(left.mark(), Mark::Undetermined);
    assert!(left.person().rules.contains(&Rule::LeftBeforeStart { at: at(-3) }));
    assert_eq!(left.seen(ENTRY, &[4, 5]).mark(), Mark::Present);
    assert_eq!(Case::new(&[INSIDE, EXIT]).seen(INSIDE, &[-9, -5]).seen(EXIT, &[-3]).mark(), Mark::Absent);
}

#[test]
fn leaving_early_is_looked_at_where_the_policy_says() {
    let leaves = |by: &[u128]| Case::new(by).policy(|policy| policy.leaving = true);
    let case = leaves(&[INSIDE]).seen(INSIDE, &[1, 20, 49]);
    let person = case.person();
    assert_eq!((person.mark, person.minutes_left_early, person.minutes_present), (Mark::LeftEarly, 11, 48));
    let proof = LeavingProof::NotSeenAgain;
    assert!(person.rules.contains(&Rule::LeftEarly { at: at(49), minutes: 11, proof }));
    assert_eq!(leaves(&[INSIDE]).seen(INSIDE, &[1, 50]).mark(), Mark::Present);
    assert_eq!(leaves(&[INSIDE]).seen(INSIDE, &[1, 20]).at(59).mark(), Mark::Present);
    assert_eq!(Case::new(&[INSIDE]).seen(INSIDE, &[1, 20]).mark(), Mark::Present);
    // Late and gone early is late, with both times.
    let both = leaves(&[INSIDE]).seen(INSIDE, &[15, 30]).person();
    assert_eq!((both.mark, both.minutes_late, both.minutes_left_early), (Mark::Late, 15, 30));

    let unwatched = leaves(&[INSIDE]).seen(INSIDE, &[1, 20]).records(|records| {
        records
            .watched
            .insert(device(INSIDE), Watched { delivered_until: Some(at(75)), ..watching(-15, 30) });
    });
    assert_eq!(unwatched.mark(), Mark::Present);
    assert!(unwatched.person().rules.contains(&Rule::LeavingNotProven { at: at(20) }));
    let maybe_later = leaves(&[INSIDE]).seen(INSIDE, &[1, 20, 55]).records(|records| {
        records.sightings[2].standing = Standing::Pending;
    });
    assert_eq!(maybe_later.mark(), Mark::Present);

    let exit = leaves(&[ENTRY, EXIT]).seen(ENTRY, &[1, 2]).seen(EXIT, &[40]);
    assert_eq!((exit.mark(), exit.person().minutes_left_early), (Mark::LeftEarly, 20));
    assert_eq!(exit.seen(ENTRY, &[45]).mark(), Mark::Present);
    assert_eq!(leaves(&[ENTRY]).seen(ENTRY, &[1, 2]).mark(), Mark::Present);
    assert_eq!(leaves(&[ENTRY]).seen(ENTRY, &[1, 2]).person().minutes_present, 59);
}

#[test]
fn too_late_or_too_short_does_not_count() {
    let limit = |minutes: &[i64]| {
        Case::new(&[INSIDE]).policy(|policy| policy.too_late_minutes = Some(30)).seen(INSIDE, minutes)
    };
    assert_eq!(limit(&[29, 50]).mark(), Mark::Late);
    assert_eq!(limit(&[30, 50]).mark(), Mark::Absent);
    assert!(limit(&[30, 50]).person().rules.contains(&Rule::TooLate { minutes: 30, limit: 30 }));
    let unproven = limit(&[30, 50]).records(|records| records.watched.clear());
    assert_eq!(unproven.mark(), Mark::Undetermined);
    let open = limit(&[30, 50, 5]).records(|records| records.sightings[2].standing = Standing::Pending);
    assert_eq!(open.mark(), Mark::Undetermined);
    let exit = Case::new(&[INSIDE, EXIT])
        .policy(|policy| policy.too_late_minutes = Some(30))
        .seen(INSIDE, &[30, 50]);
    assert_eq!(exit.mark(), Mark::Undetermined);

    let short = |by: &[u128], minutes: &[i64]| {
        Case::new(by).policy(|policy| policy.least_minutes = 20).seen(by[0], minutes)
    };
    assert_eq!(short(&[INSIDE], &[1, 21]).mark(), Mark::Present);
    let left = short(&[INSIDE], &[1, 20]).person();
    assert_eq!((left.mark, left.minutes_left_early), (Mark::LeftEarly, 40));
    assert!(left.rules.contains(&Rule::TooShort { minutes: 19, needed: 20 }));
    assert_eq!(short(&[INSIDE], &[1, 20]).at(30).mark(), Mark::Undetermined);
    assert_eq!(
        short(&[INSIDE], &[1, 20]).records(|records| records.watched.clear()).mark(),
        Mark::Undetermined
    );
    assert_eq!(short(&[ENTRY], &[1, 2]).mark(), Mark::Present);
}

#[test]
fn what_waits_for_a_person_is_nobodys_absence() {
    let pending = |counts| {
        Case::new(&[INSIDE])
            .seen(INSIDE, &[5, 20])
            .policy(|policy| policy.pending = counts)
            .records(|records| records.sightings.iter_mut().for_each(|s| s.standing = Standing::Pending))
    };
    let case = pending(PendingCounts::Undetermined);
    assert_eq!(case.mark(), Mark::Undetermined);
    let first = SightingId::from_uuid(Uuid::from_u128(100));
    assert!(case.person().rules.contains(&Rule::OpenSighting { sighting: first, why: OpenReason::Pending }));
    assert_eq!(pending(PendingCounts::Present).mark(), Mark::Present);
    let either = |counts| {
        pending(counts)
            .records(|records| records.sightings.iter_mut().for_each(|s| s.standing = Standing::Possible))
    };
    assert_eq!(either(PendingCounts::Present).mark(), Mark::Undetermined);
    assert_eq!(either(PendingCounts::Nothing).mark(), Mark::Absent);
    assert_eq!(pending(PendingCounts::Nothing).mark(), Mark::Absent);
    // Before the start it doesn't matter.
    let early = Case::new(&[INSIDE]).seen(INSIDE, &[-5]).records(|records| {
        records.sightings[0].standing = Standing::Pending;
    });
    assert_eq!(early.mark(), Mark::Absent);
    let at_the_door = Case::new(&[ENTRY]).seen(ENTRY, &[-5]).records(|records| {
        records.sightings[0].standing = Standing::Pending;
    });
    assert_eq!(at_the_door.mark(), Mark::Undetermined);

    let untrusted = |minute| {
        Case::new(&[INSIDE]).seen(INSIDE, &[minute, 20]).records(|records| {
            records.sightings.iter_mut().for_each(|sighting| sighting.time_trusted = false);
        })
    };
    assert_eq!(untrusted(-5).mark(), Mark::Undetermined);
    let below = |least: f32| {
        let case = Case::new(&[INSIDE]).seen(INSIDE, &[5, 20]);
        case.policy(|policy| policy.least_similarity = Some(least))
    };
    assert_eq!(below(0.8).mark(), Mark::Present);
    assert_eq!(below(0.81).mark(), Mark::Undetermined);
    let approved = below(0.81).records(|records| {
        for sighting in &mut records.sightings {
            (sighting.standing, sighting.similarity) = (Standing::Approved, None);
        }
    });
    assert_eq!(approved.mark(), Mark::Present);
    let pending_below = below(0.81)
        .policy(|policy| policy.pending = PendingCounts::Present)
        .records(|records| records.sightings.iter_mut().for_each(|s| s.standing = Standing::Pending));
    assert_eq!(pending_below.mark(), Mark::Undetermined);
}

#[test]
fn excuses_take_the_place_of_what_was_missed() {
    let excused = |from, until| move |records: &mut Records| records.excuses.push(excuse(from, until));
    let all = Case::new(&[INSIDE]).records(excused(0, 60)).person();
    assert_eq!((all.mark, all.machine_mark), (Mark::Excused, Mark::Excused));
    assert_eq!(Case::new(&[INSIDE]).records(excused(0, 59)).mark(), Mark::Absent);
    assert_eq!(Case::new(&[]).records(excused(-100, 100)).mark(), Mark::Excused);
    // Who came all the same is there.
    assert_eq!(Case::new(&[INSIDE]).seen(INSIDE, &[1, 30]).records(excused(0, 60)).mark(), Mark::Present);
    let late = |until| Case::new(&[INSIDE]).seen(INSIDE, &[20, 40]).records(excused(0, until)).person();
    assert_eq!((late(20).mark, late(20).minutes_late), (Mark::Present, 0));
    assert_eq!((late(19).mark, late(19).minutes_late), (Mark::Late, 20));
    let left = |from| {
        let case = Case::new(&[INSIDE]).seen(INSIDE, &[1, 20]).policy(|policy| policy.leaving = true);
        case.records(excused(from, 60)).person()
    };
    assert_eq!((left(20).mark, left(20).minutes_left_early), (Mark::Present, 0));
    assert_eq!((left(21).mark, left(21).minutes_left_early), (Mark::LeftEarly, 40));
}

#[test]
fn a_persons_word_stands_before_the_machines() {
    let correction = |id: u128, mark, minute| Correction {
        id: CorrectionId::from_uuid(Uuid::from_u128(id)),
        student: student(1),
        mark,
        made_at: at(minute),
    };
    let case = Case::new(&[INSIDE]).records(|records| {
        records.corrections = vec![
            correction(1, Mark::Late, 80),
            correction(2, Mark::Present, 90),
            correction(3, Mark::Excused, 70),
        ];
    });
    let person = case.person();
    assert_eq!((person.mark, person.machine_mark), (Mark::Present, Mark::Absent));
    assert_eq!(person.correction.map(|id| id.uuid().as_u128()), Some(2));
    assert_eq!(case.all().marks[&student(2)].mark, Mark::Absent);
}

#[test]
fn other_ways_to_show_oneself_are_as_good() {
    let check_in = |minute| {
        Case::new(&[INSIDE]).records(|records| {
            records.check_ins.push(CheckIn {
                id: CheckInId::from_uuid(Uuid::from_u128(5)),
                student: student(1),
                kind: CheckInKind::Card,
                at: at(minute),
            });
        })
    };
    let strict = |policy: &mut Policy| (policy.leaving, policy.least_minutes) = (true, 20);
    let person = check_in(2).policy(strict).person();
    assert_eq!((person.mark, person.minutes_present), (Mark::Present, 58));
    assert_eq!(check_in(12).mark(), Mark::Late);
    assert_eq!(check_in(60).mark(), Mark::Absent);
    assert_eq!(check_in(-16).mark(), Mark::Absent);
    assert_eq!(check_in(2).policy(strict).seen(INSIDE, &[3]).mark(), Mark::Present);
}

#[test]
fn who_is_not_expected_is_a_visitor() {
    let case = Case::new(&[INSIDE]).records(|records| {
        records.sightings.extend([sighting(1, 8, INSIDE, 20), sighting(2, 8, INSIDE, 30)]);
        records.sightings.extend([sighting(3, 7, INSIDE, 10), sighting(4, 6, INSIDE, -9)]);
    });
    let attendance = case.all();
    assert_eq!(attendance.marks.len(), 3);
    let visitor = Visitor { student: student(8), first_seen_at: at(20), last_seen_at: at(30), sightings: 2 };
    assert_eq!(attendance.visitors, [visitor]);
}

#[test]
fn rules_are_kept_as_json() {
    let rule = Rule::LeftEarly { at: at(49), minutes: 11, proof: LeavingProof::NotSeenAgain };
    let text = serde_json::to_string(&rule).unwrap();
    assert_eq!(
        text,
        r#"{"rule":"left_early","at":"2027-01-15T08:49:00Z","minutes":11,"proof":"not_seen_again"}"#
    );
    assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule);
    assert_eq!(rule.name(), "left_early");
}

fn any_sighting() -> impl Strategy<Value = Sighting> {
    let standing = prop_oneof![
        4 => Just(Standing::Accepted),
        1 => Just(Standing::Approved),
        1 => Just(Standing::Pending),
        1 => Just(Standing::Possible),
    ];
    let minutes = (-30i64..90, 0i64..20, 0i64..20);
    (1..4u128, 1..4u128, minutes, standing, 0.3f32..1.0, prop::bool::weighted(0.9), any::<u128>()).prop_map(
        |(who, by, (minute, before, after), standing, similar, time_trusted, id)| Sighting {
            entered_at: at(minute - before),
            last_seen_at: at(minute + after),
            standing,
            similarity: Some(similar),
            time_trusted,
            ..sighting(id, who, by, minute)
        },
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let pending = prop::sample::select(PendingCounts::ALL);
    let too_late = prop::option::of(10u16..60);
    let least = prop::option::of(0.4f32..0.9);
    (too_late, 0u16..40, 1u16..4, least, pending, any::<bool>()).prop_map(
        |(too_late_minutes, least_minutes, sightings, least_similarity, pending, leaving)| Policy {
            too_late_minutes,
            least_minutes,
            sightings,
            least_similarity,
            pending,
            leaving,
            ..Policy::default()
        },
    )
}

fn any_watched() -> impl Strategy<Value = Watched> {
    let period = (-20i64..70, 1i64..90, prop::bool::weighted(0.1)).prop_map(|(from, length, blind)| Period {
        from: at(from),
        until: at(from + length),
        blind: blind.then(|| "covered".to_owned()),
    });
    let whole = Just(watching(-20, 80));
    let other = (prop::collection::vec(period, 0..4), prop::option::of(50i64..70))
        .prop_map(|(periods, until)| Watched { periods, delivered_until: until.map(at) });
    prop_oneof![4 => whole, 1 => other]
}

prop_compose! {
    fn any_case()(
        devices in subsequence(vec![INSIDE, ENTRY, EXIT], 0..=3),
        policy in any_policy(),
        sightings in prop::collection::vec(any_sighting(), 0..8),
        check_in in prop::option::of((1..4u128, -20i64..70)),
        excused in prop::option::of((-10i64..50, 1i64..90)),
        watched in prop::collection::vec(any_watched(), 3),
        as_of in prop_oneof![4 => Just(80i64), 1 => -20i64..70],
    ) -> Case {
        let check_ins = check_in.map(|(who, minute)| CheckIn {
            id: CheckInId::from_uuid(Uuid::from_u128(5)),
            student: student(who),
            kind: CheckInKind::Qr,
            at: at(minute),
        });
        let watched = watched.into_iter().zip(1u128..).map(|(watched, number)| (device(number), watched)).collect();
        Case::new(&devices).policy(|new| *new = policy).at(as_of).records(|records| {
            records.sightings = sightings;
            records.check_ins = check_ins.into_iter().collect();
            records.excuses = excused.map(|(from, length)| excuse(from, from + length)).into_iter().collect();
            records.watched = watched;
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn order_and_repetition_change_nothing(
        case in any_case(), again in prop::collection::vec(any::<prop::sample::Index>(), 0..5), turn in 0usize..8,
    ) {
        let before = case.all();
        let mut case = case;
        let sightings = &mut case.records.sightings;
        if !sightings.is_empty() {
            let repeated: Vec<Sighting> = again.iter().map(|index| index.get(sightings).clone()).collect();
            sightings.extend(repeated);
            let turn = turn % sightings.len();
            sightings.rotate_left(turn);
        }
        let check_ins = case.records.check_ins.clone();
        case.records.check_ins.extend(check_ins);
        let excuses = case.records.excuses.clone();
        case.records.excuses.extend(excuses);
        prop_assert_eq!(case.all(), before);
    }

    #[test]
    fn seeing_more_never_makes_anybody_absent(case in any_case(), more in any_sighting()) {
        let before = case.all();
        let mut case = case;
        case.records.sightings.push(more);
        for (student, after) in case.all().marks {
            prop_assert!(
                after.mark != Mark::Absent || before.marks[&student].mark == Mark::Absent,
                "{:?} became {:?}", before.marks[&student], after
            );
        }
    }

    #[test]
    fn nobody_is_absent_without_proof_nor_present_without_evidence(case in any_case()) {
        let attendance = case.all();
        prop_assert_eq!(attendance.marks.len(), 3);
        for (student, person) in attendance.marks {
            match person.mark {
                Mark::Absent => {
                    prop_assert!(case.as_of >= at(60));
                    for device in case.session.devices.keys() {
                        prop_assert!(case.records.watched[device].delivered_until >= Some(at(60)));
                    }
                    prop_assert!(attendance.unproven.is_empty());
                    prop_assert!(person.rules.contains(&Rule::AbsenceProven));
                }
                Mark::Present | Mark::Late | Mark::LeftEarly => {
                    prop_assert!(!person.evidence.is_empty());
                    prop_assert!(person.first_seen_at <= person.last_seen_at);
                    prop_assert!(person.minutes_present <= 60);
                    let of_them = case.records.sightings.iter().filter(|sighting| sighting.student == student);
                    let counted = of_them.filter(|sighting| {
                        sighting.time_trusted && case.session.devices.contains_key(&sighting.device)
                    }).count();
                    prop_assert!(counted + case.records.check_ins.len() >= 1);
                }
                Mark::Excused => prop_assert!(!case.records.excuses.is_empty()),
                Mark::Undetermined => {}
            }
        }
    }
}
