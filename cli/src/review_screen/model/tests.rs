use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cavs_types::Verdict;
use proptest::prelude::*;

use super::*;
use crate::review_screen::{
    item::{Candidate, Standing},
    model::outbox::Delivery,
};

fn item(number: usize) -> Item {
    let candidate = |index: usize| Candidate {
        student: format!("student-{index}"),
        number: index.to_string(),
        name: "Ada".to_owned(),
        similarity: 0.5,
    };
    Item {
        id: format!("sighting-{number}"),
        seen: None,
        device: "door".to_owned(),
        classroom: String::new(),
        candidates: (0..3).map(candidate).collect(),
        is_predicted: true,
        threshold: 0.6,
        threshold_version: 1,
        margin: Some(0.1),
        why: String::new(),
        standing: None,
        is_assigned: false,
        visit: 0,
    }
}

fn listed(items: usize) -> Model {
    let mut model = Model::new();
    assert_eq!(model.wants_claims(), Some(20));
    model.claimed((0..items).map(item).collect());
    assert_eq!(model.wants_claims(), None);
    model
}

/// Presses keys one by one, as somebody who looks at each face.
fn press(model: &mut Model, keys: &str) {
    for typed in keys.chars() {
        look(model);
        model.key(Key::Char(typed), later());
    }
}

/// A second after the last key.
fn later() -> Duration {
    static SECONDS: AtomicU64 = AtomicU64::new(100);
    Duration::from_secs(SECONDS.fetch_add(1, Ordering::Relaxed))
}

fn look(model: &mut Model) {
    if let Some(id) = model.current().map(|entry| entry.item.id.clone()) {
        model.shown(&id);
    }
}

fn at(model: &Model) -> Option<&str> {
    model.current().map(|entry| entry.item.id.as_str())
}

/// What the server is told, in order, where it takes everything.
fn deliver(model: &mut Model) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(task) = model.next_task() {
        told.push(match &task {
            Task::Review { sighting, decision, corrected, notes } => {
                let verdict = decision.verdict();
                format!("{sighting} {verdict} {} {notes}", corrected.as_deref().unwrap_or("-"))
                    .trim()
                    .to_owned()
            }
            Task::Withdraw { sighting, .. } => format!("{sighting} withdrawn"),
        });
        model.delivered(Delivery::Recorded);
    }
    told
}

fn fail(model: &mut Model, is_fatal: bool) {
    model.next_task().unwrap();
    model.delivered(Delivery::Failed {
        why: "the server is gone".to_owned(),
        is_fatal,
        may_be_recorded: false,
    });
}

#[test]
fn one_key_decides_and_goes_on() {
    let mut model = listed(6);
    press(&mut model, "12rfs9");
    assert_eq!(at(&model), Some("sighting-5"));
    assert_eq!(model.notice().unwrap().text, "there is no candidate 9");
    assert_eq!(
        deliver(&mut model),
        [
            "sighting-0 approved -",
            "sighting-1 approved student-1",
            "sighting-2 rejected -",
            "sighting-3 flagged -",
        ]
    );
    assert_eq!(model.recorded(), [2, 1, 1]);
    press(&mut model, "1");
    assert_eq!((at(&model), model.unsent()), (None, 1));
    press(&mut model, "q");
    assert_eq!(model.mode(), &Mode::Leaving);
    deliver(&mut model);
    assert_eq!(model.mode(), &Mode::Left);
    assert_eq!(model.unrecorded(), []);
}

#[test]
fn nobody_approves_whom_the_machine_did_not_name_by_silence() {
    let mut model = Model::new();
    model.wants_claims();
    model.claimed(vec![Item { is_predicted: false, ..item(0) }]);
    press(&mut model, "1");
    assert_eq!(deliver(&mut model), ["sighting-0 approved student-0"]);
}

