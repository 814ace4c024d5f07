//! How the review looks.

mod places;
#[cfg(test)]
mod tests;

use cavs_types::Verdict;
use jiff::tz::TimeZone;
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Flex, Layout, Rect, Size},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Wrap},
};
use ratatui_image::protocol::Protocol;

pub(super) use places::sizes;
use places::{Places, places};

use super::{
    item::{Candidate, Item},
    model::{Decision, Entry, Mode, Model, State},
    pictures::{Loaded, Picture},
};

/// What is drawn beside the review itself.
#[derive(Debug)]
pub(super) struct Look {
    /// Whether colours are wanted (NO_COLOR).
    pub(super) colour: bool,
    /// The zone that times are shown in.
    pub(super) zone: TimeZone,
    /// Whether pictures are drawn at all.
    pub(super) pictures: bool,
    /// The least margin that is accepted, with the version of the thresholds that it is of.
    pub(super) margin: Option<(f32, u32)>,
}

/// Width of a bar, in cells.
const BAR: u16 = 24;
/// A bar of margins ends here: nobody asks whether a larger one is enough.
const MOST_MARGIN: f32 = 0.3;

const HELP: &[(&str, &str)] = &[
    ("1 to 5", "it is this candidate"),
    ("r", "it is not the one that the machine took it for"),
    ("f", "somebody else should look"),
    ("s", "pass on; it waits for another time"),
    ("n", "write a note for the next verdict on it"),
    ("u", "take the verdict on this one back, or the latest"),
    ("j k ↓ ↑", "look at the next or the one before"),
    ("a", "at the end: from the beginning again, with what was passed"),
    ("q Ctrl-C", "leave when all verdicts are recorded"),
];

impl Look {
    fn of(&self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn problem(&self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }
}

/// Draws the review. Whether all that there is of the item's pictures is on the screen.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, loaded: Option<&Loaded>, look: &Look) -> bool {
    let screen = frame.area();
    let candidates = model.current().map_or(0, |entry| entry.item.candidates.len());
    let Some(places) = places(screen, candidates) else {
        frame.render_widget(
            Paragraph::new("The terminal is too small to compare faces.").wrap(Wrap::default()),
            screen,
        );
        return false;
    };
    frame.render_widget(header(model), places.header);
    let is_shown = match model.current() {
        Some(entry) => {
            draw_entry(frame, entry, look, &places);
            draw_pictures(frame, &entry.item, loaded, look, &places)
        }
        None => {
            draw_end(frame, model, &places);
            false
        }
    };
    draw_notice(frame, model, look, places.notice);
    draw_footer(frame, model, places.footer);
    if *model.mode() == Mode::Help {
        draw_help(frame, screen);
    }
    is_shown && !matches!(model.mode(), Mode::Help)
}

fn header(model: &Model) -> Line<'static> {
    let [approved, rejected, flagged] = model.recorded();
    let waiting = match model.total() {
        Some((total, true)) => format!("{total} waited"),
        Some((total, false)) => format!("more than {total} waited"),
        None => String::new(),
    };
    let mut spans = vec![
        Span::styled(" Review ", Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)),
        Span::raw(format!(" {waiting} · approved {approved} · rejected {rejected} · flagged {flagged}")),
    ];
    if model.unsent() > 0 {
        spans.push(Span::raw(format!(" · sending {}", model.unsent())));
    }
    Line::from(spans)
}

fn draw_entry(frame: &mut Frame<'_>, entry: &Entry, look: &Look, places: &Places) {
    let item = &entry.item;
    let rows = Layout::vertical(vec![Constraint::Length(1); item.candidates.len()]).split(places.candidates);
    for ((index, candidate), row) in item.candidates.iter().enumerate().zip(rows.iter()) {
        let [name, figure, bar] = columns(*row);
        frame.render_widget(candidate_name(index, candidate, entry), name);
        frame.render_widget(Line::from(format!("{:.2}", candidate.similarity)), figure);
        frame.render_widget(bar_of(candidate.similarity, Some(item.threshold), 1.0, bar.width, look), bar);
    }
    if item.candidates.is_empty() {
        frame.render_widget(Line::from(" nobody is like it"), places.candidates);
    }
    if let Some(margin) = item.margin {
        let [name, figure, bar] = columns(places.margin);
        let wanted = look.margin.filter(|(_, version)| *version == item.threshold_version);
        frame.render_widget(Line::from(" before the second"), name);
        frame.render_widget(Line::from(format!("{margin:.2}")), figure);
        let wanted = wanted.map(|(margin, _)| margin);
        frame.render_widget(bar_of(margin, wanted, MOST_MARGIN, bar.width, look), bar);
    }
    let why = Line::from(vec![Span::styled(" Why  ", Modifier::BOLD), Span::raw(item.why.clone())]);
    frame.render_widget(why, places.why);
    frame.render_widget(remarks(entry, look), places.remarks);
}

