//! Lines of text: in which order its parts stand, which font each has, and how wide it is.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    rc::Rc,
    sync::Arc,
};

use krilla::text::{GlyphId, KrillaGlyph};
use rustybuzz::{Direction, UnicodeBuffer};
use unicode_bidi::BidiInfo;

use super::fonts::{Face, Fonts, is_beside};

/// What is written for a letter that no font has.
const REPLACEMENT: char = '?';

/// A part of a line that has one font and one direction.
pub(super) struct Run {
    pub(super) face: Arc<Face>,
    pub(super) text: String,
    pub(super) glyphs: Vec<KrillaGlyph>,
    /// Of the size of the letters.
    pub(super) width: f32,
}

/// A line, its parts from the left to the right.
#[derive(Default)]
pub(super) struct Line {
    pub(super) runs: Vec<Run>,
    /// Of the size of the letters.
    pub(super) width: f32,
    pub(super) is_right_to_left: bool,
}

/// Makes lines of text, and remembers what it could not write.
pub(super) struct Shaper<'a> {
    fonts: &'a Fonts,
    made: RefCell<HashMap<(String, bool), Rc<Line>>>,
    missing: RefCell<BTreeSet<char>>,
}

impl<'a> Shaper<'a> {
    pub(super) fn new(fonts: &'a Fonts) -> Self {
        Self { fonts, made: RefCell::default(), missing: RefCell::default() }
    }

    /// The letters that no font had.
    pub(super) fn missing(&self) -> BTreeSet<char> {
        self.missing.borrow().clone()
    }

    /// A text as one line.
    pub(super) fn line(&self, text: &str, bold: bool) -> Rc<Line> {
        let key = (text.to_owned(), bold);
        if let Some(line) = self.made.borrow().get(&key) {
            return Rc::clone(line);
        }
        let line = Rc::new(self.shape(text, bold));
        self.made.borrow_mut().insert(key, Rc::clone(&line));
        line
    }

    /// A text as lines that are no wider than `width`, in sizes of the letters: broken between words, and within a word
    /// that alone is wider.
    pub(super) fn wrapped(&self, text: &str, bold: bool, width: f32) -> Vec<Rc<Line>> {
        let mut lines = Vec::new();
        for paragraph in text.lines() {
            let mut line = String::new();
            for word in paragraph.split_whitespace().flat_map(|word| self.parts(word, bold, width)) {
                let longer = if line.is_empty() { word.clone() } else { format!("{line} {word}") };
                if line.is_empty() || self.line(&longer, bold).width <= width {
                    line = longer;
                } else {
                    lines.push(self.line(&line, bold));
                    line = word;
                }
            }
            lines.push(self.line(&line, bold));
        }
        lines
    }

    /// A word, or the parts of one that is too wide.
    fn parts(&self, word: &str, bold: bool, width: f32) -> Vec<String> {
        if self.line(word, bold).width <= width {
            return vec![word.to_owned()];
        }
        let (mut parts, mut part) = (Vec::new(), String::new());
        for c in word.chars() {
            let longer = format!("{part}{c}");
            if !part.is_empty() && self.line(&longer, bold).width > width {
                parts.push(std::mem::replace(&mut part, c.to_string()));
            } else {
                part = longer;
            }
        }
        parts.push(part);
        parts
    }

    fn shape(&self, text: &str, bold: bool) -> Line {
        let missing = self.fonts.missing(text, bold);
        let text: String = text.chars().map(|c| if missing.contains(&c) { REPLACEMENT } else { c }).collect();
        self.missing.borrow_mut().extend(missing);
        let bidi = BidiInfo::new(&text, None);
        let mut line = Line::default();
        let Some(paragraph) = bidi.paragraphs.first() else { return line };
        line.is_right_to_left = paragraph.level.is_rtl();
        let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
        for range in runs {
            let is_right_to_left = levels.get(range.start).is_some_and(|level| level.is_rtl());
            let mut parts = self.parts_by_face(text.get(range).unwrap_or_default(), bold);
            if is_right_to_left {
                parts.reverse();
            }
            let shaped = parts.into_iter().filter_map(|(face, text)| shaped(face, text, is_right_to_left));
            line.runs.extend(shaped);
        }
        line.width = line.runs.iter().map(|run| run.width).sum();
        line
    }

    /// A text in parts that have one font each. What is beside a letter stays with it.
    fn parts_by_face(&self, text: &str, bold: bool) -> Vec<(Arc<Face>, String)> {
        let mut parts: Vec<(Arc<Face>, String)> = Vec::new();
        for c in text.chars() {
            if let Some((face, part)) = parts.last_mut() {
                let has = || face.shaper().is_some_and(|shaper| shaper.glyph_index(c).is_some());
                if is_beside(c) || has() {
                    part.push(c);
                    continue;
                }
            }
            let face = self.fonts.face(c, bold).or_else(|| self.fonts.face(REPLACEMENT, bold));
            parts.extend(face.map(|face| (face, c.to_string())));
        }
        parts
    }
}

fn shaped(face: Arc<Face>, text: String, is_right_to_left: bool) -> Option<Run> {
    let shaper = face.shaper()?;
    #[expect(clippy::cast_precision_loss, reason = "units of a font are small whole numbers")]
    let of = |units: i32| units as f32 / face.font.units_per_em();
    let mut buffer = UnicodeBuffer::new();
    buffer.push_str(&text);
    buffer.guess_segment_properties();
    buffer.set_direction(if is_right_to_left { Direction::RightToLeft } else { Direction::LeftToRight });
    let output = rustybuzz::shape(&shaper, &[], buffer);
    let clusters: BTreeSet<usize> = output.glyph_infos().iter().map(|info| info.cluster as usize).collect();
    let glyphs: Vec<_> = output
        .glyph_infos()
        .iter()
        .zip(output.glyph_positions())
        .map(|(info, position)| {
            let start = info.cluster as usize;
            let end = clusters.range(start + 1..).next().copied().unwrap_or(text.len());
            KrillaGlyph::new(
                GlyphId::new(info.glyph_id),
                of(position.x_advance),
                of(position.x_offset),
                of(position.y_offset),
                of(position.y_advance),
                start..end,
                None,
            )
        })
        .collect();
    let width = glyphs.iter().map(|glyph| glyph.x_advance).sum();
    drop(shaper);
    Some(Run { face, text, glyphs, width })
}
