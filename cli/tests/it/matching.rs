//! Whose face a photograph shows.

use crate::fake::Fake;

fn with_images() -> Fake {
    let fake = Fake::with_students(&["1001", "1002"]);
    for word in ["known", "doubtful", "stranger", "wall", "often"] {
        std::fs::write(fake.home().join(format!("{word}.jpg")), word).unwrap();
    }
    fake
}

#[test]
fn who_it_is_is_said_with_what_decided() {
    let fake = with_images();
    let ran = fake.cavs(&["match", "identify", "known.jpg"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    // A program asks by the exit code: only one student, without a doubt, is done.
    let ran = fake.cavs(&["match", "identify", "doubtful.jpg"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["match", "identify", "stranger.jpg", "-o", "json"]);
    assert_eq!((ran.code, &ran.json()["decision"]), (1, &"unknown".into()), "{ran:?}");
    let ran = fake.cavs(&["match", "identify", "wall.jpg"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn a_student_is_verified_by_number_and_by_id() {
    let fake = with_images();
    let ran = fake.cavs(&["match", "verify", "1001", "known.jpg"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let id = fake.cavs(&["students", "show", "1002", "-o", "json"]).json()["id"].clone();
    let ran = fake.cavs(&["match", "verify", id.as_str().unwrap(), "stranger.jpg"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["match", "verify", "none", "known.jpg"]);
    assert_eq!(ran.code, 3, "{ran:?}");
}

#[test]
fn pictures_are_looked_at_before_anybody_is_asked() {
    let fake = with_images();
    assert_eq!(fake.cavs(&["match", "identify", "missing.jpg"]).code, 3);
    let large = std::fs::File::create(fake.home().join("large.jpg")).unwrap();
    large.set_len((4 << 20) + 1).unwrap();
    let ran = fake.cavs(&["match", "identify", "large.jpg"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("is larger than 4 MiB"), "{ran:?}");
    let ran = fake.cavs(&["match", "identify", "often.jpg", "-o", "json"]);
    assert_eq!((ran.code, &ran.error()["reason"]), (5, &"RATE_LIMITED".into()), "{ran:?}");
}

#[test]
fn who_has_asked_is_listed() {
    let fake = with_images();
    let ran = fake.cavs(&["match", "ls"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let json = fake.cavs(&["match", "list", "-o", "json"]).json();
    assert_eq!((&json["total_size"], &json["matches"][1]["kind"]), (&2.into(), &"verify".into()));
}
