//! The review that fills the terminal: a face beside the portraits of whom it may be, and one key a verdict.
//!
//! [`model`] is what happens, and knows neither terminal nor server; [`view`] draws it; [`run`] stands between the
//! terminal, the server and the two.

mod input;
mod item;
mod model;
mod pictures;
mod run;
mod terminal;
mod view;
mod words;

use std::sync::Arc;

use cavs_proto::v1;

pub(crate) use terminal::ImageProtocol;

use crate::{client::Api, error::CliError, printer::Printer};
use model::Model;
use run::{LEASE_SECONDS, Review, Signals};
use terminal::Screen;
use view::Look;

/// Whether the review has a terminal to fill.
///
/// # Errors
/// `USAGE`: it has none.
pub(crate) fn check() -> Result<(), CliError> {
    Screen::check()
}

/// Reviews what `queue` chooses, with somebody at the terminal.
///
/// # Errors
/// The server's error; `TERMINAL`; `NOT_RECORDED`, `INTERRUPTED`.
pub(crate) async fn review(
    api: Api,
    queue: v1::ClaimPendingRequest,
    protocol: ImageProtocol,
    printer: &Printer,
) -> Result<(), CliError> {
    let queue = v1::ClaimPendingRequest { lease_seconds: LEASE_SECONDS, ..queue };
    let mut model = Model::new();
    // What keeps the queue from being read is told before the terminal is taken.
    let counted = v1::ListPendingRequest {
        page_size: 1,
        with_total_size: true,
        filter: queue.filter.clone(),
        queue_filter: queue.queue_filter.clone(),
        by_visit: queue.by_visit,
        ..v1::ListPendingRequest::default()
    };
    let counted = api.call(api.reviews().list_pending(counted)).await?;
    model.counted((counted.total_size, counted.total_size_exact));
    if let Some(limit) = model.wants_claims() {
        let request = v1::ClaimPendingRequest { limit, ..queue.clone() };
        let claimed = api.call(api.reviews().claim_pending(request)).await?.sightings;
        if claimed.is_empty() {
            printer.note(match counted.total_size {
                0 => "Nothing waits for review.",
                _ => "What waits for review is being looked at by others, or was flagged by you.",
            });
            return Ok(());
        }
        model.claimed(claimed.into_iter().map(Into::into).collect());
    }
    let api = Arc::new(api);
    // A mark on a bar: whoever may not know it does without.
    let gallery = api.call(api.galleries().get_gallery(v1::GetGalleryRequest::default())).await;
    let thresholds = gallery.ok().and_then(|answer| answer.gallery?.thresholds);
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut signals = Signals::new()?;
    let mut screen = Screen::take()?;
    let picker = terminal::picker(protocol, colour)?;
    let look = Look {
        colour,
        zone: printer.style().zone.clone(),
        pictures: picker.is_some(),
        margin: thresholds.map(|thresholds| (thresholds.margin, thresholds.version)),
    };
    let mut review = Review::new(api, queue, picker, look, model);
    let ended = review.run(&mut screen, &mut signals).await;
    screen.give_back();
    let model = review.end().await;
    let [approved, rejected, flagged] = model.recorded();
    printer.note(&format!("Recorded: {approved} approved, {rejected} rejected, {flagged} flagged."));
    let unrecorded = model.unrecorded();
    if !unrecorded.is_empty() {
        let lines = unrecorded.iter().map(|one| format!("\n  {}: {}", one.sighting, one.why));
        let lines: String = lines.collect();
        return Err(CliError::failure("NOT_RECORDED", format!("verdicts that were not recorded:{lines}")));
    }
    match ended? {
        Some(signal) => Err(CliError::failure("INTERRUPTED", format!("ended by {signal}"))),
        None => Ok(()),
    }
}
