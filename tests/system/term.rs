//! The short form of `scripts/term`.

use cavs_tests::term::{Cast, Plan, play};

#[test]
fn a_lesson_in_each_of_three_rooms_is_marked_as_it_was() {
    let plan = Plan::short();
    let cast = Cast::render(plan.rooms, 6, 1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let verdict = play(&plan, &cast, &directory.path().canonicalize().unwrap());
    assert!(verdict.print());
}
