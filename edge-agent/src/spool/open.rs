use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::Connection;

use super::{
    Outbox, Quarantined, Seal, SpoolError, Writer,
    boots::{self, Boots},
    device_key,
    files::{create_folder, forget_older, lock, quarantine},
    format::{self, Access, corrupt, signed, unsigned},
    recover::recover,
    watched,
};
use crate::{
    clock,
    files::{with_suffix, write_durably},
    sighting::RunId,
};

/// What a damaged epoch may claim at most: ten thousand years. Servers store epochs as signed 64-bit
/// numbers.
const MAX_EPOCH: u64 = 1 << 38;

/// The offset of a new spool's epochs is below this: far below what an epoch may claim.
const MAX_OFFSET: u64 = 1 << 37;

/// Where a spool is and how large it may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The database file; lock, key and epoch lie beside it.
    pub path: PathBuf,
    /// Most bytes of waiting sightings, evidence and overhead included.
    pub max_bytes: u64,
    /// Sightings that waited longer are given up.
    pub max_age: Option<Duration>,
    /// A secret of at least 32 bytes that the data key comes from, instead of one sealed to the
    /// device.
    pub key_file: Option<PathBuf>,
    /// How often it is noted what was watched: what a power cut costs at most.
    pub watch_interval: Duration,
}

/// A minute: one small write, far below what a memory card wears out by.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_secs(60);

impl SpoolOptions {
    /// A spool without a bound of age, with a key sealed to the device.
    #[must_use]
    pub fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes, max_age: None, key_file: None, watch_interval: WATCH_INTERVAL }
    }
}

/// Both sides of an open spool.
#[derive(Debug)]
pub struct Spool {
    /// Stores what frames show.
    pub writer: Writer,
    /// Offers sightings to the server, and takes out what it has acknowledged.
    pub outbox: Outbox,
    /// The spool that could not be used and was moved aside, where there was one.
    pub quarantined: Option<Quarantined>,
}

impl Spool {
    /// Opens or makes a spool, and begins a new boot epoch.
    ///
    /// The epoch is above every earlier one of this spool: it orders the starts. What tells starts apart
    /// everywhere is the run id, which is random: a server that has seen a key before would take a new
    /// sighting under it for a repetition.
    ///
    /// A damaged spool is moved aside (`NAME.damaged-TIME`), a new one is made, and what can be read
    /// of the old one is taken over. The epoch is kept in a second file too, so that it still
    /// increases.
    ///
    /// A full disk is no reason not to open a spool that is there: what it holds can be offered. What
    /// can't be written then is left for later.
    ///
    /// # Errors
    /// `File`, `Locked`, `Newer`, `KeyTooShort`, or `Database` for what is no damage.
    pub fn open(options: &SpoolOptions, now: Timestamp) -> Result<Self, SpoolError> {
        let path = &options.path;
        create_folder(path)?;
        let lock = Arc::new(lock(path)?);
        let mark = format!(".damaged-{}", now.as_millisecond());
        let key = device_key::load(path, options.key_file.as_deref(), &mark)?;
        let seal = Arc::new(key.seal);
        let mut access = Access::Usual;
        let mut opened = open_database(path, &seal, access);
        if opened.as_ref().is_err_and(SpoolError::lacks_shared_memory) {
            access = Access::WithoutSharedMemory;
            // What it would have said otherwise is as good a reason.
            opened = open_database(path, &seal, access).or(opened);
        }
        let (mut connection, mut quarantined) = match opened {
            Ok(connection) => (connection, None),
            Err(error) if error.is_damage_at_open() || matches!(error, SpoolError::OtherKey) => {
                let aside = quarantine(path, &mark)?;
                let cause = error.to_string();
                access = Access::Usual;
                (open_database(path, &seal, access)?, Some(Quarantined::new(aside, cause)))
            }
            Err(error) => return Err(error),
        };
        if let Some(quarantined) = &mut quarantined {
            recover(quarantined, &mut connection, &seal)?;
            forget_older(path, &quarantined.path);
        }
        if let Some(key) = key.aside {
            tracing::warn!(key = %key.display(), "the spool's key is not this device's; a new one was made");
        }
        let run = RunId::draw().ok_or(SpoolError::Crypto("random numbers"))?;
        let (boot_epoch, boot_id) = (next_epoch(&connection, path, now)?, clock::boot_id());
        unless_full(watched::begin(&connection), "what is watched")?;
        unless_full(boots::begin(&connection, boot_epoch, &boot_id), "what is known of the time")?;
        let offering = format::connect(path, access)?;
        let mut boots = Boots::load(&offering)?;
        boots.begun(boot_epoch, boot_id);
        let outbox = Outbox::new(offering, Arc::clone(&lock), Arc::clone(&seal), boots);
        let writer = Writer::new(connection, lock, seal, (run, boot_epoch), options);
        Ok(Self { writer, outbox, quarantined })
    }
}

/// What can't be written on a full disk is said and left for later.
fn unless_full(result: Result<(), SpoolError>, what: &'static str) -> Result<(), SpoolError> {
    match result {
        Err(error) if error.is_full() => {
            tracing::error!(%error, "the disk is full: {what} can't be kept; the agent goes on without");
            Ok(())
        }
        result => result,
    }
}

fn open_database(path: &Path, seal: &Seal, access: Access) -> Result<Connection, SpoolError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(SpoolError::file(path))?;
    // Also for a file that somebody made with other rights. SQLite gives the journal the same ones.
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(SpoolError::file(path))?;
    drop(file);
    let mut connection = format::connect(path, access)?;
    format::prepare(&mut connection, path, seal)?;
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict != "ok" {
        return Err(corrupt(verdict));
    }
    // Pages that `quick_check` finds in order may still say nonsense in the one row that counts.
    format::status(&connection)?;
    format::validate_keys(&connection)?;
    Boots::load(&connection)?;
    watched::validate(&connection)?;
    Ok(connection)
}

/// How far from its time a new spool's first epoch is.
fn draw_offset() -> Result<u64, SpoolError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SpoolError::Crypto("random numbers"))?;
    Ok(u64::from_be_bytes(bytes) % MAX_OFFSET)
}

fn next_epoch(connection: &Connection, path: &Path, now: Timestamp) -> Result<u64, SpoolError> {
    let sql = "SELECT max(boot_epoch, ifnull((SELECT max(boot_epoch) FROM sightings), 0)) FROM state";
    let stored: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    let epoch_path = with_suffix(path, ".epoch");
    let copied = match fs::read(&epoch_path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(SpoolError::File { path: epoch_path, source: error }),
    };
    let plausible = |epoch: u64| if epoch <= MAX_EPOCH { epoch } else { 0 };
    let last = plausible(unsigned(stored)).max(plausible(copied));
    let start = unsigned(now.as_second());
    // A new spool begins anywhere: servers that know no runs tell it by its epoch alone from one that
    // began in the same second.
    let epoch = if last == 0 { start + draw_offset()? } else { start.max(last + 1) };
    // An epoch that is forgotten may come again, and is told apart by its run then; while any of its
    // sightings waits, that remembers it, too.
    let written =
        write_durably(&epoch_path, format!("{epoch}\n").as_bytes()).map_err(SpoolError::file(&epoch_path));
    unless_full(written, "the epoch")?;
    let stored = connection.execute("UPDATE state SET boot_epoch = ?", [signed(epoch)]);
    unless_full(stored.map(drop).map_err(SpoolError::from), "the epoch")?;
    Ok(epoch)
}