#[test]
fn a_face_that_nobody_has_seen_is_not_decided() {
    let mut model = listed(3);
    model.key(Key::Char('1'), Duration::from_secs(1));
    assert_eq!((at(&model), model.unsent()), (Some("sighting-0"), 0));
    assert!(model.notice().unwrap().is_problem);
    // Held down: the next face was on the screen for a moment only.
    for milliseconds in [2000, 2033, 2066, 2099, 2132] {
        look(&mut model);
        model.key(Key::Char('1'), Duration::from_millis(milliseconds));
    }
    assert_eq!((at(&model), model.unsent()), (Some("sighting-1"), 1));
    model.key(Key::Char('r'), Duration::from_millis(2140));
    assert_eq!(model.unsent(), 2);
    // What is pasted decides nothing.
    look(&mut model);
    model.key(Key::Paste("1111".to_owned()), Duration::from_secs(9));
    assert_eq!((at(&model), model.unsent()), (Some("sighting-2"), 2));
}

#[test]
fn what_was_typed_before_a_face_was_there_does_not_decide_it() {
    let mut model = listed(3);
    look(&mut model);
    model.key(Key::Char('1'), Duration::from_millis(1000));
    look(&mut model);
    model.early_key(Key::Char('1'), Duration::from_millis(2000));
    // It is still held.
    model.key(Key::Char('1'), Duration::from_millis(2050));
    assert_eq!((at(&model), model.unsent()), (Some("sighting-1"), 1));
    model.early_key(Key::Char('n'), Duration::from_millis(2100));
    model.early_key(Key::Char('r'), Duration::from_millis(2200));
    assert_eq!(model.mode(), &Mode::Note("r".to_owned()));
}

#[test]
fn notes_go_with_the_verdict() {
    let mut model = listed(2);
    press(&mut model, "nrq");
    model.key(Key::Paste(" see\nhim\u{1b} ".to_owned()), Duration::from_secs(9));
    model.key(Key::Backspace, Duration::from_secs(9));
    assert_eq!(model.mode(), &Mode::Note("rq see him".to_owned()));
    model.key(Key::Enter, Duration::from_secs(9));
    press(&mut model, "nx");
    model.key(Key::Escape, Duration::from_secs(9));
    press(&mut model, "f");
    model.key(Key::Paste("x".repeat(3000)), Duration::from_secs(9));
    assert_eq!(deliver(&mut model), ["sighting-0 flagged - rq see him"]);
    press(&mut model, "n");
    model.key(Key::Paste("x".repeat(3000)), Duration::from_secs(9));
    assert_eq!(model.mode(), &Mode::Note("x".repeat(MOST_NOTE)));
}

#[test]
fn what_was_decided_is_taken_back() {
    let mut model = listed(4);
    press(&mut model, "12");
    deliver(&mut model);
    press(&mut model, "ru");
    // It was not sent yet, and never is.
    assert_eq!((at(&model), model.unsent()), (Some("sighting-2"), 0));
    press(&mut model, "u");
    assert_eq!(at(&model), Some("sighting-1"));
    press(&mut model, "f");
    assert_eq!(deliver(&mut model), ["sighting-1 withdrawn", "sighting-1 flagged -"]);
    assert_eq!(model.recorded(), [1, 0, 1]);
    // What is looked at goes before what was last.
    model.key(Key::Previous, Duration::from_secs(20));
    model.key(Key::Previous, Duration::from_secs(20));
    assert_eq!(at(&model), Some("sighting-0"));
    press(&mut model, "1");
    assert_eq!(model.notice().unwrap().text, "decided already; u takes it back");
    press(&mut model, "u");
    assert_eq!(deliver(&mut model), ["sighting-0 withdrawn"]);
    press(&mut model, "uu");
    assert!(model.notice().unwrap().text.starts_with("no verdict"), "{:?}", model.notice());
}

