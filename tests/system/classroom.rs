//! The accuracy of the whole chain on a class of people who do not exist.

use cavs_tests::{
    SiteOptions, TestSite,
    demo::{Cast, Class, Report, enroll, judge, play_frames},
};

const CLASS: Class = Class { students: 12, strangers: 2, seconds: 60, frames: 12, seed: 9 };

/// Enrolls the cast, plays its frames, and compares with the truth.
fn play(cast: &Cast) -> Option<Report> {
    let options = SiteOptions { server_toml: cast.server_toml.clone(), ..SiteOptions::default() };
    let site = TestSite::start_with(&options)?;
    enroll(&site, cast);
    let device = site.add_device("camera");
    play_frames(&site, &device, &cast.frames);
    Some(judge(&site, cast))
}

#[test]
fn a_class_is_recognised() {
    let cast = Cast::of_class(CLASS).unwrap();
    let Some(report) = play(&cast) else { return };
    // With a margin to what is usual (docs/SYNTHFACE.md), as these are few frames.
    assert!(report.expected > 50, "{report}");
    assert!(report.found * 100 >= report.expected * 98, "{report}");
    assert!(report.right * 100 >= report.expected * 95, "{report}");
    assert_eq!(report.wrong, 0, "{report}");
    assert!(report.strangers > 5, "{report}");
}

#[test]
fn a_picture_of_the_wrong_student_is_noticed() {
    let mut cast = Cast::of_class(CLASS).unwrap();
    let portraits = std::mem::take(&mut cast.students[0].portraits);
    cast.students[0].portraits = std::mem::replace(&mut cast.students[1].portraits, portraits);
    let Some(report) = play(&cast) else { return };
    assert!(report.wrong > 5 && !report.is_good(), "{report}");
}