fn columns(row: Rect) -> [Rect; 3] {
    let bar = BAR.min(row.width / 3);
    Layout::horizontal([Constraint::Min(0), Constraint::Length(6), Constraint::Length(bar + 1)]).areas(row)
}

fn candidate_name(index: usize, candidate: &Candidate, entry: &Entry) -> Line<'static> {
    let is_chosen = entry.state == State::Decided(Decision::Candidate(index));
    let style = if is_chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    Line::from(vec![
        Span::styled(format!(" {} ", index + 1), Modifier::BOLD),
        Span::styled(format!("{} {}", candidate.number, candidate.name), style),
    ])
}

/// A value from 0 to `most` as a bar, with a mark where the threshold is.
fn bar_of(value: f32, threshold: Option<f32>, most: f32, width: u16, look: &Look) -> Line<'static> {
    let cells = |value: f32| -> usize {
        let part = (value / most).clamp(0.0, 1.0);
        // At most the width of a terminal.
        (part * f32::from(width)).round() as usize
    };
    let (width, filled) = (usize::from(width), cells(value));
    let mark = threshold.map(|threshold| cells(threshold).min(width.saturating_sub(1)));
    let is_enough = threshold.is_none_or(|threshold| value >= threshold);
    let style = look.of(if is_enough { Color::Green } else { Color::Yellow });
    let span = |from: usize, to: usize| {
        let full = filled.clamp(from, to) - from;
        [Span::styled("█".repeat(full), style), Span::styled("·".repeat(to - from - full), Modifier::DIM)]
    };
    Line::from(match mark {
        None => span(0, width).to_vec(),
        Some(mark) => {
            let mut spans = span(0, mark).to_vec();
            spans.push(Span::styled("┃", Modifier::BOLD));
            spans.extend(span(mark + 1, width));
            spans
        }
    })
}

/// What is to be known of an item besides.
fn remarks(entry: &Entry, look: &Look) -> Line<'static> {
    if let Some(failure) = &entry.failure {
        return Line::styled(format!(" The verdict was not recorded: {failure}"), look.problem());
    }
    let mut remarks = Vec::new();
    if entry.item.visit > 1 {
        remarks.push(format!("with {} more of this visit", entry.item.visit - 1));
    }
    match entry.state {
        State::Decided(Decision::Candidate(index)) => remarks.push(format!("approved as {}", index + 1)),
        State::Decided(Decision::Rejected) => remarks.push("rejected".to_owned()),
        State::Decided(Decision::Flagged) => remarks.push("flagged".to_owned()),
        State::Skipped => remarks.push("passed".to_owned()),
        State::Over => remarks.push("needs no verdict any more".to_owned()),
        State::Open => {}
    }
    if let Some(standing) = &entry.item.standing {
        let said = match standing.verdict {
            Verdict::Flagged => format!("flagged by {}", standing.reviewer),
            Verdict::Approved | Verdict::Rejected => format!("{} by {}", standing.verdict, standing.reviewer),
        };
        remarks.push(if standing.notes.is_empty() { said } else { format!("{said}: {}", standing.notes) });
    }
    if !entry.note.is_empty() {
        remarks.push(format!("note: {}", entry.note));
    }
    Line::from(format!(" {}", remarks.join("; ")))
}

