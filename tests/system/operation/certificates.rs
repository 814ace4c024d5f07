use std::{fs, path::Path, thread, time::Duration};

use cavs_tests::{Process, Site, SiteOptions};
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};

use super::{check_config, hears};

/// Puts a certificate of the site's root in the place of the server's or a device's, valid from a day after
/// today (or before it) for some days.
pub(super) fn reissue(site: &Site, name: &str, begins: i64, days: i64) {
    let san = SanType::DnsName("localhost".try_into().unwrap());
    issue(&site.path("certs"), &site.path("certs"), name, san, (begins, days));
}

fn issue(ca: &Path, folder: &Path, name: &str, san: SanType, (begins, days): (i64, i64)) {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let key = KeyPair::from_pem(&read(&ca.join("ca.key"))).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read(&ca.join("ca.pem")), key).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![san];
    params.use_authority_key_identifier_extension = true;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |day: i64| {
        let second = jiff::Timestamp::now().as_second() + day * 86_400;
        epoch + Duration::from_secs(u64::try_from(second).unwrap())
    };
    // An hour, so that "today" has begun.
    params.not_before = at(begins) - Duration::from_secs(3600);
    params.not_after = at(begins + days);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    let path = folder.join(format!("{name}.key"));
    fs::write(&path, key.serialize_pem()).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn a_check_of_the_configuration_looks_at_what_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::create(directory.path(), None, &SiteOptions::default());
    let server = site.path("server.toml");
    let (good, said) = check_config("cavs-server", "serve", &server);
    assert!(good && said.contains("server.toml: ok") && said.contains("database.data_dir"), "{said}");

    let device = site.add_device("room");
    let frames = site.path("frames");
    fs::create_dir(&frames).unwrap();
    let agent = site.configure_agent(&device, &frames, "");
    let (good, said) = check_config("cavs-edge-agent", "run", &agent);
    assert!(good && said.ends_with("ok\n") && said.contains("valid until"), "{said}");

    // Dates.
    let id = format!("urn:cavs:device:{}", device.id);
    let certs = site.path("certs");
    for (dates, word) in [((-20, 10), "expired on"), ((5, 10), "is not valid before")] {
        reissue(&site, "server", dates.0, dates.1);
        let (good, said) = check_config("cavs-server", "serve", &server);
        assert!(!good && said.contains(word) && said.contains("tls.certificate"), "{said}");
        let san = SanType::URI(id.as_str().try_into().unwrap());
        issue(&certs, &device.directory, "device", san, dates);
        let (good, said) = check_config("cavs-edge-agent", "run", &agent);
        assert!(!good && said.contains(word) && said.contains("device.pem"), "{said}");
        // The running server (its own certificate is still the good one) does not believe it; the agent says why.
        let log = device.directory.join(format!("{}.log", dates.0));
        let arguments = ["run", "--config", agent.to_str().unwrap()];
        let agent = Process::start("cavs-edge-agent", &arguments, &log);
        hears(&agent, word);
        let said = agent.output();
        assert!(!said.contains("hyper"), "{said}");
        // A terminal that goes away ends no agent.
        agent.signal(Signal::SIGHUP);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(agent.terminate(), Some(0));
    }
    reissue(&site, "server", 0, 10);
    let (good, said) = check_config("cavs-server", "serve", &server);
    assert!(good && said.contains("warning  tls.certificate") && said.contains("expires on"), "{said}");

    // Another site's.
    cavs_certs::write_dev_set(&site.path("elsewhere"), &["localhost".into()], &[]).unwrap();
    let san = SanType::URI(id.as_str().try_into().unwrap());
    issue(&site.path("elsewhere"), &device.directory, "device", san, (0, 100));
    let (good, said) = check_config("cavs-edge-agent", "run", &agent);
    assert!(!good && said.contains("another root"), "{said}");

    // The rest of what a server needs.
    let text = fs::read_to_string(&server).unwrap();
    let other = site.path("other.toml");
    for (from, to, word) in [
        ("certs/server.key", "elsewhere/server.key", "tls.key"),
        ("certs/ca.pem", "certs/none.pem", "tls.device_authority"),
        ("\"vault.key\"", "\"none.key\"", "vault.key_file"),
        ("api.listen = \"127.0.0.1:0\"", "api.listen = \"192.0.2.1:0\"", "api.listen"),
        ("data_dir = \"db\"", "data_dir = \"certs/ca.pem/db\"", "database.data_dir"),
        ("vault.key_file", "recognition.pack = \"certs\"\nvault.key_file", "recognition.pack"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&other, text.replace(from, to)).unwrap();
        let (good, said) = check_config("cavs-server", "serve", &other);
        assert!(!good && said.contains(&format!("FAILED   {word}")), "{said}");
    }
    assert!(site.server().exit_code().is_none());
}

#[test]
fn tls_faults_are_said_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let server = format!("https://localhost:{}", site.api_port());
    fs::write(site.path("password"), "correct horse battery").unwrap();
    let ask = |server: &str, ca: &Path| {
        let output = std::process::Command::new(cavs_tests::binary("cavs"))
            .args(["login", "--username", "admin", "--password-stdin", "--server", server, "--ca"])
            .arg(ca)
            .env("CAVS_CONFIG", site.path("cli/config.toml"))
            .stdin(fs::File::open(site.path("password")).unwrap())
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    // Another root of the same name.
    cavs_certs::write_dev_set(&site.path("elsewhere"), &["localhost".into()], &[]).unwrap();
    let said = ask(&server, &site.path("elsewhere/ca.pem"));
    assert!(said.contains("another root than the configured one"), "{said}");
    // The devices' port.
    let said = ask(&format!("https://localhost:{}", site.device_port()), &site.path("certs/ca.pem"));
    assert!(said.contains("devices"), "{said}");
    // A port that speaks no TLS.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    let answering = thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let said = ask(&format!("https://localhost:{port}"), &site.path("certs/ca.pem"));
    assert!(said.contains("does not speak TLS"), "{said}");
    answering.join().unwrap();
}
