//! A server with real certificates whose connections fail on purpose.

use std::{
    collections::HashMap,
    env, fs,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use cavs_certs::{DevSet, write_dev_set};
use cavs_edge_agent::{
    config::{Config, Override},
    sighting::SightingKey,
};
use cavs_pg_cluster::parent_death;
use cavs_proto::v1::{
    BatchAck, DeviceSettings, Heartbeat, SettingsReport, SightingBatch, SightingResult, StreamRequest,
    StreamResponse, WatchAck, Welcome,
    ingest_service_server::{IngestService, IngestServiceServer},
    sighting_result::Outcome,
    stream_request::Message as Up,
    stream_response::Message as Down,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use uuid::Uuid;

/// What the server does to a stream.
#[allow(dead_code, reason = "not every test needs every fault")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Ends it before the welcome.
    BeforeWelcome,
    /// Commits this many batches, the last one without acknowledging it.
    LosesAck(u32),
    /// Refuses it.
    Refuses(cavs_types::ErrorReason),
    /// Rejects every sighting of a frame of this name.
    Rejects(&'static str),
}

/// What the server knows.
#[derive(Debug, Default)]
pub(crate) struct ServerState {
    /// How often each sighting was offered, and of which frame it is.
    pub(crate) offered: HashMap<SightingKey, (u32, String)>,
    /// What was acknowledged, and how often.
    pub(crate) acknowledged: HashMap<SightingKey, u32>,
    /// Streams that were opened.
    pub(crate) streams: u32,
    /// How many heartbeats came.
    pub(crate) heartbeats: u64,
    /// The last heartbeat.
    pub(crate) heartbeat: Option<Heartbeat>,
    /// What devices said of the pushed settings, in greetings and heartbeats; repetitions are left out.
    pub(crate) reports: Vec<SettingsReport>,
    /// What is pushed.
    settings: Option<DeviceSettings>,
    faults: Vec<Fault>,
}

#[derive(Clone)]
struct Service {
    state: Arc<Mutex<ServerState>>,
}

pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    pub(crate) certificates: DevSet,
    state: Arc<Mutex<ServerState>>,
    _stop: DropGuard,
}

impl FakeServer {
    /// Starts a server on a free port. Each stream has the next fault; later ones have none.
    pub(crate) async fn start(dir: &Path, faults: &[Fault]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates =
            write_dev_set(&dir.join("certs"), &["localhost".to_owned()], &[Uuid::now_v7()]).unwrap();
        let pem = |path: &Path| fs::read(path).unwrap();
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(
                pem(&certificates.server.certificate),
                pem(&certificates.server.key),
            ))
            .client_ca_root(Certificate::from_pem(pem(&certificates.ca.certificate)));
        let state = Arc::new(Mutex::new(ServerState {
            faults: faults.iter().rev().copied().collect(),
            ..ServerState::default()
        }));
        let service = IngestServiceServer::new(Service { state: Arc::clone(&state) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(service)
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        tokio::spawn(serving);
        Self { address, certificates, state, _stop: stop.drop_guard() }
    }

    pub(crate) fn state<T>(&self, look: impl FnOnce(&ServerState) -> T) -> T {
        look(&self.state.lock().unwrap())
    }

    /// Pushes settings, to open streams and new ones.
    #[allow(dead_code, reason = "not every test pushes any")]
    pub(crate) fn push(&self, version: u64, settings: &[(&str, &str)]) {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings = DeviceSettings { version, settings: settings.collect() };
        self.state.lock().unwrap().settings = Some(settings);
    }

    /// A configuration for an agent over `dir/frames`.
    pub(crate) fn config(&self, dir: &Path, set: &[&str]) -> Config {
        let device = &self.certificates.devices[0];
        let text = format!(
            "[server]\naddress = 'https://localhost:{}'\nca = '{}'\ncertificate = '{}'\nkey = '{}'\n\
             [source]\nkind = 'directory'\npath = 'frames'\n[vision]\npack = 'none'\n\
             [spool]\npath = 'state/spool.db'\n",
            self.address.port(),
            self.certificates.ca.certificate.display(),
            device.certificate.display(),
            device.key.display()
        );
        let file = dir.join("agent.toml");
        fs::write(&file, text).unwrap();
        let set: Vec<_> = set.iter().map(|text| Override::from_flag(text).unwrap()).collect();
        Config::load(&file, &set).unwrap()
    }
}

/// Starts a test of this binary as a process of its own, which ends with this one; `variable` tells
/// it where the agent's configuration is.
#[allow(dead_code, reason = "not every test needs a process to kill")]
pub(crate) fn start_test(test: &str, variable: &str, dir: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test]).env(variable, dir.join("agent.toml"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    parent_death::spawn(command).unwrap()
}

/// Writes `count` frames with `faces` faces each.
#[allow(dead_code, reason = "not every test has a directory")]
pub(crate) fn write_frames(dir: &Path, count: usize, faces: usize) {
    fs::create_dir_all(dir.join("frames")).unwrap();
    for index in 0..count {
        fs::write(dir.join(format!("frames/{index:04}.jpg")), format!("faces {faces}")).unwrap();
    }
}

#[tonic::async_trait]
impl IngestService for Service {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.streams += 1;
            state.faults.pop()
        };
        if let Some(Fault::Refuses(reason)) = fault {
            return Err(cavs_proto::status(reason, "refused by the test"));
        }
        let (sender, receiver) = mpsc::channel(8);
        let stream = IngestStream { state: Arc::clone(&self.state), fault, sender, batches: 0, pushed: 0 };
        tokio::spawn(stream.hold(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

struct IngestStream {
    state: Arc<Mutex<ServerState>>,
    fault: Option<Fault>,
    sender: mpsc::Sender<Result<StreamResponse, Status>>,
    batches: u32,
    pushed: u64,
}

impl ServerState {
    fn note(&mut self, report: Option<SettingsReport>) {
        let report = report.unwrap();
        if self.reports.last() != Some(&report) {
            self.reports.push(report);
        }
    }
}

impl IngestStream {
    async fn hold(mut self, mut incoming: Streaming<StreamRequest>) {
        while let Ok(Some(message)) = incoming.message().await {
            let reply = match message.message.unwrap() {
                Up::Hello(_) if self.fault == Some(Fault::BeforeWelcome) => return,
                Up::Hello(hello) => {
                    // A later server may say more than this agent knows.
                    let more = Ok(StreamResponse { message: None });
                    if self.sender.send(more).await.is_err() {
                        return;
                    }
                    let mut state = self.state.lock().unwrap();
                    state.note(hello.settings);
                    self.pushed = state.settings.as_ref().map_or(0, |settings| settings.version);
                    Down::Welcome(Welcome {
                        max_batch_size: 3,
                        max_unacknowledged_batches: 2,
                        settings: state.settings.clone(),
                        ..Welcome::default()
                    })
                }
                Up::Heartbeat(heartbeat) => {
                    let mut state = self.state.lock().unwrap();
                    state.note(heartbeat.settings.clone());
                    state.heartbeat = Some(heartbeat);
                    state.heartbeats += 1;
                    match state.settings.clone().filter(|settings| settings.version > self.pushed) {
                        Some(settings) => {
                            self.pushed = settings.version;
                            Down::Settings(settings)
                        }
                        None => continue,
                    }
                }
                Up::Watch(report) => Down::WatchAck(WatchAck { report_id: report.report_id }),
                Up::Sightings(batch) => match self.commit(batch) {
                    Some(ack) => Down::Ack(ack),
                    None => return,
                },
            };
            // Slow enough for several batches to be under way.
            tokio::time::sleep(Duration::from_millis(2)).await;
            if self.sender.send(Ok(StreamResponse { message: Some(reply) })).await.is_err() {
                return;
            }
        }
    }

    fn commit(&mut self, batch: SightingBatch) -> Option<BatchAck> {
        self.batches += 1;
        assert!(batch.sightings.len() <= 3);
        let lost = self.fault == Some(Fault::LosesAck(self.batches));
        let mut state = self.state.lock().unwrap();
        let results = batch.sightings.into_iter().map(|sighting| {
            let key = SightingKey { boot_epoch: sighting.boot_epoch, sequence: sighting.sequence };
            let offered = state.offered.entry(key).or_insert((0, sighting.frame.clone()));
            offered.0 += 1;
            assert_eq!(offered.1, sighting.frame, "two sightings share a key");
            let outcome = match self.fault {
                Some(Fault::Rejects(frame)) if frame == sighting.frame => Outcome::Rejected,
                _ if offered.0 > 1 => Outcome::Duplicate,
                _ => Outcome::Stored,
            };
            if !lost {
                *state.acknowledged.entry(key).or_default() += 1;
            }
            SightingResult {
                boot_epoch: key.boot_epoch,
                sequence: key.sequence,
                outcome: outcome.into(),
                reason: "REFUSED_BY_TEST".to_owned(),
                ..SightingResult::default()
            }
        });
        let results = results.collect();
        (!lost).then_some(BatchAck { batch_id: batch.batch_id, results })
    }
}
