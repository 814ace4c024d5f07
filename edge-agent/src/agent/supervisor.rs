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
    AgentError, AgentRuntime, DRAIN_WAIT, PipelineSettingsLink, STOP_WAIT, StopCondition, Summary, Totals,
    pipeline::{IdlePipeline, Pipeline, PipelineEnd, PipelineParts},
    runtime::UplinkTask,
};
use crate::{
    config::{Config, SourceKind},
    settings::{PushedSettings, SettingsFile},
    systemd,
    uplink::UplinkError,
    vision::Vision,
};

/// Runs one pipeline after the other: a new one whenever the server's settings change.
pub(super) struct PipelineSupervisor<'a> {
    /// The device's own configuration.
    device_config: &'a Config,
    runtime: AgentRuntime,
    settings: SettingsFile,
    link: PipelineSettingsLink,
    totals: Totals,
    /// When the pipeline began.
    began: Instant,
    /// Frames that were done by then.
    done_before: u64,
    /// When the settings in use are judged, while they are on trial.
    trial: Option<Trial>,
}

#[derive(Clone, Copy)]
struct Trial {
    ends: Instant,
    patience: Duration,
    frames_expected: bool,
}

enum PipelineState<V> {
    Running(Pipeline<V>),
    /// The source has ended; new settings may begin another.
    Idle(Box<IdlePipeline<V>>),
}

enum Event<V> {
    PipelineEnded(Box<Result<PipelineEnd<V>, AgentError>>),
    UplinkFailed(AgentError),
    /// The server pushed these settings.
    SettingsPushed(PushedSettings),
    /// The trial's time is over: the settings are kept or given up.
    TrialOver,
    Shutdown,
}

impl<V: Vision> PipelineState<V> {
    async fn ended(&mut self) -> Result<PipelineEnd<V>, AgentError> {
        match self {
            Self::Running(pipeline) => pipeline.ended().await,
            Self::Idle(_) => pending().await,
        }
    }
}

impl<'a> PipelineSupervisor<'a> {
    pub(super) fn new(
        device_config: &'a Config,
        runtime: AgentRuntime,
        settings: SettingsFile,
        link: PipelineSettingsLink,
    ) -> Self {
        Self {
            device_config,
            runtime,
            settings,
            link,
            totals: Totals::default(),
            began: Instant::now(),
            done_before: 0,
            trial: None,
        }
    }

