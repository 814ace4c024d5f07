//! The uplink's protocol as a state machine: no I/O, and the time is what the caller says.
//!
//! The caller performs every [`Action`] in order, then feeds the next event. A [`Action::Load`] is
//! answered by [`Machine::on_loaded`] before anything else.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use cavs_proto::v1::{BatchAck, SightingResult, Welcome, sighting_result::Outcome};

use super::{
    Failure, Phase,
    backoff::{Backoff, REFUSED},
};
use crate::{sighting::SightingKey, spool::Settlement};

/// Largest batch that is offered, whatever the server would take.
const MAX_BATCH_SIZE: usize = 1024;

/// A session that lasted so long ended the turns of two agents.
const UNCONTESTED: Duration = Duration::from_secs(600);

/// Most periods of one report, whatever the server would take: about 50 kB.
const MAX_WATCH_PERIODS: usize = 256;

/// Most batches under way, whatever the server would take.
pub(super) const MAX_UNACKNOWLEDGED: usize = 32;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Until the stream is open.
    pub connect: Duration,
    /// Until `Welcome`.
    pub welcome: Duration,
    /// From a batch to its acknowledgement: the server matches and commits in between.
    pub acknowledgement: Duration,
    /// From one heartbeat to the next.
    pub heartbeat: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            welcome: Duration::from_secs(10),
            acknowledgement: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
        }
    }
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a stream and send `Hello`.
    Connect,
    /// Read sightings from the spool and call [`Machine::on_loaded`] with their keys.
    Load {
        /// Only those after this key.
        after: Option<SightingKey>,
        /// Most sightings of the batch.
        limit: usize,
    },
    /// Send what was loaded last as a batch.
    SendBatch {
        /// Counts the batches of this process from 1; the acknowledgement names it.
        batch_id: u64,
    },
    /// Send a heartbeat with the spool's status and the agent's health.
    SendHeartbeat,
    /// Read from the spool what was watched, and call [`Machine::on_watch_loaded`].
    LoadWatch {
        /// Most periods of the report.
        limit: usize,
    },
    /// Send what was read last as a report.
    SendWatch {
        /// Counts the reports of this process from 1; the acknowledgement names it.
        report_id: u64,
    },
    /// Forget what was reported last.
    SettleWatch,
    /// Take sightings out of the spool, durably.
    Settle(Vec<(SightingKey, Settlement)>),
    /// Drop the stream, or the attempt to open one.
    Disconnect {
        /// What ended it.
        failure: Failure,
        /// When the next attempt comes.
        retry_in: Duration,
    },
}

/// The state machine; see the [module](self).
#[derive(Debug)]
pub struct Machine {
    timing: Timing,
    backoff: Backoff,
    /// While another agent speaks for this device. What is delivered in between does not make it short:
    /// two agents would spend their time on taking each other's place.
    contested: Backoff,
    state: State,
    last_batch_id: u64,
    last_report_id: u64,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Connecting { deadline: Instant },
    AwaitingWelcome { deadline: Instant },
    Streaming(Session),
}

#[derive(Debug)]
struct Session {
    began: Instant,
    batch_size: usize,
    max_unacknowledged: usize,
    /// By batch id, so the oldest comes first.
    in_flight: BTreeMap<u64, Batch>,
    /// The last sighting that this session has offered.
    offered: Option<SightingKey>,
    loading: bool,
    /// The spool may hold more than was offered.
    more: bool,
    next_heartbeat: Instant,
    watch: WatchReporting,
}

/// How far the session is with telling what was watched.
#[derive(Debug)]
struct WatchReporting {
    /// Most periods of one report; 0 where the server takes none.
    most: usize,
    /// There may be something to tell.
    wanted: bool,
    stage: WatchStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchStage {
    Idle,
    Loading,
    /// Waits for the acknowledgement of a report.
    Sent {
        report_id: u64,
        deadline: Instant,
    },
}

#[derive(Debug)]
struct Batch {
    keys: Vec<SightingKey>,
    deadline: Instant,
}

impl Machine {
    /// A machine that connects at once. The seed makes its delays reproducible.
    #[must_use]
    pub fn new(timing: Timing, seed: u64, now: Instant) -> Self {
        Self {
            timing,
            backoff: Backoff::new(seed),
            contested: Backoff::contested(seed),
            state: State::Waiting { until: now },
            last_batch_id: 0,
            last_report_id: 0,
            actions: VecDeque::new(),
        }
    }

