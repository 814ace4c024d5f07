//! Encryption of embeddings, pictures and keys.
//!
//! AES-256-GCM. Faces are sealed by data keys (one a student, one a site's day of sightings), which are sealed by an
//! epoch of the [keyring](super::Keyring). Every ciphertext begins with the name of its key, so that it is known what has
//! to be had to open it, and what can't be opened any more. Associated data binds it to its key and to its owner: a
//! row moved to another place in the database does not open.

use std::fmt;

use cavs_embedding::PackDigest;
use cavs_types::{DataKeyId, SightingId, SiteId, StudentId, TemplateId, UserId, WebhookId};
use jiff::civil::Date;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac::{self, HMAC_SHA256},
    rand::{SecureRandom, SystemRandom},
};
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

/// First byte of every ciphertext: the format's version.
const FORMAT: u8 = 2;
/// Length of a key's name, in bytes.
const NAME_LEN: usize = 16;
/// What comes before the nonce: the format and the key's name.
const HEADER_LEN: usize = 1 + NAME_LEN;
/// Length of keys, in bytes.
pub const KEY_LEN: usize = 32;

/// Why something can't be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// Another key, another owner, or damaged data; which of them can't be told.
    #[error("sealed data does not open: wrong key, wrong owner, or damaged")]
    DoesNotOpen,
    /// The keyring has no such epoch: it was destroyed, or another server has made it.
    #[error(
        "the keyring has no epoch {0}: a server that shares this database has changed its own; give this server a \
         copy of that keyring"
    )]
    NoSuchEpoch(u32),
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    NoRandomness,
}

/// What a key is called, in the header of all that it seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// A data key.
    Data(DataKeyId),
    /// An epoch of the keyring.
    Epoch(u32),
}

impl KeyName {
    /// No id of a data key begins so: these are of version 7.
    const EPOCH: [u8; 12] = *b"keyring\0\0\0\0\0";

    fn to_bytes(self) -> [u8; NAME_LEN] {
        match self {
            Self::Data(id) => *id.uuid().as_bytes(),
            Self::Epoch(epoch) => {
                let mut bytes = [0; NAME_LEN];
                bytes[..12].copy_from_slice(&Self::EPOCH);
                bytes[12..].copy_from_slice(&epoch.to_be_bytes());
                bytes
            }
        }
    }

    fn from_bytes(bytes: [u8; NAME_LEN]) -> Self {
        match bytes {
            [b'k', b'e', b'y', b'r', b'i', b'n', b'g', 0, 0, 0, 0, 0, a, b, c, d] => {
                Self::Epoch(u32::from_be_bytes([a, b, c, d]))
            }
            bytes => Self::Data(Uuid::from_bytes(bytes).into()),
        }
    }

    /// The key that sealed something.
    ///
    /// # Errors
    /// `DoesNotOpen`: it is nothing sealed.
    pub fn of(sealed: &[u8]) -> Result<Self, SealError> {
        let (&format, rest) = sealed.split_first().ok_or(SealError::DoesNotOpen)?;
        let name = rest.first_chunk::<NAME_LEN>().ok_or(SealError::DoesNotOpen)?;
        if format == FORMAT { Ok(Self::from_bytes(*name)) } else { Err(SealError::DoesNotOpen) }
    }
}

/// Whom a ciphertext belongs to: it opens for the same owner only.
#[derive(Debug, Clone, Copy)]
pub enum Owner {
    /// The proof that a keyring is the database's.
    Proof,
    /// The data key of a site's student.
    StudentKey(SiteId, StudentId),
    /// The data key of a site's sightings that came on a day.
    DayKey(SiteId, Date),
    /// The data key of what a site has to keep to itself.
    SecretsKey(SiteId),
    /// What a site's webhook is signed with.
    WebhookSecret(SiteId, WebhookId),
    /// A template of a pack.
    Template(TemplateId, PackDigest),
    /// The picture that a template was made of.
    Portrait(TemplateId),
    /// A sighting's probe, made by a pack.
    Probe(SightingId, PackDigest),
    /// A sighting's evidence.
    Evidence(SightingId),
    /// The answer to a user's request of an id, in a site.
    Answer(SiteId, UserId, Uuid),
}

