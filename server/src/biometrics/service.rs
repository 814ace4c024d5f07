use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cavs_secrets::Locked;
use cavs_types::{DataKeyId, ErrorReason, SiteId, StudentId};
use jiff::civil::Date;
use tracing::{error, warn};
use zeroize::Zeroizing;

use crate::{
    biometrics::{
        BiometricStore, Key, KeyName, Keyring, Owner, Portrait, SealError, SealedPortrait,
        store::{Epoch, KeyOf, NewDataKey, StoredKey},
    },
    db::DatabaseError,
    error::{ServiceError, blocking},
};

/// What an epoch's key seals as its proof.
const PROOF: &[u8] = b"CAVS";
/// Data keys that are wrapped anew at a time.
const BATCH: i64 = 1000;

/// Data keys by the site and the day that they are for.
type DayKeys = HashMap<(SiteId, Date), Arc<Locked<Key>>>;

/// The keyring, and the data keys under it.
pub struct Keys {
    keyring: Arc<Keyring>,
    /// Of the sites and days on which sightings came lately, to seal what comes.
    days: Mutex<DayKeys>,
}

/// When a server rotates the keyring by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationDue {
    /// The newest epoch has been in use for so long.
    OlderThan(Duration),
    /// Erasures can't come to their end before.
    ErasuresWait,
}

impl RotationDue {
    async fn is_met(self, store: &BiometricStore) -> Result<bool, DatabaseError> {
        match self {
            Self::OlderThan(longest) => Ok(store.newest_epoch_age().await?.is_some_and(|age| age >= longest)),
            Self::ErasuresWait => store.erasures_need_rotation().await,
        }
    }
}

impl Keys {
    /// Takes the keyring, if it is the database's: it has every epoch that something may be wrapped by, and each
    /// is the right one. The first keyring of a database becomes its own.
    ///
    /// # Errors
    /// `Seal(DoesNotOpen)`: an epoch is another one. `Seal(NoSuchEpoch)`. `Database`.
    pub async fn verified(keyring: Keyring, store: &BiometricStore) -> Result<Self, ServiceError> {
        let keys = Self { keyring: Arc::new(keyring), days: Mutex::default() };
        // Before anything is made known: nothing of another keyring may get into the database.
        keys.verify(store).await?;
        // Epochs that were added to the file, if only a moment before a power cut.
        for epoch in keys.keyring.numbers() {
            keys.register(store, epoch).await?;
        }
        // The first of several servers that start on an empty database says whose keyring it is.
        keys.verify(store).await?;
        Ok(keys)
    }

    /// Whether the keyring has every epoch that something may be wrapped by, and each is the right one.
    async fn verify(&self, store: &BiometricStore) -> Result<(), ServiceError> {
        for Epoch { epoch, proof } in store.live_epochs().await? {
            let opened = self.keyring.with(epoch, |key| key.open(Owner::Proof, &proof))?;
            if opened.as_slice() != PROOF {
                return Err(SealError::DoesNotOpen.into());
            }
        }
        Ok(())
    }

    /// What a name is called in logs: the same each time while an epoch lasts, and of no use without its key.
    #[must_use]
    pub fn pseudonym(&self, name: &str) -> String {
        let newest = self.keyring.newest();
        self.keyring.with(newest, |key| Ok(key.pseudonym(name))).unwrap_or_default()
    }

    /// Seals what is kept for a day at most, by the keyring itself: after a rotation it opens no more.
    ///
    /// # Errors
    /// `NoRandomness`.
    pub(crate) fn seal_passing(&self, owner: Owner, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.keyring.with(self.keyring.newest(), |key| key.seal(owner, plain))
    }

    /// A tag of what holds for minutes, by an epoch of the keyring: all servers have the same.
    ///
    /// # Errors
    /// `NoSuchEpoch`.
    pub(crate) fn tag_passing(
        &self,
        epoch: u32,
        bytes: &[u8],
    ) -> Result<[u8; crate::biometrics::KEY_LEN], SealError> {
        self.keyring.with(epoch, |key| Ok(key.tag(&passing(bytes))))
    }

    /// Whether a tag is one of [`Self::tag_passing`].
    pub(crate) fn verifies_passing(&self, epoch: u32, bytes: &[u8], tag: &[u8]) -> bool {
        self.keyring.with(epoch, |key| Ok(key.verifies(&passing(bytes), tag))).unwrap_or(false)
    }

    /// Opens what [`Self::seal_passing`] has sealed.
    ///
    /// # Errors
    /// `NoSuchEpoch`: the keyring was rotated. `DoesNotOpen`.
    pub(crate) fn open_passing(&self, owner: Owner, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let KeyName::Epoch(epoch) = KeyName::of(sealed)? else { return Err(SealError::DoesNotOpen) };
        self.keyring.with(epoch, |key| key.open(owner, sealed))
    }

    /// A new data key for a student, to be stored with them.
    pub(crate) fn new_student_key(&self, site: SiteId, id: StudentId) -> Result<NewDataKey, ServiceError> {
        self.new_key(site, KeyOf::Student(id))
    }

