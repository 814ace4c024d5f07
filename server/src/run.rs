use std::{net::SocketAddr, sync::Arc, time::Duration};

use cavs_embedding::Similarity;
use cavs_models::{DecodeLimits, FacePipeline, Pack, PipelineOptions};
use cavs_net::{Refusals, fixed_tls};
use cavs_pg_cluster::{Cluster, Durability};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    app::{
        Accounts, App, AppError, DevicesChanged, Enrollment, EvidencePolicy, Keys, Parts, Recognition,
        RecognitionSetup, Vision,
    },
    config::{Config, Database},
    domain::Thresholds,
    grpc,
    metrics::Metrics,
    monitoring::Monitor,
    security::{Shares, TlsError, api_tls, device_tls, listen},
    store::{Address, Store, StoreError},
    vault::{KeyError, VaultError, load_key},
};

/// Connections to the database.
const CONNECTIONS: usize = 16;
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
    #[error("embedded database")]
    Cluster(#[from] cavs_pg_cluster::ClusterError),
    /// The database, after it was waited for.
    #[error("database")]
    Database(#[from] StoreError),
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
    /// Anything else on the way.
    #[error(transparent)]
    App(AppError),
    /// The API can't be described to those who ask for it.
    #[error("reflection")]
    Serve(#[from] tonic_reflection::server::Error),
}

impl From<AppError> for StartError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Store(error) => Self::Database(error),
            AppError::Vault(VaultError::DoesNotOpen) => Self::WrongKey,
            other @ (AppError::Refused(..)
            | AppError::Protocol(_)
            | AppError::Vault(_)
            | AppError::Gallery(_)
            | AppError::Stopped(_)) => Self::App(other),
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

/// The database with its schema up to date, and the private cluster where it is in one.
pub struct Backend {
    /// The database.
    pub store: Store,
    cluster: Option<Cluster>,
}

impl Backend {
    /// Starts the private cluster or waits for the database, and migrates.
    ///
    /// # Errors
    /// `Cluster`, `Database`.
    pub async fn open(database: &Database) -> Result<Self, StartError> {
        let (store, cluster) = match database {
            Database::Embedded(directory) => {
                let directory = directory.clone();
                let started =
                    tokio::task::spawn_blocking(move || Cluster::start(&directory, Durability::Durable));
                let cluster = started
                    .await
                    .map_err(|_| StartError::App(AppError::Stopped("the cluster's start")))??;
                if !cluster.is_owned() {
                    warn!("another process runs the embedded database, and will stop it with itself");
                }
                (Store::new(&Address::Cluster(&cluster), CONNECTIONS)?, Some(cluster))
            }
            Database::Url(url) => (Store::new(&Address::Url(url.expose_secret()), CONNECTIONS)?, None),
        };
        wait_for(&store).await?;
        store.migrate().await?;
        Ok(Self { store, cluster })
    }

    /// Returns when a cluster of ours ends by itself, which it should not.
    async fn ended(&self) {
        while !self.cluster.as_ref().is_some_and(Cluster::has_ended) {
            tokio::time::sleep(CLUSTER_CHECK).await;
        }
    }

    /// Closes the connections and stops the cluster.
    pub async fn close(self) {
        self.store.close();
        if let Some(cluster) = self.cluster {
            let _ = tokio::task::spawn_blocking(move || cluster.stop()).await;
        }
    }
}

async fn wait_for(store: &Store) -> Result<(), StoreError> {
    let begun = std::time::Instant::now();
    loop {
        match store.ping().await {
            Err(StoreError::Unavailable(cause)) if begun.elapsed() < DATABASE_LIMIT => {
                warn!(%cause, "waiting for the database");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            done => return done,
        }
    }
}

/// Serves until `shutdown`: stops taking calls in, lets open ones end, closes the database.
/// `ready` is called once both listeners accept connections.
///
/// # Errors
/// [`StartError`]: what is missing or wrong, before anything is served.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(Addresses),
) -> Result<(), StartError> {
    // What costs nothing to check comes first.
    let key = load_key(config.key_file.as_deref())?;
    let api = api_tls(&config.tls.certificate, &config.tls.key)?;
    let devices = device_tls(&config.tls.certificate, &config.tls.key, &config.tls.device_authority)?;
    let pack = Pack::open_or_built_in(config.recognition.pack.as_deref())?;
    let backend = Backend::open(&config.database).await?;
    let served = tokio::select! {
        served = serve(&config, key, &pack, (api, devices), &backend.store, shutdown.clone(), ready) => served,
        // Somebody who restarts this server restarts the cluster with it.
        () = backend.ended() => Err(StartError::ClusterEnded),
    };
    shutdown.cancel();
    backend.close().await;
    served
}

async fn serve(
    config: &Config,
    key: crate::vault::Key,
    pack: &Pack,
    (api, devices): (rustls::ServerConfig, rustls::ServerConfig),
    store: &Store,
    shutdown: CancellationToken,
    ready: impl FnOnce(Addresses),
) -> Result<(), StartError> {
    let tasks = TaskTracker::new();
    let failed = |key, address| move |cause| StartError::Listen { key, address, cause };
    let metrics = Arc::new(Metrics::default());
    // First of all, so that monitoring hears that the gallery is being loaded.
    let monitor = Monitor::new(store.clone(), Arc::clone(&metrics), shutdown.clone());
    let monitoring = match config.monitoring_listen {
        None => None,
        Some(address) => {
            let listening = Arc::clone(&monitor).listen(address, &tasks).await;
            Some(listening.map_err(failed("monitoring.listen", address))?)
        }
    };
    let app = assemble(config, key, pack, store, metrics).await?;
    let (shares, refusals) = (Shares::of_process(), Arc::new(Refusals::default()));
    let api = listen(config.api_listen, fixed_tls(api), shares.api, &refusals)
        .await
        .map_err(failed("api.listen", config.api_listen))?;
    let devices = listen(config.devices_listen, fixed_tls(devices), shares.devices, &refusals)
        .await
        .map_err(failed("devices.listen", config.devices_listen))?;
    let (api_address, devices_address) = (api.address(), devices.address());
    info!(api = %api_address, devices = %devices_address, pack = %pack.digest(), "ready");
    monitor.serves(app.clone());
    ready(Addresses { api: api_address, devices: devices_address, monitoring });

    let (follower, until) = (app.clone(), shutdown.clone());
    tasks.spawn(async move { follower.recognition.follow(until).await });
    let (changes, until) = (app.clone(), shutdown.clone());
    tasks.spawn(async move { changes.follow_devices(until).await });
    let (calibrator, until) = (app.clone(), shutdown.clone());
    tasks.spawn(async move { calibrator.recognition.calibrate_regularly(until).await });
    let serving = async {
        tokio::try_join!(grpc::serve_api(app.clone(), api, shutdown.clone()), async {
            grpc::serve_devices(app.clone(), devices, shutdown.clone()).await;
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
    info!(searches = ?app.recognition.state().stats.counters, "stopped");
    Ok(result?)
}

async fn assemble(
    config: &Config,
    key: crate::vault::Key,
    pack: &Pack,
    store: &Store,
    metrics: Arc<Metrics>,
) -> Result<App, StartError> {
    let keys = Arc::new(Keys::verified(key, store).await?);
    let of_pack = pack.thresholds();
    let recognition = &config.recognition;
    let thresholds = Thresholds {
        accept: recognition.accept.unwrap_or(of_pack.accept),
        review: recognition.review.unwrap_or(of_pack.review),
        margin: recognition.margin.unwrap_or(of_pack.margin),
    };
    if thresholds.review > thresholds.accept {
        let (review, accept) = (thresholds.review.get(), thresholds.accept.get());
        return Err(StartError::Thresholds { review, accept });
    }
    let setup = RecognitionSetup {
        pack: pack.digest(),
        dimension: pack.dimension(),
        thresholds,
        min_quality: recognition.min_quality,
        mode: recognition.gallery,
        grouping: recognition.grouping,
        // Enrollment has a limit of its own; who had more before it was lowered keeps them.
        options: cavs_gallery::Options::default(),
    };
    let options =
        PipelineOptions { threads: recognition.threads, device: recognition.device, ..Default::default() };
    Ok(App::new(Parts {
        store: store.clone(),
        keys: Arc::clone(&keys),
        recognition: Recognition::load(setup, store, keys, Arc::clone(&metrics)).await?,
        vision: Vision::start(FacePipeline::new(pack, options)?, DecodeLimits::default())?,
        devices_changed: DevicesChanged::default(),
        evidence: EvidencePolicy { keep: config.keep_evidence.clone() },
        enrollment: Enrollment {
            templates_per_student: config.enrollment.templates_per_student,
            min_quality: config.enrollment.min_quality,
            same_picture: Similarity::clamped(0.995),
            same_person: config.enrollment.same_person,
        },
        accounts: Accounts::default(),
        metrics,
    }))
}
