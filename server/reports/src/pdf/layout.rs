//! Where on which page everything stands.

use std::rc::Rc;

use jiff::tz::TimeZone;

use super::{
    MARGIN,
    text::{Line, Shaper},
};
use crate::{Column, Document, Table, html::MOST_UPRIGHT};

/// A4, in points.
const SHORT: f32 = 595.28;
const LONG: f32 = 841.89;
const TITLE: f32 = 15.0;
const BODY: f32 = 8.5;
const NOTE: f32 = 7.5;
/// From one line to the next, in sizes of the letters.
const LEADING: f32 = 1.3;
/// Between columns.
const GAP: f32 = 8.0;
/// No column is wider; longer text is broken.
const WIDEST: f32 = 170.0;
/// Columns at the left that each part of a table repeats, where its columns are too many for a page: number and name.
const REPEATED: usize = 2;

/// Something at its place; `y` is the line that letters stand on.
pub(super) enum Piece {
    Text { line: Rc<Line>, x: f32, y: f32, size: f32 },
    Rule { x: f32, y: f32, width: f32, thickness: f32 },
}

#[derive(Default)]
pub(super) struct Page {
    pub(super) pieces: Vec<Piece>,
}

/// Puts things under each other, on as many pages as they take.
pub(super) struct Layout<'a> {
    shaper: &'a Shaper<'a>,
    width: f32,
    height: f32,
    pages: Vec<Page>,
    /// Where the next thing begins.
    y: f32,
}

/// A column of a part of a table.
struct Placed {
    /// Its place in the rows.
    place: usize,
    x: f32,
    width: f32,
    is_numeric: bool,
    title: Vec<Rc<Line>>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(shaper: &'a Shaper<'a>, document: &Document) -> Self {
        let upright = document.table.printed().count() <= MOST_UPRIGHT;
        let (width, height) = if upright { (SHORT, LONG) } else { (LONG, SHORT) };
        Self { shaper, width, height, pages: vec![Page::default()], y: MARGIN }
    }

    /// Of every page.
    pub(super) const fn size(&self) -> (f32, f32) {
        (self.width, self.height)
    }

    pub(super) fn finish(self) -> Vec<Page> {
        self.pages
    }