    /// The next action, in order; `None` where the caller may wait for an event.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::on_time`] has to be called, unless an event comes before.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.state {
            State::Waiting { until } => *until,
            State::Connecting { deadline } | State::AwaitingWelcome { deadline } => *deadline,
            State::Streaming(session) => {
                let oldest = session.in_flight.values().next().map(|batch| batch.deadline);
                let report = session.watch.deadline();
                [oldest, report].into_iter().flatten().fold(session.next_heartbeat, Instant::min)
            }
        }
    }

    /// No batch or report waits for an acknowledgement or is being loaded.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.state {
            State::Waiting { .. } | State::Connecting { .. } | State::AwaitingWelcome { .. } => true,
            State::Streaming(session) => {
                session.in_flight.is_empty() && !session.loading && session.watch.stage == WatchStage::Idle
            }
        }
    }

    /// The server has welcomed this agent and the stream is open.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming(_))
    }

    /// Acts on deadlines up to `now`: attempts, timeouts, heartbeats.
    pub fn on_time(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { until } if *until <= now => {
                self.state = State::Connecting { deadline: now + self.timing.connect };
                self.actions.push_back(Action::Connect);
            }
            State::Connecting { deadline } if *deadline <= now => {
                self.on_failure(Failure::Timeout(Phase::Connect), now);
            }
            State::AwaitingWelcome { deadline } if *deadline <= now => {
                self.on_failure(Failure::Timeout(Phase::Welcome), now);
            }
            State::Streaming(session) => {
                let report = session.watch.deadline();
                let batches = session.in_flight.values().map(|batch| batch.deadline);
                if batches.chain(report).any(|deadline| deadline <= now) {
                    self.on_failure(Failure::Timeout(Phase::Acknowledgement), now);
                } else if session.next_heartbeat <= now {
                    session.next_heartbeat = now + self.timing.heartbeat;
                    self.actions.push_back(Action::SendHeartbeat);
                    self.report_watch();
                }
            }
            State::Waiting { .. } | State::Connecting { .. } | State::AwaitingWelcome { .. } => {}
        }
    }

    /// The stream is open and `Hello` is on its way.
    pub fn on_connected(&mut self, now: Instant) {
        if let State::Connecting { .. } = self.state {
            self.state = State::AwaitingWelcome { deadline: now + self.timing.welcome };
        }
    }

    /// The server has welcomed the agent.
    pub fn on_welcome(&mut self, welcome: &Welcome, now: Instant) {
        let State::AwaitingWelcome { .. } = self.state else {
            return self.on_failure(Failure::Protocol("an unexpected welcome".to_owned()), now);
        };
        let clamp = |value: u32, most: usize| usize::try_from(value).unwrap_or(most).clamp(1, most);
        self.state = State::Streaming(Session {
            began: now,
            batch_size: clamp(welcome.max_batch_size, MAX_BATCH_SIZE),
            max_unacknowledged: clamp(welcome.max_unacknowledged_batches, MAX_UNACKNOWLEDGED),
            in_flight: BTreeMap::new(),
            offered: None,
            loading: false,
            more: true,
            next_heartbeat: now + self.timing.heartbeat,
            watch: WatchReporting {
                most: usize::try_from(welcome.max_watch_periods).unwrap_or(usize::MAX).min(MAX_WATCH_PERIODS),
                wanted: false,
                stage: WatchStage::Idle,
            },
        });
        self.fill();
        self.report_watch();
    }

    /// The answer to [`Action::Load`]: keys in the spool's order; none says that there are no more.
    pub fn on_loaded(&mut self, keys: Vec<SightingKey>, now: Instant) {
        let State::Streaming(session) = &mut self.state else { return };
        session.loading = false;
        let Some(last) = keys.last() else {
            session.more = false;
            return;
        };
        session.offered = Some(*last);
        self.last_batch_id += 1;
        let batch_id = self.last_batch_id;
        let deadline = now + self.timing.acknowledgement;
        session.in_flight.insert(batch_id, Batch { keys, deadline });
        self.actions.push_back(Action::SendBatch { batch_id });
        self.fill();
    }

    /// The spool has got new sightings.
    pub fn on_spooled(&mut self) {
        if let State::Streaming(session) = &mut self.state {
            session.more = true;
            self.fill();
            self.report_watch();
        }
    }

    /// The answer to [`Action::LoadWatch`]: whether there is anything to tell, and whether there is more.
    pub fn on_watch_loaded(&mut self, something: bool, more: bool, now: Instant) {
        let State::Streaming(session) = &mut self.state else { return };
        session.watch.stage = WatchStage::Idle;
        session.watch.wanted |= something && more;
        if something {
            self.last_report_id += 1;
            let (report_id, deadline) = (self.last_report_id, now + self.timing.acknowledgement);
            session.watch.stage = WatchStage::Sent { report_id, deadline };
            self.actions.push_back(Action::SendWatch { report_id });
        }
    }

    /// The server has acknowledged a report.
    pub fn on_watch_ack(&mut self, report_id: u64, now: Instant) {
        let State::Streaming(session) = &mut self.state else { return };
        match session.watch.stage {
            WatchStage::Sent { report_id: sent, .. } if sent == report_id => {
                session.watch.stage = WatchStage::Idle;
                self.backoff.reset();
                self.actions.push_back(Action::SettleWatch);
                self.continue_watch();
            }
            WatchStage::Sent { .. } | WatchStage::Idle | WatchStage::Loading => {
                let problem = format!("report {report_id} is not under way");
                self.on_failure(Failure::Protocol(problem), now);
            }
        }
    }

    /// There may be something to tell of what was watched.
    pub fn report_watch(&mut self) {
        if let State::Streaming(session) = &mut self.state {
            session.watch.wanted = session.watch.most > 0;
            self.continue_watch();
        }
    }

    fn continue_watch(&mut self) {
        let State::Streaming(session) = &mut self.state else { return };
        if session.watch.wanted && session.watch.stage == WatchStage::Idle {
            (session.watch.wanted, session.watch.stage) = (false, WatchStage::Loading);
            self.actions.push_back(Action::LoadWatch { limit: session.watch.most });
        }
    }

    /// There is something that the server should know at once.
    pub fn on_news(&mut self, now: Instant) {
        if let State::Streaming(session) = &mut self.state {
            session.next_heartbeat = now;
        }
    }

    /// The server has acknowledged a batch. An acknowledgement that does not fit its batch settles
    /// nothing: the session ends, and the batch is offered again in the next one.
    pub fn on_ack(&mut self, ack: BatchAck, now: Instant) {
        let batch = match &mut self.state {
            State::Streaming(session) => session.in_flight.remove(&ack.batch_id),
            State::Waiting { .. } | State::Connecting { .. } | State::AwaitingWelcome { .. } => None,
        };
        let settlements = batch
            .ok_or_else(|| format!("batch {} is not under way", ack.batch_id))
            .and_then(|batch| settlements(&batch.keys, ack.results));
        match settlements {
            Ok(settlements) => {
                // Only progress makes retries fast again: a server that welcomes and fails at once
                // is not hammered.
                self.backoff.reset();
                self.actions.push_back(Action::Settle(settlements));
                self.fill();
                // What waited for these can be told now.
                self.report_watch();
            }
            Err(problem) => self.on_failure(Failure::Protocol(problem), now),
        }
    }

    /// The stream has ended or could not be opened.
    pub fn on_failure(&mut self, failure: Failure, now: Instant) {
        if let State::Waiting { .. } = self.state {
            return;
        }
        if let State::Streaming(session) = &self.state
            && now.saturating_duration_since(session.began) >= UNCONTESTED
        {
            self.contested.reset();
        }
        let retry_in = if failure.is_contested() {
            self.contested.next_delay()
        } else if failure.advice().is_some() {
            REFUSED
        } else {
            self.backoff.next_delay()
        };
        self.state = State::Waiting { until: now + retry_in };
        // What was settled stays so; everything else was meant for the stream that is gone.
        self.actions.retain(|action| matches!(action, Action::Settle(_) | Action::SettleWatch));
        self.actions.push_back(Action::Disconnect { failure, retry_in });
    }

    fn fill(&mut self) {
        let State::Streaming(session) = &mut self.state else { return };
        if session.more && !session.loading && session.in_flight.len() < session.max_unacknowledged {
            session.loading = true;
            self.actions.push_back(Action::Load { after: session.offered, limit: session.batch_size });
        }
    }
}

impl WatchReporting {
    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            WatchStage::Sent { deadline, .. } => Some(deadline),
            WatchStage::Idle | WatchStage::Loading => None,
        }
    }
}

/// Checks that results are those of a batch, in its order.
fn settlements(
    keys: &[SightingKey],
    results: Vec<SightingResult>,
) -> Result<Vec<(SightingKey, Settlement)>, String> {
    if results.len() != keys.len() {
        return Err(format!("{} results for {} sightings", results.len(), keys.len()));
    }
    let pairs = keys.iter().zip(results);
    pairs
        .map(|(key, result)| {
            let said = SightingKey { boot_epoch: result.boot_epoch, sequence: result.sequence };
            if said != *key {
                return Err(format!("a result for {said} in the place of {key}"));
            }
            match Outcome::try_from(result.outcome) {
                Ok(Outcome::Stored | Outcome::Duplicate) => Ok((*key, Settlement::Delivered)),
                Ok(Outcome::Rejected) => {
                    let SightingResult { reason, message, .. } = result;
                    Ok((*key, Settlement::Rejected { reason, message }))
                }
                Ok(Outcome::Unspecified) | Err(_) => {
                    Err(format!("outcome {} of {key} is unknown", result.outcome))
                }
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