    /// Runs until `shutdown`, or until the source has ended where `until` says so; then lets the
    /// uplink drain the spool.
    pub(super) async fn run<V: Vision>(
        mut self,
        parts: PipelineParts<V>,
        mut uplink: UplinkTask,
        until: StopCondition,
        drain: &CancellationToken,
        shutdown: CancellationToken,
    ) -> Result<Summary, AgentError> {
        self.start().await;
        let mut state = PipelineState::Running(self.begin(parts).await?);
        systemd::ready();
        loop {
            let event = tokio::select! {
                ended = state.ended() => Event::PipelineEnded(Box::new(ended)),
                result = &mut uplink => Event::UplinkFailed(ended_early(result)),
                () = shutdown.cancelled() => Event::Shutdown,
                event = self.next_settings_event() => event,
            };
            let changed = match event {
                Event::SettingsPushed(ref wanted) => self.offer_settings(wanted.clone()).await,
                Event::TrialOver => {
                    let frames = self.runtime.counters.done.get() > self.done_before;
                    !self.end_trial(frames).await
                }
                Event::PipelineEnded(_) | Event::UplinkFailed(_) | Event::Shutdown => true,
            };
            if !changed {
                continue;
            }
            state = match (event, state) {
                (Event::PipelineEnded(ended), _) => match *ended {
                    Ok(ended) => self.on_source_end(ended).await?,
                    Err(error) => {
                        self.reject_if_on_trial(&error).await;
                        return Err(error);
                    }
                },
                (Event::UplinkFailed(error), state) => {
                    if let PipelineState::Running(pipeline) = state {
                        // What it ends with is nothing against that the uplink gave up.
                        let _ = self.stop(pipeline).await;
                    }
                    return Err(error);
                }
                (Event::SettingsPushed(_) | Event::TrialOver, PipelineState::Running(pipeline)) => {
                    let parts = self.stop(pipeline).await?;
                    PipelineState::Running(self.begin(parts).await?)
                }
                (Event::SettingsPushed(_) | Event::TrialOver, PipelineState::Idle(idle)) => {
                    PipelineState::Running(self.begin(idle.end().await?).await?)
                }
                (Event::Shutdown, PipelineState::Running(pipeline)) => {
                    self.stop(pipeline).await?;
                    break;
                }
                (Event::Shutdown, PipelineState::Idle(_)) => break,
            };
            if until == StopCondition::Drained && matches!(state, PipelineState::Idle(_)) {
                break;
            }
        }
        systemd::stopping();
        if self.settings.state.on_trial() {
            self.settings.state.on_stop();
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
        if self.settings.state.on_trial() {
            self.settings.state.on_start();
            self.settings.save().await;
        }
        self.reject_if_not_accepted().await;
    }

    async fn reject_if_not_accepted(&mut self) {
        if !self.device_config.settings.accept && *self.settings.state.current() != PushedSettings::default()
        {
            self.give_up("the device's settings.accept is false: it takes none").await;
        }
    }

    /// Begins a pipeline with the current settings, or with earlier ones where these do not work.
    async fn begin<V: Vision>(&mut self, mut parts: PipelineParts<V>) -> Result<Pipeline<V>, AgentError> {
        let frames_expected = self.frames_expected();
        loop {
            let error = match self.device_config.with_pushed(&self.settings.state.current().settings) {
                Err(error) => AgentError::Settings(error.to_string()),
                Ok(config) => match Pipeline::begin(&config, parts, &self.runtime).await {
                    Ok(pipeline) => {
                        self.began = Instant::now();
                        self.done_before = self.runtime.counters.done.get();
                        let patience = config.settings.trial + 2 * config.source.period.unwrap_or_default();
                        let trial = Trial { ends: self.began + patience, patience, frames_expected };
                        self.trial = self.settings.state.on_trial().then_some(trial);
                        self.publish();
                        return Ok(pipeline);
                    }
                    Err(failed) => {
                        parts = failed.parts;
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
        let silent = self.began.elapsed() >= self.device_config.settings.trial
            && self.runtime.counters.done.get() == self.done_before;
        matches!(self.device_config.source.kind, SourceKind::Camera(_)) && !silent
    }

    async fn stop<V: Vision>(&mut self, pipeline: Pipeline<V>) -> Result<PipelineParts<V>, AgentError> {
        let ended = timeout(STOP_WAIT, pipeline.stop()).await;
        let PipelineEnd { parts, totals, error } = ended.map_err(|_| AgentError::Stuck)??;
        self.add(totals);
        if let Some(error) = error {
            tracing::warn!(%error, "the source failed");
        }
        Ok(parts)
    }

    /// The source has ended by itself.
    async fn on_source_end<V: Vision>(
        &mut self,
        ended: PipelineEnd<V>,
    ) -> Result<PipelineState<V>, AgentError> {
        let PipelineEnd { parts, totals, error } = ended;
        self.add(totals);
        match error {
            None => {
                self.end_trial(true).await;
                Ok(PipelineState::Idle(Box::new(IdlePipeline::begin(parts, &self.runtime))))
            }
            Some(error) if self.trial.is_some() && self.give_up(&error.to_string()).await => {
                Ok(PipelineState::Running(self.begin(parts).await?))
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
    async fn next_settings_event<V>(&mut self) -> Event<V> {
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
                        return Event::SettingsPushed(wanted);
                    }
                }
                () = judgement => return Event::TrialOver,
            }
        }
    }

    /// True where the wanted settings are to be tried now.
    async fn offer_settings(&mut self, wanted: PushedSettings) -> bool {
        let before = self.settings.state.current().clone();
        let version = wanted.version;
        if self.settings.state.offer(wanted) {
            tracing::info!(version, "the server pushed settings");
            self.reject_if_not_accepted().await;
            self.settings.save().await;
            self.publish();
        }
        *self.settings.state.current() != before
    }

    /// Ends the trial, if there is one; false where the settings have to go.
    async fn end_trial(&mut self, frames: bool) -> bool {
        let Some(trial) = self.trial.take() else { return true };
        if trial.frames_expected && !frames {
            let seconds = trial.patience.as_secs();
            self.give_up(&format!("no frame came through within {seconds} s")).await;
            return false;
        }
        tracing::info!(version = self.settings.state.current().version, "the settings work; they are kept");
        self.settings.state.keep();
        self.settings.save().await;
        self.publish();
        true
    }

    /// What ends the agent while settings are on trial is taken to be their fault.
    async fn reject_if_on_trial(&mut self, error: &AgentError) {
        if self.trial.is_some() && !matches!(error, AgentError::Spool(_)) {
            self.give_up(&error.to_string()).await;
        }
    }

    /// Goes back to earlier settings; false where there are none.
    async fn give_up(&mut self, reason: &str) -> bool {
        let version = self.settings.state.current().version;
        let back = self.settings.state.reject(reason.to_owned());
        if back {
            tracing::error!(version, reason, "the pushed settings do not work here; going back");
            self.settings.save().await;
            self.publish();
        }
        back
    }

    fn publish(&self) {
        let report = self.settings.state.report();
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
