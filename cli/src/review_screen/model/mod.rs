//! The review as a state machine: what keys, the server's answers and pictures on the screen do to it. It knows
//! neither the terminal nor the server, and its time is given to it.

mod list;
mod outbox;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use cavs_types::Verdict;

pub(super) use outbox::{Delivery, Task};

use super::item::Item;
use list::Queue;
use outbox::Outbox;

/// Verdicts that can be taken back, as many as the server lists of a reviewer.
const UNDOABLE: usize = 20;
/// Most characters of a note, as the server takes it.
const MOST_NOTE: usize = 2000;
/// A key that comes again so soon is held down, and nobody has looked at the next face.
const HELD: Duration = Duration::from_millis(100);

/// What somebody typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    /// Text that came at once.
    Paste(String),
    Enter,
    Escape,
    Backspace,
    Next,
    Previous,
    /// Ctrl-C, and what the system sends to end a program.
    Interrupt,
}

/// What a reviewer says of a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is this one of the candidates, counted from 0.
    Candidate(usize),
    Rejected,
    Flagged,
}

impl Decision {
    pub(super) const fn verdict(self) -> Verdict {
        match self {
            Self::Candidate(_) => Verdict::Approved,
            Self::Rejected => Verdict::Rejected,
            Self::Flagged => Verdict::Flagged,
        }
    }
}

/// What has become of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for the reviewer.
    Open,
    /// The reviewer has passed on; it waits for another time.
    Skipped,
    /// The reviewer has decided, whether or not the server knows by now.
    Decided(Decision),
    /// Somebody else has decided it, or it is gone.
    Over,
}

/// An item of the list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) item: Item,
    pub(super) state: State,
    /// Goes with the next verdict on it.
    pub(super) note: String,
    /// Why the last verdict on it was not recorded.
    pub(super) failure: Option<String>,
}

/// What the keys are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Deciding,
    /// A note is written.
    Note(String),
    Help,
    /// The reviewer has asked to leave; what is on its way is waited for.
    Leaving,
    Left,
}

/// A line to the reviewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_problem: bool,
}

