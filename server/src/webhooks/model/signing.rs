//! Signatures as Standard Webhooks has them, version `v1`.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    hmac::{HMAC_SHA256, Key, sign},
    rand::{SecureRandom, SystemRandom},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// What the text of a secret begins with.
const PREFIX: &str = "whsec_";
/// Length of secrets that are made here, in bytes: of those that the specification allows (24 to 64), that of the hash.
const LENGTH: usize = 32;

/// What is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecretError {
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    NoRandomness,
    /// It begins otherwise, is no base64, or of another length.
    #[error("a secret is `whsec_` and 24 to 64 bytes in base64")]
    Malformed,
}

/// What a webhook signs with, and its receiver checks with.
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// A new one.
    ///
    /// # Errors
    /// `NoRandomness`.
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new(vec![0; LENGTH]);
        SystemRandom::new().fill(&mut bytes).map_err(|_| SecretError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// From its bytes, as they were sealed.
    ///
    /// # Errors
    /// `Malformed`: of a length that none has.
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError::Malformed) }
    }

    /// As its text has it.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Malformed)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError::Malformed)?;
        Self::from_bytes(Zeroizing::new(bytes))
    }

    /// Its bytes, to be sealed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As its receiver takes it.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&*self.0)))
    }

    /// The signature of a message: `v1,` and the HMAC of its id, the time of the attempt in seconds, and its bytes.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat();
        format!("v1,{}", STANDARD.encode(sign(&Key::new(HMAC_SHA256, &self.0), &signed)))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification and its libraries publish.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_long_random_and_never_shown_by_accident() {
        let (one, other) = (SigningSecret::generate().unwrap(), SigningSecret::generate().unwrap());
        assert_ne!(one.bytes(), other.bytes());
        let text = one.text();
        assert_eq!(SigningSecret::parse(&text).unwrap().bytes(), one.bytes());
        assert!(!format!("{one:?}").contains(&text[6..]));
        for wrong in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"] {
            assert_eq!(SigningSecret::parse(wrong).unwrap_err(), SecretError::Malformed, "{wrong}");
        }
    }
}
