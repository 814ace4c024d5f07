//! Where things are on the screen.

use ratatui::layout::{Constraint, Layout, Rect, Size};

use crate::review_screen::pictures::Sizes;

/// The smallest screen on which a face can be compared.
const SMALLEST: Size = Size { width: 48, height: 16 };
/// A portrait is as wide at least, its frame included, or not shown.
const LEAST_PORTRAIT: u16 = 12;
/// Part of the width that the face has beside the portraits, in percent.
const FACE_PERCENT: u16 = 40;

/// The places of an item on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) header: Rect,
    /// With its frame.
    pub(super) face: Rect,
    /// Of those candidates that there is room for, with their frames.
    pub(super) portraits: Vec<Rect>,
    /// A line a candidate.
    pub(super) candidates: Rect,
    pub(super) margin: Rect,
    pub(super) why: Rect,
    pub(super) remarks: Rect,
    pub(super) notice: Rect,
    pub(super) footer: Rect,
}

/// The places of an item with so many candidates; `None` where the screen is too small.
pub(super) fn places(screen: Rect, candidates: usize) -> Option<Places> {
    if screen.width < SMALLEST.width || screen.height < SMALLEST.height {
        return None;
    }
    let lines = u16::try_from(candidates).unwrap_or(u16::MAX).max(1);
    let [header, pictures, candidates_area, margin, why, remarks, notice, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(5),
        Constraint::Length(lines),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(screen);
    let beside = screen.width * (100 - FACE_PERCENT) / 100;
    let shown = candidates.min(usize::from(beside / LEAST_PORTRAIT));
    let face_width = if shown == 0 { screen.width } else { screen.width - beside };
    let [face, rest] =
        Layout::horizontal([Constraint::Length(face_width), Constraint::Min(0)]).areas(pictures);
    let portraits = if shown == 0 {
        Vec::new()
    } else {
        Layout::horizontal(vec![Constraint::Fill(1); shown]).split(rest).to_vec()
    };
    Some(Places {
        header,
        face,
        portraits,
        candidates: candidates_area,
        margin,
        why,
        remarks,
        notice,
        footer,
    })
}

/// The sizes of an item's pictures inside of their frames.
pub(in super::super) fn sizes(screen: Size, candidates: usize) -> Sizes {
    let inside = |area: &Rect| Size::new(area.width.saturating_sub(2), area.height.saturating_sub(2));
    match places(Rect::from((ratatui::layout::Position::ORIGIN, screen)), candidates) {
        None => Sizes { face: Size::ZERO, portraits: Vec::new() },
        Some(Places { face, portraits, .. }) => {
            Sizes { face: inside(&face), portraits: portraits.iter().map(inside).collect() }
        }
    }
}
