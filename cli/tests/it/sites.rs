//! Sites, and which one a command is about.

use crate::{
    fake::{Fake, PASSWORD},
    program::run,
};

#[test]
fn sites_are_added_listed_renamed_and_archived() {
    let fake = Fake::with_students(&[]);
    assert_eq!(fake.cavs(&["sites", "add", "North"]).code, 0);
    let renamed = fake.cavs(&["sites", "update", "North", "--name", "North Campus", "-o", "json"]);
    assert_eq!(renamed.json()["name"], "North Campus", "{renamed:?}");
    assert_eq!(fake.cavs(&["sites", "archive", "North Campus"]).code, 2, "nobody says that it is meant");
    assert_eq!(fake.cavs(&["sites", "archive", "North Campus", "--yes"]).code, 0);
    insta::assert_snapshot!(fake.cavs(&["sites", "list"]).stdout);
    insta::assert_snapshot!(fake.cavs(&["sites", "show", "North Campus"]).stdout);
    let none = fake.cavs(&["sites", "show", "South"]);
    assert_eq!(none.code, 3, "{none:?}");
    assert!(none.stderr.contains("hint: see: cavs sites list"), "{none:?}");
    // Whoever has several is told which.
    let who = fake.cavs(&["whoami"]);
    assert!(who.stdout.contains("admin in main, admin in North Campus"), "{who:?}");
}

#[test]
fn a_site_is_chosen_by_flag_environment_file_and_login() {
    let fake = Fake::with_students(&[]);
    let asked = || fake.service.state().site.clone();
    let list = ["students", "list"];
    let of = |arguments: &[&str], env: &[(&str, &str)]| {
        let ran = run(fake.home(), arguments, env, "");
        assert_eq!(ran.code, 0, "{ran:?}");
        asked()
    };
    assert_eq!(of(&list, &[]), None, "whoever has one site says nothing");

    let arguments = [
        "--server",
        &fake.url,
        "--ca",
        fake.ca(),
        "--site",
        "west",
        "login",
        "-u",
        "admin",
        "--password-stdin",
    ];
    assert_eq!(run(fake.home(), &arguments, &[], &format!("{PASSWORD}\n")).code, 0);
    assert_eq!(of(&list, &[]).as_deref(), Some("west"));
    let config = fake.home().join(".config/cavs/config.toml");
    std::fs::write(config, "site = \"north\"\n").unwrap();
    assert_eq!(of(&list, &[]).as_deref(), Some("north"));
    assert_eq!(of(&list, &[("CAVS_SITE", "south")]).as_deref(), Some("south"));
    assert_eq!(of(&list, &[("CAVS_SITE", "")]).as_deref(), Some("north"));
    let flag = ["students", "list", "--site", "Zo\u{eb} 100%"];
    assert_eq!(of(&flag, &[("CAVS_SITE", "south")]).as_deref(), Some("Zo%C3%AB 100%25"));
}

#[test]
fn the_gate_of_enrollment_is_shown_and_set() {
    let fake = Fake::with_students(&[]);
    assert_eq!(fake.cavs(&["sites", "gate", "-o", "json"]).json()["gate"], "standard");
    let ran = fake.cavs(&["sites", "gate", "strict"]);
    assert_eq!((ran.code, ran.stdout.trim()), (0, "gate  strict"), "{ran:?}");
    assert_eq!(fake.cavs(&["sites", "gate", "open"]).code, 2);
}
