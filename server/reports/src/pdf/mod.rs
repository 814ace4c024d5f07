//! PDF for printers: pages of tables, with letters from the fonts that the caller has. A letter that none of them has
//! is written as `?`, and the last page says which ones those are.

mod fonts;
mod layout;
mod text;

use std::rc::Rc;

use jiff::Timestamp;
use krilla::{
    color::luma,
    geom::{PathBuilder, Point},
    metadata::{DateTime, Metadata},
    num::NormalizedF32,
    page::PageSettings,
    paint::{Fill, Stroke},
    surface::Surface,
};

pub use fonts::Fonts;

use crate::{Document, FileError, cell::local};
use layout::{Layout, Page, Piece};
use text::{Line, Shaper};

/// Points around what is written.
const MARGIN: f32 = 36.0;
const SMALL: f32 = 7.0;
/// Letters that are named of those that no font has.
const MOST_NAMED: usize = 20;

fn failed(problem: impl std::fmt::Display) -> FileError {
    FileError::failed("PDF", problem)
}

/// A report as a PDF.
///
/// # Errors
/// `NoFonts`, or the PDF can't be made.
pub fn pdf(document: &Document, fonts: &Fonts) -> Result<Vec<u8>, FileError> {
    fonts.check()?;
    let shaper = Shaper::new(fonts);
    let mut layout = Layout::new(&shaper, document);
    layout.heading(document);
    layout.table(&document.table, &document.head.zone);
    for table in &document.more {
        layout.table(table, &document.head.zone);
    }
    for note in &document.notes {
        layout.note(note);
    }
    let made = local(document.head.made_at, &document.head.zone);
    let made = format!("Made {made}; times are those of {}.", document.head.zone_name);
    layout.note(&made);
    let missing = shaper.missing();
    if !missing.is_empty() {
        let named: Vec<_> =
            missing.iter().take(MOST_NAMED).map(|c| format!("U+{:04X}", u32::from(*c))).collect();
        let more = if missing.len() > MOST_NAMED { " and others" } else { "" };
        layout.note(&format!(
            "No font of the machine that made this page has {}{more}: they are written as ?.",
            named.join(", ")
        ));
    }
    let (width, height) = layout.size();
    let pages = layout.finish();
    let count = pages.len();
    let mut out = krilla::Document::new();
    out.set_metadata(metadata(document));
    for (number, page) in pages.iter().enumerate() {
        let settings = PageSettings::from_wh(width, height).ok_or_else(|| failed("no such page"))?;
        let mut to = out.start_page_with(settings);
        let mut surface = to.surface();
        draw(&mut surface, page);
        let foot = shaper.line(&format!("Page {} of {count}", number + 1), false);
        let school = shaper.line(&document.head.school, false);
        let below = height - MARGIN / 2.0;
        write(&mut surface, &school, MARGIN, below, SMALL);
        write(&mut surface, &foot, width - MARGIN - foot.width * SMALL, below, SMALL);
        surface.finish();
        to.finish();
    }
    out.finish().map_err(|error| failed(format_args!("{error:?}")))
}

/// The letters of a report that none of the fonts has: a PDF has `?` in their place.
#[must_use]
pub fn missing_letters(document: &Document, fonts: &Fonts) -> Vec<char> {
    let mut missing = fonts.missing(&document.title, true);
    missing.extend(fonts.missing(&document.head.school, false));
    let tables = std::iter::once(&document.table).chain(&document.more);
    for cell in tables.flat_map(|table| &table.rows).flatten() {
        missing.extend(fonts.missing(&cell.shown(&document.head.zone), false));
    }
    missing.into_iter().collect()
}

fn metadata(document: &Document) -> Metadata {
    let mut metadata = Metadata::new()
        .title(document.title.clone())
        .authors(vec![document.head.school.clone()])
        .creator("CAVS".to_owned())
        .language("en".to_owned());
    if let Some(made) = date_time(document.head.made_at) {
        metadata = metadata.creation_date(made);
    }
    metadata
}

fn date_time(time: Timestamp) -> Option<DateTime> {
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    let small = |number: i8| u8::try_from(number).ok();
    let date =
        DateTime::new(u16::try_from(time.year()).ok()?).month(small(time.month())?).day(small(time.day())?);
    Some(date.hour(small(time.hour())?).minute(small(time.minute())?).second(small(time.second())?))
}

fn draw(surface: &mut Surface<'_>, page: &Page) {
    for piece in &page.pieces {
        match piece {
            Piece::Text { line, x, y, size } => write(surface, line, *x, *y, *size),
            Piece::Rule { x, y, width, thickness } => rule(surface, (*x, *y), *width, *thickness),
        }
    }
}

fn write(surface: &mut Surface<'_>, line: &Rc<Line>, x: f32, y: f32, size: f32) {
    surface.set_stroke(None);
    surface.set_fill(Some(Fill {
        paint: luma::Color::black().into(),
        opacity: NormalizedF32::ONE,
        rule: krilla::paint::FillRule::default(),
    }));
    let mut x = x;
    for run in &line.runs {
        surface.draw_glyphs(Point::from_xy(x, y), &run.glyphs, run.face.font.clone(), &run.text, size, false);
        x += run.width * size;
    }
}

fn rule(surface: &mut Surface<'_>, (x, y): (f32, f32), width: f32, thickness: f32) {
    let mut path = PathBuilder::new();
    path.move_to(x, y);
    path.line_to(x + width, y);
    let Some(path) = path.finish() else { return };
    surface.set_fill(None);
    surface.set_stroke(Some(Stroke {
        paint: luma::Color::new(110).into(),
        width: thickness,
        ..Stroke::default()
    }));
    surface.draw_path(&path);
}
