//! The command line itself.

use crate::program::cavs;

const ID: &str = "01890000-0000-7000-8000-000000000051";

#[test]
fn wrong_use_has_its_own_exit_code() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &[] as &[&str],
        &["dance"],
        &["whoami", "--no-such-option"],
        &["whoami"],
        &["whoami", "--server", "http://localhost:1", "--ca", "ca.pem"],
        &["whoami", "--server", "https://localhost:1"],
        &["whoami", "--config", "none.toml", "--timeout", "0"],
        &["enroll", "1001"],
        &["enroll", "1001", "a.jpg", "--photos", "school"],
        &["enroll", "1001", "a.jpg", "--roster", "students.csv"],
        &["students", "add", "--name", "Ada"],
        &["context", "use", "../x"],
        &["completions", "tcsh"],
        &["students", "list", "--limit", "0"],
        &["students", "list", "--limit", "5", "--all"],
        &["review", "show", "not-an-id"],
        &["review", "approve"],
        &["sightings", "list", "--decision", "maybe"],
        &["sightings", "list", "--from", "yesterday"],
        &[
            "sightings",
            "list",
            "--from",
            "2026-03-02",
            "--until",
            "2026-03-01",
            "--server",
            "https://x",
            "--ca",
            "c",
        ],
        &["devices", "add", "cam", "--kind", "toaster"],
        &["certs", "device", "--ca", "x", "--out", "y", "--device-id", "1"],
        &["certs", "dev", "--out", "x", "--server-name", "no such name"],
        &[
            "models",
            "import",
            "--detector",
            "a.onnx",
            "--embedder",
            "b",
            "--name",
            "n",
            "--license",
            "l",
            "--out",
            "o",
        ],
        &[
            "models",
            "import",
            "--detector",
            "yolo=a",
            "--embedder",
            "b",
            "--name",
            "n",
            "--license",
            "l",
            "--out",
            "o",
        ],
        &["-o", "xml", "whoami"],
    ] {
        let ran = cavs(home.path(), arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn programs_get_usage_errors_as_json() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["review", "show", "x", "-o", "json"] as &[&str],
        &["dance", "--output=json"],
        &["whoami", "-ojson"],
    ] {
        let ran = cavs(home.path(), arguments);
        assert_eq!((ran.code, &ran.error()["reason"]), (2, &"USAGE".into()), "{ran:?}");
    }
}

#[test]
fn a_configuration_file_is_checked() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.toml");
    std::fs::write(&path, "server = \"https://localhost:1\"\npassword = \"x\"\n").unwrap();
    let ran = cavs(home.path(), &["whoami", "--config", "config.toml"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("config.toml") && ran.stderr.contains("unknown field `password`"), "{ran:?}");
    assert_eq!(cavs(home.path(), &["whoami", "--config", "none.toml"]).code, 3);
}

#[test]
fn nobody_is_logged_in_at_first() {
    let home = tempfile::tempdir().unwrap();
    let ran = cavs(home.path(), &["review", "show", ID, "--server", "https://localhost:1", "--ca", "ca.pem"]);
    assert_eq!(ran.code, 4, "{ran:?}");
}

#[test]
fn the_help_is_stable() {
    let home = tempfile::tempdir().unwrap();
    let mut help = String::new();
    for arguments in [
        &["--help"] as &[&str],
        &["login", "--help"],
        &["sites", "--help"],
        &["sites", "archive", "--help"],
        &["retention", "set", "--help"],
        &["context", "--help"],
        &["completions", "--help"],
        &["students", "add", "--help"],
        &["students", "list", "--help"],
        &["students", "import", "--help"],
        &["enroll", "--help"],
        &["students", "erase", "--help"],
        &["gallery", "show", "--help"],
        &["thresholds", "suggest", "--help"],
        &["thresholds", "set", "--help"],
        &["devices", "add", "--help"],
        &["devices", "configure", "--help"],
        &["devices", "assign", "--help"],
        &["devices", "token", "--help"],
        &["devices", "update", "--help"],
        &["devices", "replace", "--help"],
        &["devices", "revoke", "--help"],
        &["review", "approve", "--help"],
        &["review", "undo", "--help"],
        &["sightings", "list", "--help"],
        &["certs", "dev", "--help"],
        &["certs", "device", "--help"],
        &["models", "import", "--help"],
    ] {
        let ran = cavs(home.path(), arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        // Global options are the same everywhere.
        let text = match (arguments.len(), ran.stdout.find("Global options:")) {
            (1, _) | (_, None) => ran.stdout.as_str(),
            (_, Some(end)) => &ran.stdout[..end],
        };
        help.push_str(&format!("$ cavs {}\n{}\n\n", arguments.join(" "), text.trim_end()));
    }
    insta::assert_snapshot!(help);
}