    /// Opens a data key.
    pub(crate) fn open(&self, stored: &StoredKey) -> Result<Key, SealError> {
        let StoredKey { site, id, of, epoch, wrapped } = stored;
        self.keyring.with(*epoch, |key| key.open_data_key(*id, of.owner(*site), wrapped))
    }

    /// A data key of a student of the site.
    pub(crate) async fn student_key(
        &self,
        store: &BiometricStore,
        site: SiteId,
        id: StudentId,
    ) -> Result<Key, ServiceError> {
        let stored = store.student_key(site, id).await?.ok_or_else(|| {
            ServiceError::refused(ErrorReason::StudentNotFound, format!("no student has the id {id}"))
        })?;
        Ok(self.open(&stored)?)
    }

    /// The data key of a site's sightings that come on a day (UTC); made where it is missing.
    pub(crate) async fn day_key(
        &self,
        store: &BiometricStore,
        site: SiteId,
        day: Date,
    ) -> Result<Arc<Locked<Key>>, ServiceError> {
        let cached = self.days.lock().unwrap_or_else(PoisonError::into_inner).get(&(site, day)).cloned();
        if let Some(key) = cached {
            return Ok(key);
        }
        let stored = match store.day_key(site, day).await? {
            Some(stored) => stored,
            None => self.make_day_key(store, site, day).await?,
        };
        let key = Arc::new(Locked::new(self.open(&stored)?));
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        // Days that are over: nothing more is sealed.
        days.retain(|(_, known), _| *known >= day);
        days.insert((site, day), Arc::clone(&key));
        Ok(key)
    }

    /// Seals what a site has to keep to itself, and needs again: it opens after rotations of the keyring, too.
    ///
    /// # Errors
    /// `Database`; `Seal(NoRandomness)`.
    pub(crate) async fn seal_secret(
        &self,
        store: &BiometricStore,
        site: SiteId,
        owner: Owner,
        plain: &[u8],
    ) -> Result<Vec<u8>, ServiceError> {
        let stored = match store.secrets_key(site).await? {
            Some(stored) => stored,
            None => match store.make_secrets_key(&self.new_key(site, KeyOf::Secrets)?).await {
                Err(DatabaseError::EpochRetired) => {
                    // Another server has rotated the keyring.
                    self.refresh().await?;
                    store.make_secrets_key(&self.new_key(site, KeyOf::Secrets)?).await?
                }
                made => made?,
            },
        };
        Ok(self.open(&stored)?.seal(owner, plain)?)
    }

    /// Opens what a data key of the site has sealed.
    ///
    /// # Errors
    /// `Seal(DoesNotOpen)`: also where its key was destroyed.
    pub(crate) async fn unseal(
        &self,
        store: &BiometricStore,
        site: SiteId,
        owner: Owner,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        let KeyName::Data(id) = KeyName::of(sealed)? else { return Err(SealError::DoesNotOpen.into()) };
        let stored = store.data_key(site, id).await?.ok_or(SealError::DoesNotOpen)?;
        Ok(self.open(&stored)?.open(owner, sealed)?)
    }

    /// The picture that each of some students of the site is known by, in their order: of those who have one, have
    /// not refused that their photographs are used, and were not erased. One that does not open is left out, too: a
    /// reviewer can do without.
    ///
    /// # Errors
    /// `Database`; `Seal(NoSuchEpoch)`.
    pub(crate) async fn portraits(
        &self,
        store: &BiometricStore,
        site: SiteId,
        students: &[StudentId],
    ) -> Result<Vec<Portrait>, ServiceError> {
        let mut portraits = Vec::new();
        for SealedPortrait { template, student, key, sealed } in store.best_portraits(site, students).await? {
            match self.open(&key).and_then(|key| key.open(Owner::Portrait(template), &sealed)) {
                Ok(mut plain) => {
                    portraits.push(Portrait { student, jpeg: Bytes::from(std::mem::take(&mut *plain)) });
                }
                Err(SealError::DoesNotOpen) => error!(%template, "a portrait is damaged, and is left out"),
                Err(other @ (SealError::NoSuchEpoch(_) | SealError::NoRandomness)) => {
                    return Err(other.into());
                }
            }
        }
        portraits.sort_by_key(|portrait| students.iter().position(|student| *student == portrait.student));
        Ok(portraits)
    }

    /// Makes a new epoch, wraps every data key by it, and destroys the epochs before. Whatever was wrapped by
    /// those, in backups or in what the database has left on its disk, opens with no keyring any more. Servers
    /// go on meanwhile; where one stopped in the middle, the next rotation does the rest. Gives the new epoch.
    ///
    /// # Errors
    /// `Key`: the keyring can't be changed. `Database`.
    pub async fn rotate(&self, store: &BiometricStore) -> Result<u32, ServiceError> {
        self.keyring.changeable()?;
        // One at a time, of all servers; what another one has made is seen then.
        let _turn = store.rotation_turn().await?;
        self.rotate_in_turn(store).await
    }

