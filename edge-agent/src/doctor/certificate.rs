use std::path::Path;

use cavs_certs::{CertError, Examined, Validity, check_chain, device_id_of};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{Check, Finding, Level};
use crate::uplink::Endpoint;

pub(super) fn check(endpoint: &Endpoint) -> Vec<Finding> {
    const CHECK: Check = Check::Certificate;
    if let Err(error) = endpoint.check() {
        let advice = "issue one with `cavs certs device`, and name its files in server.ca, server.certificate \
                      and server.key; the agent's user must be able to read them";
        return vec![Finding::failed(CHECK, error.to_string(), advice)];
    }
    let now = Timestamp::now();
    let mut findings = vec![
        validity(&endpoint.certificate, "issue a new one with `cavs certs device`", now),
        validity(&endpoint.ca, "the site's root has to be renewed", now),
    ];
    // Dates were said above.
    if findings.iter().all(|finding| finding.level != Level::Failed) {
        findings.extend(belongs(endpoint));
    }
    findings
}

fn validity(path: &Path, advice: &str, now: Timestamp) -> Finding {
    dates(path, cavs_certs::examine(path), advice, now)
}

fn dates(path: &Path, examined: Result<Examined, CertError>, advice: &str, now: Timestamp) -> Finding {
    const CHECK: Check = Check::Certificate;
    let examined = match examined {
        Ok(examined) => examined,
        Err(CertError::Io { source, .. }) => {
            return Finding::failed(CHECK, format!("{}: {source}", path.display()), advice);
        }
        Err(error) => return Finding::failed(CHECK, error.to_string(), advice),
    };
    let message = examined.in_words(now);
    match examined.validity(now) {
        Validity::NotYet => Finding::failed(CHECK, message, "the device's clock is likely to be wrong"),
        Validity::Expired => Finding::failed(CHECK, message, advice),
        Validity::EndsSoon => Finding::warning(CHECK, message, advice),
        Validity::Holds => Finding::ok(CHECK, message),
    }
}

/// What speaks against the certificate's being a device's of this site.
fn belongs(endpoint: &Endpoint) -> Option<Finding> {
    const CHECK: Check = Check::Certificate;
    let path = &endpoint.certificate;
    let named = CertificateDer::from_pem_file(path).ok().map(|der| device_id_of(&der));
    if let Some(Err(error)) = named {
        let advice = "server.certificate has to be one that `cavs certs device` made";
        return Some(Finding::failed(CHECK, format!("{}: {error}", path.display()), advice));
    }
    check_chain(path, &endpoint.ca, false).err().map(|error| {
        let advice = "certificate and root are of different sites: take both from the same one";
        Finding::failed(CHECK, error.to_string(), advice)
    })
}

#[cfg(test)]
mod tests {
    use cavs_certs::write_dev_set;

    use super::*;

    #[test]
    fn certificates_that_end_are_noticed_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let set = write_dev_set(dir.path(), &["localhost".to_owned()], &[uuid::Uuid::now_v7()]).unwrap();
        let path = &set.devices[0].certificate;
        let second = jiff::SignedDuration::from_secs(1);
        let Examined { not_before, not_after, .. } = cavs_certs::examine(path).unwrap();
        let level = |now| validity(path, "renew", now).level;
        assert_eq!(level(not_before - second), Level::Failed);
        assert_eq!(level(not_before + second), Level::Ok);
        assert_eq!(level(not_after - second), Level::Warning);
        assert_eq!(level(not_after + second), Level::Failed);
        assert_eq!(validity(&set.devices[0].key, "renew", not_before).level, Level::Failed, "a key is none");
    }

    #[test]
    fn a_certificate_of_another_site_or_of_no_device_fails() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let site = |name: &str| {
            let names = ["localhost".to_owned()];
            write_dev_set(&dir.path().join(name), &names, &[uuid::Uuid::now_v7()]).unwrap()
        };
        let (here, elsewhere) = (site("here"), site("elsewhere"));
        let endpoint = |files: &cavs_certs::CertFiles| Endpoint {
            address: http::Uri::from_static("https://localhost:1"),
            ca: here.ca.certificate.clone(),
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            server_name: None,
        };
        let failed = |files| {
            let findings = check(&endpoint(files));
            findings.into_iter().find(|finding| finding.level == Level::Failed).map(|finding| finding.message)
        };
        assert_eq!(failed(&here.devices[0]), None);
        assert!(failed(&elsewhere.devices[0]).unwrap().contains("another root"));
        assert!(failed(&here.server).unwrap().contains("names no device"));
    }
}
