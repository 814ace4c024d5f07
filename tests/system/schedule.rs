//! Terms, groups, rooms and sessions, as people plan them.

use cavs_tests::TestSite;
use serde_json::Value;

const PASSWORD: &str = "correct horse battery";

/// What each item of a list says under a name.
fn each(list: &Value, field: &str, name: &str) -> Vec<String> {
    let text = |item: &Value| item.pointer(name).unwrap().as_str().unwrap().to_owned();
    list[field].as_array().unwrap().iter().map(text).collect()
}

/// A command of `cavs groups members`.
fn members<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["groups", "members"], more].concat()
}

#[test]
fn a_schedule_is_planned_by_hand() {
    let site = TestSite::start();
    let cli = &site.cli;
    site.add_user("olga", "operator", PASSWORD);
    let operator = site.cli_of("olga", PASSWORD);
    let zoned = operator.json(&["sites", "update", "main", "--time-zone", "europe/berlin"]);
    assert_eq!(zoned["time_zone"], "Europe/Berlin");
    operator.fails(2, &["sites", "update", "main", "--time-zone", "Mars/Olympus"]);

    let term = ["terms", "add", "Autumn 2037", "--from", "2037-09-01", "--until", "2037-10-31"];
    cli.json(&term);
    cli.fails(1, &term);
    cli.fails(2, &["terms", "update", "Autumn 2037", "--until", "2037-08-31"]);
    assert_eq!(each(&cli.json(&["terms", "list", "--on", "2037-10-31"]), "terms", "/name"), ["Autumn 2037"]);
    assert_eq!(cli.json(&["terms", "list", "--on", "2037-11-01"])["total_size"], 0);
    cli.json(&["terms", "holidays", "add", "Autumn break", "--from", "2037-10-12", "--until", "2037-10-23"]);

    // A roster with dates.
    for (number, name) in [("17", "Grace Hopper"), ("18", "Ada Lovelace")] {
        cli.json(&["students", "add", number, "--name", name]);
    }
    cli.json(&["groups", "add", "Maths 3b", "--term", "Autumn 2037"]);
    assert!(cli.run(&members(&["add", "Maths 3b", "17", "18", "--from", "2037-09-01"])).status.success());
    let twice = cli.fails(1, &members(&["add", "Maths 3b", "17", "--from", "2037-10-01"]));
    assert!(twice.contains("is a member of the group on some of these days"), "{twice}");
    assert!(cli.run(&members(&["rm", "Maths 3b", "18", "--until", "2037-09-30"])).status.success());
    let on = |day: &str| {
        let listed = cli.json(&members(&["list", "Maths 3b", "--on", day]));
        each(&listed, "members", "/student/number")
    };
    assert_eq!(on("2037-09-30"), ["17", "18"]);
    assert_eq!(on("2037-10-01"), ["17"]);
    let of = cli.json(&["groups", "of", "18"]);
    assert_eq!(each(&of, "memberships", "/end_date"), ["2037-09-30"]);
    assert!(cli.fails(1, &["terms", "rm", "Autumn 2037"]).contains("groups are of the term"));

    // A room is known by its device.
    let _ = site.add_device("camera");
    let room = cli.json(&["rooms", "place", "camera", "Room 1", "--role", "entry"]);
    assert_eq!(
        (&room["devices"][0]["name"], &room["devices"][0]["role"]),
        (&"camera".into(), &"entry".into())
    );
    cli.json(&["rooms", "update", "Room 1", "--name", "B12"]);
    assert_eq!(cli.json(&["devices", "show", "camera"])["classroom"], "B12");

    // A session by the clocks of the site, wherever the command is given.
    let arguments = ["--start", "2037-09-01T08:00", "--end", "2037-09-01T09:30", "--room", "B12"];
    let session = cli.json(&[&["sessions", "add", "Maths 3b"][..], &arguments].concat());
    assert_eq!(session["start_time"], "2037-09-01T06:00:00Z");
    let id = session["id"].as_str().unwrap();
    let moved = cli.json(&["sessions", "update", id, "--end", "2037-09-01T08:00:00Z", "--name", "Vectors"]);
    assert_eq!(
        (&moved["end_time"], &moved["rooms"][0]["name"]),
        (&"2037-09-01T08:00:00Z".into(), &"B12".into())
    );
    assert_eq!(cli.json(&["sessions", "cancel", id])["state"], "cancelled");
    assert!(cli.fails(1, &["sessions", "cancel", id]).contains("the session is cancelled"));
    assert_eq!(cli.json(&["sessions", "reinstate", id])["state"], "planned");
    assert!(cli.fails(1, &["rooms", "rm", "B12"]).contains("are in the room"));

    // A term of them, but for the holidays; the clocks are put back on 25 October.
    let plan = [
        "sessions",
        "plan",
        "Maths 3b",
        "--days",
        "mon,tue",
        "--at",
        "08:00-09:30",
        "--room",
        "B12",
        "--dry-run",
    ];
    let dry = cli.json(&plan);
    let made = cli.json(&plan[..plan.len() - 1]);
    for plan in [&dry, &made] {
        assert_eq!((&plan["existing"], &plan["holidays"]), (&1.into(), &4.into()));
        let starts = each(plan, "sessions", "/start_time");
        assert_eq!((starts.len(), starts[0].as_str()), (12, "2037-09-07T06:00:00Z"));
        assert_eq!(starts[11], "2037-10-27T07:00:00Z");
    }
    assert_eq!(cli.json(&plan[..plan.len() - 1])["existing"], 13);
    let listed =
        cli.json(&["sessions", "list", "--on", "2037-10-26", "--room", "B12", "--group", "Maths 3b"]);
    assert_eq!(each(&listed, "sessions", "/end_time"), ["2037-10-26T08:30:00Z"]);
    assert_eq!(cli.json(&["sessions", "list", "--state", "planned"])["total_size"], 13);

    // What people said of somebody goes with them, and nothing else.
    cli.json(&["students", "erase", "18", "--yes", "--no-wait"]);
    let left = on("2037-09-30");
    assert!(left.len() == 2 && left[1].starts_with("erased-"), "{left:?}");
    assert!(cli.run(&["sessions", "rm", id]).status.success());
    assert!(cli.run(&["groups", "archive", "Maths 3b"]).status.success());
    cli.fails(3, &["groups", "show", "Maths 3b"]);
}
