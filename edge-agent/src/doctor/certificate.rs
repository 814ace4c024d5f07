use std::path::Path;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{Check, Finding};
use crate::uplink::Endpoint;

/// From here on a certificate should be renewed.
const SOON: i64 = 30 * 86_400;

pub(super) fn check(endpoint: &Endpoint) -> Vec<Finding> {
    const CHECK: Check = Check::Certificate;
    if let Err(error) = endpoint.check() {
        let advice = "issue one with `cavs certs device`, and name its files in server.ca, server.certificate \
                      and server.key; the agent's user must be able to read them";
        return vec![Finding::failed(CHECK, error.to_string(), advice)];
    }
    let now = Timestamp::now().as_second();
    vec![
        validity(&endpoint.certificate, "issue a new one with `cavs certs device`", now),
        validity(&endpoint.ca, "the site's root has to be renewed", now),
    ]
}

fn validity(path: &Path, advice: &str, now: i64) -> Finding {
    const CHECK: Check = Check::Certificate;
    let name = path.display();
    let Some((begins, ends)) = CertificateDer::from_pem_file(path).ok().and_then(|der| bounds(&der)) else {
        return Finding::failed(CHECK, format!("{name}: holds no certificate"), advice);
    };
    let date = |second| Timestamp::from_second(second).map(|time| time.to_string()).unwrap_or_default();
    if now < begins {
        let message = format!("{name}: is not valid before {}", date(begins));
        return Finding::failed(CHECK, message, "the device's clock is likely to be wrong");
    }
    if now > ends {
        return Finding::failed(CHECK, format!("{name}: expired on {}", date(ends)), advice);
    }
    if ends - now < SOON {
        return Finding::warning(CHECK, format!("{name}: expires on {}", date(ends)), advice);
    }
    Finding::ok(CHECK, format!("{name}: valid until {}", date(ends)))
}

/// From when until when a certificate holds, in Unix seconds.
fn bounds(der: &[u8]) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use cavs_certs::write_dev_set;

    use super::*;
    use crate::doctor::Level;

    #[test]
    fn certificates_that_end_are_noticed_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let set = write_dev_set(dir.path(), &["localhost".to_owned()], &[uuid::Uuid::now_v7()]).unwrap();
        let path = &set.devices[0].certificate;
        let (begins, ends) = bounds(&CertificateDer::from_pem_file(path).unwrap()).unwrap();
        let level = |now| validity(path, "renew", now).level;
        assert_eq!(level(begins - 1), Level::Failed);
        assert_eq!(level(begins + 1), Level::Ok);
        assert_eq!(level(ends - SOON + 1), Level::Warning);
        assert_eq!(level(ends + 1), Level::Failed);
        assert_eq!(validity(&set.devices[0].key, "renew", begins).level, Level::Failed, "a key is none");
    }
}
