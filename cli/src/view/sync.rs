//! What was sent to another system.

use serde::Serialize;

use super::layout::{facts, table};
use crate::{
    printer::{Report, Style},
    sync::{Fate, Outcome},
};

/// What became of an item.
#[derive(Debug, Serialize)]
pub struct SyncItemView {
    /// The site's number of whom it is about.
    pub number: String,
    /// By what the other system knows them.
    pub person: String,
    /// What was told.
    pub what: String,
    /// `sent`, `skipped`, `already_there`, `changed`, `refused` or `left`.
    pub fate: &'static str,
    /// Why, where there is something to be said.
    pub why: String,
}

/// What was sent to another system.
#[derive(Debug, Serialize)]
pub struct SyncView {
    /// Name of the target.
    pub target: String,
    /// Nothing was sent.
    pub dry_run: bool,
    /// Sent now.
    pub sent: usize,
    /// Sent before.
    pub skipped: usize,
    /// The other system had it.
    pub already_there: usize,
    /// Sent before, and something else by now.
    pub changed: usize,
    /// The other system does not take it.
    pub refused: usize,
    /// Not sent: the run has stopped before it, or was a dry one.
    pub left: usize,
    /// Numbers of people without what the other system knows them by.
    pub unknown: Vec<String>,
    /// By time.
    pub items: Vec<SyncItemView>,
}

const fn word(fate: &Fate) -> &'static str {
    match fate {
        Fate::Sent => "sent",
        Fate::Skipped => "skipped",
        Fate::AlreadyThere => "already_there",
        Fate::Changed => "changed",
        Fate::Refused => "refused",
        Fate::Left => "left",
    }
}

impl SyncView {
    pub(crate) fn new(target: &str, dry_run: bool, outcomes: Vec<Outcome>, unknown: Vec<String>) -> Self {
        let count = |fate: &Fate| outcomes.iter().filter(|outcome| outcome.fate == *fate).count();
        Self {
            target: target.to_owned(),
            dry_run,
            sent: count(&Fate::Sent),
            skipped: count(&Fate::Skipped),
            already_there: count(&Fate::AlreadyThere),
            changed: count(&Fate::Changed),
            refused: count(&Fate::Refused),
            left: count(&Fate::Left),
            unknown,
            items: outcomes
                .into_iter()
                .map(|Outcome { item, fate, why }| SyncItemView {
                    number: item.number,
                    person: item.person,
                    what: item.what.shown(),
                    fate: word(&fate),
                    why,
                })
                .collect(),
        }
    }

    pub(crate) const fn has_refusals(&self) -> bool {
        self.refused > 0 || self.changed > 0
    }
}

impl Report for SyncView {
    const ROWS: Option<&'static str> = Some("items");

    fn table(&self, style: &Style) -> String {
        let count = |count: usize| if count == 0 { String::new() } else { count.to_string() };
        let rows = self
            .items
            .iter()
            .filter(|item| !matches!(item.fate, "skipped" | "sent") || self.dry_run)
            .map(|item| {
                [item.number.clone(), item.what.clone(), item.fate.replace('_', " "), item.why.clone()]
            })
            .collect();
        let counts = facts(
            style,
            &[
                ("target", self.target.clone()),
                ("sent", self.sent.to_string()),
                ("sent before", count(self.skipped)),
                ("already there", count(self.already_there)),
                ("changed since", count(self.changed)),
                ("refused", count(self.refused)),
                (if self.dry_run { "would be sent" } else { "left" }, count(self.left)),
                ("not known there", self.unknown.join(", ")),
            ],
        );
        let items = table(style, ["NUMBER", "WHAT", "FATE", "WHY"], rows);
        if items.is_empty() { counts } else { format!("{counts}\n\n{items}") }
    }
}
