//! Certificate signing requests of devices.

use rcgen::{CertificateParams, KeyPair, SubjectPublicKeyInfo};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};
use zeroize::Zeroizing;

use crate::CertError;

/// The longest request that is looked at. Ours have about 500 bytes.
pub const MAX_CSR_BYTES: usize = 16 * 1024;

/// A device's new key, and the request that gets it a certificate.
///
/// The key stays on the device; only the request travels.
pub struct DeviceRequest {
    /// PKCS #10, PEM.
    pub csr_pem: String,
    /// PKCS #8, PEM.
    pub key_pem: Zeroizing<String>,
}

impl DeviceRequest {
    /// Makes a key and a request for it. It asks for no name: the CA gives the name.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn generate() -> Result<Self, CertError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let csr_pem = params.serialize_request(&key)?.pem()?;
        Ok(Self { csr_pem, key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

/// The public key of a request whose signature shows that the sender has the private key.
///
/// Names and extensions that the request asks for are not even looked at.
pub(crate) fn public_key(csr_pem: &[u8]) -> Result<SubjectPublicKeyInfo, CertError> {
    if csr_pem.len() > MAX_CSR_BYTES {
        return Err(CertError::Request("is too long"));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem)
        .map_err(|_| CertError::Request("is not in PEM form"))?;
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|_| CertError::Request("can't be understood"))?;
    if !rest.is_empty() {
        return Err(CertError::Request("is followed by something else"));
    }
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| CertError::Request("has a public key of an unknown kind"))?;
    if rcgen::PublicKeyData::algorithm(&key) != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(CertError::Request("must be for an ECDSA key on P-256"));
    }
    request
        .verify_signature()
        .map_err(|_| CertError::Request("has a wrong signature: the private key is another one"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_kinds_of_keys_are_refused() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(
            public_key(csr.as_bytes()).unwrap_err().to_string(),
            "certificate signing request: must be for an ECDSA key on P-256"
        );
    }

    #[test]
    fn a_request_for_another_ones_key_is_refused() {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let other = KeyPair::generate().unwrap();
        let mut der = request.der().to_vec();
        let at = der.windows(65).position(|w| w == key.public_key_raw()).unwrap();
        der[at..at + 65].copy_from_slice(other.public_key_raw());
        let pem = pem_of(&der);
        assert_eq!(
            public_key(pem.as_bytes()).unwrap_err().to_string(),
            "certificate signing request: has a wrong signature: the private key is another one"
        );
    }

    #[test]
    fn long_requests_are_not_parsed() {
        let error = public_key(&vec![b'a'; MAX_CSR_BYTES + 1]).unwrap_err();
        assert_eq!(error.to_string(), "certificate signing request: is too long");
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(input: Vec<u8>) {
            let _ = public_key(&input);
        }

        #[test]
        fn hostile_der_never_panics(der: Vec<u8>) {
            let _ = public_key(pem_of(&der).as_bytes());
        }

        #[test]
        fn damaged_requests_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let key = KeyPair::generate().unwrap();
            let mut der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
            for (index, byte) in flips {
                let at = index.index(der.len());
                der[at] = byte;
            }
            let _ = public_key(pem_of(&der).as_bytes());
        }
    }

    fn pem_of(der: &[u8]) -> String {
        use std::fmt::Write;
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut pem = "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned();
        for chunk in der.chunks(48) {
            for three in chunk.chunks(3) {
                let bits = three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
                let bits = bits << (8 * (3 - three.len()));
                for place in 0..4 {
                    let sign = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63] as char;
                    pem.push(if place <= three.len() { sign } else { '=' });
                }
            }
            pem.push('\n');
        }
        writeln!(pem, "-----END CERTIFICATE REQUEST-----").unwrap();
        pem
    }
}
