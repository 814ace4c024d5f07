//! The review at work: keys in, pictures ahead, verdicts out.

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cavs_proto::{enum_to_wire, v1};
use cavs_types::ErrorReason;
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use ratatui::layout::Size;
use ratatui_image::picker::Picker;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinSet, spawn_blocking},
    time::{interval_at, timeout},
};

use super::{
    input::Input,
    item::Item,
    model::{Delivery, Key, Mode, Model, Task},
    pictures::{self, Decoded, Drawn, Loaded},
    terminal::{Screen, failed},
    view::{self, Look},
};
use crate::{client::Api, error::CliError, exit::Exit};

/// Items whose pictures are fetched ahead.
const AHEAD: usize = 6;
/// Items behind whose pictures are kept.
const BEHIND: usize = 3;
/// Items whose pictures are fetched at a time.
const FETCHED: usize = 3;
/// How often claims are prolonged.
const RENEWED: Duration = Duration::from_secs(240);
/// How long nobody else decides what was claimed, in seconds: where this program is cut off, too.
pub(super) const LEASE_SECONDS: u32 = 600;
/// How long a program that is told to end waits for the server.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a task brought.
enum Done {
    Claimed(Result<v1::ClaimPendingResponse, CliError>),
    Item(String, Box<Result<Loading, CliError>>),
    Redrawn(String, Arc<Decoded>, Drawn, Size),
    Delivered(Delivery),
}

/// An item and its pictures.
struct Loading {
    item: Item,
    decoded: Arc<Decoded>,
    drawn: Drawn,
    /// The size of the screen that they fit.
    fits: Size,
}

/// The review between the terminal and the server.
pub(super) struct Review {
    api: Arc<Api>,
    /// What of the queue is reviewed; the limit is set anew for each call.
    queue: v1::ClaimPendingRequest,
    picker: Option<Picker>,
    look: Look,
    model: Model,
    loaded: HashMap<String, Loaded>,
    tasks: JoinSet<Done>,
    size: Size,
    begun: Instant,
}

impl Review {
    pub(super) fn new(
        api: Arc<Api>,
        queue: v1::ClaimPendingRequest,
        picker: Option<Picker>,
        look: Look,
        model: Model,
    ) -> Self {
        Self {
            api,
            queue,
            picker,
            look,
            model,
            loaded: HashMap::new(),
            tasks: JoinSet::new(),
            size: Size::ZERO,
            begun: Instant::now(),
        }
    }

