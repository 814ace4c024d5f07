//! One pattern of output for all commands.

use crate::{
    fake::{Fake, student},
    program::{cavs, run, unread},
};

/// Three students over two pages; one has a name that a spreadsheet would compute and a terminal act upon.
fn with_students() -> Fake {
    let fake = Fake::with_students(&["1001", "0002"]);
    fake.service.state().students.push(student("3", "=1+1\u{1b}[2J"));
    for student in &mut fake.service.state().students {
        student.id = "01890000-0000-7000-8000-0000000000ad".to_owned();
    }
    fake
}

#[test]
fn lists_come_in_every_form() {
    let fake = with_students();
    let mut all = String::new();
    for arguments in [
        &["-o", "csv"] as &[&str],
        &["-o", "csv", "--no-header", "--columns", "number,create_time"],
        &["-o", "jsonl", "--columns", "number,name,status"],
        &["-o", "yaml", "--columns", "number,name"],
        &["-o", "json", "--columns", "name", "--limit", "1"],
        &["--columns", "name,template_count"],
        &["--no-header"],
    ] {
        let ran = fake.cavs(&[&["students", "list"], arguments].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        all.push_str(&format!(
            "$ cavs students list {}\n{}{}\n",
            arguments.join(" "),
            ran.stdout,
            ran.stderr
        ));
    }
    insta::assert_snapshot!(all);

    let ran = fake.cavs(&["students", "list", "--columns", "shoe_size"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("there is no \"shoe_size\"; there are number, name, section"), "{ran:?}");
    // What is cut off is said, except in documents, which say it themselves.
    let ran = fake.cavs(&["students", "list", "-o", "csv", "--limit", "1"]);
    assert_eq!(ran.stderr, "1 of 3 students; --limit N or --all shows more\n");
}

#[test]
fn an_empty_list_is_one_in_every_form() {
    let fake = Fake::with_students(&[]);
    let list = |format: &str| fake.cavs(&["students", "list", "-o", format]).stdout;
    assert_eq!(list("csv"), "number,name,section,templates,status,id\n");
    assert_eq!(list("jsonl"), "");
    assert_eq!(list("yaml"), "students: []\ntotal_size: 0\ntotal_size_exact: true\n");
    assert_eq!(
        fake.cavs(&["students", "list", "--all", "-o", "json"]).json()["students"],
        serde_json::json!([])
    );
}

#[test]
fn results_come_in_every_form() {
    let fake = Fake::with_students(&["1001"]);
    let show = |arguments: &[&str]| fake.cavs(&[&["students", "show", "1001"], arguments].concat()).stdout;
    let columns = ["--columns", "number,name,active"];
    let with = |format| show(&[&["-o", format], columns.as_slice()].concat());
    assert_eq!(with("csv"), "number,name,active\n1001,Ada Lovelace,true\n");
    assert_eq!(with("jsonl"), "{\"number\":\"1001\",\"name\":\"Ada Lovelace\",\"active\":true}\n");
    assert_eq!(with("yaml"), "number: \"1001\"\nname: Ada Lovelace\nactive: true\n");
    assert_eq!(show(&columns), "NUMBER  NAME          ACTIVE\n1001    Ada Lovelace  true\n");
    let ran = fake.cavs(&["templates", "list", "1001", "-o", "jsonl", "--columns", "quality.unified_score"]);
    assert_eq!(ran.stdout, "{\"quality.unified_score\":81}\n");
    let error = fake.cavs(&["students", "show", "none", "-o", "yaml"]);
    assert_eq!((error.code, &error.error()["reason"]), (3, &"STUDENT_NOT_FOUND".into()), "{error:?}");
}

#[test]
fn a_reader_who_is_gone_is_no_error() {
    let fake = with_students();
    for arguments in [
        &["--help"] as &[&str],
        &["whoami"],
        &["students", "list", "-o", "yaml"],
        &["students", "list", "-o", "csv", "--all"],
        &["students", "export"],
        &["stats"],
        &["models", "show", "-o", "jsonl"],
    ] {
        let ran = unread(fake.home(), arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn nothing_is_coloured_against_a_persons_wish() {
    let home = tempfile::tempdir().unwrap();
    let wanted = run(home.path(), &["--help"], &[("CLICOLOR_FORCE", "1")], "");
    assert!(wanted.stdout.contains('\u{1b}'));
    let wish = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    for arguments in [&["--help"] as &[&str], &["dance"]] {
        let ran = run(home.path(), arguments, &wish, "");
        assert!(!(ran.stdout + &ran.stderr).contains('\u{1b}'), "{arguments:?}");
    }
    assert!(!cavs(home.path(), &["--help"]).stdout.contains('\u{1b}'));
}
