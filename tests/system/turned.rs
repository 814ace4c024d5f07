//! Rendered people, photographed with the camera on its side.

use std::fs;

use cavs_models::{DecodeLimits, Image, Pack};
use cavs_tests::{
    people,
    turned::{Photograph, measure},
};

/// Turned faces look alike to an embedder: before pictures were turned the right way up, each became a
/// template, and strangers were taken for it.
#[test]
fn photographs_of_any_orientation_make_templates_of_the_person_or_none() {
    let photographs: Vec<Photograph> = people(24)
        .iter()
        .enumerate()
        .map(|(person, student)| {
            let bytes = fs::read(&student.portraits[0]).unwrap();
            Photograph { person, image: Image::decode(&bytes, &DecodeLimits::default()).unwrap() }
        })
        .collect();
    let report = measure(&Pack::built_in().unwrap(), &photographs);
    assert!(report.upright == 24 && report.templates >= 54, "{report:?}");
    // Some are found, though the refiner is sure that they are no upright faces.
    assert!(report.strangers > 0, "{report:?}");
    assert_eq!((report.unlike, report.accepted, report.confused), (0, 0, 0), "{report:?}");
}