#[test]
fn what_was_not_recorded_comes_back() {
    let mut model = listed(5);
    press(&mut model, "1r1");
    fail(&mut model, false);
    // Not under the reviewer's fingers, but next.
    assert_eq!(at(&model), Some("sighting-3"));
    assert!(model.notice().unwrap().text.contains("the server is gone"));
    press(&mut model, "1");
    assert_eq!(at(&model), Some("sighting-0"));
    assert_eq!(model.current().unwrap().failure.as_deref(), Some("the server is gone"));
    // Where all would fail, all come back, and none is forgotten at the end.
    fail(&mut model, true);
    let unrecorded: Vec<_> = model.unrecorded().into_iter().map(|one| one.sighting).collect();
    assert_eq!(unrecorded, ["sighting-0", "sighting-1", "sighting-2", "sighting-3"]);
    press(&mut model, "q");
    assert_eq!(model.mode(), &Mode::Deciding);
    assert_eq!(model.notice().unwrap().text, "not recorded: 4; q again leaves without");
    press(&mut model, "1111");
    assert_eq!(at(&model), Some("sighting-4"));
    press(&mut model, "q");
    fail(&mut model, true);
    assert_eq!((model.mode(), model.unrecorded().len()), (&Mode::Deciding, 4));
    press(&mut model, "qq");
    assert_eq!(model.mode(), &Mode::Left);
}

#[test]
fn a_verdict_that_can_not_be_taken_back_stands() {
    let mut model = listed(2);
    press(&mut model, "1");
    deliver(&mut model);
    press(&mut model, "ur");
    fail(&mut model, false);
    assert_eq!((model.unsent(), model.recorded()), (0, [1, 0, 0]));
    press(&mut model, "k");
    assert_eq!(model.current().unwrap().state, State::Decided(Decision::Candidate(0)));
    press(&mut model, "u");
    assert_eq!(deliver(&mut model), ["sighting-0 withdrawn"]);
    // A verdict that failed needs no withdrawal.
    press(&mut model, "1u");
    assert_eq!(model.unsent(), 0);
    press(&mut model, "1");
    model.next_task().unwrap();
    press(&mut model, "u");
    model.delivered(Delivery::Failed { why: "gone".to_owned(), is_fatal: false, may_be_recorded: false });
    assert_eq!((model.unsent(), at(&model)), (0, Some("sighting-0")));
}

#[test]
fn what_may_be_recorded_is_taken_back_nevertheless() {
    let mut model = listed(2);
    press(&mut model, "1");
    model.next_task().unwrap();
    press(&mut model, "u");
    // No answer came: whether the server has the verdict, nobody knows.
    model.delivered(Delivery::Failed { why: "gone".to_owned(), is_fatal: true, may_be_recorded: true });
    assert_eq!((model.unsent(), at(&model)), (1, Some("sighting-0")));
    assert_eq!(deliver(&mut model), ["sighting-0 withdrawn"]);
    assert_eq!((model.recorded(), model.unrecorded()), ([0, 0, 0], vec![]));
    assert_eq!(model.current().unwrap().state, State::Open);
}

#[test]
fn what_others_decide_is_passed_over() {
    let mut model = listed(4);
    let decided = |number: usize| {
        let (reviewer, notes) = ("bob".to_owned(), String::new());
        Item { standing: Some(Standing { verdict: Verdict::Rejected, reviewer, notes }), ..item(number) }
    };
    model.refreshed(decided(1));
    press(&mut model, "1");
    assert_eq!(at(&model), Some("sighting-2"));
    model.refreshed(decided(2));
    assert_eq!(model.notice().unwrap().text, "passed over: rejected by bob meanwhile");
    // Not under the reviewer's fingers.
    assert_eq!(at(&model), Some("sighting-2"));
    press(&mut model, "1");
    assert_eq!((at(&model), model.unsent()), (Some("sighting-3"), 1));
    assert_eq!(deliver(&mut model), ["sighting-0 approved -"]);
    press(&mut model, "r");
    model.next_task().unwrap();
    model.delivered(Delivery::Over("decided by somebody else".to_owned()));
    assert_eq!(deliver(&mut model), Vec::<String>::new());
    assert_eq!((model.unrecorded(), model.recorded()), (vec![], [1, 0, 0]));
}