    /// The school, the title and the facts.
    pub(super) fn heading(&mut self, document: &Document) {
        self.paragraph(&document.head.school, BODY + 1.0, true);
        self.paragraph(&document.title, TITLE, true);
        self.rule(1.2);
        self.y += 4.0;
        for (name, value) in &document.facts {
            self.paragraph(&format!("{name}: {value}"), BODY, false);
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        self.y += 3.0;
        self.paragraph(text, NOTE, false);
    }

    pub(super) fn table(&mut self, table: &Table, zone: &TimeZone) {
        self.y += 8.0;
        if !table.title.is_empty() {
            self.paragraph(&table.title, BODY + 2.0, true);
        }
        if table.rows.is_empty() {
            return self.paragraph("Nobody and nothing.", BODY, false);
        }
        for part in self.parts(table, zone) {
            self.part(&part, table, zone);
            self.y += 8.0;
        }
    }

    fn page(&mut self) -> &mut Vec<Piece> {
        if self.pages.is_empty() {
            self.pages.push(Page::default());
        }
        let last = self.pages.len() - 1;
        &mut self.pages[last].pieces
    }

    const fn room(&self) -> f32 {
        self.width - 2.0 * MARGIN
    }

    /// Begins a page where there is no place for something of this height.
    fn make_place(&mut self, height: f32) -> bool {
        let is_full = self.y + height > self.height - MARGIN;
        if is_full {
            self.pages.push(Page::default());
            self.y = MARGIN;
        }
        is_full
    }

    fn rule(&mut self, thickness: f32) {
        let (y, width) = (self.y, self.room());
        self.page().push(Piece::Rule { x: MARGIN, y, width, thickness });
    }

    fn paragraph(&mut self, text: &str, size: f32, bold: bool) {
        for line in self.shaper.wrapped(text, bold, self.room() / size) {
            self.make_place(size * LEADING);
            let x = if line.is_right_to_left { self.width - MARGIN - line.width * size } else { MARGIN };
            let y = self.y + size;
            self.page().push(Piece::Text { line, x, y, size });
            self.y += size * LEADING;
        }
    }

    /// The columns of a table in as many parts as it takes for each to be no wider than a page; the first columns are in
    /// all of them.
    fn parts(&self, table: &Table, zone: &TimeZone) -> Vec<Vec<Placed>> {
        let widths: Vec<(usize, &Column, f32)> = table
            .printed()
            .map(|(place, column)| (place, column, self.natural(table, place, column, zone)))
            .collect();
        let repeated = if widths.len() > MOST_UPRIGHT { REPEATED } else { 0 };
        let head: f32 = widths.iter().take(repeated).map(|(_, _, width)| width + GAP).sum();
        let mut parts: Vec<Vec<&(usize, &Column, f32)>> = Vec::new();
        let mut x = f32::INFINITY;
        for column in widths.iter().skip(repeated) {
            if x + column.2 > self.room() {
                parts.push(widths.iter().take(repeated).collect());
                x = head;
            }
            if let Some(part) = parts.last_mut() {
                part.push(column);
            }
            x += column.2 + GAP;
        }
        let placed = |part: Vec<&(usize, &Column, f32)>| {
            let mut x = MARGIN;
            let columns = part.into_iter().map(|(place, column, width)| {
                let title = self.shaper.wrapped(&column.title, true, width / BODY);
                let placed =
                    Placed { place: *place, x, width: *width, is_numeric: column.is_numeric(), title };
                x += width + GAP;
                placed
            });
            columns.collect()
        };
        parts.into_iter().map(placed).collect()
    }

    /// How wide a column would like to be, within limits.
    fn natural(&self, table: &Table, place: usize, column: &Column, zone: &TimeZone) -> f32 {
        let titles = column.title.split_whitespace().map(|word| self.shaper.line(word, true).width);
        let cells = table.rows.iter().filter_map(|row| row.get(place));
        let cells = cells.map(|cell| self.shaper.line(&cell.shown(zone), false).width);
        let widest = titles.chain(cells).fold(0.0_f32, f32::max) * BODY;
        // A little more than it takes, so that rounding breaks no line.
        (widest + 0.1).min(WIDEST)
    }

    fn part(&mut self, columns: &[Placed], table: &Table, zone: &TimeZone) {
        self.head(columns);
        for row in &table.rows {
            let cells: Vec<Vec<Rc<Line>>> = columns
                .iter()
                .map(|column| {
                    let text = row.get(column.place).map(|cell| cell.shown(zone)).unwrap_or_default();
                    self.shaper.wrapped(&text, false, column.width / BODY)
                })
                .collect();
            // What is higher than a page is cut off at its end: the longest text is of a thousand letters.
            let lines = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
            #[expect(clippy::cast_precision_loss, reason = "lines of a page")]
            let height = lines as f32 * BODY * LEADING + 3.0;
            if self.make_place(height) {
                self.head(columns);
            }
            self.cells(columns, &cells);
            self.y += height;
            let (y, width) = (self.y - 1.0, columns.last().map_or(0.0, |last| last.x + last.width - MARGIN));
            self.page().push(Piece::Rule { x: MARGIN, y, width, thickness: 0.25 });
        }
    }

    fn head(&mut self, columns: &[Placed]) {
        let lines = columns.iter().map(|column| column.title.len()).max().unwrap_or(1);
        #[expect(clippy::cast_precision_loss, reason = "lines of a page")]
        let height = lines as f32 * BODY * LEADING + 3.0;
        // With a row under it.
        self.make_place(height + 2.0 * BODY);
        let titles: Vec<_> = columns.iter().map(|column| column.title.clone()).collect();
        self.cells(columns, &titles);
        self.y += height;
        let (y, width) = (self.y - 1.0, columns.last().map_or(0.0, |last| last.x + last.width - MARGIN));
        self.page().push(Piece::Rule { x: MARGIN, y, width, thickness: 0.8 });
    }

    fn cells(&mut self, columns: &[Placed], cells: &[Vec<Rc<Line>>]) {
        let top = self.y;
        for (column, lines) in columns.iter().zip(cells) {
            let mut y = top;
            for line in lines {
                let width = line.width * BODY;
                let from_right = column.is_numeric || line.is_right_to_left;
                let x = if from_right { column.x + column.width - width } else { column.x };
                let line = Rc::clone(line);
                let base = y + BODY;
                self.page().push(Piece::Text { line, x, y: base, size: BODY });
                y += BODY * LEADING;
            }
        }
    }
}
