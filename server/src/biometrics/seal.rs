//! Encryption of embeddings and evidence.
//!
//! AES-256-GCM under data keys (one a student, one a month of sightings), which are themselves
//! sealed by the site's key-encryption key. Associated data binds every ciphertext to its owner,
//! so that a row moved to another place in the database does not open.

use std::fmt;

use cavs_embedding::PackDigest;
use cavs_types::{SightingId, StudentId, TemplateId};
use jiff::civil::Date;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac::{self, HMAC_SHA256},
    rand::{SecureRandom, SystemRandom},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// First byte of every ciphertext: the format's version.
const FORMAT: u8 = 1;
/// Length of keys, in bytes.
pub const KEY_LEN: usize = 32;

/// Why something can't be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// Another key, another owner, or damaged data; which of them can't be told.
    #[error("sealed data does not open: wrong key, wrong owner, or damaged")]
    DoesNotOpen,
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    NoRandomness,
}

/// Whom a ciphertext belongs to: it opens for the same owner only.
#[derive(Debug, Clone, Copy)]
pub enum Owner {
    /// The proof that the right key-encryption key is in use.
    Proof,
    /// The data key of a student.
    StudentKey(StudentId),
    /// The data key of the sightings of a month, named by its first day.
    MonthKey(Date),
    /// A template of a pack.
    Template(TemplateId, PackDigest),
    /// A sighting's probe, made by a pack.
    Probe(SightingId, PackDigest),
    /// A sighting's evidence.
    Evidence(SightingId),
}

impl Owner {
    /// Unambiguous: the kind, then fields of fixed length.
    fn associated_data(self) -> String {
        match self {
            Self::Proof => "cavs.v1:proof".to_owned(),
            Self::StudentKey(id) => format!("cavs.v1:student-key:{id}"),
            Self::MonthKey(month) => format!("cavs.v1:month-key:{month}"),
            Self::Template(id, pack) => format!("cavs.v1:template:{id}:{pack}"),
            Self::Probe(id, pack) => format!("cavs.v1:probe:{id}:{pack}"),
            Self::Evidence(id) => format!("cavs.v1:evidence:{id}"),
        }
    }
}

/// A key that seals and opens.
pub struct Key {
    seal: LessSafeKey,
    /// Of a key of its own, so that nothing is under the same one.
    names: hmac::Key,
}

impl Key {
    /// Wraps 32 bytes; the caller wipes its copy.
    ///
    /// # Panics
    /// Never: the length is right by its type.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the length is right by its type")]
    pub fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("a key of 32 bytes"));
        let of_names = hmac::sign(&hmac::Key::new(HMAC_SHA256, bytes), b"cavs.v1:names");
        let names = hmac::Key::new(HMAC_SHA256, of_names.as_ref());
        Self { seal, names }
    }

    /// What a name is called where it may not be told: 64 bits in hexadecimal.
    #[must_use]
    pub fn pseudonym(&self, name: &str) -> String {
        let tag = hmac::sign(&self.names, name.as_bytes());
        tag.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Encrypts; the result is one byte of format, the nonce, the ciphertext and its tag.
    ///
    /// # Errors
    /// `NoRandomness`.
    pub fn seal(&self, owner: Owner, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        // The plaintext is overwritten in place by its ciphertext.
        let tag = self
            .seal
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(owner.associated_data().as_bytes()),
                &mut sealed[1 + NONCE_LEN..],
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
        let (&format, rest) = sealed.split_first().ok_or(SealError::DoesNotOpen)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::DoesNotOpen)?;
        if format != FORMAT {
            return Err(SealError::DoesNotOpen);
        }
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .seal
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(owner.associated_data().as_bytes()),
                &mut buffer,
            )
            .map_err(|_| SealError::DoesNotOpen)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// A new random data key: the key itself, and its bytes sealed by `self` for `owner`.
    ///
    /// # Errors
    /// `NoRandomness`.
    pub fn new_data_key(&self, owner: Owner) -> Result<(Self, Vec<u8>), SealError> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        SystemRandom::new().fill(bytes.as_mut()).map_err(|_| SealError::NoRandomness)?;
        Ok((Self::new(&bytes), self.seal(owner, bytes.as_ref())?))
    }

    /// Opens a data key that [`Self::new_data_key`] made.
    ///
    /// # Errors
    /// `DoesNotOpen`.
    pub fn open_data_key(&self, owner: Owner, wrapped: &[u8]) -> Result<Self, SealError> {
        let bytes = self.open(owner, wrapped)?;
        let bytes: &[u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| SealError::DoesNotOpen)?;
        Ok(Self::new(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACK: PackDigest = PackDigest::from_bytes([9; 32]);

    fn evidence() -> Owner {
        Owner::Evidence(SightingId::from(uuid::Uuid::nil()))
    }

    fn key(byte: u8) -> Key {
        Key::new(&[byte; KEY_LEN])
    }

    #[test]
    fn opens_for_its_owner_under_its_key_only() {
        let id = uuid::Uuid::now_v7();
        let owner = Owner::Template(id.into(), PACK);
        let sealed = key(1).seal(owner, b"face").unwrap();
        assert_eq!(key(1).open(owner, &sealed).unwrap().as_slice(), b"face");
        for other in [
            Owner::Template(TemplateId::generate(), PACK),
            Owner::Template(id.into(), PackDigest::from_bytes([8; 32])),
            Owner::Probe(id.into(), PACK),
            Owner::Evidence(id.into()),
        ] {
            assert_eq!(key(1).open(other, &sealed).unwrap_err(), SealError::DoesNotOpen);
        }
        assert!(key(2).open(owner, &sealed).is_err());
    }

    #[test]
    fn a_name_has_one_pseudonym_under_a_key() {
        let ada = key(1).pseudonym("ada");
        assert_eq!((ada.len(), &ada), (16, &key(1).pseudonym("ada")));
        assert_ne!(ada, key(1).pseudonym("bob"));
        assert_ne!(ada, key(2).pseudonym("ada"));
    }

    #[test]
    fn data_keys_open_under_their_parent() {
        let owner = Owner::StudentKey(StudentId::generate());
        let (data_key, wrapped) = key(1).new_data_key(owner).unwrap();
        let sealed = data_key.seal(evidence(), b"x").unwrap();
        let again = key(1).open_data_key(owner, &wrapped).unwrap();
        assert_eq!(again.open(evidence(), &sealed).unwrap().as_slice(), b"x");
        assert!(key(2).open_data_key(owner, &wrapped).is_err());
        assert!(key(1).open_data_key(Owner::MonthKey(Date::MIN), &wrapped).is_err());
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
