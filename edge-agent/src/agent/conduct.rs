use std::{
    future::pending,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinError,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    AgentError, DRAIN_WAIT, STOP_WAIT, SettingsEnd, Shared, Summary, Totals, Until,
    pipeline::{Ended, Gear, Pipeline, Rest},
    shared::UplinkTask,
};
use crate::{
    config::{Config, SourceKind},
    service,
    settings::{LedgerFile, Pushed},
    uplink::UplinkError,
    vision::Vision,
};

/// Runs one pipeline after the other: a new one whenever the server's settings change.
pub(super) struct Conductor<'a> {
    /// The device's own configuration.
    own: &'a Config,
    shared: Shared,
    settings: LedgerFile,
    link: SettingsEnd,
    totals: Totals,
    /// When the pipeline began, and how many frames had been done by then.
    began: (Instant, u64),
    /// When the settings in use are judged, while they are on trial.
    trial: Option<Trial>,
}

#[derive(Clone, Copy)]
struct Trial {
    ends: Instant,
    patience: Duration,
    frames_expected: bool,
}

enum Line<V> {
    Running(Pipeline<V>),
    /// The source has ended.
    Resting(Box<Rest<V>>),
}

enum Event<V> {
    Ended(Box<Result<Ended<V>, AgentError>>),
    Uplink(AgentError),
    /// The server wants these settings.
    Wanted(Pushed),
    /// The settings on trial are to be judged.
    Judgement,
    Shutdown,
}

impl<V: Vision> Line<V> {
    async fn ended(&mut self) -> Result<Ended<V>, AgentError> {
        match self {
            Self::Running(pipeline) => pipeline.ended().await,
            Self::Resting(_) => pending().await,
        }
    }
}

impl<'a> Conductor<'a> {
    pub(super) fn new(own: &'a Config, shared: Shared, settings: LedgerFile, link: SettingsEnd) -> Self {
        let began = (Instant::now(), 0);
        Self { own, shared, settings, link, totals: Totals::default(), began, trial: None }
    }

    /// Runs until `shutdown`, or until the source has ended where `until` says so; then lets the
    /// uplink drain the spool.
    pub(super) async fn conduct<V: Vision>(
        mut self,
        gear: Gear<V>,
        mut uplink: UplinkTask,
        until: Until,
        drain: &CancellationToken,
        shutdown: CancellationToken,
    ) -> Result<Summary, AgentError> {
        self.start().await;
        let mut line = Line::Running(self.begin(gear).await?);
        service::ready();
        loop {
            let event = tokio::select! {
                ended = line.ended() => Event::Ended(Box::new(ended)),
                result = &mut uplink => Event::Uplink(ended_early(result)),
                () = shutdown.cancelled() => Event::Shutdown,
                event = self.changed() => event,
            };
            let changed = match event {
                Event::Wanted(ref wanted) => self.take(wanted.clone()).await,
                Event::Judgement => {
                    let frames = self.shared.vitals.done.get() > self.began.1;
                    !self.judge(frames).await
                }
                Event::Ended(_) | Event::Uplink(_) | Event::Shutdown => true,
            };
            if !changed {
                continue;
            }
            line = match (event, line) {
                (Event::Ended(ended), _) => match *ended {
                    Ok(ended) => self.after(ended).await?,
                    Err(error) => {
                        self.blame(&error).await;
                        return Err(error);
                    }
                },
                (Event::Uplink(error), line) => {
                    if let Line::Running(pipeline) = line {
                        // What it ends with is nothing against that the uplink gave up.
                        let _ = self.stop(pipeline).await;
                    }
                    return Err(error);
                }
                (Event::Wanted(_) | Event::Judgement, Line::Running(pipeline)) => {
                    let gear = self.stop(pipeline).await?;
                    Line::Running(self.begin(gear).await?)
                }
                (Event::Wanted(_) | Event::Judgement, Line::Resting(rest)) => {
                    Line::Running(self.begin(rest.end().await?).await?)
                }
                (Event::Shutdown, Line::Running(pipeline)) => {
                    self.stop(pipeline).await?;
                    break;
                }
                (Event::Shutdown, Line::Resting(_)) => break,
            };
            if until == Until::Drained && matches!(line, Line::Resting(_)) {
                break;
            }
        }
        service::stopping();
        if self.settings.ledger.on_trial() {
            self.settings.ledger.on_stop();
            self.settings.save().await;
        }
        drain.cancel();
        let patience = async {
            shutdown.cancelled().await;
            sleep(DRAIN_WAIT).await;
        };
        let drained = tokio::select! {
            result = uplink => { result?.transpose()?; true }
            () = patience => false,
        };
        if !drained {
            tracing::info!("not everything was sent; the rest follows after the next start");
        }
        Ok(Summary { totals: self.totals, drained })
    }

    /// Takes note of the start, for the settings that are on trial.
    async fn start(&mut self) {
        if self.settings.ledger.on_trial() {
            self.settings.ledger.on_start();
            self.settings.save().await;
        }
        self.refuse_if_told_to().await;
    }

    async fn refuse_if_told_to(&mut self) {
        if !self.own.settings.accept && *self.settings.ledger.current() != Pushed::default() {
            self.give_up("the device's settings.accept is false: it takes none").await;
        }
    }