fn draw_pictures(
    frame: &mut Frame<'_>,
    item: &Item,
    loaded: Option<&Loaded>,
    look: &Look,
    places: &Places,
) -> bool {
    let seen =
        item.seen.map(|seen| seen.to_zoned(look.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string());
    let place = [seen.as_deref().unwrap_or("seen"), &item.classroom, &item.device];
    let title = place.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ");
    let face = framed(frame, places.face, title);
    let names = item.candidates.iter().enumerate();
    let frames: Vec<Rect> = names
        .zip(&places.portraits)
        .map(|((index, candidate), area)| framed(frame, *area, format!("{} {}", index + 1, candidate.number)))
        .collect();
    let (drawn, fits) = match loaded {
        _ if !look.pictures => {
            tell(frame, face, "pictures are not drawn");
            return matches!(loaded, Some(Loaded::There { .. }));
        }
        None | Some(Loaded::Loading) => {
            tell(frame, face, "…");
            return false;
        }
        Some(Loaded::Failed(why)) => {
            tell(frame, face, &format!("it can't be read: {why}"));
            return false;
        }
        Some(Loaded::There { drawn, fits, .. }) => (drawn, fits),
    };
    if *fits != frame.area().as_size() {
        // They are made anew for this size of the screen.
        return false;
    }
    draw_picture(frame, face, &drawn.face, "no picture of the face was kept");
    for (area, picture) in frames.into_iter().zip(&drawn.portraits) {
        draw_picture(frame, area, picture, "no portrait");
    }
    true
}

fn framed(frame: &mut Frame<'_>, area: Rect, title: String) -> Rect {
    let block = Block::bordered().title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    inside
}

fn draw_picture(frame: &mut Frame<'_>, area: Rect, picture: &Picture<Protocol>, none: &str) {
    match picture {
        Picture::None => tell(frame, area, none),
        Picture::Unreadable(why) => tell(frame, area, &format!("it can't be drawn: {why}")),
        Picture::There(protocol) => {
            frame.render_widget(ratatui_image::Image::new(protocol), centred(area, protocol.size()));
        }
    }
}

fn centred(area: Rect, size: Size) -> Rect {
    let [row] = Layout::vertical([Constraint::Length(size.height)]).flex(Flex::Center).areas(area);
    let [place] = Layout::horizontal([Constraint::Length(size.width)]).flex(Flex::Center).areas(row);
    place
}

fn tell(frame: &mut Frame<'_>, area: Rect, text: &str) {
    let text = Paragraph::new(text.to_owned()).alignment(Alignment::Center).wrap(Wrap { trim: true });
    frame.render_widget(text, area);
}

fn draw_end(frame: &mut Frame<'_>, model: &Model, places: &Places) {
    let text = if model.is_claiming() {
        "More is on its way."
    } else {
        "That was all that waits.\n\na looks again, with what was passed; u takes the latest verdict back; q leaves."
    };
    let area = framed(
        frame,
        places.face.union(places.portraits.last().copied().unwrap_or(places.face)),
        String::new(),
    );
    tell(frame, area, text);
}

fn draw_notice(frame: &mut Frame<'_>, model: &Model, look: &Look, area: Rect) {
    if let Mode::Note(text) = model.mode() {
        // The end of a long note is what is being written.
        let room = usize::from(area.width).saturating_sub(8);
        let from = text.char_indices().rev().nth(room.max(1) - 1).map_or(0, |(index, _)| index);
        let line = vec![
            Span::styled(" Note ", Modifier::BOLD),
            Span::raw(text[from..].to_owned()),
            Span::styled(" ", Modifier::REVERSED),
        ];
        frame.render_widget(Line::from(line), area);
    } else if let Some(notice) = model.notice() {
        let style = if notice.is_problem { look.problem() } else { Style::new() };
        frame.render_widget(Line::styled(format!(" {}", notice.text), style), area);
    }
}

fn draw_footer(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let keys: &[(&str, &str)] = match model.mode() {
        Mode::Deciding => &[
            ("1-5", "it is"),
            ("r", "not 1"),
            ("f", "flag"),
            ("s", "pass"),
            ("n", "note"),
            ("u", "undo"),
            ("?", "help"),
            ("q", "leave"),
        ],
        Mode::Note(_) => &[("Enter", "keep"), ("Esc", "don't")],
        Mode::Help => &[("any key", "back")],
        Mode::Leaving => &[("Esc", "stay"), ("q", "leave at once, without what is not recorded")],
        Mode::Left => &[],
    };
    let spans = keys.iter().flat_map(|(key, what)| {
        [Span::styled(format!(" {key}"), Modifier::BOLD), Span::raw(format!(" {what} "))]
    });
    frame.render_widget(Line::from_iter(spans), area);
}

fn draw_help(frame: &mut Frame<'_>, screen: Rect) {
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|(key, what)| {
            Line::from(vec![Span::styled(format!("{key:>10}  "), Modifier::BOLD), Span::raw(*what)])
        })
        .collect();
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2).min(screen.height);
    let area = centred(screen, Size::new(screen.width.min(76), height));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("Keys")), area);
}
