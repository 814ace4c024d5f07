use std::collections::{BTreeSet, HashMap};

use cavs_types::ErrorReason;
use proptest::prelude::*;

use super::*;

fn key(sequence: u64) -> SightingKey {
    SightingKey { boot_epoch: 1, sequence }
}

fn welcome(batch: u32, window: u32) -> Welcome {
    Welcome { max_batch_size: batch, max_unacknowledged_batches: window, ..Welcome::default() }
}

fn ack(batch_id: u64, keys: &[SightingKey], outcome: Outcome) -> BatchAck {
    let result = |key: &SightingKey| SightingResult {
        boot_epoch: key.boot_epoch,
        sequence: key.sequence,
        outcome: outcome.into(),
        ..SightingResult::default()
    };
    BatchAck { batch_id, results: keys.iter().map(result).collect() }
}

fn actions(machine: &mut Machine) -> Vec<Action> {
    std::iter::from_fn(|| machine.poll_action()).collect()
}

fn streaming(now: Instant, batch: u32, window: u32) -> Machine {
    let mut machine = Machine::new(Timing::default(), 1, now);
    machine.on_time(now);
    assert_eq!(actions(&mut machine), [Action::Connect]);
    machine.on_connected(now);
    machine.on_welcome(&welcome(batch, window), now);
    machine
}

#[test]
fn the_window_of_the_server_is_kept() {
    let now = Instant::now();
    let mut machine = streaming(now, 2, 2);
    assert_eq!(actions(&mut machine), [Action::Load { after: None, limit: 2 }]);
    machine.on_loaded(vec![key(1), key(2)], now);
    assert_eq!(
        actions(&mut machine),
        [Action::SendBatch { batch_id: 1 }, Action::Load { after: Some(key(2)), limit: 2 }]
    );
    machine.on_loaded(vec![key(3)], now);
    assert_eq!(actions(&mut machine), [Action::SendBatch { batch_id: 2 }]);
    machine.on_spooled();
    assert_eq!(actions(&mut machine), []);
    machine.on_ack(ack(2, &[key(3)], Outcome::Duplicate), now);
    assert_eq!(
        actions(&mut machine),
        [
            Action::Settle(vec![(key(3), Settlement::Delivered)]),
            Action::Load { after: Some(key(3)), limit: 2 }
        ]
    );
}

#[test]
fn every_wait_has_an_end() {
    let now = Instant::now();
    let timing = Timing::default();
    let expect = |machine: &mut Machine, now: Instant, phase| {
        machine.on_time(now);
        let Some(Action::Disconnect { failure, .. }) = machine.actions.pop_back() else { panic!() };
        assert_eq!(failure, Failure::Timeout(phase));
    };
    let mut machine = Machine::new(timing, 1, now);
    machine.on_time(now);
    expect(&mut machine, now + timing.connect, Phase::Connect);

    let mut machine = Machine::new(timing, 1, now);
    machine.on_time(now);
    machine.on_connected(now);
    expect(&mut machine, now + timing.welcome, Phase::Welcome);

    let mut machine = streaming(now, 1, 1);
    machine.on_loaded(vec![key(1)], now);
    expect(&mut machine, now + timing.acknowledgement, Phase::Acknowledgement);
}

#[test]
fn heartbeats_come_regularly() {
    let mut now = Instant::now();
    let mut machine = streaming(now, 1, 1);
    actions(&mut machine);
    machine.on_loaded(vec![], now);
    for _ in 0..3 {
        now = machine.deadline();
        machine.on_time(now);
        assert_eq!(actions(&mut machine), [Action::SendHeartbeat]);
    }
}

/// A session with a server that takes reports.
fn reporting(now: Instant) -> Machine {
    let mut machine = Machine::new(Timing::default(), 1, now);
    machine.on_time(now);
    machine.on_connected(now);
    machine.on_welcome(&Welcome { max_watch_periods: 7, ..welcome(2, 2) }, now);
    let expected = [Action::Connect, Action::Load { after: None, limit: 2 }, Action::LoadWatch { limit: 7 }];
    assert_eq!(actions(&mut machine), expected);
    machine.on_loaded(vec![], now);
    machine
}