    /// Begins a pipeline with the current settings, or with earlier ones where these do not work.
    async fn begin<V: Vision>(&mut self, mut gear: Gear<V>) -> Result<Pipeline<V>, AgentError> {
        let frames_expected = self.frames_expected();
        loop {
            let error = match self.own.with_pushed(&self.settings.ledger.current().settings) {
                Err(error) => AgentError::Settings(error.to_string()),
                Ok(config) => match Pipeline::begin(&config, gear, &self.shared).await {
                    Ok(pipeline) => {
                        self.began = (Instant::now(), self.shared.vitals.done.get());
                        let patience = config.settings.trial + 2 * config.source.period.unwrap_or_default();
                        let trial = Trial { ends: self.began.0 + patience, patience, frames_expected };
                        self.trial = self.settings.ledger.on_trial().then_some(trial);
                        self.publish();
                        return Ok(pipeline);
                    }
                    Err(failed) => {
                        gear = failed.gear;
                        failed.error
                    }
                },
            };
            if !self.give_up(&error.to_string()).await {
                return Err(error);
            }
        }
    }

    /// Whether new settings can be judged by frames: a camera that gave nothing before them is not
    /// their fault, and a directory may have nothing left.
    fn frames_expected(&self) -> bool {
        let (began, done) = self.began;
        let silent = began.elapsed() >= self.own.settings.trial && self.shared.vitals.done.get() == done;
        matches!(self.own.source.kind, SourceKind::Camera(_)) && !silent
    }

    async fn stop<V: Vision>(&mut self, pipeline: Pipeline<V>) -> Result<Gear<V>, AgentError> {
        let ended = timeout(STOP_WAIT, pipeline.stop()).await;
        let Ended { gear, totals, error } = ended.map_err(|_| AgentError::Stuck)??;
        self.add(totals);
        if let Some(error) = error {
            tracing::warn!(%error, "the source failed");
        }
        Ok(gear)
    }

    /// The source has ended by itself.
    async fn after<V: Vision>(&mut self, ended: Ended<V>) -> Result<Line<V>, AgentError> {
        let Ended { gear, totals, error } = ended;
        self.add(totals);
        match error {
            None => {
                self.judge(true).await;
                Ok(Line::Resting(Box::new(Rest::begin(gear, &self.shared))))
            }
            Some(error) if self.trial.is_some() && self.give_up(&error.to_string()).await => {
                Ok(Line::Running(self.begin(gear).await?))
            }
            Some(error) => Err(error.into()),
        }
    }

    fn add(&mut self, totals: Totals) {
        self.totals += totals;
        tracing::info!(
            frames = totals.frames,
            bad_frames = totals.bad_frames,
            still_frames = totals.still_frames,
            dropped_frames = totals.dropped_frames,
            sightings = totals.sightings,
            "the source has ended"
        );
    }

    /// Waits until there is something to do about the settings. Does nothing about it itself, so that it
    /// may be dropped at any time.
    async fn changed<V>(&mut self) -> Event<V> {
        loop {
            let ends = self.trial.map(|trial| trial.ends);
            let judgement = async {
                match ends {
                    Some(ends) => sleep_until(ends.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                offered = self.link.wanted.changed() => {
                    if offered.is_err() {
                        // The uplink has ended, which is noticed elsewhere.
                        pending::<()>().await;
                    }
                    if let Some(wanted) = self.link.wanted.borrow_and_update().clone() {
                        return Event::Wanted(wanted);
                    }
                }
                () = judgement => return Event::Judgement,
            }
        }
    }

    /// True where the wanted settings are to be tried now.
    async fn take(&mut self, wanted: Pushed) -> bool {
        let before = self.settings.ledger.current().clone();
        let version = wanted.version;
        if self.settings.ledger.offer(wanted) {
            tracing::info!(version, "the server pushed settings");
            self.refuse_if_told_to().await;
            self.settings.save().await;
            self.publish();
        }
        *self.settings.ledger.current() != before
    }

    /// Ends the trial, if there is one; false where the settings have to go.
    async fn judge(&mut self, frames: bool) -> bool {
        let Some(trial) = self.trial.take() else { return true };
        if trial.frames_expected && !frames {
            let seconds = trial.patience.as_secs();
            self.give_up(&format!("no frame came through within {seconds} s")).await;
            return false;
        }
        tracing::info!(version = self.settings.ledger.current().version, "the settings work; they are kept");
        self.settings.ledger.keep();
        self.settings.save().await;
        self.publish();
        true
    }

    /// What ends the agent while settings are on trial is taken to be their fault.
    async fn blame(&mut self, error: &AgentError) {
        if self.trial.is_some() && !matches!(error, AgentError::Spool(_)) {
            self.give_up(&error.to_string()).await;
        }
    }

    /// Goes back to earlier settings; false where there are none.
    async fn give_up(&mut self, reason: &str) -> bool {
        let version = self.settings.ledger.current().version;
        let back = self.settings.ledger.reject(reason.to_owned());
        if back {
            tracing::error!(version, reason, "the pushed settings do not work here; going back");
            self.settings.save().await;
            self.publish();
        }
        back
    }

    fn publish(&self) {
        let report = self.settings.ledger.report();
        self.link.report.send_if_modified(|told| {
            let news = *told != report;
            *told = report;
            news
        });
    }
}

/// The uplink ends before it is asked to only where it gave up.
fn ended_early(result: Result<Option<Result<(), UplinkError>>, JoinError>) -> AgentError {
    match result {
        Ok(Some(Err(error))) => error.into(),
        Ok(Some(Ok(())) | None) => AgentError::Stuck,
        Err(error) => error.into(),
    }
}
