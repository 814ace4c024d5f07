//! How long the site keeps what.

use crate::fake::Fake;

#[test]
fn what_is_kept_is_shown_and_changed() {
    let fake = Fake::with_students(&[]);
    insta::assert_snapshot!(fake.cavs(&["retention", "show"]).stdout);
    let change = ["retention", "set", "--evidence", "60", "--sightings", "forever", "--portraits", "default"];
    let changed = fake.cavs(&change);
    assert_eq!(changed.code, 0, "{changed:?}");
    insta::assert_snapshot!(changed.stdout);
    assert_eq!(fake.service.state().retention.unwrap().sightings_days, Some(0));
    insta::assert_snapshot!(fake.cavs(&["retention", "show", "-o", "json"]).stdout);
    for wrong in [&["retention", "set"] as &[&str], &["retention", "set", "--evidence", "0"]] {
        assert_eq!(fake.cavs(wrong).code, 2, "{wrong:?}");
    }
}