#[test]
fn what_was_watched_is_reported_one_report_at_a_time() {
    let now = Instant::now();
    let mut machine = reporting(now);
    machine.on_watch_loaded(true, true, now);
    assert_eq!(actions(&mut machine), [Action::SendWatch { report_id: 1 }]);
    machine.on_spooled();
    machine.on_loaded(vec![], now);
    assert_eq!(actions(&mut machine), [Action::Load { after: None, limit: 2 }], "the report is under way");
    assert!(!machine.is_idle());
    machine.on_watch_ack(1, now);
    assert_eq!(actions(&mut machine), [Action::SettleWatch, Action::LoadWatch { limit: 7 }]);
    machine.on_watch_loaded(false, false, now);
    assert_eq!(actions(&mut machine), []);
    assert!(machine.is_idle());
    // What sightings held up is looked at again when they are settled.
    machine.on_spooled();
    machine.on_loaded(vec![key(1)], now);
    machine.on_watch_loaded(false, false, now);
    actions(&mut machine);
    machine.on_ack(ack(1, &[key(1)], Outcome::Stored), now);
    let settled = Action::Settle(vec![(key(1), Settlement::Delivered)]);
    let left = actions(&mut machine);
    assert!(left.contains(&settled) && left.ends_with(&[Action::LoadWatch { limit: 7 }]), "{left:?}");
}

#[test]
fn a_report_that_is_not_acknowledged_ends_the_session() {
    let now = Instant::now();
    let mut machine = reporting(now);
    machine.on_watch_loaded(true, false, now);
    let late = now + Timing::default().acknowledgement;
    machine.on_time(late);
    let Some(Action::Disconnect { failure, .. }) = actions(&mut machine).pop() else { panic!() };
    assert_eq!(failure, Failure::Timeout(Phase::Acknowledgement));

    let mut machine = reporting(now);
    machine.on_watch_ack(9, now);
    let Some(Action::Disconnect { failure, .. }) = actions(&mut machine).pop() else { panic!() };
    assert!(matches!(failure, Failure::Protocol(_)), "{failure}");
}

#[test]
fn a_refusal_that_a_person_must_end_is_retried_slowly() {
    let now = Instant::now();
    let mut machine = streaming(now, 1, 1);
    actions(&mut machine);
    let failure = Failure::Refused { reason: ErrorReason::DeviceRevoked, message: String::new() };
    machine.on_failure(failure.clone(), now);
    assert_eq!(actions(&mut machine), [Action::Disconnect { failure, retry_in: REFUSED }]);
    machine.on_time(now + REFUSED - Duration::from_millis(1));
    assert_eq!(actions(&mut machine), []);
    machine.on_time(now + REFUSED);
    assert_eq!(actions(&mut machine), [Action::Connect]);
}

#[test]
fn acknowledgements_that_do_not_fit_settle_nothing() {
    let now = Instant::now();
    let mut missing = ack(1, &[key(1), key(2)], Outcome::Stored);
    missing.results.pop();
    let mut unknown_outcome = ack(1, &[key(1), key(2)], Outcome::Stored);
    unknown_outcome.results[1].outcome = 77;
    let wrong = [
        missing,
        unknown_outcome,
        ack(1, &[key(1), key(2)], Outcome::Unspecified),
        ack(1, &[key(2), key(1)], Outcome::Stored),
        ack(9, &[key(1), key(2)], Outcome::Stored),
    ];
    for wrong in wrong {
        let mut machine = streaming(now, 2, 1);
        machine.on_loaded(vec![key(1), key(2)], now);
        actions(&mut machine);
        machine.on_ack(wrong, now);
        let actions = actions(&mut machine);
        assert!(
            matches!(&actions[..], [Action::Disconnect { failure: Failure::Protocol(_), .. }]),
            "{actions:?}"
        );
    }
}

/// What may happen to the connection at any moment.
#[derive(Debug, Clone)]
enum Event {
    Spool(u8),
    Connected,
    Welcome,
    /// Acknowledge one of the batches under way, chosen by the number.
    Ack(u8),
    /// Acknowledge, but the answer is lost with the connection.
    AckLost(u8),
    WrongAck,
    Lost,
    TimePasses(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (1u8..6).prop_map(Event::Spool),
        4 => Just(Event::Connected),
        4 => Just(Event::Welcome),
        6 => any::<u8>().prop_map(Event::Ack),
        1 => any::<u8>().prop_map(Event::AckLost),
        1 => Just(Event::WrongAck),
        1 => Just(Event::Lost),
        3 => (0u16..20_000).prop_map(Event::TimePasses),
    ];
    prop::collection::vec(event, 1..200)
}

/// A spool, a server and the wire between them, as simple as can be.
#[derive(Default)]
struct World {
    spool: BTreeSet<SightingKey>,
    stored: HashMap<SightingKey, u32>,
    under_way: BTreeMap<u64, Vec<SightingKey>>,
    loaded: Vec<SightingKey>,
    connected: bool,
}

