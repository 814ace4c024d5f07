//! The root of a site, and what it signs.

use std::path::Path;

use jiff::Timestamp;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use uuid::Uuid;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    CertError, CertFiles, csr, files,
    profile::{self, Validity},
};

/// File of the root's certificate in the CA's folder.
pub const CA_CERTIFICATE_FILE: &str = "ca.pem";
/// File of the root's private key in the CA's folder.
pub const CA_KEY_FILE: &str = "ca.key";

/// The site's root: its certificate and private key.
pub struct SiteCa {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
    not_after: Timestamp,
}

/// A new certificate with its private key.
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key, PKCS #8 PEM.
    pub key_pem: Zeroizing<String>,
    /// Last moment at which the certificate holds.
    pub not_after: Timestamp,
    certificate: CertificateDer<'static>,
}

impl SiteCa {
    /// Makes the root of a site, in memory.
    ///
    /// # Errors
    /// `SiteName` where the name does not fit into a certificate.
    pub fn create(site_name: &str) -> Result<Self, CertError> {
        let validity = Validity::root(Timestamp::now());
        let key = KeyPair::generate()?;
        let certificate = profile::root(site_name, validity)?.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
            not_after: validity.not_after,
        })
    }

    /// Reads `ca.pem` and `ca.key` of a folder.
    ///
    /// # Errors
    /// Names the file that is missing, damaged, readable by others, or that does not belong to
    /// the other one.
    pub fn load(dir: &Path) -> Result<Self, CertError> {
        let files = CertFiles::in_dir(dir, CA_CERTIFICATE_FILE, CA_KEY_FILE);
        let pem = files::read(&files.certificate)?;
        let wrong = |problem: &str| files::unusable(&files.certificate, problem);
        let certificate =
            CertificateDer::from_pem_slice(&pem).map_err(|_| wrong("holds no certificate in PEM form"))?;
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| wrong("holds a damaged certificate"))?;
        if !parsed.is_ca() {
            return Err(wrong("is not the certificate of a CA"));
        }
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|_| wrong("ends outside of the calendar"))?;
        let certificate_pem = String::from_utf8(pem).map_err(|_| wrong("is not text"))?;

        let key = load_key(&files.key)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(files::unusable(&files.key, "is not the key of ca.pem beside it"));
        }
        Ok(Self { certificate: certificate.into_owned(), certificate_pem, key, not_after })
    }

    /// Writes `ca.pem` and `ca.key` (mode 0600) into a folder, which is made (mode 0700) where it
    /// is missing.
    ///
    /// # Errors
    /// `Exists` where one of the files is there already.
    pub fn save(&self, dir: &Path) -> Result<CertFiles, CertError> {
        let files = CertFiles::in_dir(dir, CA_CERTIFICATE_FILE, CA_KEY_FILE);
        files.write(&self.certificate_pem, &Zeroizing::new(self.key.serialize_pem()))?;
        Ok(files)
    }

    /// The root's certificate, PEM: what everybody at the site checks others against.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The root's certificate, DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// When the root ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A new key and certificate for a server that is reached by these DNS names and addresses.
    ///
    /// # Errors
    /// `ServerName`, `NoServerName`, or `RootExpired`.
    pub fn issue_server(&self, names: &[String]) -> Result<Issued, CertError> {
        let validity = self.leaf_validity()?;
        self.issue(&profile::server(names, validity)?, validity)
    }

    /// A new key and certificate for a device.
    ///
    /// # Errors
    /// `RootExpired`.
    pub fn issue_device(&self, device_id: Uuid) -> Result<Issued, CertError> {
        let validity = self.leaf_validity()?;
        self.issue(&profile::device(device_id, validity)?, validity)
    }

    /// A certificate, PEM, for a device that made its own key.
    ///
    /// Only the public key is taken from the request: never a name, a usage or an extension.
    ///
    /// # Errors
    /// `Request` where the request is not a good one, or `RootExpired`.
    pub fn sign_device_csr(&self, device_id: Uuid, csr_pem: &[u8]) -> Result<String, CertError> {
        let params = profile::device(device_id, self.leaf_validity()?)?;
        let certificate = params.signed_by(&csr::public_key(csr_pem)?, &self.issuer()?)?;
        Ok(certificate.pem())
    }

    fn issue(&self, params: &CertificateParams, validity: Validity) -> Result<Issued, CertError> {
        let mut key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer()?)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        key.zeroize();
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem,
            not_after: validity.not_after,
            certificate: certificate.der().clone(),
        })
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, CertError> {
        Ok(Issuer::from_ca_cert_der(&self.certificate, &self.key)?)
    }

    fn leaf_validity(&self) -> Result<Validity, CertError> {
        Validity::leaf(Timestamp::now(), self.not_after)
    }
}

impl Drop for SiteCa {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Issued {
    /// Writes `NAME.pem` and `NAME.key` (mode 0600) into a folder.
    ///
    /// # Errors
    /// `Exists` where one of the files is there already.
    pub fn save(&self, dir: &Path, name: &str) -> Result<CertFiles, CertError> {
        let files = CertFiles::in_dir(dir, &format!("{name}.pem"), &format!("{name}.key"));
        files.write(&self.certificate_pem, &self.key_pem)?;
        Ok(files)
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }
}

fn load_key(path: &Path) -> Result<KeyPair, CertError> {
    let pem = files::read_key(path)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem)
        .map_err(|_| files::unusable(path, "holds no PKCS #8 private key in PEM form"))?;
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|_| files::unusable(path, "is not an ECDSA key on P-256"))
}
