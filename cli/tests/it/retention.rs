//! How long the site keeps what.

use crate::fake::Fake;

#[test]
fn what_is_kept_is_shown_and_changed() {
    let fake = Fake::with_students(&[]);
    insta::assert_snapshot!(fake.cavs(&["retention", "show"]).stdout);
    let change = ["retention", "set", "--evidence", "60", "--sightings", "forever", "--portraits", "default"];
    // Nobody is there to be asked whether less is meant.
    let refused = fake.cavs(&change);
    assert!(refused.code == 2 && refused.stderr.contains("Keep portraits as the server's"), "{refused:?}");
    assert_eq!(fake.service.state().retention, None);
    let shorter = fake.cavs(&["retention", "set", "--evidence", "29", "--portraits", "90"]);
    let asked = "Keep evidence for 29 days instead of 30, portraits for 90 days instead of for ever?";
    assert!(shorter.code == 2 && shorter.stderr.contains(asked), "{shorter:?}");
    let changed = fake.cavs(&[&change[..], &["--yes"]].concat());
    assert_eq!(changed.code, 0, "{changed:?}");
    insta::assert_snapshot!(changed.stdout);
    assert_eq!(fake.service.state().retention.unwrap().sightings_days, Some(0));
    insta::assert_snapshot!(fake.cavs(&["retention", "show", "-o", "json"]).stdout);
    // For longer, nobody is asked.
    let longer = ["retention", "set", "--evidence", "61", "--portraits", "forever", "--sightings", "forever"];
    assert_eq!(fake.cavs(&longer).code, 0);
    for wrong in [&["retention", "set"] as &[&str], &["retention", "set", "--evidence", "0"]] {
        assert_eq!(fake.cavs(wrong).code, 2, "{wrong:?}");
    }
}