impl Owner {
    /// Unambiguous: the kind, then fields of fixed length.
    fn text(self) -> String {
        match self {
            Self::Proof => "cavs.v1:proof".to_owned(),
            Self::StudentKey(site, id) => format!("cavs.v1:student-key:{site}:{id}"),
            Self::DayKey(site, day) => format!("cavs.v1:day-key:{site}:{day}"),
            Self::SecretsKey(site) => format!("cavs.v1:secrets-key:{site}"),
            Self::WebhookSecret(site, id) => format!("cavs.v1:webhook-secret:{site}:{id}"),
            Self::Template(id, pack) => format!("cavs.v1:template:{id}:{pack}"),
            Self::Portrait(id) => format!("cavs.v1:portrait:{id}"),
            Self::Probe(id, pack) => format!("cavs.v1:probe:{id}:{pack}"),
            Self::Evidence(id) => format!("cavs.v1:evidence:{id}"),
            Self::Answer(site, user, id) => format!("cavs.v1:answer:{site}:{user}:{id}"),
        }
    }
}

/// A key that seals and opens.
pub struct Key {
    name: KeyName,
    seal: LessSafeKey,
    /// Of a key of its own, so that nothing is under the same one.
    names: hmac::Key,
}

impl Key {
    /// From its bytes; the caller wipes its copy.
    ///
    /// # Panics
    /// Never: the length is right by its type.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the length is right by its type")]
    pub fn new(name: KeyName, bytes: &[u8; KEY_LEN]) -> Self {
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("a key of 32 bytes"));
        let of_names = hmac::sign(&hmac::Key::new(HMAC_SHA256, bytes), b"cavs.v1:names");
        let names = hmac::Key::new(HMAC_SHA256, of_names.as_ref());
        Self { name, seal, names }
    }

    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> KeyName {
        self.name
    }

    /// What a person's name is called where it may not be told: 64 bits in hexadecimal.
    #[must_use]
    pub fn pseudonym(&self, name: &str) -> String {
        let tag = hmac::sign(&self.names, name.as_bytes());
        tag.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Says of some bytes that whoever has the key has seen them, and nothing else. What is tagged begins with a zero, as
    /// no name does.
    #[must_use]
    pub fn tag(&self, bytes: &[u8]) -> [u8; KEY_LEN] {
        let mut tag = [0; KEY_LEN];
        tag.copy_from_slice(hmac::sign(&self.names, bytes).as_ref());
        tag
    }

    /// Whether a tag is of these bytes; it takes as long whichever of its bytes is wrong.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.names, bytes, tag).is_ok()
    }

    /// Encrypts; the result is a byte of format, the key's name, the nonce, the ciphertext and its tag.
    ///
    /// # Errors
    /// `NoRandomness`.
    pub fn seal(&self, owner: Owner, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let mut sealed = Vec::with_capacity(HEADER_LEN + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.name.to_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        // The plaintext is overwritten in place by its ciphertext.
        let tag = self
            .seal
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated_data(owner)),
                &mut sealed[HEADER_LEN + NONCE_LEN..],
            )
            .map_err(|_| SealError::NoRandomness)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Decrypts what [`Self::seal`] made for the same owner.
    ///
    /// # Errors
    /// `DoesNotOpen`.
    pub fn open(&self, owner: Owner, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if KeyName::of(sealed)? != self.name {
            return Err(SealError::DoesNotOpen);
        }
        let (nonce, ciphertext) =
            sealed[HEADER_LEN..].split_first_chunk::<NONCE_LEN>().ok_or(SealError::DoesNotOpen)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .seal
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.associated_data(owner)),
                &mut buffer,
            )
            .map_err(|_| SealError::DoesNotOpen)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// A new random data key, and its bytes sealed by `self` for `owner`.
    ///
    /// # Errors
    /// `NoRandomness`.
    pub fn new_data_key(&self, id: DataKeyId, owner: Owner) -> Result<(Self, Vec<u8>), SealError> {
        let bytes = random_bytes()?;
        Ok((Self::new(KeyName::Data(id), &bytes), self.seal(owner, bytes.as_ref())?))
    }

    /// Opens a data key that [`Self::new_data_key`] made.
    ///
    /// # Errors
    /// `DoesNotOpen`.
    pub fn open_data_key(&self, id: DataKeyId, owner: Owner, wrapped: &[u8]) -> Result<Self, SealError> {
        let bytes = self.open(owner, wrapped)?;
        let bytes: &[u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| SealError::DoesNotOpen)?;
        Ok(Self::new(KeyName::Data(id), bytes))
    }

    /// A data key that `self` has wrapped, wrapped by another key.
    ///
    /// # Errors
    /// `DoesNotOpen`, `NoRandomness`.
    pub fn rewrap(&self, by: &Self, owner: Owner, wrapped: &[u8]) -> Result<Vec<u8>, SealError> {
        by.seal(owner, &self.open(owner, wrapped)?)
    }

    fn associated_data(&self, owner: Owner) -> Vec<u8> {
        let mut data = self.name.to_bytes().to_vec();
        data.extend_from_slice(owner.text().as_bytes());
        data
    }
}

