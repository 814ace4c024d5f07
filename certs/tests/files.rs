//! What is on disk, and what is refused to be read from it.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use cavs_certs::{CertError, DeviceRequest, SiteCa, device_id_of, write_dev_set};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use uuid::Uuid;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_saved_ca_signs_after_loading() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("site/ca");
    let created = SiteCa::create("Hill School").unwrap();
    let files = created.save(&dir).unwrap();
    assert_eq!((mode(&dir), mode(&files.key), mode(&files.certificate)), (0o700, 0o600, 0o644));

    let loaded = SiteCa::load(&dir).unwrap();
    assert_eq!(loaded.certificate_der(), created.certificate_der());
    assert_eq!(loaded.not_after().as_second(), created.not_after().as_second());
    let id = Uuid::now_v7();
    let issued = loaded.issue_device(id).unwrap();
    assert_eq!(device_id_of(issued.certificate_der()), Ok(id));
    assert!(issued.not_after < loaded.not_after());
}

#[test]
fn keys_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let ca = SiteCa::create("a").unwrap();
    let files = ca.save(dir.path()).unwrap();
    let before = fs::read(&files.key).unwrap();
    let error = SiteCa::create("b").unwrap().save(dir.path()).unwrap_err();
    assert!(error.to_string().contains("ca.pem: exists already"), "{error}");
    assert_eq!(fs::read(&files.key).unwrap(), before);

    // A left-over key alone is enough to refuse.
    fs::remove_file(&files.certificate).unwrap();
    assert!(matches!(ca.save(dir.path()), Err(CertError::Exists(path)) if path == files.key));
    assert!(!files.certificate.exists());

    let names = ["localhost".to_owned()];
    assert!(matches!(write_dev_set(dir.path(), &names, &[]), Err(CertError::Exists(_))));
}

#[test]
fn broken_ca_folders_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let load = || SiteCa::load(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(load().contains("ca.pem: No such file"), "{}", load());

    let files = SiteCa::create("a").unwrap().save(dir.path()).unwrap();
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(load().contains("others may read this private key (mode 0640); run: chmod 600"), "{}", load());

    let key = fs::read(&files.key).unwrap();
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&files.key, DeviceRequest::generate().unwrap().key_pem.as_bytes()).unwrap();
    assert!(load().ends_with("ca.key: is not the key of ca.pem beside it"), "{}", load());
    fs::write(&files.key, "nonsense").unwrap();
    assert!(load().ends_with("ca.key: holds no PKCS #8 private key in PEM form"), "{}", load());

    fs::write(&files.key, key).unwrap();
    let leaf = SiteCa::load(dir.path()).unwrap().issue_device(Uuid::nil()).unwrap().certificate_pem;
    fs::write(&files.certificate, leaf).unwrap();
    assert!(load().ends_with("ca.pem: is not the certificate of a CA"), "{}", load());
    fs::write(&files.certificate, b"\xff").unwrap();
    assert!(load().ends_with("ca.pem: holds no certificate in PEM form"), "{}", load());
}

#[test]
fn a_development_set_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let id = Uuid::now_v7();
    let set = write_dev_set(dir.path(), &["localhost".to_owned(), "127.0.0.1".to_owned()], &[id]).unwrap();
    assert_eq!(set.ca.certificate, dir.path().join("ca.pem"));
    assert_eq!(set.server.key, dir.path().join("server.key"));
    assert_eq!(set.devices[0].certificate, dir.path().join(format!("devices/{id}.pem")));
    for files in [&set.ca, &set.server, &set.devices[0]] {
        assert_eq!(mode(&files.key), 0o600);
    }
    let der = CertificateDer::from_pem_file(&set.devices[0].certificate).unwrap();
    assert_eq!(device_id_of(&der), Ok(id));
}

#[test]
fn a_wrong_server_name_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let error = write_dev_set(dir.path(), &["no such name".to_owned()], &[]).unwrap_err();
    assert_eq!(error.to_string(), "server name \"no such name\": is neither a DNS name nor an IP address");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