    /// Until the reviewer leaves, or something ends the program: what that was.
    pub(super) async fn run(
        &mut self,
        screen: &mut Screen,
        signals: &mut Signals,
    ) -> Result<Option<&'static str>, CliError> {
        let mut events = EventStream::new();
        let mut input = Input::default();
        self.size = screen.terminal.size().map_err(failed)?;
        let mut renewals = interval_at(tokio::time::Instant::now() + RENEWED, RENEWED);
        loop {
            self.begin_tasks();
            if self.draw(screen)? {
                // What was typed before this face was there, such as the repeats of a key that is held, was not meant
                // for it.
                while let Poll::Ready(event) = already_there(&mut events).await {
                    match event {
                        Some(Ok(event)) => {
                            if let Some(key) = input.key(event) {
                                self.model.early_key(key, self.begun.elapsed());
                            }
                        }
                        Some(Err(error)) => return Err(failed(error)),
                        None => return Ok(Some("the end of its terminal")),
                    }
                }
                // Other keys may have changed what is to be seen.
                continue;
            }
            if *self.model.mode() == Mode::Left {
                return Ok(None);
            }
            tokio::select! {
                // What the reviewer does goes before what is fetched for later.
                biased;
                name = signals.received() => return Ok(Some(name)),
                event = events.next() => match event {
                    Some(Ok(event)) => if let Some(key) = input.key(event) {
                        self.key(key);
                    },
                    Some(Err(error)) => return Err(failed(error)),
                    None => return Ok(Some("the end of its terminal")),
                },
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => self.done(done)?,
                _ = renewals.tick() => self.model.renew_claims(),
            }
        }
    }

    fn key(&mut self, key: Key) {
        // What did not come is asked for again.
        self.loaded.retain(|_, loaded| !matches!(loaded, Loaded::Failed(_)));
        self.model.key(key, self.begun.elapsed());
    }

    /// Whether a face is on the screen that was not there before.
    fn draw(&mut self, screen: &mut Screen) -> Result<bool, CliError> {
        let (model, look) = (&self.model, &self.look);
        let id = model.current().map(|entry| entry.item.id.clone());
        let loaded = id.as_ref().and_then(|id| self.loaded.get(id));
        let mut is_shown = false;
        let drawn = screen.terminal.draw(|frame| is_shown = view::draw(frame, model, loaded, look));
        let size = drawn.map_err(failed)?.area.as_size();
        if size != self.size {
            // Pictures fit one size.
            self.size = size;
            self.draw_anew();
        }
        Ok(id.filter(|_| is_shown).is_some_and(|id| self.model.shown(&id)))
    }

    fn begin_tasks(&mut self) {
        if let Some(limit) = self.model.wants_claims() {
            let request = v1::ClaimPendingRequest { limit, ..self.queue.clone() };
            let api = Arc::clone(&self.api);
            let claim = async move { Done::Claimed(api.call(api.reviews().claim_pending(request)).await) };
            self.tasks.spawn(claim);
        }
        if let Some(task) = self.model.next_task() {
            let (api, whole_visit) = (Arc::clone(&self.api), self.queue.by_visit);
            self.tasks.spawn(async move { Done::Delivered(deliver(&api, task, whole_visit).await) });
        }
        let wanted = self.model.wanted(AHEAD, BEHIND);
        self.loaded.retain(|id, loaded| wanted.contains(&id.as_str()) || matches!(loaded, Loaded::Loading));
        let under_way = self.loaded.values().filter(|loaded| matches!(loaded, Loaded::Loading)).count();
        let missing = wanted.into_iter().filter(|id| !self.loaded.contains_key(*id));
        let missing: Vec<String> =
            missing.take(FETCHED.saturating_sub(under_way)).map(str::to_owned).collect();
        for id in missing {
            self.loaded.insert(id.clone(), Loaded::Loading);
            let (api, picker, size) = (Arc::clone(&self.api), self.picker.clone(), self.size);
            self.tasks.spawn(async move {
                let loading = load(&api, &id, picker, size).await;
                Done::Item(id, Box::new(loading))
            });
        }
    }

    /// Makes pictures anew that do not fit the screen.
    fn draw_anew(&mut self) {
        let Some(picker) = &self.picker else { return };
        let size = self.size;
        for (id, loaded) in &self.loaded {
            if let Loaded::There { decoded, fits, .. } = loaded
                && *fits != size
            {
                let (id, decoded, picker) = (id.clone(), Arc::clone(decoded), picker.clone());
                self.tasks.spawn(async move {
                    let drawn = drawn(Arc::clone(&decoded), picker, size).await;
                    Done::Redrawn(id, decoded, drawn, size)
                });
            }
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), CliError> {
        let lost =
            |error| CliError::failure("INTERNAL", format!("a part of the program broke down: {error}"));
        match done.map_err(lost)? {
            Done::Claimed(Ok(claimed)) => {
                self.model.claimed(claimed.sightings.into_iter().map(Item::from).collect());
            }
            Done::Claimed(Err(error)) => self.model.not_claimed(&error.to_string()),
            Done::Item(id, loading) => match *loading {
                Ok(Loading { item, decoded, drawn, fits }) => {
                    self.model.refreshed(item);
                    self.loaded.insert(id, Loaded::There { decoded, drawn, fits });
                    if fits != self.size {
                        self.draw_anew();
                    }
                }
                Err(error) => {
                    if error.exit() == Exit::NotFound {
                        self.model.overtaken(&id, "it is not there any more");
                    }
                    self.loaded.insert(id, Loaded::Failed(error.to_string()));
                }
            },
            Done::Redrawn(id, decoded, drawn, fits) => {
                // Of several sizes, the last one counts.
                if let Some(loaded) = self.loaded.get_mut(&id).filter(|_| fits == self.size) {
                    *loaded = Loaded::There { decoded, drawn, fits };
                }
            }
            Done::Delivered(delivery) => self.model.delivered(delivery),
        }
        Ok(())
    }

    /// Waits for what is on its way, for a while, unless the reviewer did not want to, and gives the rest to others.
    pub(super) async fn end(mut self) -> Model {
        let last_words = async {
            while self.model.unsent() > 0 && *self.model.mode() != Mode::Left {
                self.begin_tasks();
                let Some(done) = self.tasks.join_next().await else { return };
                if self.done(done).is_err() {
                    return;
                }
            }
            let sighting_ids = self.model.left();
            if !sighting_ids.is_empty() {
                // They end by themselves soon.
                let request = v1::ReleaseClaimsRequest { sighting_ids };
                let _ = self.api.call(self.api.reviews().release_claims(request)).await;
            }
        };
        // What is not recorded by then is told.
        let _ = timeout(LAST_WORDS, last_words).await;
        self.model
    }
}

