//! What the certificates of a site say: names, usages, validity.

use std::{net::IpAddr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::DnsName;
use uuid::Uuid;

use crate::{CertError, identity::device_uri};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Ten years, leap days left aside: as long as a site's installation lives.
const ROOT_DAYS: i32 = 3650;
/// A year and a month of grace, under the 398 days that common clients still accept of a server.
const LEAF_DAYS: i32 = 397;
/// A Pi has no battery for its clock: one that is a little behind must still see the certificate as valid.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);
/// 126 random bits: CA/Browser baseline requirements ask for 64, RFC 5280 allows at most 20 bytes.
const SERIAL_BYTES: usize = 16;

/// From when until when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    pub(crate) fn root(now: Timestamp) -> Self {
        Self { not_before: now - CLOCK_SKEW, not_after: now + DAY * ROOT_DAYS }
    }

    /// A leaf never outlives the root that vouches for it.
    pub(crate) fn leaf(now: Timestamp, root_ends: Timestamp) -> Result<Self, CertError> {
        if root_ends <= now {
            return Err(CertError::RootExpired(root_ends));
        }
        Ok(Self { not_before: now - CLOCK_SKEW, not_after: root_ends.min(now + DAY * LEAF_DAYS) })
    }
}

pub(crate) fn root(site_name: &str, validity: Validity) -> Result<CertificateParams, CertError> {
    let length = site_name.chars().count();
    // RFC 5280, ub-common-name.
    if !(1..=64).contains(&length) || site_name.chars().any(char::is_control) {
        return Err(CertError::SiteName(site_name.chars().take(80).collect()));
    }
    let mut params = certificate(site_name, validity)?;
    params.distinguished_name.push(DnType::OrganizationName, "CAVS");
    // No intermediate authorities: the root signs leaves itself.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

pub(crate) fn server(names: &[String], validity: Validity) -> Result<CertificateParams, CertError> {
    if names.is_empty() {
        return Err(CertError::NoServerName);
    }
    let mut params = certificate("cavs-server", validity)?;
    params.subject_alt_names = names.iter().map(|name| server_name(name)).collect::<Result<_, _>>()?;
    leaf(&mut params, ExtendedKeyUsagePurpose::ServerAuth);
    Ok(params)
}

pub(crate) fn device(id: Uuid, validity: Validity) -> Result<CertificateParams, CertError> {
    let mut params = certificate(&format!("device {id}"), validity)?;
    params.subject_alt_names = vec![SanType::URI(device_uri(id).try_into()?)];
    leaf(&mut params, ExtendedKeyUsagePurpose::ClientAuth);
    Ok(params)
}

fn certificate(common_name: &str, validity: Validity) -> Result<CertificateParams, CertError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(random_serial()?);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(validity.not_before);
    params.not_after = epoch + since_epoch(validity.not_after);
    Ok(params)
}

fn leaf(params: &mut CertificateParams, usage: ExtendedKeyUsagePurpose) {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
}

/// Whether a certificate can carry a name or an address of a server.
pub(crate) fn is_server_name(name: &str) -> bool {
    server_name(name).is_ok()
}

fn server_name(name: &str) -> Result<SanType, CertError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || CertError::ServerName(name.chars().take(80).collect());
    let checked = DnsName::try_from(name).map_err(|_| refused())?;
    Ok(SanType::DnsName(checked.as_ref().try_into().map_err(|_| refused())?))
}

/// Certificates carry whole seconds.
fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default())
}

fn random_serial() -> Result<SerialNumber, CertError> {
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial).map_err(|_| CertError::Random)?;
    // Positive, and always of the same length: the top bits are 01.
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&serial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_never_outlive_the_root() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let root_ends: Timestamp = "2026-04-01T10:00:00Z".parse().unwrap();
        assert_eq!(Validity::leaf(now, root_ends).unwrap().not_after, root_ends);
        let far = Validity::leaf(now, Validity::root(now).not_after).unwrap();
        assert_eq!(far.not_after.to_string(), "2027-04-02T10:00:00Z");
        assert_eq!(far.not_before.to_string(), "2026-03-01T09:45:00Z");
        assert!(matches!(Validity::leaf(root_ends, root_ends), Err(CertError::RootExpired(_))));
    }

    #[test]
    fn server_names_are_checked() {
        for good in ["localhost", "cavs.school.example", "127.0.0.1", "::1"] {
            server_name(good).unwrap();
        }
        for bad in ["", "*", "a b", "https://cavs", "host:8443", "name\0", "übung.example", "-x"] {
            assert!(matches!(server_name(bad), Err(CertError::ServerName(_))), "{bad:?}");
        }
    }

    #[test]
    fn site_names_are_checked() {
        let validity = Validity::root(Timestamp::now());
        root("Grundschule am Ölberg", validity).unwrap();
        for bad in [String::new(), "x".repeat(65), "a\nb".to_owned()] {
            assert!(matches!(root(&bad, validity), Err(CertError::SiteName(_))), "{bad:?}");
        }
    }
}
