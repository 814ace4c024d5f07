//! The review that fills a terminal, with a real server: what keys do, and how it ends.

use std::{thread, time::Duration};

use cavs_tests::{
    PseudoTerminal,
    review_site::{ReviewSite, face, ways_out_that_leave_traces},
};
use nix::sys::signal::Signal;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);
/// How long a screen does not change before it counts as drawn, also on a machine that is busy.
const QUIET: Duration = Duration::from_millis(500);

/// The face on the screen, when it is another one than before.
fn next_face(terminal: &PseudoTerminal, before: &[String]) -> Vec<String> {
    terminal.settled("the next face", LIMIT, QUIET, face, |face| !face.is_empty() && face != before).0
}

/// Waits until a face that was shown before is on the screen again.
fn wait_for_face(terminal: &PseudoTerminal, expected: &[String]) {
    terminal.wait_for("the face of before", LIMIT, |screen| face(screen) == expected);
}

/// The newest verdict of the reviewer, when there are so many.
fn newest(site: &ReviewSite, count: usize) -> Value {
    let mut last = Value::Null;
    for _ in 0..200 {
        last = site.site.cli.json(&["review", "mine"]);
        if last["sightings"].as_array().is_some_and(|mine| mine.len() == count) {
            return last["sightings"][0].clone();
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("not {count}: {last:#}");
}

#[test]
fn faces_are_reviewed_by_single_keys_and_nothing_is_lost() {
    let mut site = ReviewSite::start(4, 8);
    let nowhere = site.site.cli.fails(2, &["review"]);
    assert!(nowhere.contains("needs a terminal") && nowhere.contains("cavs review list"), "{nowhere}");
    assert_eq!(ways_out_that_leave_traces(&site), Vec::<&str>::new());

    // A terminal that answers nothing draws half-blocks.
    let mut terminal = site.review(&[]);
    let first = next_face(&terminal, &[]);
    let text = terminal.text();
    assert!(text.contains("Room 1 · door") && text.contains("second is "), "{text}");
    // The portraits are beside it.
    assert!(!text.contains("no portrait"), "{text}");
    terminal.type_keys("1");
    let second = next_face(&terminal, &first);
    let verdict = newest(&site, 1);
    assert_eq!(verdict["review"]["verdict"], "approved");
    assert_eq!(verdict["student"]["id"], verdict["prediction"]["candidates"][0]["student"]["id"]);

    terminal.type_keys("nnot her\r2");
    let third = next_face(&terminal, &second);
    let verdict = newest(&site, 2);
    assert_eq!(
        (&verdict["review"]["verdict"], &verdict["review"]["notes"]),
        (&"approved".into(), &"not her".into())
    );
    assert_eq!(verdict["student"]["id"], verdict["prediction"]["candidates"][1]["student"]["id"]);
    terminal.type_keys("u");
    wait_for_face(&terminal, &second);
    newest(&site, 1);
    terminal.type_keys("r");
    wait_for_face(&terminal, &third);
    assert_eq!(newest(&site, 2)["review"]["verdict"], "rejected");

    // What is on the screen is the reviewer's alone, unless somebody takes it over.
    site.site.add_user("bob", "reviewer", "correct horse battery");
    let bob = site.site.cli_of("bob", "correct horse battery");
    let waiting = bob.json(&["review", "list"]);
    let third_id = waiting["sightings"][0]["id"].as_str().unwrap();
    assert!(bob.fails(1, &["review", "reject", third_id]).contains("looked at by admin"));
    bob.json(&["review", "assign", third_id, "--to", "bob"]);
    bob.json(&["review", "reject", third_id]);
    terminal.type_keys("f");
    terminal.wait_for_text("passed over: somebody has decided it meanwhile");
    let fourth = next_face(&terminal, &third);

    // Another size draws the same face anew.
    terminal.resize(40, 120);
    let larger = next_face(&terminal, &fourth);
    assert!(larger.len() > fourth.len());

    // What the server did not get comes back, and is told at the end.
    site.site.take_server().kill();
    terminal.type_keys("1");
    terminal.wait_for_text("not recorded, it comes back");
    terminal.type_keys("s");
    terminal.wait_for_text("The verdict was not recorded");
    terminal.type_keys("q");
    terminal.wait_for_text("not recorded: 1; q again leaves without");
    terminal.type_keys("q");
    let left = terminal.wait(LIMIT);
    assert!(left.is_restored && left.code == Some(1), "{left:?}");
    assert!(left.text.contains("Recorded: 1 approved, 1 rejected, 0 flagged."), "{left:?}");
    assert!(left.text.contains("verdicts that were not recorded:"), "{left:?}");

    // The server is there again. What is left undecided is anybody's.
    site.site.start_server();
    let mut terminal = site.review(&["--image-protocol", "none", "--least-certain"]);
    terminal.wait_for_text("pictures are not drawn");
    terminal.wait_for_text("1-5");
    thread::sleep(QUIET);
    terminal.type_keys("f");
    terminal.wait_for_text("flagged 1");
    terminal.signal(Signal::SIGTERM);
    let left = terminal.wait(LIMIT);
    assert!(left.is_restored && left.text.contains("ended by SIGTERM"), "{left:?}");
    let claimed = site.site.cli.json(&["review", "list", "--claimed-by", "admin"]);
    assert_eq!(claimed["total_size"], 0, "{claimed:#}");
    assert_eq!(newest(&site, 3)["review"]["verdict"], "flagged");
}