impl World {
    fn perform(&mut self, machine: &mut Machine, now: Instant) {
        while let Some(action) = machine.poll_action() {
            match action {
                Action::Connect => self.connected = true,
                Action::Load { after, limit } => {
                    let after = after.unwrap_or(key(0));
                    self.loaded = self.spool.iter().filter(|k| **k > after).take(limit).copied().collect();
                    machine.on_loaded(self.loaded.clone(), now);
                }
                Action::SendBatch { batch_id } => {
                    assert!(self.connected);
                    assert!(self.under_way.insert(batch_id, std::mem::take(&mut self.loaded)).is_none());
                    assert!(self.under_way.len() <= 3, "more batches under way than allowed");
                }
                Action::LoadWatch { .. } | Action::SendWatch { .. } | Action::SettleWatch => {
                    panic!("this server takes no reports")
                }
                Action::SendHeartbeat => assert!(self.connected),
                Action::Settle(settled) => {
                    for (key, _) in settled {
                        assert!(self.stored.contains_key(&key), "settled before it was stored");
                        self.spool.remove(&key);
                    }
                }
                Action::Disconnect { retry_in, .. } => {
                    assert!(retry_in <= REFUSED);
                    self.connected = false;
                    self.under_way.clear();
                }
            }
        }
    }

    fn commit(&mut self, pick: u8) -> Option<BatchAck> {
        let ids: Vec<u64> = self.under_way.keys().copied().collect();
        let id = *ids.get(usize::from(pick) % ids.len().max(1))?;
        let keys = self.under_way.remove(&id)?;
        for key in &keys {
            *self.stored.entry(*key).or_default() += 1;
        }
        Some(ack(id, &keys, Outcome::Stored))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens, nothing leaves the spool before it was stored; and once the network
    /// behaves, everything arrives.
    #[test]
    fn everything_arrives_and_nothing_is_settled_too_early(events in events(), seed: u64) {
        let mut now = Instant::now();
        let mut machine = Machine::new(Timing::default(), seed, now);
        let mut world = World::default();
        let mut last = 0;
        for event in events {
            match event {
                Event::Spool(count) => {
                    world.spool.extend((last + 1..=last + u64::from(count)).map(key));
                    last += u64::from(count);
                    machine.on_spooled();
                }
                Event::Connected => machine.on_connected(now),
                Event::Welcome => if !machine.is_streaming() { machine.on_welcome(&welcome(4, 3), now) },
                Event::Ack(pick) => if let Some(ack) = world.commit(pick) { machine.on_ack(ack, now) },
                Event::AckLost(pick) => {
                    world.commit(pick);
                    machine.on_failure(Failure::Closed, now);
                }
                Event::WrongAck => machine.on_ack(ack(u64::MAX, &[], Outcome::Stored), now),
                Event::Lost => machine.on_failure(Failure::Closed, now),
                Event::TimePasses(millis) => {
                    now += Duration::from_millis(millis.into());
                    machine.on_time(now);
                }
            }
            world.perform(&mut machine, now);
        }
        for _ in 0..(10 + last) {
            if world.spool.is_empty() && machine.is_idle() {
                break;
            }
            if let State::Waiting { until } = machine.state {
                now = now.max(until);
                machine.on_time(now);
                world.perform(&mut machine, now);
            }
            machine.on_connected(now);
            if !machine.is_streaming() {
                machine.on_welcome(&welcome(4, 3), now);
                world.perform(&mut machine, now);
            }
            if let Some(ack) = world.commit(0) {
                machine.on_ack(ack, now);
            }
            world.perform(&mut machine, now);
        }
        prop_assert!(world.spool.is_empty(), "left behind: {:?}", world.spool);
        prop_assert_eq!(world.stored.len() as u64, last);
    }
}

#[test]
fn two_agents_of_one_device_do_not_spend_their_time_on_taking_turns() {
    for reason in [ErrorReason::DeviceConnectedTwice, ErrorReason::StreamReplaced] {
        let mut now = Instant::now();
        let mut machine = Machine::new(Timing::default(), 1, now);
        let mut delays = Vec::new();
        for batch in 1..=6 {
            machine.on_time(now);
            machine.on_connected(now);
            machine.on_welcome(&welcome(1, 1), now);
            // Something is delivered each time, which makes other retries fast.
            machine.on_loaded(vec![key(batch)], now);
            machine.on_ack(ack(batch, &[key(batch)], Outcome::Stored), now);
            machine.on_failure(Failure::Refused { reason, message: String::new() }, now);
            let Some(Action::Disconnect { retry_in, .. }) = machine.actions.pop_back() else { panic!() };
            machine.actions.clear();
            delays.push(retry_in);
            now += retry_in;
        }
        assert!(delays[0] >= Duration::from_secs(4), "{delays:?}");
        assert!(delays[5] == Duration::from_secs(60), "{delays:?}");
        // After a long time without another one it is quick again.
        machine.on_time(now);
        machine.on_connected(now);
        machine.on_welcome(&welcome(1, 1), now);
        now += Duration::from_secs(600);
        machine.on_failure(Failure::Refused { reason, message: String::new() }, now);
        let Some(Action::Disconnect { retry_in, .. }) = machine.actions.pop_back() else { panic!() };
        assert!(retry_in < Duration::from_secs(9), "{retry_in:?}");
    }
}