    async fn rotate_in_turn(&self, store: &BiometricStore) -> Result<u32, ServiceError> {
        self.refresh().await?;
        // A copy of the keyring that was left behind must not go on from there: its next epoch would have the number
        // of another one.
        self.verify(store).await?;
        let keyring = Arc::clone(&self.keyring);
        let epoch = blocking(move || keyring.add()).await??;
        self.register(store, epoch).await?;
        let wrapped = self.rewrap(store, epoch).await?;
        // From here on nobody wraps by them; what somebody has wrapped meanwhile comes along.
        store.retire_epochs_before(epoch).await?;
        let late = self.rewrap(store, epoch).await?;
        let keyring = Arc::clone(&self.keyring);
        blocking(move || keyring.destroy_before(epoch)).await??;
        store.note_destroyed_epochs(epoch).await?;
        let data_keys = wrapped + late;
        // An operator's only chance to hear of it where a server does it by itself.
        warn!(
            epoch,
            data_keys, "rotated the keyring, the epochs before are destroyed: copy it again (docs/KEYS.md)"
        );
        Ok(epoch)
    }

    /// Reads the keyring again, so that epochs that another server has destroyed leave this one's memory.
    ///
    /// # Errors
    /// `Key`.
    pub async fn refresh(&self) -> Result<(), ServiceError> {
        let keyring = Arc::clone(&self.keyring);
        Ok(blocking(move || keyring.refresh()).await??)
    }

    /// The number of the newest epoch.
    #[must_use]
    pub fn newest_epoch(&self) -> u32 {
        self.keyring.newest()
    }

    /// Whether the server can rotate the keyring by itself.
    #[must_use]
    pub fn can_rotate(&self) -> bool {
        self.keyring.changeable().is_ok()
    }

    /// Rotates the keyring where that is due; whether it did.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub async fn rotate_if(&self, store: &BiometricStore, due: RotationDue) -> Result<bool, ServiceError> {
        if !due.is_met(store).await? {
            return Ok(false);
        }
        self.keyring.changeable()?;
        let _turn = store.rotation_turn().await?;
        // Another server may have had the same thought.
        let still = due.is_met(store).await?;
        if still {
            self.rotate_in_turn(store).await?;
        }
        Ok(still)
    }

    async fn make_day_key(
        &self,
        store: &BiometricStore,
        site: SiteId,
        day: Date,
    ) -> Result<StoredKey, ServiceError> {
        match store.make_day_key(&self.new_key(site, KeyOf::Day(day))?).await {
            Err(DatabaseError::EpochRetired) => {
                // Another server has rotated the keyring.
                self.refresh().await?;
                Ok(store.make_day_key(&self.new_key(site, KeyOf::Day(day))?).await?)
            }
            made => Ok(made?),
        }
    }

    fn new_key(&self, site: SiteId, of: KeyOf) -> Result<NewDataKey, ServiceError> {
        let (id, epoch) = (DataKeyId::generate(), self.keyring.newest());
        let (_, wrapped) = self.keyring.with(epoch, |key| key.new_data_key(id, of.owner(site)))?;
        Ok(StoredKey { site, id, of, epoch, wrapped })
    }

    /// Makes an epoch known to the database, with a proof of its key.
    async fn register(&self, store: &BiometricStore, epoch: u32) -> Result<(), ServiceError> {
        let proof = self.keyring.with(epoch, |key| key.seal(Owner::Proof, PROOF))?;
        Ok(store.register_epoch(&Epoch { epoch, proof }).await?)
    }

    /// Wraps by an epoch all that is wrapped by those before; how many data keys.
    async fn rewrap(&self, store: &BiometricStore, epoch: u32) -> Result<u64, ServiceError> {
        let (mut count, mut after) = (0, None);
        loop {
            let stored = store.data_keys_before(epoch, after, BATCH).await?;
            let Some(last) = stored.last() else { return Ok(count) };
            after = Some((last.site, last.id));
            let keyring = Arc::clone(&self.keyring);
            let rewrapped = blocking(move || {
                let rewrap = |StoredKey { site, id, of, epoch: before, wrapped }: StoredKey| {
                    let rewrapped = keyring.with(before, |old| {
                        keyring.with(epoch, |new| old.rewrap(new, of.owner(site), &wrapped))
                    });
                    match rewrapped {
                        Ok(wrapped) => Ok(Some(StoredKey { site, id, of, epoch, wrapped })),
                        // It opens with no key: nobody loses anything with its epoch, and others need not wait.
                        Err(SealError::DoesNotOpen) => {
                            error!(data_key = %id, "a data key is damaged, and is left behind");
                            Ok(None)
                        }
                        Err(other @ (SealError::NoSuchEpoch(_) | SealError::NoRandomness)) => Err(other),
                    }
                };
                stored.into_iter().filter_map(|key| rewrap(key).transpose()).collect::<Result<Vec<_>, _>>()
            })
            .await??;
            count += store.rewrap(&rewrapped).await?;
        }
    }
}
/// What is tagged of what holds for minutes: no name begins so.
fn passing(bytes: &[u8]) -> Vec<u8> {
    [b"\0passing\0".as_slice(), bytes].concat()
}
