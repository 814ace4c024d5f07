use std::{io::Cursor, sync::Arc, time::Duration};

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, RgbImage};
use ratatui::{Terminal, backend::TestBackend};
use ratatui_image::picker::Picker;

use super::*;
use crate::review_screen::{
    item::Standing,
    model::{Delivery, Key},
    pictures::{self, Files},
};

fn item() -> Item {
    let candidate = |student: &str, number: &str, name: &str, similarity| Candidate {
        student: student.to_owned(),
        number: number.to_owned(),
        name: name.to_owned(),
        similarity,
    };
    Item {
        id: "sighting-0".to_owned(),
        seen: Some("2026-03-02T09:14:05Z".parse().unwrap()),
        device: "door-cam".to_owned(),
        classroom: "Room 12".to_owned(),
        candidates: vec![
            candidate("a", "0017", "Zoë Example", 0.37),
            candidate("b", "0031", "Ada Lovelace", 0.35),
            candidate("c", "0032", "名前の長い人", 0.1),
        ],
        is_predicted: true,
        threshold: 0.40,
        threshold_version: 3,
        margin: Some(0.02),
        why: "0.37, below 0.40; second is 0.02 behind; dark".to_owned(),
        standing: Some(Standing {
            verdict: Verdict::Flagged,
            reviewer: "bob".to_owned(),
            notes: "a twin?".to_owned(),
        }),
        is_assigned: false,
        visit: 3,
    }
}

fn model() -> Model {
    let mut model = Model::new();
    model.wants_claims();
    let second = Item { id: "sighting-1".to_owned(), standing: None, ..item() };
    model.claimed(vec![item(), second]);
    model.counted((2, true));
    model
}

fn look() -> Look {
    Look { colour: false, zone: TimeZone::UTC, pictures: true, margin: Some((0.1, 3)) }
}

/// Pictures of one colour each, in half-blocks: none of the third candidate.
fn loaded(size: Size) -> Loaded {
    let jpeg = |grey: u8| {
        let mut bytes = Vec::new();
        let image = DynamicImage::ImageRgb8(RgbImage::from_pixel(40, 40, image::Rgb([grey; 3])));
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg).unwrap();
        Some(Bytes::from(bytes))
    };
    let files = Files { face: jpeg(50), portraits: vec![jpeg(100), Some(Bytes::from_static(b"none")), None] };
    let decoded = Arc::new(pictures::decode(&files));
    let drawn = pictures::draw(&decoded, &Picker::halfblocks(), &sizes(size, 3));
    Loaded::There { decoded, drawn, fits: size }
}

/// The screen as text, and whether the face is on it.
fn screen(model: &Model, loaded: Option<&Loaded>, look: &Look, width: u16, height: u16) -> (String, bool) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut is_shown = false;
    terminal.draw(|frame| is_shown = draw(frame, model, loaded, look)).unwrap();
    (terminal.backend().to_string(), is_shown)
}

#[test]
fn a_face_is_beside_the_portraits_of_whom_it_may_be() {
    let model = model();
    let loaded = loaded(Size::new(100, 24));
    let (text, is_shown) = screen(&model, Some(&loaded), &look(), 100, 24);
    assert!(is_shown);
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_not_on_the_screen_does_not_count_as_seen() {
    let model = model();
    let loaded = loaded(Size::new(80, 24));
    for (pictures, shown) in [
        (None, false),
        (Some(&Loaded::Loading), false),
        (Some(&Loaded::Failed("gone".to_owned())), false),
        (Some(&loaded), true),
    ] {
        assert_eq!(screen(&model, pictures, &look(), 80, 24).1, shown);
    }
    // Made for another size, or for a screen that is too small.
    assert!(!screen(&model, Some(&loaded), &look(), 90, 24).1);
    let (text, is_shown) = screen(&model, Some(&loaded), &look(), 30, 10);
    assert!(text.contains("too small") && !is_shown);
    // Where nobody wants pictures, an item that is there is seen.
    let without = Look { pictures: false, ..look() };
    let (text, is_shown) = screen(&model, Some(&loaded), &without, 80, 24);
    assert!(text.contains("pictures are not drawn") && is_shown);
    // Every size has a screen.
    for (width, height) in (1..60).step_by(7).flat_map(|width| (1..30).map(move |height| (width, height))) {
        screen(&model, Some(&loaded), &look(), width, height);
    }
}

#[test]
fn what_was_said_is_told_on_the_screen() {
    let mut model = model();
    let press = |model: &mut Model, typed: char, second: u64| {
        let id = model.current().map(|entry| entry.item.id.clone());
        if let Some(id) = id {
            model.shown(&id);
        }
        model.key(Key::Char(typed), Duration::from_secs(second));
    };
    let without = Look { pictures: false, ..look() };
    press(&mut model, 'n', 1);
    model.key(Key::Paste("I know him".to_owned()), Duration::from_secs(2));
    let note = screen(&model, None, &without, 80, 17).0;
    model.key(Key::Enter, Duration::from_secs(3));
    press(&mut model, '2', 4);
    press(&mut model, 'k', 5);
    let decided = screen(&model, None, &without, 80, 17).0;
    model.next_task();
    model.delivered(Delivery::Failed {
        why: "the server is gone".to_owned(),
        is_fatal: false,
        may_be_recorded: false,
    });
    let failed = screen(&model, None, &without, 80, 17).0;
    press(&mut model, 's', 6);
    press(&mut model, 's', 7);
    let end = screen(&model, None, &without, 80, 17).0;
    press(&mut model, '?', 8);
    let help = screen(&model, None, &without, 80, 17).0;
    insta::assert_snapshot!([note, decided, failed, end, help].join("\n"));
}

#[test]
fn colours_are_used_where_they_are_wanted() {
    let (model, loaded) = (model(), loaded(Size::new(80, 24)));
    let colours = |look: &Look| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let drawn = terminal.draw(|frame| _ = draw(frame, &model, Some(&loaded), look));
        drawn.unwrap();
        let buffer = terminal.backend().buffer();
        // Below the pictures.
        let coloured = buffer.content().iter().skip(80 * 17).filter(|cell| cell.fg != Color::Reset);
        coloured.count()
    };
    assert_eq!(colours(&look()), 0);
    assert!(colours(&Look { colour: true, ..look() }) > 0);
}
