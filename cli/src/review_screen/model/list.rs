//! What of the queue the reviewer has claimed, which comes in parts.

use super::{Entry, Model, State};
use crate::review_screen::item::Item;

/// With fewer open ones ahead, more are claimed.
const LEAST_AHEAD: usize = 12;
/// So many more at a time.
const MORE: usize = 20;
/// The most that somebody has claimed at a time: as many as one call claims.
const MOST_CLAIMED: usize = 100;
/// Entries behind the one that is looked at that can be gone back to.
const MOST_BEHIND: usize = 200;

/// How much of the queue is there.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many were asked for and are on their way, and whether more than there were before.
    asked: Option<(usize, bool)>,
    /// There are no more.
    is_whole: bool,
    /// They are claimed anew, whether or not more are needed.
    is_renewed: bool,
    /// The last ones did not come: they are asked for when a key is pressed.
    is_stuck: bool,
    /// Sightings of the whole queue when the review was begun, and whether there were no more than that.
    total: Option<(u64, bool)>,
}

impl Queue {
    pub(super) const fn try_again(&mut self) {
        self.is_stuck = false;
    }
}

impl Model {
    /// How many of the queue's first sightings are to be claimed, if any; they are on their way from here on. Those
    /// that are there are among them, so that they stay claimed.
    pub(in super::super) fn wants_claims(&mut self) -> Option<u32> {
        let queue = &self.queue;
        let is_open = |entry: &&Entry| entry.state == State::Open;
        let is_due =
            self.entries.iter().skip(self.at).filter(is_open).count() < LEAST_AHEAD && !queue.is_whole;
        if queue.asked.is_some() || queue.is_stuck || !(is_due || queue.is_renewed) {
            return None;
        }
        let held =
            self.entries.iter().filter(|entry| matches!(entry.state, State::Open | State::Skipped)).count();
        let more = if is_due { MORE } else { 0 };
        let limit = (held + self.outbox.len() + more).min(MOST_CLAIMED);
        if limit == 0 {
            return None;
        }
        (self.queue.asked, self.queue.is_renewed) = (Some((limit, is_due)), false);
        u32::try_from(limit).ok()
    }

    /// The claims are to be prolonged.
    pub(in super::super) const fn renew_claims(&mut self) {
        self.queue.is_renewed = true;
    }

    /// How many wait at the beginning of the review.
    pub(in super::super) const fn counted(&mut self, total: (u64, bool)) {
        self.queue.total = Some(total);
    }

    /// Claimed sightings have come.
    pub(in super::super) fn claimed(&mut self, items: Vec<Item>) {
        let Some((asked, is_more)) = self.queue.asked.take() else { return };
        let (before, came) = (self.entries.len(), items.len());
        for item in items {
            if !self.settled.contains(&item.id) && self.place(&item.id).is_none() {
                self.entries.push_back(Entry {
                    item,
                    state: State::Open,
                    note: String::new(),
                    failure: None,
                });
            }
        }
        if is_more {
            self.queue.is_whole = came < asked || self.entries.len() == before;
        }
    }

    /// They did not come.
    pub(in super::super) fn not_claimed(&mut self, why: &str) {
        (self.queue.asked, self.queue.is_stuck) = (None, true);
        self.complain(format!("the queue can't be read: {why}; any key tries again"));
    }

    /// What the reviewer leaves undecided, but for what was assigned to them.
    pub(in super::super) fn left(&self) -> Vec<String> {
        let is_left =
            |entry: &&Entry| matches!(entry.state, State::Open | State::Skipped) && !entry.item.is_assigned;
        self.entries.iter().filter(is_left).map(|entry| entry.item.id.clone()).collect()
    }

    /// Whether more of the queue may come.
    pub(in super::super) const fn is_claiming(&self) -> bool {
        !self.queue.is_whole
    }

    /// Sightings of the whole queue when the review was begun, and whether there were no more than that.
    pub(in super::super) const fn total(&self) -> Option<(u64, bool)> {
        self.queue.total
    }

    /// What the server says of an item now, with its pictures.
    pub(in super::super) fn refreshed(&mut self, item: Item) {
        let Some(place) = self.place(&item.id) else { return };
        let entry = &mut self.entries[place];
        let is_waiting = matches!(entry.state, State::Open | State::Skipped);
        if is_waiting && !self.outbox.names(&item.id) {
            let by = item.standing.as_ref().filter(|_| item.is_decided());
            let by = by.map(|standing| format!("{} by {} meanwhile", standing.verdict, standing.reviewer));
            let id = item.id.clone();
            // The list alone says how large its visit is.
            let visit = entry.item.visit;
            self.entries[place].item = Item { visit, ..item };
            if let Some(by) = by {
                self.overtaken(&id, &by);
            }
        }
    }

    /// From the beginning of the queue again, with what was skipped.
    pub(super) fn look_again(&mut self) {
        let outbox = &self.outbox;
        self.entries.retain(|entry| entry.failure.is_some() || outbox.names(&entry.item.id));
        let entries = &self.entries;
        self.undoable.retain(|id| entries.iter().any(|entry| entry.item.id == *id));
        // Whoever took a verdict back elsewhere wants to see it here.
        self.settled.clear();
        self.queue = Queue { total: self.queue.total, ..Queue::default() };
        self.at = self.entries.iter().position(Entry::is_back).unwrap_or(self.entries.len());
        self.shown = None;
    }

    /// Lets go of what lies far behind and of which nothing more can come.
    pub(super) fn forget_settled(&mut self) {
        while self.at > MOST_BEHIND
            && let Some(first) = self.entries.front()
            && !first.is_back()
            && !self.undoable.contains(&first.item.id)
            && !self.outbox.names(&first.item.id)
        {
            if let Some(Entry { item, state: State::Decided(_), .. }) = self.entries.pop_front() {
                self.settled.insert(item.id);
            }
            self.at -= 1;
        }
    }
}
