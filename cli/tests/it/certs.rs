//! Making certificates.

use std::{fs, os::unix::fs::PermissionsExt};

use cavs_certs::{DeviceRequest, device_id_of};
use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, pem::PemObject},
    server::ParsedCertificate,
};

use crate::program::cavs;

const ID: &str = "01890000-0000-7000-8000-00000000000d";

#[test]
fn a_development_set_is_made_once() {
    let home = tempfile::tempdir().unwrap();
    let ran = cavs(home.path(), &["certs", "dev", "--out", "dev", "--device-id", ID, "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["ca_certificate"], "dev/ca.pem");
    // A machine in the room reaches the server by a name or an address that is not this one's own.
    let names: Vec<String> = serde_json::from_value(ran.json()["server_names"].clone()).unwrap();
    assert_eq!(names, cavs_certs::machine_names());
    let certificate = CertificateDer::from_pem_file(home.path().join("dev/server.pem")).unwrap();
    let certificate = ParsedCertificate::try_from(&certificate).unwrap();
    for name in names {
        verify_server_name(&certificate, &name.try_into().unwrap()).unwrap();
    }
    assert_eq!(ran.json()["devices"][0]["key"], format!("dev/devices/{ID}.key"));
    let key = home.path().join("dev/server.key");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = cavs(home.path(), &["certs", "dev", "--out", "dev"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("exists already and is not overwritten"), "{ran:?}");
}

#[test]
fn a_site_signs_servers_and_devices() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(cavs(home.path(), &["certs", "root", "--site-name", "Hill School", "--out", "ca"]).code, 0);
    let arguments =
        ["certs", "server", "--ca", "ca", "--server-name", "cavs.hill.example", "--out", "server"];
    let ran = cavs(home.path(), &arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = cavs(home.path(), &["certs", "device", "--ca", "ca", "--device-id", ID, "--out", "pi"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let certificate = CertificateDer::from_pem_file(home.path().join("pi/device.pem")).unwrap();
    assert_eq!(device_id_of(&certificate), Ok(ID.parse().unwrap()));
    // The folder is all that the device needs, and has nothing that it must not have.
    let mut files: Vec<_> =
        fs::read_dir(home.path().join("pi")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["ca.pem", "device.key", "device.pem"]);
    assert_eq!(
        fs::read(home.path().join("pi/ca.pem")).unwrap(),
        fs::read(home.path().join("ca/ca.pem")).unwrap()
    );

    let again = cavs(home.path(), &["certs", "device", "--ca", "ca", "--device-id", ID, "--out", "pi"]);
    assert_eq!(again.code, 1, "{again:?}");
    let missing = cavs(home.path(), &["certs", "device", "--ca", "none", "--device-id", ID, "--out", "pi2"]);
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.stderr.contains("none/ca.pem"), "{missing:?}");
}

#[test]
fn a_device_may_keep_its_own_key() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(cavs(home.path(), &["certs", "root", "--site-name", "Hill School", "--out", "ca"]).code, 0);
    let request = DeviceRequest::generate().unwrap();
    fs::write(home.path().join("pi.csr"), &request.csr_pem).unwrap();
    let arguments =
        ["certs", "device", "--ca", "ca", "--device-id", ID, "--csr", "pi.csr", "--out", "pi", "-o", "json"];
    let ran = cavs(home.path(), &arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.json()["key"].is_null());
    assert!(!home.path().join("pi/device.key").exists());
    fs::write(home.path().join("pi.csr"), "hello").unwrap();
    let arguments = ["certs", "device", "--ca", "ca", "--device-id", ID, "--csr", "pi.csr", "--out", "pi3"];
    let ran = cavs(home.path(), &arguments);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("certificate signing request: is not in PEM form"), "{ran:?}");
    assert!(!home.path().join("pi3").exists());
}

#[test]
fn an_environment_for_the_server_does_not_disturb() {
    let home = tempfile::tempdir().unwrap();
    let env = [("CAVS_CA", "elsewhere/ca.pem"), ("CAVS_SERVER", "nonsense")];
    let ran =
        crate::program::run(home.path(), &["certs", "root", "--site-name", "a", "--out", "ca"], &env, "");
    assert_eq!(ran.code, 0, "{ran:?}");
    let arguments = ["certs", "device", "--ca", "ca", "--device-id", ID, "--out", "pi"];
    assert_eq!(crate::program::run(home.path(), &arguments, &env, "").code, 0);
}
