//! What tests of this crate share: a database of their own, and an application without networks.

mod attendance;
mod devices;
mod faces;
mod locks;
mod mail;
mod other_ways;
mod records;
mod reports;
mod retention;
mod reviews;
mod rosters;
mod schedule;
mod schema;
mod sites;
mod students;
mod webhooks;

use std::{
    fs,
    io::{Read, Write},
    num::NonZeroU32,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_gallery::{GalleryMode, Grouping, Options};
use cavs_pg_cluster::{Cluster, Durability};
use cavs_types::{ClockTrust, Decision, Quality, Role, SiteId, StudentId, TemplateId, UserId};
use tempfile::TempDir;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::{
    biometrics::{
        BiometricStore, Keyring, Keys, NewTemplate, Owner, RetentionPolicy, TemplateOutcome, TemplateSource,
    },
    db::{Address, Database},
    error::ServiceError,
    monitoring::Metrics,
    people::{Credentials, EnrollmentLimits, Grant, StudentProfile, create_user},
    recognition::{Galleries, Probe, RecognitionSetup, Thresholds, Vision},
    services::{Parts, Services},
    sightings::{BoundingBox, CapturedSighting, Clock, EvidencePolicy, SightingKey},
    webhooks::{ReceiverClient, ReceiverPolicy},
};

pub(crate) const PACK: PackDigest = PackDigest::from_bytes([7; 32]);
const DIMENSION: usize = 64;
/// The site that every database begins with.
pub(crate) const MAIN: SiteId = SiteId::from_uuid(Uuid::from_u128(0x7000_8000_0000_0000_0001));

/// Somebody who is called as their number.
pub(crate) fn profile(number: &str) -> StudentProfile {
    StudentProfile { number: number.into(), name: number.into(), ..StudentProfile::default() }
}

/// A private cluster with the schema, gone when dropped.
pub(crate) struct TestDatabase {
    pub(crate) store: Database,
    pub(crate) keys: Arc<Keys>,
    /// As the configuration has it.
    pub(crate) audit_one_in: Option<NonZeroU32>,
    cluster: Cluster,
    directory: TempDir,
}

impl TestDatabase {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keyring");
        Keyring::generate(&file).unwrap();
        Self::start_in(directory, Keyring::load(Some(&file)).unwrap()).await
    }

    pub(crate) async fn start_with(keyring: Keyring) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), keyring).await
    }

    async fn start_in(directory: TempDir, keyring: Keyring) -> Self {
        // PostgreSQL runs as another user when this is root, and must be able to pass.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let cluster = Cluster::start(&directory.path().join("db"), Durability::Disposable).unwrap();
        let store = Database::new(&Address::Cluster(&cluster), 4).unwrap();
        store.migrate().await.unwrap();
        let keys = Arc::new(Keys::verified(keyring, &BiometricStore::new(&store)).await.unwrap());
        Self { store, keys, audit_one_in: None, cluster, directory }
    }

    /// Where its keyring is.
    pub(crate) fn keyring_file(&self) -> std::path::PathBuf {
        self.directory.path().join("keyring")
    }

    /// A connection behind the store's back.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        let (user, database) = (cavs_pg_cluster::USER, cavs_pg_cluster::DATABASE);
        config.host_path(self.cluster.socket_directory()).user(user).dbname(database);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The store through a relay that counts.
    pub(crate) fn through_relay(&self) -> (Database, Arc<RoundTrips>) {
        let folder = self.directory.path().join("relay");
        fs::create_dir(&folder).unwrap();
        let trips = RoundTrips::relay(&folder, self.cluster.socket_directory());
        let (user, database) = (cavs_pg_cluster::USER, cavs_pg_cluster::DATABASE);
        let url = format!("host={} user={user} dbname={database}", folder.display());
        (Database::new(&Address::Url(&url), 1).unwrap(), trips)
    }

    /// What a server's configuration says.
    pub(crate) fn setup() -> RecognitionSetup {
        let thresholds = Thresholds {
            accept: Similarity::clamped(0.5),
            review: Similarity::clamped(0.3),
            margin: 0.05,
            liveness: None,
        };
        RecognitionSetup {
            pack: PACK,
            dimension: DIMENSION,
            thresholds,
            wanted_rate: None,
            calibration: None,
            min_quality: 0,
            mode: GalleryMode::Exact,
            grouping: Grouping::Best,
            options: Options::default(),
        }
    }

    pub(crate) async fn galleries(&self) -> Galleries {
        self.galleries_as(Self::setup()).await
    }

    pub(crate) async fn galleries_as(&self, setup: RecognitionSetup) -> Galleries {
        let background = self.store.with_own_connections(4).unwrap();
        Galleries::open(setup, &background, Arc::clone(&self.keys), Arc::default()).await.unwrap()
    }

    /// An application whose pictures show nobody.
    pub(crate) async fn app(&self) -> Services {
        self.app_of(self.store.clone()).await
    }

    /// As [`Self::app`], with another store for what people ask.
    pub(crate) async fn app_of(&self, store: Database) -> Services {
        Services::new(Parts {
            mail: None,
            background: store.clone(),
            people: store,
            devices: self.store.with_own_connections(4).unwrap(),
            keys: Arc::clone(&self.keys),
            galleries: Arc::new(self.galleries().await),
            vision: Vision::blind().unwrap(),
            evidence: EvidencePolicy { keep: Decision::ALL.to_vec(), audit_one_in: self.audit_one_in },
            enrollment: EnrollmentLimits {
                templates_per_student: 20,
                min_quality: 0,
                same_picture: Similarity::clamped(0.995),
                same_person: None,
                unlike_below: None,
                keep_portraits: false,
            },
            retention: RetentionPolicy::default(),
            match_calls: std::num::NonZeroU32::new(10).unwrap(),
            receivers: ReceiverClient::new(
                ReceiverPolicy { private_addresses: true, plain_http: false },
                None,
            )
            .unwrap(),
            metrics: Arc::new(Metrics::default()),
        })
    }

    /// Adds a student to the main site; the number is the name.
    pub(crate) async fn student(&self, app: &Services, number: &str) -> StudentId {
        self.student_of(app, MAIN, number).await
    }

    pub(crate) async fn student_of(&self, app: &Services, site: SiteId, number: &str) -> StudentId {
        let new = profile(number);
        app.students.create(site, new).await.unwrap().state.id
    }

    /// Stores a template as enrollment does, without telling any gallery.
    pub(crate) async fn template(&self, student: StudentId, face: &UnitEmbedding) -> TemplateId {
        self.try_template(MAIN, student, face).await.unwrap()
    }

    pub(crate) async fn try_template(
        &self,
        site: SiteId,
        student: StudentId,
        face: &UnitEmbedding,
    ) -> Result<TemplateId, ServiceError> {
        let id = TemplateId::generate();
        let biometrics = BiometricStore::new(&self.store);
        let key = self.keys.student_key(&biometrics, site, student).await?;
        let sealed = key.seal(Owner::Template(id, PACK), &face.to_le_bytes())?;
        let portrait = key.seal(Owner::Portrait(id), b"a picture")?;
        let portrait = Some(portrait.as_slice());
        let new = NewTemplate {
            id,
            student,
            pack: PACK,
            sealed: &sealed,
            quality: quality(),
            portrait,
            source: TemplateSource::Image,
            admitted: None,
        };
        let stored = biometrics.create_template(site, &new, 1000).await?;
        assert_eq!(stored, TemplateOutcome::Stored);
        Ok(id)
    }

    pub(crate) async fn user(&self, name: &str) -> UserId {
        let credentials = Credentials::new(name, "a long password".to_owned()).unwrap();
        create_user(&self.store, credentials, Grant::Role(Role::Admin, None)).await.unwrap().id
    }
}