#[test]
fn what_is_looked_at_soon_is_claimed_and_stays_so() {
    let mut model = Model::new();
    assert_eq!(model.wants_claims(), Some(20));
    assert_eq!(model.wants_claims(), None);
    model.claimed((0..20).map(item).collect());
    assert_eq!(model.wants_claims(), None);
    model.renew_claims();
    assert_eq!(model.wants_claims(), Some(20));
    model.claimed((0..20).map(item).collect());
    assert!(model.is_claiming(), "nobody asked for more");
    press(&mut model, &"s".repeat(9));
    // With those that are there.
    assert_eq!(model.wants_claims(), Some(40));
    model.not_claimed("gone");
    assert_eq!(model.wants_claims(), None);
    press(&mut model, "x1");
    assert_eq!(model.wants_claims(), Some(40));
    model.claimed((0..30).map(item).collect());
    assert_eq!((model.wants_claims(), model.is_claiming()), (None, false));
    // Nothing is there twice, and all that waits stays claimed.
    model.renew_claims();
    assert_eq!(model.wants_claims(), Some(30));
    model.claimed((0..30).map(item).collect());
    assert_eq!(model.left().len(), 29);
    press(&mut model, &"j".repeat(30));
    assert_eq!(at(&model), None);
    press(&mut model, "a");
    assert_eq!(model.wants_claims(), Some(21));

    // Whoever passes on a hundred has to decide some.
    let mut model = Model::new();
    for round in 1..=5 {
        assert_eq!(model.wants_claims(), Some(20 * round));
        model.claimed((0..20 * round as usize).map(item).collect());
        press(&mut model, &"s".repeat(20));
    }
    assert_eq!(model.wants_claims(), Some(100));
    model.claimed((0..100).map(item).collect());
    assert_eq!((model.wants_claims(), model.is_claiming()), (None, false));
}

/// What can happen.
#[derive(Debug, Clone)]
enum Happens {
    Key(Key),
    Look,
    Send,
    Recorded,
    Over,
    Failed(bool),
    Refreshed(usize, bool),
    Claimed(usize),
    NotClaimed,
    Renewed,
}

