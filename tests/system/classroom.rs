//! The accuracy of the whole chain on a class of people who do not exist.

use cavs_tests::{
    Site, TestSite,
    demo::{Class, DemoData, Report, enroll, judge, play_frames},
};

const CLASS: Class = Class { students: 12, strangers: 2, seconds: 60, frames: 12, seed: 9 };

/// Enrolls the cast, plays its frames, and compares with the truth.
fn play(cast: &DemoData, site: &Site) -> Report {
    enroll(site, cast);
    let device = site.add_device("camera");
    play_frames(site, &device, &cast.frames);
    judge(site, cast)
}

#[test]
fn a_class_is_recognised() {
    let cast = DemoData::of_class(CLASS).unwrap();
    // The pack lies in a folder, as one that was imported: the server and the agent must both use that one.
    let site = TestSite::start_with_pack_folder();
    let report = play(&cast, &site);
    // What the pack is unsure of goes to people; it must not guess instead.
    assert!(report.expected > 50, "{report}");
    assert!(report.found * 100 >= report.expected * 98, "{report}");
    assert!(report.right * 100 >= report.expected * 85, "{report}");
    assert!(report.wrong * 50 <= report.expected, "{report}");
    assert!(report.strangers > 5, "{report}");
    let shown = site.cli.json(&["gallery", "show"]);
    assert_eq!(shown["pack_digest"], site.pack_digest().to_string(), "{shown:#}");
}

#[test]
fn a_picture_of_the_wrong_student_is_noticed() {
    let mut cast = DemoData::of_class(CLASS).unwrap();
    let portraits = std::mem::take(&mut cast.students[0].portraits);
    cast.students[0].portraits = std::mem::replace(&mut cast.students[1].portraits, portraits);
    let site = TestSite::start();
    let report = play(&cast, &site);
    assert!(report.wrong > 5 && !report.is_good(), "{report}");
}