/// A made-up face: the same for the same number.
pub(crate) fn face(number: u32) -> UnitEmbedding {
    let mut bits = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut component = || {
        // Xorshift: another number is another direction.
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        (bits >> 40) as f32 / 8_388_608.0 - 1.0
    };
    UnitEmbedding::normalize((0..DIMENSION).map(|_| component()).collect()).unwrap()
}

pub(crate) fn quality() -> Quality {
    Quality { unified_score: 90, ..Quality::uniform(100) }
}

/// A sighting of a made-up face.
pub(crate) fn sighting(sequence: u64, probe: UnitEmbedding) -> CapturedSighting {
    CapturedSighting {
        key: SightingKey { boot_epoch: 1, sequence },
        run: None,
        captured_at: jiff::Timestamp::now(),
        probe: Probe { embedding: probe, pack: PACK, quality: quality(), liveness: None },
        bounding_box: BoundingBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 },
        detection_score: 0.9,
        evidence: bytes::Bytes::new(),
        frame: "frame".into(),
        clock: Clock { trust: ClockTrust::Unknown, uncertainty_ms: None },
        track: None,
        camera: None,
    }
}

/// How often a client spoke to the database after it had been answered.
#[derive(Default)]
pub(crate) struct RoundTrips {
    count: AtomicUsize,
    answered: AtomicBool,
}

impl RoundTrips {
    /// Counts from here on.
    pub(crate) fn forget(&self) {
        self.count.store(0, Ordering::SeqCst);
        self.answered.store(true, Ordering::SeqCst);
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn relay(folder: &Path, to: &Path) -> Arc<Self> {
        const SOCKET: &str = ".s.PGSQL.5432";
        let trips = Arc::new(Self::default());
        let listener = UnixListener::bind(folder.join(SOCKET)).unwrap();
        let (to, counted) = (to.join(SOCKET), Arc::clone(&trips));
        // The threads end with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = UnixStream::connect(&to).unwrap();
                let (asks, answers) = (Arc::clone(&counted), Arc::clone(&counted));
                let (from, into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    copy(from, into, || {
                        if asks.answered.swap(false, Ordering::SeqCst) {
                            asks.count.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                });
                thread::spawn(move || {
                    copy(server, client, || answers.answered.store(true, Ordering::SeqCst))
                });
            }
        });
        trips
    }
}

fn copy(mut from: UnixStream, mut to: UnixStream, each: impl Fn()) {
    let mut buffer = [0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        each();
        if to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}
