//! Tokens of people and of cameras: random, and stored as hashes only.

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use secrecy::SecretString;

use crate::biometrics::SealError;

/// 256 random bits in hexadecimal.
pub(crate) fn new_token() -> Result<SecretString, SealError> {
    let mut bytes = zeroize::Zeroizing::new([0u8; 32]);
    SystemRandom::new().fill(bytes.as_mut()).map_err(|_| SealError::NoRandomness)?;
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(text.into())
}

/// Whether a text has the form of [`new_token`]'s.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Tokens have 256 bits of entropy: a plain hash is enough.
pub(crate) fn hash_token(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn only_what_has_the_form_of_a_token_is_looked_up() {
        let token = new_token().unwrap();
        assert!(is_token(token.expose_secret()));
        let upper = token.expose_secret().to_uppercase().replace(|c: char| c.is_ascii_digit(), "A");
        for wrong in ["", "x", &token.expose_secret()[1..], &format!("{}0", token.expose_secret()), &upper] {
            assert!(!is_token(wrong), "{wrong}");
        }
    }
}
