//! Verdicts on their way to the server: one after the other, in the order in which they were given.

use std::collections::VecDeque;

use super::{Decision, Mode, Model, State};

/// Verdicts that may wait for the server.
const MOST_WAITING: usize = 32;

/// What the server has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Task {
    Review {
        sighting: String,
        decision: Decision,
        /// Who it really is, where that is not whom the machine took it for.
        corrected: Option<String>,
        notes: String,
    },
    /// Takes back the verdict `decision`.
    Withdraw { sighting: String, decision: Decision },
}

impl Task {
    pub(in super::super) fn sighting(&self) -> &str {
        match self {
            Self::Review { sighting, .. } | Self::Withdraw { sighting, .. } => sighting,
        }
    }
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Delivery {
    Recorded,
    /// Somebody else was first, or the sighting is gone.
    Over(String),
    Failed {
        why: String,
        /// The next one would fail alike.
        is_fatal: bool,
        /// The server may have done it all the same: its answer did not come.
        may_be_recorded: bool,
    },
}

/// A verdict that the server does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Unrecorded {
    pub(in super::super) sighting: String,
    pub(in super::super) why: String,
}

/// Tasks that wait, and the one that is under way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Task>,
    under_way: Option<Task>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.under_way.is_some())
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING
    }

    pub(super) fn push(&mut self, task: Task) {
        self.waiting.push_back(task);
    }

    pub(super) fn names(&self, id: &str) -> bool {
        self.waiting.iter().chain(&self.under_way).any(|task| task.sighting() == id)
    }

    /// What was said last and waits.
    #[cfg(test)]
    pub(super) fn last(&self) -> Option<&Task> {
        self.waiting.back()
    }

    /// Takes a verdict out that was not sent yet; whether there was one.
    pub(super) fn cancel(&mut self, id: &str) -> bool {
        self.take_waiting(id, |task| matches!(task, Task::Review { .. })).is_some()
    }

    /// Takes out what takes a task's verdict back, where that waits.
    fn take_withdrawal_of(&mut self, task: &Task) -> Option<Task> {
        match task {
            Task::Review { sighting, .. } => {
                self.take_waiting(sighting, |task| matches!(task, Task::Withdraw { .. }))
            }
            Task::Withdraw { .. } => None,
        }
    }

    fn take_waiting(&mut self, id: &str, is_wanted: fn(&Task) -> bool) -> Option<Task> {
        let place = self.waiting.iter().position(|task| task.sighting() == id && is_wanted(task))?;
        self.waiting.remove(place)
    }
}

impl Model {
    /// What to send next; `None` while something is under way.
    pub(in super::super) fn next_task(&mut self) -> Option<Task> {
        if self.outbox.under_way.is_some() {
            return None;
        }
        self.outbox.under_way = self.outbox.waiting.pop_front();
        self.outbox.under_way.clone()
    }

    /// What became of the task that was under way.
    pub(in super::super) fn delivered(&mut self, delivery: Delivery) {
        let Some(task) = self.outbox.under_way.take() else { return };
        match delivery {
            Delivery::Recorded => self.count(&task),
            Delivery::Over(why) => self.overtaken(task.sighting(), &why),
            Delivery::Failed { why, is_fatal, may_be_recorded } => {
                // The reviewer has taken it back meanwhile.
                let withdrawal = self.outbox.take_withdrawal_of(&task);
                let kept = withdrawal.as_ref().filter(|_| may_be_recorded).cloned();
                if kept.is_some() {
                    // Until it is taken back, which also succeeds where there is nothing to be taken back.
                    self.count(&task);
                } else if withdrawal.is_none() {
                    self.failed(task, &why);
                }
                while is_fatal && let Some(task) = self.outbox.waiting.pop_front() {
                    self.failed(task, &why);
                }
                if let Some(kept) = kept {
                    self.outbox.waiting.push_front(kept);
                }
                self.knows_of_failures = false;
                if self.mode == Mode::Leaving {
                    self.mode = Mode::Deciding;
                }
            }
        }
        if self.mode == Mode::Leaving && self.outbox.len() == 0 {
            self.mode = Mode::Left;
        }
        self.forget_settled();
    }

    /// A sighting needs no verdict any more.
    pub(in super::super) fn overtaken(&mut self, id: &str, why: &str) {
        self.outbox.waiting.retain(|task| task.sighting() != id);
        self.undoable.retain(|undoable| undoable != id);
        let Some(place) = self.place(id) else { return };
        let entry = &mut self.entries[place];
        if entry.state == State::Over {
            return;
        }
        (entry.state, entry.failure) = (State::Over, None);
        // Whoever looks at it goes on with the next key: no other face comes under a finger that is about to fall.
        self.complain(format!("passed over: {why}"));
    }

    /// Verdicts that the server does not have, and why.
    pub(in super::super) fn unrecorded(&self) -> Vec<Unrecorded> {
        let failed = self.entries.iter().filter(|entry| !matches!(entry.state, State::Decided(_)));
        let failed = failed.filter_map(|entry| Some((entry.item.id.clone(), entry.failure.clone()?)));
        let unsent = self.outbox.under_way.iter().chain(&self.outbox.waiting);
        let unsent =
            unsent.map(|task| (task.sighting().to_owned(), "the server has not answered".to_owned()));
        failed.chain(unsent).map(|(sighting, why)| Unrecorded { sighting, why }).collect()
    }

    fn count(&mut self, task: &Task) {
        match task {
            Task::Review { decision, .. } => *self.tally(*decision) += 1,
            Task::Withdraw { decision, .. } => {
                let tally = self.tally(*decision);
                *tally = tally.saturating_sub(1);
            }
        }
    }

    const fn tally(&mut self, decision: Decision) -> &mut u32 {
        &mut self.recorded[match decision {
            Decision::Candidate(_) => 0,
            Decision::Rejected => 1,
            Decision::Flagged => 2,
        }]
    }

    fn failed(&mut self, task: Task, why: &str) {
        match task {
            Task::Review { sighting, .. } => {
                self.undoable.retain(|undoable| *undoable != sighting);
                self.complain(format!("not recorded, it comes back: {why}"));
                if let Some(place) = self.place(&sighting) {
                    let entry = &mut self.entries[place];
                    (entry.state, entry.failure) = (State::Open, Some(why.to_owned()));
                }
            }
            Task::Withdraw { sighting, decision } => {
                // The verdict stands, and so what was said since does not.
                self.outbox.cancel(&sighting);
                self.complain(format!("not taken back, the verdict stands: {why}"));
                if let Some(place) = self.place(&sighting) {
                    self.entries[place].state = State::Decided(decision);
                    self.can_undo(sighting);
                }
            }
        }
    }
}