/// The bytes of a new key.
pub(super) fn random_bytes() -> Result<Zeroizing<[u8; KEY_LEN]>, SealError> {
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    SystemRandom::new().fill(bytes.as_mut()).map_err(|_| SealError::NoRandomness)?;
    Ok(bytes)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACK: PackDigest = PackDigest::from_bytes([9; 32]);

    fn evidence() -> Owner {
        Owner::Evidence(SightingId::from(Uuid::nil()))
    }

    fn key(byte: u8) -> Key {
        Key::new(KeyName::Epoch(1), &[byte; KEY_LEN])
    }

    #[test]
    fn opens_for_its_owner_under_its_key_only() {
        let id = Uuid::now_v7();
        let owner = Owner::Template(id.into(), PACK);
        let sealed = key(1).seal(owner, b"face").unwrap();
        assert_eq!(key(1).open(owner, &sealed).unwrap().as_slice(), b"face");
        for other in [
            Owner::Template(TemplateId::generate(), PACK),
            Owner::Template(id.into(), PackDigest::from_bytes([8; 32])),
            Owner::Portrait(id.into()),
            Owner::Probe(id.into(), PACK),
            Owner::Evidence(id.into()),
        ] {
            assert_eq!(key(1).open(other, &sealed).unwrap_err(), SealError::DoesNotOpen);
        }
        assert!(key(2).open(owner, &sealed).is_err());
        // The same bytes under another name are another key.
        assert!(Key::new(KeyName::Epoch(2), &[1; KEY_LEN]).open(owner, &sealed).is_err());
    }

    #[test]
    fn a_ciphertext_names_its_key() {
        for name in [KeyName::Epoch(0), KeyName::Epoch(u32::MAX), KeyName::Data(DataKeyId::generate())] {
            let sealed = Key::new(name, &[1; KEY_LEN]).seal(evidence(), b"x").unwrap();
            assert_eq!(KeyName::of(&sealed), Ok(name));
        }
        // The name is authenticated: another one does not open, whoever holds the bytes.
        let mut sealed = key(1).seal(evidence(), b"x").unwrap();
        sealed[HEADER_LEN - 1] ^= 3;
        assert_eq!(KeyName::of(&sealed), Ok(KeyName::Epoch(2)));
        assert!(Key::new(KeyName::Epoch(2), &[1; KEY_LEN]).open(evidence(), &sealed).is_err());
    }

    #[test]
    fn a_name_has_one_pseudonym_under_a_key() {
        let ada = key(1).pseudonym("ada");
        assert_eq!((ada.len(), &ada), (16, &key(1).pseudonym("ada")));
        assert_ne!(ada, key(1).pseudonym("bob"));
        assert_ne!(ada, key(2).pseudonym("ada"));
    }

    #[test]
    fn data_keys_open_under_their_parent_and_under_the_next_one() {
        let (id, owner) =
            (DataKeyId::generate(), Owner::StudentKey(SiteId::generate(), StudentId::generate()));
        let (data_key, wrapped) = key(1).new_data_key(id, owner).unwrap();
        let sealed = data_key.seal(evidence(), b"x").unwrap();
        let opens = |key: &Key, wrapped: &[u8]| {
            let data_key = key.open_data_key(id, owner, wrapped)?;
            Ok::<_, SealError>(data_key.open(evidence(), &sealed)?.to_vec())
        };
        assert_eq!(opens(&key(1), &wrapped).unwrap(), b"x");
        assert!(opens(&key(2), &wrapped).is_err());
        assert!(key(1).open_data_key(id, Owner::DayKey(SiteId::generate(), Date::MIN), &wrapped).is_err());

        let next = Key::new(KeyName::Epoch(2), &[7; KEY_LEN]);
        let rewrapped = key(1).rewrap(&next, owner, &wrapped).unwrap();
        assert_eq!(opens(&next, &rewrapped).unwrap(), b"x");
        assert!(opens(&key(1), &rewrapped).is_err());
        assert!(opens(&next, &wrapped).is_err());
    }

    proptest! {
        #[test]
        fn damage_is_noticed(plain: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let mut sealed = key(1).seal(evidence(), &plain).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(key(1).open(evidence(), &sealed).is_err());
        }

        #[test]
        fn any_bytes_are_an_error(bytes: Vec<u8>) {
            prop_assert!(key(1).open(evidence(), &bytes).is_err());
        }
    }
}
