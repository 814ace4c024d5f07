//! Logging in, and what goes wrong on the way to the server.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use cavs_certs::SiteCa;

use crate::{
    fake::{Fake, PASSWORD},
    program::{cavs, run},
};

#[test]
fn a_login_lasts_until_the_logout() {
    let fake = Fake::start();
    let refused = fake.login("wrong");
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("hint: check the user name and the password"), "{refused:?}");

    let done = fake.login(PASSWORD);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!done.stdout.contains("token-1") && !done.stderr.contains("token-1"), "{done:?}");
    let session = fake.home().join(".config/cavs/session.json");
    assert_eq!(fs::metadata(&session).unwrap().permissions().mode() & 0o777, 0o600);

    // Server and root are remembered with the session.
    let who = fake.cavs(&["whoami", "-o", "json"]);
    assert_eq!(who.code, 0, "{who:?}");
    assert_eq!(who.json()["user"]["role"], "admin");
    assert_eq!(who.json()["server"], fake.url);

    let out = fake.cavs(&["logout", "-o", "json"]);
    assert_eq!((out.code, &out.json()["logged_out"]), (0, &true.into()));
    assert!(!session.exists());
    let who = cavs(fake.home(), &["--server", &fake.url, "--ca", fake.ca(), "whoami"]);
    assert_eq!(who.code, 4, "{who:?}");
    assert_eq!(who.stderr, format!("error: not logged in at {}\nhint: run: cavs login\n", fake.url));
}

#[test]
fn a_session_that_the_server_forgot_says_to_log_in() {
    let fake = Fake::with_students(&[]);
    fake.service.state().logged_in = false;
    let who = fake.cavs(&["whoami", "-o", "json"]);
    assert_eq!(who.code, 4);
    assert_eq!(who.error()["reason"], "UNAUTHENTICATED");
    assert_eq!(who.error()["hint"], "run: cavs login");
    assert_eq!(fake.cavs(&["logout"]).code, 0, "the session is gone either way");
    assert!(!fake.home().join(".config/cavs/session.json").exists());
}

#[test]
fn a_token_is_never_sent_to_another_server() {
    let fake = Fake::with_students(&[]);
    let other = Fake::start();
    other.service.state().logged_in = true;
    let ran = cavs(fake.home(), &["--server", &other.url, "--ca", other.ca(), "whoami"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.starts_with("error: not logged in at"), "{ran:?}");
}

#[test]
fn the_environment_and_the_file_configure_too() {
    let fake = Fake::start();
    fake.service.state().logged_in = true;
    let config = fake.home().join("cavs.toml");
    fs::write(&config, format!("server = {:?}\nca = \"certs/ca.pem\"\n", fake.url)).unwrap();
    let config = config.to_str().unwrap();
    let by_file = run(fake.home(), &["whoami"], &[("CAVS_CONFIG", config), ("CAVS_TOKEN", "token-1")], "");
    assert_eq!(by_file.code, 0, "{by_file:?}");
    // A flag goes before the environment, and that before the file.
    let nowhere =
        [("CAVS_CONFIG", config), ("CAVS_TOKEN", "token-1"), ("CAVS_SERVER", "https://127.0.0.1:1")];
    assert_eq!(run(fake.home(), &["whoami"], &nowhere, "").code, 5);
    let same = [("CAVS_CONFIG", config), ("CAVS_TOKEN", "token-1"), ("CAVS_SERVER", &*fake.url)];
    assert_eq!(run(fake.home(), &["whoami", "--server", &fake.url], &same, "").code, 0);
    // The token is for the server that the environment names, and is not told to another one.
    let ran = run(fake.home(), &["whoami", "--server", &fake.url], &nowhere, "");
    assert!(ran.code == 4 && ran.stderr.contains("not logged in at"), "{ran:?}");
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    let fake = Fake::start();
    let ran = cavs(fake.home(), &["--server", "https://127.0.0.1:1", "--ca", fake.ca(), "login", "-u", "a"]);
    assert_eq!(ran.code, 2, "no terminal to ask for the password: {ran:?}");
    let env = [("CAVS_TOKEN", "token-1")];
    let arguments = ["--server", "https://127.0.0.1:1", "--ca", fake.ca(), "whoami", "-o", "json"];
    let ran = run(fake.home(), &arguments, &env, "");
    assert_eq!(ran.code, 5, "{ran:?}");
    assert_eq!(ran.error()["reason"], "SERVER_UNREACHABLE");
    let message = ran.error()["message"].to_string();
    assert!(
        message.contains("https://127.0.0.1:1 can't be reached") && message.contains("refused"),
        "{message}"
    );

    let ran = run(
        fake.home(),
        &["--server", "https://no.such.host.invalid", "--ca", fake.ca(), "whoami"],
        &env,
        "",
    );
    assert_eq!(ran.code, 5, "{ran:?}");
}

#[test]
fn a_server_that_says_nothing_is_unavailable() {
    let fake = Fake::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let arguments = ["--server", &url, "--ca", fake.ca(), "--timeout", "1", "whoami"];
    let ran = run(fake.home(), &arguments, &[("CAVS_TOKEN", "x")], "");
    assert_eq!(ran.code, 5, "{ran:?}");
}

#[test]
fn a_server_of_another_root_is_not_trusted() {
    let fake = Fake::start();
    SiteCa::create("other").unwrap().save(&fake.home().join("other")).unwrap();
    let ran = cavs(fake.home(), &["--server", &fake.url, "--ca", "other/ca.pem", "logout"]);
    assert_eq!(ran.code, 0, "nobody is logged in there: {ran:?}");
    let arguments = ["--server", &fake.url, "--ca", "other/ca.pem", "whoami"];
    let ran = run(fake.home(), &arguments, &[("CAVS_TOKEN", "x")], "");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("is not trusted: its certificate was not signed by the configured root"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("hint: check --ca (now other/ca.pem)"), "{ran:?}");
}

#[test]
fn a_root_file_of_no_use_is_named() {
    let fake = Fake::start();
    fs::write(fake.home().join("empty.pem"), "").unwrap();
    for (file, code, problem) in [
        ("none.pem", 3, "none.pem: No such file"),
        ("empty.pem", 1, "empty.pem: holds no certificate in PEM form"),
    ] {
        let arguments = ["--server", &fake.url, "--ca", file, "whoami"];
        let ran = run(fake.home(), &arguments, &[("CAVS_TOKEN", "x")], "");
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(problem), "{ran:?}");
    }
}

#[test]
fn an_exposed_session_is_not_used() {
    let fake = Fake::with_students(&[]);
    let session = fake.home().join(".config/cavs/session.json");
    fs::set_permissions(&session, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = fake.cavs(&["whoami"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("run: chmod 600"), "{ran:?}");
}
