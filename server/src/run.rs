use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use cavs_certs::Validity;
use cavs_embedding::Similarity;
use cavs_models::{FacePipeline, HeifConverter, Pack, PhotographReader, PipelineOptions};
use cavs_net::{Refusals, fixed_tls};
use cavs_pg_cluster::{Cluster, ClusterError, Durability, Options};
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    biometrics::{BiometricStore, KeyError, Keyring, Keys, RotationDue, SealError},
    config::{Config, DatabaseConfig, DatabasePlace},
    db::{Address, Database, DatabaseError},
    error::ServiceError,
    grpc,
    listeners::{Certificates, Shares, TlsError, listen},
    mail::SmtpTransport,
    matching::Matching,
    monitoring::{Metrics, Monitor},
    people::EnrollmentLimits,
    recognition::{Galleries, RecognitionSetup, Thresholds, Vision},
    requests::Answers,
    services::{Parts, Services},
    webhooks::{ReceiverClient, ReceiverError},
};

/// Connections that a private cluster takes at least, for those who look at it beside the server.
const CLUSTER_CONNECTIONS: usize = 64;
/// How often certificates are looked at, so that nobody is surprised by their end.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(12 * 3600);
/// How often the keyring is read again.
const KEY_CHECK: Duration = Duration::from_secs(60);
/// How long a database may take to come up.
const DATABASE_LIMIT: Duration = Duration::from_secs(30);
/// How often the private cluster is looked after.
const CLUSTER_CHECK: Duration = Duration::from_secs(1);
/// How long open calls may take to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The private cluster.
    #[error("embedded database (`database.data_dir`)")]
    Cluster(#[from] cavs_pg_cluster::ClusterError),
    /// The database, after it was waited for.
    #[error("database")]
    Database(#[from] DatabaseError),
    /// No key, no start.
    #[error("vault")]
    Key(#[from] KeyError),
    /// The key is not the one that the database was sealed with.
    #[error("vault: the key does not fit the database: it was sealed with another one")]
    WrongKey,
    /// The model pack.
    #[error("recognition.pack")]
    Pack(#[from] cavs_models::PackError),
    /// The pack's networks.
    #[error("recognition.pack")]
    Vision(#[from] cavs_models::VisionError),
    /// Certificates.
    #[error("tls")]
    Tls(#[from] TlsError),
    /// An address that can't be listened on.
    #[error("{key} = {address}: {cause}")]
    Listen {
        /// The key of the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The thresholds of configuration and pack together make no sense.
    #[error("recognition: review threshold {review} exceeds accept threshold {accept}")]
    Thresholds {
        /// From the configuration or the pack.
        review: f32,
        /// From the configuration or the pack.
        accept: f32,
    },
    /// The private cluster ended by itself.
    #[error("the embedded database has ended; its log is postgres.log in `database.data_dir`")]
    ClusterEnded,
    /// Who webhooks are told is somebody that nobody can vouch for.
    #[error(transparent)]
    Receivers(#[from] ReceiverError),
    /// Anything else on the way.
    #[error(transparent)]
    Service(ServiceError),
    /// The API can't be described to those who ask for it.
    #[error("the API")]
    Serve(#[from] grpc::ApiError),
}

impl From<ServiceError> for StartError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Database(error) => Self::Database(error),
            ServiceError::Seal(SealError::DoesNotOpen) => Self::WrongKey,
            other @ (ServiceError::Refused(..)
            | ServiceError::Protocol(_)
            | ServiceError::Seal(_)
            | ServiceError::Key(_)
            | ServiceError::Gallery(_)
            | ServiceError::Busy { .. }
            | ServiceError::Limited { .. }
            | ServiceError::Stopped(_)) => Self::Service(other),
        }
    }
}

/// Where a running server listens.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Addresses {
    /// For people and integrators.
    pub api: SocketAddr,
    /// For devices.
    pub devices: SocketAddr,
    /// For monitoring, where there is such a listener.
    pub monitoring: Option<SocketAddr>,
}

/// What a running server is told from outside.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// Ends the server, at whatever it is.
    pub shutdown: CancellationToken,
    /// Has it read its certificates again.
    pub reload: Arc<Notify>,
}

/// The database with its schema up to date, and the private cluster where it is in one.
pub struct Backend {
    /// The database, for what people ask.
    pub store: Database,
    /// For what devices send.
    devices: Database,
    /// For the gallery and for monitoring.
    background: Database,
    cluster: Option<Cluster>,
}

impl Backend {
    /// Starts the private cluster or waits for the database, and migrates.
    ///
    /// # Errors
    /// `Cluster`, `Database`.
    pub async fn open(database: &DatabaseConfig) -> Result<Self, StartError> {
        let opened = Self::open_until(database, &CancellationToken::new()).await?;
        opened.ok_or(StartError::Service(ServiceError::Stopped("the database's start")))
    }

    /// As [`Self::open`], until `shutdown`: `None` where that came first.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_until(
        database: &DatabaseConfig,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, StartError> {
        let connections = database.connections;
        let backend = match &database.place {
            DatabasePlace::Embedded(directory) => {
                let Some(cluster) = start_cluster(directory.clone(), connections, shutdown.clone()).await?
                else {
                    return Ok(None);
                };
                let mut backend = Self::connect(&Address::Cluster(&cluster), connections)?;
                backend.cluster = Some(cluster);
                backend
            }
            DatabasePlace::External(external) => Self::connect(&Address::External(external), connections)?,
        };
        let prepared = shutdown.run_until_cancelled(backend.prepare()).await;
        let prepared = match prepared {
            Some(Ok(())) => return Ok(Some(backend)),
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        };
        backend.close().await;
        prepared
    }

    /// Divides the connections, so that nobody can take another's: whoever keeps all of people's busy holds up no
    /// sighting, and the other way round.
    fn connect(address: &Address<'_>, connections: usize) -> Result<Self, DatabaseError> {
        let background = (connections / 4).clamp(1, 4);
        let devices = (connections - background) / 2;
        let store = Database::new(address, connections - background - devices)?;
        let devices = store.with_own_connections(devices)?;
        let background = store.with_own_connections(background)?;
        Ok(Self { store, devices, background, cluster: None })
    }

    async fn prepare(&self) -> Result<(), DatabaseError> {
        wait_for(&self.store).await?;
        // Before anything is changed that needs a session of its own.
        if self.cluster.is_none() {
            self.store.check_sessions().await?;
        }
        self.store.migrate().await?;
        self.store.ping().await
    }

    /// Returns when a cluster of ours ends by itself, which it should not.
    async fn ended(&self) {
        while !self.cluster.as_ref().is_some_and(Cluster::has_ended) {
            tokio::time::sleep(CLUSTER_CHECK).await;
            if let Some(cluster) = &self.cluster {
                cluster.rotate_log();
            }
        }
    }

    /// Closes the connections and stops the cluster.
    pub async fn close(self) {
        [self.store, self.devices, self.background].iter().for_each(Database::close);
        if let Some(cluster) = self.cluster {
            let _ = tokio::task::spawn_blocking(move || cluster.stop()).await;
        }
    }
}

/// `None` where `shutdown` came first.
async fn start_cluster(
    directory: PathBuf,
    connections: usize,
    shutdown: CancellationToken,
) -> Result<Option<Cluster>, StartError> {
    // Ends by itself soon after a shutdown, so it is waited for.
    let started = tokio::task::spawn_blocking(move || {
        let connections = CLUSTER_CONNECTIONS.max(2 * connections + 16);
        let stopped = || shutdown.is_cancelled();
        Cluster::start_with(
            &directory,
            &Options { durability: Durability::Durable, connections, stopped: &stopped },
        )
    });
    match started.await.map_err(|_| StartError::Service(ServiceError::Stopped("the cluster's start")))? {
        Ok(cluster) => {
            if !cluster.is_owned() {
                warn!("another process runs the embedded database, and will stop it with itself");
            }
            Ok(Some(cluster))
        }
        Err(ClusterError::Stopped) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits for a database that may come up; what a person has to change is said at once.
async fn wait_for(store: &Database) -> Result<(), DatabaseError> {
    let begun = std::time::Instant::now();
    loop {
        match store.reach().await {
            Err(cause) if cause.may_pass() && begun.elapsed() < DATABASE_LIMIT => {
                warn!(%cause, "waiting for the database");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            done => return done,
        }
    }
}

/// Serves until `shutdown`: stops taking calls in, lets open ones end, closes the database. A shutdown during
/// the start ends the start.
/// `ready` is called once both listeners accept connections.
///
/// # Errors
/// [`StartError`]: what is missing or wrong, before anything is served.
pub async fn run(config: Config, control: Control, ready: impl FnOnce(Addresses)) -> Result<(), StartError> {
    // What costs nothing to check comes first.
    let keyring = Keyring::load(config.key_file.as_deref())?;
    let certificates = Arc::new(Certificates::load(&config.tls)?);
    let shutdown = control.shutdown.clone();
    let folder = config.recognition.pack.clone();
    // A large pack is read and verified for a while.
    let opened = tokio::task::spawn_blocking(move || Pack::open_or_built_in(folder.as_deref()));
    let Some(opened) = shutdown.run_until_cancelled(opened).await else { return Ok(()) };
    let pack =
        opened.map_err(|_| StartError::Service(ServiceError::Stopped("the pack's verification")))??;
    let Some(backend) = Backend::open_until(&config.database, &shutdown).await? else {
        info!("stopped during the start");
        return Ok(());
    };
    let served = tokio::select! {
        served = serve(&config, keyring, &pack, certificates, &backend, control, ready) => served,
        // Somebody who restarts this server restarts the cluster with it.
        () = backend.ended() => Err(StartError::ClusterEnded),
    };
    shutdown.cancel();
    backend.close().await;
    served
}

async fn serve(
    config: &Config,
    keyring: Keyring,
    pack: &Pack,
    certificates: Arc<Certificates>,
    backend: &Backend,
    Control { shutdown, reload }: Control,
    ready: impl FnOnce(Addresses),
) -> Result<(), StartError> {
    let tasks = TaskTracker::new();
    let failed = |key, address| move |cause| StartError::Listen { key, address, cause };
    let metrics = Arc::new(Metrics::default());
    // First of all, so that monitoring hears that the gallery is being loaded.
    let monitor = Monitor::new(backend.background.clone(), Arc::clone(&metrics), shutdown.clone());
    let monitoring = match config.monitoring_listen {
        None => None,
        Some(address) => {
            let listening = Arc::clone(&monitor).listen(address, &tasks).await;
            Some(listening.map_err(failed("monitoring.listen", address))?)
        }
    };
    let assembling = assemble(config, keyring, pack, backend, Arc::clone(&metrics));
    let Some(app) = shutdown.run_until_cancelled(assembling).await else {
        tasks.close();
        tasks.wait().await;
        info!("stopped during the start");
        return Ok(());
    };
    let services = app?;
    let (shares, refusals) = (Shares::of_process(), Arc::new(Refusals::default()));
    let api = listen(config.api_listen, fixed_tls(certificates.api()), shares.api, &refusals)
        .await
        .map_err(failed("api.listen", config.api_listen))?;
    let devices = listen(config.devices_listen, fixed_tls(certificates.devices()), shares.devices, &refusals)
        .await
        .map_err(failed("devices.listen", config.devices_listen))?;
    let (api_address, devices_address) = (api.address(), devices.address());
    info!(api = %api_address, devices = %devices_address, pack = %pack.digest(), "ready");
    monitor.serves(services.clone());
    ready(Addresses { api: api_address, devices: devices_address, monitoring });

    let (galleries, until) = (Arc::clone(&services.galleries), shutdown.clone());
    tasks.spawn(async move { galleries.follow(until).await });
    let (devices_changed, until) = (services.device_streams.clone(), shutdown.clone());
    tasks.spawn(async move { devices_changed.follow(until).await });
    let (feed, until) = (services.feed.clone(), shutdown.clone());
    tasks.spawn(async move { feed.follow(until).await });
    let (expected, until) = (services.expected.clone(), shutdown.clone());
    tasks.spawn(async move { expected.follow(until).await });
    let (marks, until) = (services.marks.clone(), shutdown.clone());
    tasks.spawn(async move { marks.run(until).await });
    let (marks, until) = (services.mark_feed.clone(), shutdown.clone());
    tasks.spawn(async move { marks.follow(until).await });
    if let Some(sender) = services.mail_sender.clone() {
        let until = shutdown.clone();
        tasks.spawn(async move { sender.run(until).await });
    }
    let (galleries, until) = (Arc::clone(&services.galleries), shutdown.clone());
    tasks.spawn(async move { galleries.calibrate_regularly(until).await });
    let (keys, store) = (Arc::clone(&services.keys), BiometricStore::new(&backend.background));
    let (until, rotate_after) = (shutdown.clone(), config.rotate_keys_after);
    tasks.spawn(async move { until.run_until_cancelled(keep_keys(&keys, &store, rotate_after)).await });
    let (maintenance, until) = (Arc::clone(&services.maintenance), shutdown.clone());
    tasks.spawn(async move { maintenance.run(until).await });
    let (matching, answers, until) = (services.matching.clone(), services.answers.clone(), shutdown.clone());
    tasks.spawn(async move { until.run_until_cancelled(forget_requests(&matching, &answers)).await });
    let (deliverer, until) = (services.deliverer.clone(), shutdown.clone());
    tasks.spawn(async move { deliverer.run(until).await });
    let (late_matches, until) = (services.late_matches.clone(), shutdown.clone());
    tasks.spawn(async move { late_matches.run(until).await });
    let (re_enrollment, until) = (services.re_enrollment.clone(), shutdown.clone());
    tasks.spawn(async move { re_enrollment.run(until).await });
    let until = shutdown.clone();
    tasks.spawn(async move { until.run_until_cancelled(look_after(&certificates, &reload, &metrics)).await });
    let serving = async {
        tokio::try_join!(grpc::serve_api(&services, api, &config.api_origins, shutdown.clone()), async {
            grpc::serve_devices(&services, devices, shutdown.clone()).await;
            Ok(())
        })
    };
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN_LIMIT).await;
    };
    let result = tokio::select! {
        served = serving => served.map(drop),
        () = drained => {
            error!("some calls did not end in time and were cut off");
            Ok(())
        }
    };
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    info!(searches = ?services.galleries.searches(), "stopped");
    Ok(result?)
}

/// Rotates the keyring once; see [`Keys::rotate`].
///
/// # Errors
/// As [`run`], and what keeps the keyring from being changed.
pub async fn rotate_keys(config: &Config, backend: &Backend) -> Result<u32, StartError> {
    let store = BiometricStore::new(&backend.background);
    let keys = Keys::verified(Keyring::load(config.key_file.as_deref())?, &store).await?;
    Ok(keys.rotate(&store).await?)
}

/// Rotates the keyring where it is due, and forgets what another server has destroyed.
async fn keep_keys(keys: &Keys, store: &BiometricStore, rotate_after: Option<Duration>) {
    loop {
        tokio::time::sleep(KEY_CHECK).await;
        let kept = async {
            keys.refresh().await?;
            match rotate_after.filter(|_| keys.can_rotate()) {
                Some(longest) => keys.rotate_if(store, RotationDue::OlderThan(longest)).await.map(drop),
                None => Ok(()),
            }
        };
        if let Err(error) = kept.await {
            error!(%error, "the keyring can't be kept up to date");
        }
    }
}

/// Reads the certificates again when told to, and warns of their end.
async fn look_after(certificates: &Certificates, reload: &Notify, metrics: &Metrics) {
    loop {
        warn_of_ends(certificates, metrics);
        if tokio::time::timeout(CERTIFICATE_CHECK, reload.notified()).await.is_err() {
            continue;
        }
        match certificates.reload() {
            Ok(()) => info!("read the certificates again"),
            Err(error) => error!(%error, "the certificates are unusable; those before stay in use"),
        }
    }
}

/// Tells the log and the metrics until when the certificates hold.
fn warn_of_ends(certificates: &Certificates, metrics: &Metrics) {
    let now = jiff::Timestamp::now();
    for (of, examined) in ["server", "device_authority"].into_iter().zip(certificates.in_use()) {
        metrics.certificate_ends(of, examined.not_after);
        let problem = examined.in_words(now);
        match examined.validity(now) {
            Validity::Holds => {}
            Validity::EndsSoon => warn!(problem, "a certificate has to be renewed"),
            Validity::NotYet | Validity::Expired => error!(problem, "nobody believes a certificate"),
        }
    }
}

async fn assemble(
    config: &Config,
    keyring: Keyring,
    pack: &Pack,
    backend: &Backend,
    metrics: Arc<Metrics>,
) -> Result<Services, StartError> {
    let keys = Arc::new(Keys::verified(keyring, &BiometricStore::new(&backend.store)).await?);
    let of_pack = pack.thresholds();
    let recognition = &config.recognition;
    let thresholds = Thresholds {
        accept: recognition.accept.unwrap_or(of_pack.accept),
        review: recognition.review.unwrap_or(of_pack.review),
        margin: recognition.margin.unwrap_or(of_pack.margin),
        liveness: recognition.liveness.or(of_pack.liveness).filter(|least| *least > 0.0),
    };
    if thresholds.review > thresholds.accept {
        let (review, accept) = (thresholds.review.get(), thresholds.accept.get());
        return Err(StartError::Thresholds { review, accept });
    }
    let setup = RecognitionSetup {
        pack: pack.digest(),
        dimension: pack.dimension(),
        thresholds,
        wanted_rate: recognition.wanted_rate,
        calibration: pack.calibration().cloned(),
        min_quality: recognition.min_quality,
        mode: recognition.gallery,
        grouping: recognition.grouping,
        // Enrollment has a limit of its own; who had more before it was lowered keeps them.
        options: cavs_gallery::Options::default(),
    };
    let options =
        PipelineOptions { threads: recognition.threads, device: recognition.device, ..Default::default() };
    let networks = pack.clone();
    let load = move || FacePipeline::new(&networks, options);
    let heif = config.enrollment.read_heif.then(HeifConverter::find).flatten();
    let galleries = Galleries::open(setup, &backend.background, Arc::clone(&keys), Arc::clone(&metrics));
    // The address was looked at with the configuration.
    let mail = config.mail.as_ref().and_then(|mail| SmtpTransport::new(mail).ok());
    Ok(Services::new(Parts {
        mail,
        people: backend.store.clone(),
        background: backend.background.clone(),
        devices: backend.devices.clone(),
        keys,
        galleries: Arc::new(galleries.await?),
        vision: Vision::start(load, PhotographReader { heif }, recognition.workers)?,
        evidence: config.evidence.clone(),
        enrollment: EnrollmentLimits {
            templates_per_student: config.enrollment.templates_per_student,
            min_quality: config.enrollment.min_quality,
            same_picture: Similarity::clamped(0.995),
            same_person: config.enrollment.same_person,
            unlike_below: config.enrollment.unlike_below,
            keep_portraits: config.enrollment.keep_portraits,
        },
        retention: config.retention,
        match_calls: config.match_calls,
        receivers: ReceiverClient::new(config.webhooks.policy, config.webhooks.authority.as_deref())?,
        metrics,
    }))
}

/// How often what was asked is looked through for what is kept no longer.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);

/// Forgets who asked long ago, and requests of which a repeat is none any more.
async fn forget_requests(matching: &Matching, answers: &Answers) {
    loop {
        for forgotten in [matching.forget_old().await, answers.forget_old().await] {
            match forgotten {
                Ok(0) => {}
                Ok(forgotten) => info!(forgotten, "forgot requests that are kept no longer"),
                Err(cause) => warn!(%cause, "requests are kept for longer than they should be"),
            }
        }
        tokio::time::sleep(FORGET_INTERVAL).await;
    }
}
