//! Sends items, each once.

use std::time::Duration;

use http::Method;
use serde::Serialize;

use super::{Client, Item, Ledger, Target, frappe, frappe::Meaning, ledger::Step};
use crate::error::CliError;

/// How often an item is tried before the run stops.
const ATTEMPTS: u32 = 6;
/// Before the second attempt; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause is longer, whatever the other system says.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// It was sent now.
    Sent,
    /// It was sent before.
    Skipped,
    /// The other system had it, from elsewhere or from a run that was interrupted.
    AlreadyThere,
    /// It was sent before and is something else by now: a person has to change it there.
    Changed,
    /// The other system does not take it.
    Refused,
    /// The run has stopped before it.
    Left,
}

/// An item and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) item: Item,
    pub(crate) fate: Fate,
    /// Why, where there is something to be said.
    pub(crate) why: String,
}

/// Sends what was not sent; with `dry_run`, says only what would be. What was under way when an earlier run was
/// interrupted is looked for first. Where the other system can't be spoken to any more, the rest is left, with the reason.
///
/// # Errors
/// The ledger can't be written.
pub(crate) async fn send(
    items: Vec<Item>,
    target: &Target,
    client: &Client,
    ledger: &mut Ledger,
    dry_run: bool,
    mut told: impl FnMut(u64),
) -> Result<Vec<Outcome>, CliError> {
    let mut outcomes = Vec::with_capacity(items.len());
    let mut stopped: Option<String> = None;
    for item in items {
        let value = item.what.value();
        let known = ledger.get(&item.key).map(|(known, step)| (known == value, step));
        let (fate, why) = match (&stopped, known) {
            (_, Some((true, Step::Sent))) => (Fate::Skipped, String::new()),
            (_, Some((false, Step::Sent))) => (Fate::Changed, "was sent otherwise".to_owned()),
            (Some(why), _) => (Fate::Left, why.clone()),
            (None, _) if dry_run => (Fate::Left, "would be sent".to_owned()),
            (None, known) => {
                let unsure = matches!(known, Some((_, Step::Sending)));
                match one(&item, target, client, ledger, unsure).await? {
                    Sending::Done(fate, why) => (fate, why),
                    Sending::Stop(why) => {
                        stopped = Some(why.clone());
                        (Fate::Left, why)
                    }
                }
            }
        };
        outcomes.push(Outcome { item, fate, why });
        told(outcomes.len() as u64);
    }
    Ok(outcomes)
}

enum Sending {
    Done(Fate, String),
    /// The other system can't be spoken to.
    Stop(String),
}

async fn one(
    item: &Item,
    target: &Target,
    client: &Client,
    ledger: &mut Ledger,
    mut unsure: bool,
) -> Result<Sending, CliError> {
    let value = item.what.value();
    let (path, body) = frappe::request(item, target);
    let mut last = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 && unsure {
            tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
        }
        if unsure {
            // It may be there by now: nothing is sent before that is known.
            match frappe::found(&client.ask(Method::GET, &frappe::search(item), None).await) {
                Some(true) => {
                    ledger.note(&item.key, &value, Step::Sent)?;
                    return Ok(Sending::Done(
                        Fate::AlreadyThere,
                        "an interrupted request had come there".to_owned(),
                    ));
                }
                Some(false) => {}
                None => {
                    if last.is_empty() {
                        last = "the other system does not say whether it has it".to_owned();
                    }
                    continue;
                }
            }
        }
        ledger.note(&item.key, &value, Step::Sending)?;
        unsure = true;
        let reply = client.ask(Method::POST, &path, Some(&body)).await;
        match frappe::meaning(&reply) {
            Meaning::Taken => {
                ledger.note(&item.key, &value, Step::Sent)?;
                return Ok(Sending::Done(Fate::Sent, String::new()));
            }
            Meaning::Duplicate => {
                ledger.note(&item.key, &value, Step::Sent)?;
                return Ok(Sending::Done(Fate::AlreadyThere, String::new()));
            }
            Meaning::Refused(why) => {
                ledger.note(&item.key, &value, Step::Refused)?;
                return Ok(Sending::Done(Fate::Refused, why));
            }
            Meaning::Unauthorised(why) => {
                ledger.note(&item.key, &value, Step::Refused)?;
                return Ok(Sending::Stop(format!("the key of the target is not let in: {why}")));
            }
            Meaning::Later(pause) => {
                ledger.note(&item.key, &value, Step::Refused)?;
                unsure = false;
                last = match reply {
                    super::http::Reply::NotSent(problem) => problem,
                    super::http::Reply::Answer { status, .. } => status.to_string(),
                    super::http::Reply::Lost(problem) => problem,
                };
                let usual = FIRST_PAUSE * 2_u32.pow(attempt);
                if attempt + 1 < ATTEMPTS {
                    tokio::time::sleep(pause.unwrap_or(usual).min(LONGEST_PAUSE)).await;
                }
            }
            Meaning::Unknown(why) => last = why,
        }
    }
    Ok(Sending::Stop(format!("{} can't be spoken to: {last}", target.url)))
}
