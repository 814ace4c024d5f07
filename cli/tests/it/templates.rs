//! Enrolled faces.

use crate::fake::{Fake, TEMPLATE};

#[test]
fn templates_are_listed_and_deleted() {
    let fake = Fake::with_students(&["1001"]);
    let ran = fake.cavs(&["templates", "list", "1001"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let json = fake.cavs(&["templates", "list", "1001", "-o", "json"]).json();
    assert_eq!((&json["student"]["number"], &json["templates"][0]["id"]), (&"1001".into(), &TEMPLATE.into()));

    let sighting = "01890000-0000-7000-8000-000000000051";
    let ran = fake.cavs(&["templates", "add", sighting, "-o", "json"]);
    assert_eq!((ran.code, &ran.json()["reason"]), (1, &"UNLIKE_OTHER_PICTURES".into()), "{ran:?}");
    let ran = fake.cavs(&["templates", "add", sighting, "--accept-unlike"]);
    assert_eq!((ran.code, ran.stdout), (0, format!("added {TEMPLATE}\n")));

    let file = fake.home().join("face.jpg");
    let ran = fake.cavs(&["templates", "show", TEMPLATE, "--portrait", file.to_str().unwrap(), "-o", "json"]);
    assert_eq!((ran.code, &ran.json()["quality"]["unified_score"]), (0, &81.into()), "{ran:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"jpeg");
    let again = fake.cavs(&["templates", "show", TEMPLATE, "--portrait", file.to_str().unwrap()]);
    assert_eq!(again.code, 1, "a file is never overwritten: {again:?}");

    assert_eq!(fake.cavs(&["templates", "rm", TEMPLATE, "--yes"]).code, 0);
    let other = "01a202b6-1de5-7026-a7bc-000000000000";
    let ran = fake.cavs(&["templates", "rm", other, "--yes"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains(other), "{ran:?}");
    assert_eq!(fake.cavs(&["templates", "rm", "7"]).code, 2);
}
