//! Contexts, and which value goes before which.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    fake::{Fake, PASSWORD},
    program::{cavs, run},
};

/// The value of a setting, and where it came from.
fn setting(ran: &crate::program::Ran, name: &str) -> (String, String) {
    let document = ran.json();
    let found = document["settings"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
    let text = |field: &str| found[field].as_str().unwrap_or("-").to_owned();
    (text("value"), text("from"))
}

#[test]
fn two_servers_are_spoken_to_by_name() {
    let (north, south) = (Fake::start(), Fake::start());
    let home = north.home();
    let add = |name: &str, fake: &Fake, more: &[&str]| {
        let arguments = ["context", "add", name, "--server", &fake.url, "--ca", fake.ca(), "--user", "admin"];
        cavs(home, &[&arguments, more].concat())
    };
    assert_eq!(add("north", &north, &["--site", "North"]).code, 0);
    let added = add("south", &south, &[]);
    assert!(added.stderr.contains("next: cavs login --context south"), "{added:?}");
    let again = add("south", &south, &[]);
    assert!(again.code == 1 && again.stderr.contains("cavs context update"), "{again:?}");
    let listed = cavs(home, &["context", "list", "-o", "csv", "--columns", "name,in_use,site"]);
    assert_eq!(listed.stdout, "name,in_use,site\nnorth,true,North\nsouth,false,\n");

    // Each has a session of its own, for its owner's eyes only.
    for context in ["north", "south"] {
        let arguments = ["login", "--context", context, "--password-stdin"];
        let ran = run(home, &arguments, &[], &format!("{PASSWORD}\n"));
        assert_eq!(ran.code, 0, "{ran:?}");
        let session = home.join(format!(".config/cavs/sessions/{context}.json"));
        assert_eq!(fs::metadata(&session).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(cavs(home, &["whoami", "-o", "json"]).json()["server"], north.url);
    assert_eq!(cavs(home, &["context", "use", "south"]).code, 0);
    assert_eq!(cavs(home, &["whoami", "-o", "json"]).json()["server"], south.url);
    assert_eq!(cavs(home, &["whoami", "--context", "north", "-o", "json"]).json()["server"], north.url);

    let unknown = cavs(home, &["whoami", "--context", "east", "-o", "json"]);
    assert_eq!((unknown.code, &unknown.error()["reason"]), (3, &"CONTEXT_NOT_FOUND".into()));
    assert!(unknown.error()["message"].to_string().contains("there is north, south"), "{unknown:?}");

    assert_eq!(cavs(home, &["context", "update", "south", "--site", "South"]).code, 0);
    assert_eq!(cavs(home, &["context", "rm", "south"]).code, 0);
    assert!(!home.join(".config/cavs/sessions/south.json").exists());
    assert_eq!(cavs(home, &["whoami"]).code, 2, "no context is in use");
}

#[test]
fn each_value_says_where_it_came_from() {
    let fake = Fake::start();
    let home = fake.home();
    let add = ["context", "add", "north", "--server", &fake.url, "--ca", fake.ca(), "--user", "ada"];
    assert_eq!(cavs(home, &add).code, 0);
    let file = home.join(".config/cavs/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("site = \"File\"\nuser = \"nobody\"\n{text}")).unwrap();
    let show = |arguments: &[&str], env: &[(&str, &str)]| {
        run(home, &[&["context", "show", "-o", "json"], arguments].concat(), env, "")
    };
    let file = file.display();

    let shown = show(&[], &[]);
    assert_eq!(setting(&shown, "context"), ("north".to_owned(), file.to_string()), "{shown:?}");
    let in_context = format!("context north of {file}");
    assert_eq!(setting(&shown, "server"), (fake.url.clone(), in_context.clone()));
    assert_eq!(setting(&shown, "user"), ("ada".to_owned(), in_context.clone()));
    assert_eq!(setting(&shown, "site"), ("File".to_owned(), file.to_string()));
    assert_eq!(setting(&shown, "token").1, "-");

    let env = [
        ("CAVS_SERVER", "https://env"),
        ("CAVS_SITE", "Env"),
        ("CAVS_USER", "eve"),
        ("CAVS_TOKEN", "secret"),
    ];
    let shown = show(&[], &env);
    assert_eq!(setting(&shown, "server"), ("https://env".to_owned(), "CAVS_SERVER".to_owned()));
    assert_eq!(setting(&shown, "user"), ("eve".to_owned(), "CAVS_USER".to_owned()));
    assert_eq!(setting(&shown, "token").1, "CAVS_TOKEN");
    assert!(!shown.stdout.contains("secret"));

    // All that a flag says, also by the context that it names, goes before the environment.
    let shown = show(&["--context", "north", "--site", "Flag"], &env);
    assert_eq!(setting(&shown, "context"), ("north".to_owned(), "--context".to_owned()));
    assert_eq!(setting(&shown, "server"), (fake.url.clone(), in_context));
    assert_eq!(setting(&shown, "site"), ("Flag".to_owned(), "--site".to_owned()));
    // The environment's token is for the environment's server.
    assert_eq!(setting(&shown, "token").1, "-");
    let shown = show(&["--server", &fake.url], &env);
    assert_eq!(setting(&shown, "token").1, "-");
    let shown = show(&["--server", "https://env"], &env);
    assert_eq!(setting(&shown, "token").1, "CAVS_TOKEN");

    // With the context, its own session is used.
    let login = ["login", "--context", "north", "--username", "admin", "--password-stdin"];
    let ran = run(home, &login, &env, &format!("{PASSWORD}\n"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = run(home, &["whoami", "--context", "north"], &env, "");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn variables_are_not_written_into_contexts() {
    let fake = Fake::start();
    let home = fake.home();
    let env = [("CAVS_SERVER", &*fake.url), ("CAVS_CA", fake.ca()), ("CAVS_SITE", "Env")];
    // Where a server is new, the environment may name it.
    let added = run(home, &["context", "add", "north"], &env, "");
    assert_eq!(added.code, 0, "{added:?}");
    let env = [("CAVS_SERVER", "https://env"), ("CAVS_CA", "none.pem"), ("CAVS_SITE", "Env")];
    let updated = run(home, &["context", "update", "north", "--user", "ada"], &env, "");
    assert_eq!(updated.code, 0, "{updated:?}");
    let listed = cavs(home, &["context", "list", "-o", "csv", "--columns", "server,site,user"]);
    assert_eq!(listed.stdout, format!("server,site,user\n{},,ada\n", fake.url));
}