/// The review.
#[derive(Debug)]
pub(super) struct Model {
    entries: VecDeque<Entry>,
    /// Which entry is looked at; as many as there are at the end.
    at: usize,
    queue: Queue,
    outbox: Outbox,
    /// Sightings whose verdict can be taken back, the latest last.
    undoable: Vec<String>,
    /// Sightings that were decided here and left the list since.
    settled: HashSet<String>,
    /// The sighting whose face is on the screen.
    shown: Option<String>,
    mode: Mode,
    notice: Option<Notice>,
    /// The last key that decides, and when it came.
    last_key: Option<(char, Duration)>,
    /// The reviewer was told that verdicts were not recorded, and wants to leave.
    knows_of_failures: bool,
    /// Verdicts that were recorded, by what they say, less those that were taken back.
    recorded: [u32; 3],
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            at: 0,
            queue: Queue::default(),
            outbox: Outbox::default(),
            undoable: Vec::new(),
            settled: HashSet::new(),
            shown: None,
            mode: Mode::Deciding,
            notice: None,
            last_key: None,
            knows_of_failures: false,
            recorded: [0; 3],
        }
    }

    /// The entry that is looked at; `None` at the end of the list.
    pub(super) fn current(&self) -> Option<&Entry> {
        self.entries.get(self.at)
    }

    pub(super) const fn mode(&self) -> &Mode {
        &self.mode
    }

    pub(super) const fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref()
    }

    /// Verdicts that wait to be sent or for the server's answer.
    pub(super) fn unsent(&self) -> usize {
        self.outbox.len()
    }

    /// Verdicts that were recorded: approvals, rejections, flags.
    pub(super) const fn recorded(&self) -> [u32; 3] {
        self.recorded
    }

    /// The sightings whose pictures should be there: the one that is looked at, `ahead` more that come next, and those
    /// that the reviewer is likely to go back to.
    pub(super) fn wanted(&self, ahead: usize, behind: usize) -> Vec<&str> {
        let mut wanted: Vec<&str> = self.current().map(|entry| entry.item.id.as_str()).into_iter().collect();
        let failed = self.entries.iter().filter(|entry| entry.is_back());
        let next = self.entries.iter().skip(self.at + 1).filter(|entry| entry.state == State::Open);
        let next = failed.chain(next).map(|entry| entry.item.id.as_str());
        let before = self.entries.iter().take(self.at).rev().take(behind).map(|entry| entry.item.id.as_str());
        for one in next.take(ahead).chain(before) {
            if !wanted.contains(&one) {
                wanted.push(one);
            }
        }
        wanted
    }

    /// The pictures of a sighting are on the screen: from here on it can be decided. Whether they were not before.
    pub(super) fn shown(&mut self, id: &str) -> bool {
        let is_new = self.shown.as_deref() != Some(id);
        if is_new {
            self.shown = Some(id.to_owned());
        }
        is_new
    }

    /// As [`Self::key`], of a key that was typed before the face on the screen could be seen, as a held one is: it
    /// decides nothing.
    pub(super) fn early_key(&mut self, key: Key, at: Duration) {
        if self.mode == Mode::Deciding
            && let Key::Char(typed) = key
            && decides(typed)
        {
            self.last_key = Some((typed, at));
            return;
        }
        self.key(key, at);
    }

    /// What a key does. `at` is the time since some beginning.
    pub(super) fn key(&mut self, key: Key, at: Duration) {
        if key == Key::Interrupt {
            return self.interrupt();
        }
        self.notice = None;
        match &mut self.mode {
            Mode::Deciding => self.deciding_key(key, at),
            Mode::Note(text) => match key {
                Key::Char(typed) => push_note(text, &typed.to_string()),
                Key::Paste(pasted) => push_note(text, &pasted),
                Key::Backspace => drop(text.pop()),
                Key::Enter => {
                    let note = std::mem::take(text);
                    if let Some(entry) = self.entries.get_mut(self.at) {
                        entry.note = note.trim().to_owned();
                    }
                    self.mode = Mode::Deciding;
                }
                Key::Escape => self.mode = Mode::Deciding,
                Key::Next | Key::Previous | Key::Interrupt => {}
            },
            Mode::Help => self.mode = Mode::Deciding,
            Mode::Leaving => match key {
                Key::Char('q') => self.mode = Mode::Left,
                Key::Char(_) | Key::Paste(_) | Key::Enter | Key::Backspace | Key::Next | Key::Previous => {}
                Key::Escape | Key::Interrupt => self.mode = Mode::Deciding,
            },
            Mode::Left => {}
        }
    }

    fn deciding_key(&mut self, key: Key, at: Duration) {
        self.queue.try_again();
        let typed = match key {
            Key::Char(typed) => typed,
            Key::Next | Key::Enter => return self.go(self.at + 1),
            Key::Previous => return self.go(self.at.saturating_sub(1)),
            Key::Paste(_) | Key::Escape | Key::Backspace | Key::Interrupt => return,
        };
        if decides(typed) {
            let held = self.last_key.is_some_and(|(last, then)| last == typed && at < then + HELD);
            self.last_key = Some((typed, at));
            if held {
                return;
            }
        }
        match typed {
            '1'..='9' => self.decide(Decision::Candidate(typed as usize - '1' as usize)),
            'r' => self.decide(Decision::Rejected),
            'f' => self.decide(Decision::Flagged),
            's' => self.skip(),
            'n' => self.write_note(),
            'u' => self.undo(),
            'j' => self.go(self.at + 1),
            'k' => self.go(self.at.saturating_sub(1)),
            'a' if self.current().is_none() => self.look_again(),
            '?' => self.mode = Mode::Help,
            'q' => self.leave(),
            _ => {}
        }
    }

    fn decide(&mut self, decision: Decision) {
        let Some(entry) = self.entries.get(self.at) else { return self.tell("nothing is left to decide") };
        let problem = match entry.state {
            State::Decided(_) => Some("decided already; u takes it back".to_owned()),
            State::Over => {
                self.go_on();
                return self.tell("that one needed no verdict");
            }
            State::Open | State::Skipped if self.shown.as_deref() != Some(&entry.item.id) => {
                Some("its picture is not there yet; s passes on".to_owned())
            }
            State::Open | State::Skipped if self.outbox.is_full() => {
                Some("too many verdicts wait for the server".to_owned())
            }
            State::Open | State::Skipped => match decision {
                Decision::Candidate(index) if index >= entry.item.candidates.len() => {
                    Some(format!("there is no candidate {}", index + 1))
                }
                Decision::Candidate(_) | Decision::Rejected | Decision::Flagged => None,
            },
        };
        if let Some(problem) = problem {
            return self.complain(problem);
        }
        let entry = &mut self.entries[self.at];
        let id = entry.item.id.clone();
        self.outbox.push(Task::Review {
            sighting: id.clone(),
            decision,
            corrected: entry.corrected(decision),
            notes: entry.note.clone(),
        });
        entry.state = State::Decided(decision);
        entry.failure = None;
        self.can_undo(id);
        self.go_on();
    }

    fn skip(&mut self) {
        match self.entries.get_mut(self.at) {
            None => {}
            Some(entry) => {
                if entry.state == State::Open {
                    entry.state = State::Skipped;
                }
                self.go_on();
            }
        }
    }

    fn write_note(&mut self) {
        match self.current() {
            Some(Entry { state: State::Open | State::Skipped, note, .. }) => {
                self.mode = Mode::Note(note.clone())
            }
            Some(Entry { state: State::Decided(_), .. }) => {
                self.complain("decided already; u takes it back".to_owned());
            }
            Some(Entry { state: State::Over, .. }) | None => {}
        }
    }

    /// Takes back the verdict on what is looked at, or the latest.
    fn undo(&mut self) {
        let here = self.current().map(|entry| &entry.item.id);
        let index = self.undoable.iter().position(|id| Some(id) == here);
        let Some(index) = index.or_else(|| self.undoable.len().checked_sub(1)) else {
            return self
                .tell("no verdict of this review is left to take back; see `cavs review undo --last`");
        };
        let id = self.undoable.remove(index);
        let Some(place) = self.place(&id) else { return };
        let State::Decided(decision) = self.entries[place].state else { return };
        if !self.outbox.cancel(&id) {
            if self.outbox.is_full() {
                self.undoable.insert(index, id);
                return self.complain("too many verdicts wait for the server".to_owned());
            }
            self.outbox.push(Task::Withdraw { sighting: id, decision });
        }
        self.entries[place].state = State::Open;
        self.go(place);
        self.tell("taken back: decide again");
    }

    fn can_undo(&mut self, id: String) {
        self.undoable.retain(|undoable| *undoable != id);
        self.undoable.push(id);
        if self.undoable.len() > UNDOABLE {
            self.undoable.remove(0);
        }
    }

    /// To the next one that is open: first those that came back.
    fn go_on(&mut self) {
        let back = self.entries.iter().position(Entry::is_back);
        let open = |index: &usize| self.entries[*index].state == State::Open;
        let next = back.or_else(|| (self.at + 1..self.entries.len()).find(open));
        self.go(next.unwrap_or(self.entries.len()));
    }

    fn go(&mut self, to: usize) {
        let to = to.min(self.entries.len());
        if to != self.at {
            self.at = to;
            self.shown = None;
        }
        self.forget_settled();
    }

    fn interrupt(&mut self) {
        match self.mode {
            Mode::Leaving | Mode::Left => self.mode = Mode::Left,
            Mode::Deciding | Mode::Note(_) | Mode::Help => self.wait_and_leave(),
        }
    }

    fn leave(&mut self) {
        if let Some(place) = self.entries.iter().position(Entry::is_back)
            && !self.knows_of_failures
        {
            self.knows_of_failures = true;
            let failures = self.unrecorded().len();
            self.go(place);
            return self.complain(format!("not recorded: {failures}; q again leaves without"));
        }
        self.wait_and_leave();
    }

    fn wait_and_leave(&mut self) {
        self.mode = if self.outbox.len() == 0 { Mode::Left } else { Mode::Leaving };
    }

    pub(super) fn tell(&mut self, text: &str) {
        self.notice = Some(Notice { text: text.to_owned(), is_problem: false });
    }

    pub(super) fn complain(&mut self, text: String) {
        self.notice = Some(Notice { text, is_problem: true });
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.item.id == id)
    }
}

impl Entry {
    /// Whether it came back because its verdict was not recorded.
    pub(super) fn is_back(&self) -> bool {
        self.state == State::Open && self.failure.is_some()
    }

    /// Who it really is, where that is not whom the machine took it for.
    fn corrected(&self, decision: Decision) -> Option<String> {
        match decision {
            Decision::Candidate(0) if self.item.is_predicted => None,
            Decision::Candidate(index) => self.item.candidates.get(index).map(|one| one.student.clone()),
            Decision::Rejected | Decision::Flagged => None,
        }
    }
}

/// Whether a key is about the face that is looked at, so that one which is held down counts once.
const fn decides(typed: char) -> bool {
    matches!(typed, '1'..='9' | 'r' | 'f' | 's' | 'u')
}

/// Adds to a note what of a text belongs into a line, up to the length that the server takes.
fn push_note(note: &mut String, text: &str) {
    let room = MOST_NOTE.saturating_sub(note.chars().count());
    note.extend(
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !c.is_control()).take(room),
    );
}