fn happens() -> impl Strategy<Value = Happens> {
    let typed = prop::sample::select("1234rfsnujkq?a x".chars().collect::<Vec<_>>());
    let other = prop::sample::select(vec![
        Key::Enter,
        Key::Escape,
        Key::Backspace,
        Key::Next,
        Key::Previous,
        Key::Paste("1r\n".to_owned()),
    ]);
    prop_oneof![
        8 => typed.prop_map(|typed| Happens::Key(Key::Char(typed))),
        3 => other.prop_map(Happens::Key),
        8 => Just(Happens::Look),
        4 => Just(Happens::Send),
        4 => Just(Happens::Recorded),
        1 => Just(Happens::Over),
        1 => any::<bool>().prop_map(Happens::Failed),
        1 => (0..40_usize, any::<bool>()).prop_map(|(number, decided)| Happens::Refreshed(number, decided)),
        1 => (0..30_usize).prop_map(Happens::Claimed),
        1 => Just(Happens::NotClaimed),
        1 => Just(Happens::Renewed),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_there_is_one_verdict_an_item_and_none_is_lost(events in prop::collection::vec(happens(), 0..300)) {
        let mut model = listed(8);
        // What the server has: the verdict in force on each sighting.
        let mut server = std::collections::HashMap::<String, Decision>::new();
        let mut others = std::collections::HashSet::<String>::new();
        let (mut under_way, mut asked) = (None, false);
        for (event, second) in events.into_iter().zip(1..) {
            match event {
                Happens::Key(key) => {
                    let before = at(&model).map(str::to_owned);
                    let is_shown = model.shown == before;
                    let unsent = model.unsent();
                    model.key(key, Duration::from_secs(second));
                    // Only of what was on the screen something new is said, and at most one thing a key.
                    prop_assert!(model.unsent() <= unsent + 1);
                    if let Some(Task::Review { sighting, .. }) = model.outbox.last().filter(|_| model.unsent() > unsent) {
                        prop_assert!(is_shown && before.as_ref() == Some(sighting));
                    }
                }
                Happens::Look => look(&mut model),
                Happens::Send => under_way = under_way.or(model.next_task()),
                Happens::Recorded => if let Some(task) = under_way.take() {
                    match &task {
                        Task::Review { sighting, decision, .. } => {
                            // One verdict an item: never a second one on top.
                            prop_assert!(!others.contains(sighting));
                            prop_assert_eq!(server.insert(sighting.clone(), *decision), None);
                        }
                        Task::Withdraw { sighting, decision } => {
                            prop_assert_eq!(server.remove(sighting), Some(*decision));
                        }
                    }
                    model.delivered(Delivery::Recorded);
                },
                Happens::Over => if let Some(Task::Review { sighting, .. }) = &under_way {
                    others.insert(sighting.clone());
                    under_way = None;
                    model.delivered(Delivery::Over("somebody else".to_owned()));
                },
                Happens::Failed(is_fatal) => if under_way.take().is_some() {
                    model.delivered(Delivery::Failed {
                        why: "gone".to_owned(), is_fatal, may_be_recorded: false,
                    });
                },
                Happens::Refreshed(number, decided) => {
                    let id = item(number).id;
                    let standing = decided || others.contains(&id);
                    let standing = standing.then(|| Standing {
                        verdict: Verdict::Approved, reviewer: "bob".to_owned(), notes: String::new(),
                    });
                    if !server.contains_key(&id) && !model.outbox.names(&id) {
                        if standing.is_some() && model.place(&id).is_some() {
                            others.insert(id);
                        }
                        model.refreshed(Item { standing, ..item(number) });
                    }
                }
                Happens::Claimed(from) => {
                    asked = asked || model.wants_claims().is_some();
                    if std::mem::take(&mut asked) {
                        // The queue holds nothing that is decided.
                        let waits = |item: &Item| !others.contains(&item.id) && !server.contains_key(&item.id);
                        model.claimed((from..from + 9).map(item).filter(waits).collect());
                    }
                }
                Happens::NotClaimed => {
                    asked = asked || model.wants_claims().is_some();
                    if std::mem::take(&mut asked) {
                        model.not_claimed("gone");
                    }
                }
                Happens::Renewed => model.renew_claims(),
            }
            prop_assert!(model.at <= model.entries.len());
            prop_assert!(model.undoable.len() <= UNDOABLE);
            prop_assert!(model.unsent() <= 33);
            let mut ids: Vec<_> = model.entries.iter().map(|entry| &entry.item.id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), model.entries.len());
            // What a reviewer can take back is decided.
            for id in &model.undoable {
                let place = model.place(id).expect("what can be taken back is there");
                prop_assert!(matches!(model.entries[place].state, State::Decided(_)));
            }
        }
        // When all that waits is sent, the server has what the screen says, or the screen says that it has not.
        if let Some(task) = under_way {
            match task {
                Task::Review { sighting, decision, .. } => drop(server.insert(sighting, decision)),
                Task::Withdraw { sighting, .. } => drop(server.remove(&sighting)),
            }
            model.delivered(Delivery::Recorded);
        }
        while let Some(task) = model.next_task() {
            match task {
                Task::Review { sighting, decision, .. } => drop(server.insert(sighting, decision)),
                Task::Withdraw { sighting, .. } => drop(server.remove(&sighting)),
            }
            model.delivered(Delivery::Recorded);
        }
        for entry in &model.entries {
            let on_screen = match entry.state {
                State::Decided(decision) => Some(decision),
                State::Open | State::Skipped | State::Over => None,
            };
            prop_assert_eq!(server.get(&entry.item.id).copied(), on_screen, "{:?}", entry);
        }
        let counted: u32 = model.recorded().iter().sum();
        prop_assert_eq!(counted as usize, server.len());
    }
}
