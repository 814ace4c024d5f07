//! What a shell completes.

use std::{fs, net::TcpListener, time::Instant};

use crate::{
    fake::{Fake, student},
    program::{cavs, run},
};

/// What a bash that stands behind the last word would be told.
fn completed(fake: &Fake, words: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let asked = [("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", &index), ("_CLAP_IFS", "\n")];
    let arguments = [&["--"], words].concat();
    let ran = run(fake.home(), &arguments, &[&asked, env].concat(), "");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{words:?}");
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn names_and_numbers_complete_from_the_server() {
    let fake = Fake::with_students(&["1001", "1002", "20"]);
    fake.service.state().students.push(student("10$(reboot)", "Eve"));
    assert_eq!(completed(&fake, &["cavs", "students", "show", "10"], &[]), ["1001", "1002"]);
    assert_eq!(completed(&fake, &["cavs", "sightings", "list", "--student", "2"], &[]), ["20"]);
    let commands = completed(&fake, &["cavs", "stu"], &[]);
    assert_eq!(commands, ["students"]);

    // Where nobody answers, nothing is said, and soon.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let begun = Instant::now();
    let words = ["cavs", "--server", &url, "--ca", fake.ca(), "students", "show", "1"];
    assert!(completed(&fake, &words, &[("CAVS_TOKEN", "x")]).is_empty());
    assert!(begun.elapsed().as_secs() < 5);
    fs::remove_file(fake.home().join(".config/cavs/session.json")).unwrap();
    assert!(completed(&fake, &["cavs", "students", "show", "1"], &[]).is_empty());
}

#[test]
fn a_real_bash_completes() {
    let fake = Fake::with_students(&["1001", "20"]);
    let script = "source <(cavs completions bash); COMP_WORDS=(cavs students show 10); COMP_CWORD=3; COMP_TYPE=9; \
                  _clap_complete_cavs cavs 10 show; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_cavs")).parent().unwrap();
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .env("HOME", fake.home())
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "1001");
}

#[test]
fn contexts_complete_from_the_file() {
    let fake = Fake::start();
    let add = ["context", "add", "north", "--server", &fake.url, "--ca", fake.ca()];
    assert_eq!(fake.cavs(&add).code, 0);
    assert_eq!(completed(&fake, &["cavs", "context", "use", "n"], &[]), ["north"]);
    assert_eq!(completed(&fake, &["cavs", "whoami", "--context", "n"], &[]), ["north"]);
}

#[test]
fn scripts_and_manual_pages_are_written() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = cavs(home.path(), &["completions", shell]);
        assert!(script.code == 0 && script.stdout.contains("COMPLETE"), "{script:?}");
    }
    assert_eq!(cavs(home.path(), &["man", "--out", "man"]).code, 0);
    for page in ["cavs.1", "cavs-students.1", "cavs-students-list.1"] {
        let text = fs::read_to_string(home.path().join("man").join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(cavs(home.path(), &["man"]).stdout.contains(".SH SYNOPSIS"));
}
