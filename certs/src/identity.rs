//! Which device a certificate names.

use thiserror::Error;
use uuid::Uuid;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, ParsedExtension},
};

/// What comes before the device's UUID in the URI name of its certificate.
pub const DEVICE_URI_PREFIX: &str = "urn:cavs:device:";

/// Why a certificate says nothing about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Not a DER certificate, or one followed by something else.
    #[error("is not a certificate")]
    Malformed,
    /// No `urn:cavs:device:` name.
    #[error("names no device")]
    Missing,
    /// More than one `urn:cavs:device:` name.
    #[error("names several devices")]
    Ambiguous,
    /// A `urn:cavs:device:` name that does not end in a UUID in its usual form.
    #[error("names a device by something that is no UUID")]
    NotAUuid,
}

/// The device that a certificate names: the one URI name `urn:cavs:device:UUID`.
///
/// This reads a certificate; that it was signed by the site's root must have been checked before.
///
/// # Errors
/// Anything but exactly one such name is an [`IdentityError`]. Never panics.
pub fn device_id_of(certificate_der: &[u8]) -> Result<Uuid, IdentityError> {
    let (rest, certificate) =
        X509Certificate::from_der(certificate_der).map_err(|_| IdentityError::Malformed)?;
    if !rest.is_empty() {
        return Err(IdentityError::Malformed);
    }
    // Walk all extensions, not just the first of its kind: a second one must not go unseen.
    let mut devices = certificate
        .extensions()
        .iter()
        .filter_map(|extension| {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
                return None;
            };
            Some(&names.general_names)
        })
        .flatten()
        .filter_map(|name| {
            let GeneralName::URI(uri) = name else { return None };
            uri.strip_prefix(DEVICE_URI_PREFIX)
        });
    let device = devices.next().ok_or(IdentityError::Missing)?;
    if devices.next().is_some() {
        return Err(IdentityError::Ambiguous);
    }
    let id = Uuid::try_parse(device).map_err(|_| IdentityError::NotAUuid)?;
    // One device, one spelling: `Uuid` would also read braces, no hyphens and capital letters.
    if id.hyphenated().to_string() == device { Ok(id) } else { Err(IdentityError::NotAUuid) }
}

/// The URI name of a device's certificate.
pub(crate) fn device_uri(id: Uuid) -> String {
    format!("{DEVICE_URI_PREFIX}{}", id.hyphenated())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;
    use crate::SiteCa;

    const DEVICE: &str = "urn:cavs:device:01890000-0000-7000-8000-000000000001";

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        for &uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn exactly_one_device_name_counts() {
        let id: Uuid = DEVICE.strip_prefix(DEVICE_URI_PREFIX).unwrap().parse().unwrap();
        assert_eq!(device_id_of(&certificate(&[DEVICE])), Ok(id));
        assert_eq!(device_id_of(&certificate(&["https://example.org", DEVICE])), Ok(id));
        assert_eq!(device_id_of(&certificate(&[])), Err(IdentityError::Missing));
        assert_eq!(device_id_of(&certificate(&["urn:other:device:1"])), Err(IdentityError::Missing));
        assert_eq!(device_id_of(&certificate(&[DEVICE, DEVICE])), Err(IdentityError::Ambiguous));
        assert_eq!(
            device_id_of(&certificate(&["urn:cavs:device:", DEVICE])),
            Err(IdentityError::Ambiguous),
            "a broken name beside a good one"
        );
    }

    #[test]
    fn device_names_have_one_spelling() {
        for text in [
            "",
            "7",
            "{01890000-0000-7000-8000-000000000001}",
            "01890000000070008000000000000001",
            "01890000-0000-7000-8000-00000000000A",
            "01890000-0000-7000-8000-000000000001 ",
            "01890000-0000-7000-8000-000000000001\0",
        ] {
            let certificate = certificate(&[&format!("{DEVICE_URI_PREFIX}{text}")]);
            assert_eq!(device_id_of(&certificate), Err(IdentityError::NotAUuid), "{text:?}");
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut certificate = certificate(&[DEVICE]);
        certificate.push(0);
        assert_eq!(device_id_of(&certificate), Err(IdentityError::Malformed));
    }

    proptest! {
        #[test]
        fn hostile_input_never_panics(input: Vec<u8>) {
            let _ = device_id_of(&input);
        }

        #[test]
        fn damaged_certificates_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut: prop::sample::Index) {
            let mut der = good_certificate();
            for (index, byte) in flips {
                let at = index.index(der.len());
                der[at] = byte;
            }
            let _ = device_id_of(&der);
            let _ = device_id_of(&der[..cut.index(der.len())]);
        }
    }

    fn good_certificate() -> Vec<u8> {
        use std::sync::OnceLock;
        static DER: OnceLock<Vec<u8>> = OnceLock::new();
        DER.get_or_init(|| {
            let issued = SiteCa::create("test").unwrap().issue_device(Uuid::nil()).unwrap();
            issued.certificate_der().to_vec()
        })
        .clone()
    }
}