/// What ends a program from outside.
pub(super) struct Signals([(&'static str, Signal); 3]);

impl Signals {
    /// From here on they are received, and do nothing else.
    pub(super) fn new() -> Result<Self, CliError> {
        let on = |kind| signal(kind).map_err(failed);
        Ok(Self([
            ("SIGINT", on(SignalKind::interrupt())?),
            ("SIGTERM", on(SignalKind::terminate())?),
            ("SIGHUP", on(SignalKind::hangup())?),
        ]))
    }

    async fn received(&mut self) -> &'static str {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.1.recv() => interrupt.0,
            _ = terminate.1.recv() => terminate.0,
            _ = hangup.1.recv() => hangup.0,
        }
    }
}

/// The next event, where it need not be waited for. To be polled by the task that waits for events later: the stream
/// wakes the one that has asked first.
async fn already_there(events: &mut EventStream) -> Poll<Option<io::Result<Event>>> {
    poll_fn(|context| Poll::Ready(events.poll_next_unpin(context))).await
}

/// Tells the server of a verdict.
async fn deliver(api: &Api, task: Task, whole_visit: bool) -> Delivery {
    let (recorded, is_withdrawal) = match task {
        Task::Review { sighting: sighting_id, decision, corrected, notes } => {
            let request = v1::ReviewSightingRequest {
                sighting_id,
                verdict: enum_to_wire(decision.verdict()),
                notes,
                corrected_student_id: corrected.unwrap_or_default(),
                replace: false,
                whole_visit,
            };
            (api.call(api.reviews().review_sighting(request)).await.map(drop), false)
        }
        Task::Withdraw { sighting: sighting_id, .. } => {
            let request = v1::WithdrawReviewRequest {
                sighting_id,
                notes: String::new(),
                given_together: whole_visit,
                own: true,
            };
            (api.call(api.reviews().withdraw_review(request)).await.map(drop), true)
        }
    };
    let Err(error) = recorded else { return Delivery::Recorded };
    let is = |reason: ErrorReason| error.reason() == reason.as_str();
    if is(ErrorReason::AlreadyReviewed) {
        Delivery::Over("somebody has decided it meanwhile".to_owned())
    } else if is(ErrorReason::ReviewClaimed) || is(ErrorReason::SecondReviewerRequired) {
        Delivery::Over(error.to_string())
    } else if is(ErrorReason::SightingNotFound) {
        Delivery::Over("it is not there any more".to_owned())
    } else if is_withdrawal && is(ErrorReason::NotReviewed) {
        Delivery::Recorded
    } else {
        let may_be_recorded = error.exit() == Exit::Unavailable;
        Delivery::Failed { why: error.to_string(), is_fatal: error.is_fatal(), may_be_recorded }
    }
}

/// An item as it is now, with its pictures, made for a screen of this size.
async fn load(api: &Api, id: &str, picker: Option<Picker>, size: Size) -> Result<Loading, CliError> {
    let (mut items, mut of_candidates) = (api.reviews(), api.reviews());
    let item = v1::GetReviewItemRequest { sighting_id: id.to_owned() };
    let item = api.call(items.get_review_item(item));
    let (item, portraits) = match &picker {
        None => (item.await?, Vec::new()),
        Some(_) => {
            let portraits = v1::ListCandidatePortraitsRequest { sighting_id: id.to_owned() };
            let portraits = api.call(of_candidates.list_candidate_portraits(portraits));
            // Of two calls, the second does not wait for the first.
            let (item, portraits) = tokio::join!(item, portraits);
            (item?, portraits?.portraits)
        }
    };
    let v1::GetReviewItemResponse { sighting, evidence } = item;
    let item = Item::from(sighting.ok_or_else(|| CliError::protocol("the server's answer has no sighting"))?);
    let portraits: Vec<(String, Bytes)> =
        portraits.into_iter().map(|portrait| (portrait.student_id, portrait.portrait)).collect();
    let files = pictures::files(&item, evidence, &portraits);
    let decoded = Arc::new(match &picker {
        None => Decoded::none(),
        // A library that breaks down over one of them takes nothing else with it.
        Some(_) => {
            spawn_blocking(move || pictures::decode(&files)).await.unwrap_or_else(|_| Decoded::unreadable())
        }
    });
    let drawn = match picker {
        None => Drawn::none(),
        Some(picker) => drawn(Arc::clone(&decoded), picker, size).await,
    };
    Ok(Loading { item, decoded, drawn, fits: size })
}

/// Pictures as they fit a screen, made beside the review, which goes on meanwhile.
async fn drawn(decoded: Arc<Decoded>, picker: Picker, size: Size) -> Drawn {
    let sizes = view::sizes(size, decoded.portraits.len());
    let made = spawn_blocking(move || pictures::draw(&decoded, &picker, &sizes));
    made.await.unwrap_or_else(|_| Drawn::unreadable())
}
