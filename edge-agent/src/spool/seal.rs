//! Encryption of what the spool holds: probes and face crops are biometric data, and a memory card
//! is easily taken.

use cavs_secrets::Locked;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

use super::SpoolError;
use crate::sighting::SightingKey;

/// Length of a data key, in bytes.
pub(super) const KEY_BYTES: usize = 32;

/// Which part of a sighting was sealed; one can't be taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SealedPart {
    Body,
    Evidence,
}

/// Seals and opens records with one key. ChaCha20-Poly1305: a Raspberry Pi 4 has no AES unit.
///
/// A sealed record is a random nonce of 12 bytes, the ciphertext, and a tag of 16 bytes. Random
/// nonces of 96 bits are good for 2^32 records of one key, which is forty years at three a second.
pub struct Seal {
    key: Locked<LessSafeKey>,
    random: SystemRandom,
}

impl Seal {
    /// What sealing adds to a length: nonce and tag.
    pub(crate) const OVERHEAD: u64 = 28;

    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Result<Self, SpoolError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| SpoolError::Crypto("the key"))?;
        Ok(Self { key: Locked::new(LessSafeKey::new(key)), random: SystemRandom::new() })
    }

    /// Seals a part of a sighting to its key: under another one it can't be opened.
    pub(super) fn seal(
        &self,
        key: SightingKey,
        part: SealedPart,
        plain: &[u8],
    ) -> Result<Vec<u8>, SpoolError> {
        self.seal_with(&context(key, part), plain)
    }

    /// The plain text, or `None` where it is damaged, of another sighting, or of another key.
    pub(super) fn open(&self, key: SightingKey, part: SealedPart, sealed: Vec<u8>) -> Option<Vec<u8>> {
        self.open_with(&context(key, part), sealed)
    }

    pub(crate) fn seal_with(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, SpoolError> {
        let failed = |_| SpoolError::Crypto("encryption");
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(failed)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + CHACHA20_POLY1305.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(context), &mut sealed[NONCE_LEN..])
            .map_err(failed)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    pub(crate) fn open_with(&self, context: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.key.open_in_place(nonce, Aad::from(context), text).ok()?.len();
        sealed.drain(..NONCE_LEN);
        sealed.truncate(length);
        Some(sealed)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

fn context(key: SightingKey, part: SealedPart) -> Vec<u8> {
    let mut context = match part {
        SealedPart::Body => b"cavs spool body".to_vec(),
        SealedPart::Evidence => b"cavs spool evidence".to_vec(),
    };
    context.extend_from_slice(&key.boot_epoch.to_be_bytes());
    context.extend_from_slice(&key.sequence.to_be_bytes());
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_in_its_place_only() {
        let seal = Seal::new(&[3; KEY_BYTES]).unwrap();
        let key = SightingKey { boot_epoch: 5, sequence: 9 };
        let sealed = seal.seal(key, SealedPart::Body, b"probe").unwrap();
        assert!(!sealed.windows(5).any(|window| window == b"probe"));
        assert_eq!(seal.open(key, SealedPart::Body, sealed.clone()).as_deref(), Some(b"probe".as_slice()));
        assert_eq!(seal.open(key, SealedPart::Evidence, sealed.clone()), None);
        assert_eq!(seal.open(SightingKey { sequence: 8, ..key }, SealedPart::Body, sealed.clone()), None);
        assert_eq!(Seal::new(&[4; KEY_BYTES]).unwrap().open(key, SealedPart::Body, sealed.clone()), None);
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert_eq!(seal.open(key, SealedPart::Body, damaged), None, "byte {index}");
            assert_eq!(seal.open(key, SealedPart::Body, sealed[..index].to_vec()), None, "length {index}");
        }
    }
}
