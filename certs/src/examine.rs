//! What a certificate file says: dates and names, before anybody relies on them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::{CertError, TlsFault, files, tls_fault};

/// From here on a certificate should be renewed.
const WARN_BEFORE_END: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a file of certificates says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The PEM file that it was read from.
    pub path: PathBuf,
    /// From when on all of its certificates hold.
    pub not_before: Timestamp,
    /// Until when all of its certificates hold.
    pub not_after: Timestamp,
    /// Host names and addresses of the first one.
    pub names: Vec<String>,
}

/// Whether a certificate holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It does not hold yet.
    NotYet,
    /// It holds for thirty days at least.
    Holds,
    /// It holds, and has to be renewed soon.
    EndsSoon,
    /// It does not hold any more.
    Expired,
}

/// Reads a file of certificates: a leaf with its intermediates, or a root.
///
/// # Errors
/// `Io`, or `Unusable`: it holds no certificates.
pub fn examine(path: &Path) -> Result<Examined, CertError> {
    let damaged = || files::unusable(path, "holds a damaged certificate");
    let chain = read_chain(path)?;
    let mut found: Option<Examined> = None;
    for der in &chain {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| damaged())?;
        let second = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|_| damaged())
        };
        let not_before = second(certificate.validity().not_before)?;
        let not_after = second(certificate.validity().not_after)?;
        match &mut found {
            None => {
                let names = names(&certificate);
                found = Some(Examined { path: path.to_owned(), not_before, not_after, names });
            }
            Some(leaf) => {
                leaf.not_before = leaf.not_before.max(not_before);
                leaf.not_after = leaf.not_after.min(not_after);
            }
        }
    }
    found.ok_or_else(|| empty(path))
}

impl Examined {
    /// Whether it holds at a time.
    #[must_use]
    pub fn validity(&self, now: Timestamp) -> Validity {
        if now < self.not_before {
            Validity::NotYet
        } else if now > self.not_after {
            Validity::Expired
        } else if self.not_after.duration_since(now) < WARN_BEFORE_END {
            Validity::EndsSoon
        } else {
            Validity::Holds
        }
    }

    /// Its dates in a sentence that begins with the file's name.
    #[must_use]
    pub fn in_words(&self, now: Timestamp) -> String {
        let name = self.path.display();
        let Self { not_before, not_after, .. } = self;
        match self.validity(now) {
            Validity::NotYet => {
                format!("{name}: is not valid before {not_before}; is this machine's clock right?")
            }
            Validity::Holds => format!("{name}: valid until {not_after}"),
            Validity::EndsSoon => format!("{name}: expires on {not_after}"),
            Validity::Expired => format!("{name}: expired on {not_after}"),
        }
    }
}

/// Whether an authority vouches for a certificate that holds now: a device's, or a server's where `server` is.
///
/// # Errors
/// `Io`, `Unusable`: a file, or that it does not.
pub fn check_chain(path: &Path, authority: &Path, server: bool) -> Result<(), CertError> {
    let chain = read_chain(path)?;
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| empty(path))?;
    let mut roots = RootCertStore::empty();
    for root in read_chain(authority)? {
        roots.add(root).map_err(|error| files::unusable(authority, error))?;
    }
    let no_authority = |error: VerifierBuilderError| files::unusable(authority, error);
    let (roots, now) = (Arc::new(roots), UnixTime::now());
    let verified = if server {
        let name = examine(path)?.names.into_iter().next().unwrap_or_default();
        let name = ServerName::try_from(name).map_err(|_| files::unusable(path, "names no host"))?;
        let verifier = WebPkiServerVerifier::builder(roots).build().map_err(no_authority)?;
        verifier.verify_server_cert(leaf, intermediates, &name, &[], now).map(drop)
    } else {
        let verifier = WebPkiClientVerifier::builder(roots).build().map_err(no_authority)?;
        verifier.verify_client_cert(leaf, intermediates, now).map(drop)
    };
    verified.map_err(|error| {
        let problem = match tls_fault(&error) {
            Some(TlsFault::NotTrusted(problem)) => problem,
            Some(fault) => fault.to_string(),
            None => error.to_string(),
        };
        files::unusable(path, problem.replace("the configured root", &authority.display().to_string()))
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let pem = files::read(path)?;
    let damaged = |_| files::unusable(path, "holds a damaged certificate");
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(damaged)?;
    if chain.is_empty() { Err(empty(path)) } else { Ok(chain) }
}

fn empty(path: &Path) -> CertError {
    files::unusable(path, "holds no certificate in PEM form")
}

/// DNS names and addresses that a server's certificate holds for.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    names
        .value
        .general_names
        .iter()
        .filter_map(|name| {
            if let GeneralName::DNSName(name) = name {
                return Some((*name).to_owned());
            }
            let GeneralName::IPAddress(octets) = name else { return None };
            let v4 = <[u8; 4]>::try_from(*octets).map(std::net::IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(std::net::IpAddr::from));
            address.ok().map(|address| address.to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_dev_set;

    #[test]
    fn dates_and_names_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost", "10.0.0.4", "::1"].map(str::to_owned);
        let set = write_dev_set(dir.path(), &names, &[]).unwrap();
        let examined = examine(&set.server.certificate).unwrap();
        assert_eq!(examined.names, names);
        let Examined { not_before, not_after, .. } = examined;
        let second = SignedDuration::from_secs(1);
        for (now, validity, word) in [
            (not_before - second, Validity::NotYet, "not valid before"),
            (not_before, Validity::Holds, "valid until"),
            (not_after - WARN_BEFORE_END + second, Validity::EndsSoon, "expires on"),
            (not_after + second, Validity::Expired, "expired on"),
        ] {
            assert_eq!(examined.validity(now), validity);
            assert!(examined.in_words(now).contains(word), "{}", examined.in_words(now));
        }
        let key = examine(&set.server.key).unwrap_err().to_string();
        assert!(key.contains("holds no certificate"), "{key}");
    }

    #[test]
    fn an_authority_vouches_for_its_own_only() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let site = |name: &str| {
            write_dev_set(&dir.path().join(name), &["10.0.0.4".to_owned()], &[uuid::Uuid::now_v7()]).unwrap()
        };
        let (here, elsewhere) = (site("here"), site("elsewhere"));
        let root = &here.ca.certificate;
        check_chain(&here.server.certificate, root, true).unwrap();
        check_chain(&here.devices[0].certificate, root, false).unwrap();
        for (path, server, problem) in [
            (&elsewhere.server.certificate, true, "another root than"),
            (&elsewhere.devices[0].certificate, false, "another root than"),
            (&here.server.certificate, false, "another purpose"),
            (&here.devices[0].certificate, true, "names no host"),
        ] {
            let refused = check_chain(path, root, server).unwrap_err().to_string();
            assert!(refused.contains(problem), "{refused}");
        }
    }

    #[test]
    fn a_chain_holds_as_long_as_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let set = write_dev_set(dir.path(), &["localhost".to_owned()], &[]).unwrap();
        let (leaf, root) = (examine(&set.server.certificate).unwrap(), examine(&set.ca.certificate).unwrap());
        let both = dir.path().join("chain.pem");
        let text =
            [&set.ca.certificate, &set.server.certificate].map(|path| std::fs::read_to_string(path).unwrap());
        std::fs::write(&both, text.concat()).unwrap();
        let chain = examine(&both).unwrap();
        assert_eq!(chain.not_after, leaf.not_after.min(root.not_after));
    }
}
