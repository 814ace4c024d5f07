//! Enrolling from images.

use std::fs;

use crate::fake::Fake;

fn images(fake: &Fake, files: &[(&str, &str)]) {
    for (file, content) in files {
        let path = fake.home().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[test]
fn every_image_has_its_verdict() {
    let fake = Fake::with_students(&["1001"]);
    images(
        &fake,
        &[("ada/1.jpg", "good"), ("ada/2.png", "no face"), ("ada/3.webp", ""), ("ada/4.jpg", "good")],
    );
    let ran = fake.cavs(&["enroll", "1001", "ada"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    assert_eq!(ran.stderr, "", "no progress bar without a terminal");

    let ran = fake.cavs(&["enroll", "1001", "ada/4.jpg", "ada/2.png", "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let json = ran.json();
    assert_eq!((&json["accepted"], &json["refused"]), (&1.into(), &1.into()));
    assert_eq!(json["student"]["number"], "1001");
    assert_eq!(json["images"][0]["image"], "ada/4.jpg");
    assert_eq!(json["images"][0]["quality"]["unified_score"], 81);
    assert_eq!(json["images"][1]["reason"], "NO_FACE");
    assert_eq!(json["images"][1]["message"], "no face \u{1b}[31mwas found");
    assert!(!ran.stdout.contains('\u{1b}'));
}

#[test]
fn a_student_without_a_template_is_a_failure() {
    let fake = Fake::with_students(&["1001"]);
    images(&fake, &[("ada/1.jpg", "no face"), ("none/readme.txt", "")]);
    let ran = fake.cavs(&["enroll", "1001", "ada"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stdout.contains("1001 Ada Lovelace: 0 accepted, 1 refused"), "{ran:?}");

    for (arguments, code, problem) in [
        (["enroll", "1002", "ada"], 3, "error: 1002: no such student\nhint: see: cavs students list"),
        (["enroll", "1001", "none"], 3, "none: holds no images"),
        (["enroll", "1001", "nowhere"], 3, "nowhere: No such file"),
    ] {
        let ran = fake.cavs(&arguments);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(problem), "{ran:?}");
    }
}

#[test]
fn files_that_are_left_out_are_listed_and_counted() {
    let fake = Fake::with_students(&["1001", "1002"]);
    images(
        &fake,
        &[
            ("school/1001/1.jpg", "good"),
            ("school/1001/2.jfif", "good"),
            ("school/1001/3.JXL", "x"),
            ("school/1001/4.mov", "x"),
            ("school/1001/notes.txt", "x"),
            ("school/1002/1.jpg", "good"),
            ("school/1002/Thumbs.db", "x"),
            ("school/1003.jpg", "good"),
            ("school/roster.csv", "x"),
        ],
    );
    let ran = fake.cavs(&["enroll", "1001", "school/1001"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["enroll", "1002", "school/1002"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = fake.cavs(&["enroll", "--photos", "school", "-o", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let json = ran.json();
    assert_eq!((&json["accepted"], &json["refused"], &json["left_out"]), (&3.into(), &0.into(), &3.into()));
    assert_eq!(json["students"][2]["error_reason"], "STUDENT_NOT_FOUND");
    let ran = fake.cavs(&["enroll", "--photos", "school"]);
    assert!(ran.stdout.contains("3 images accepted, 0 refused, 3 left out"), "{ran:?}");
    assert!(ran.stdout.contains("1003"), "{ran:?}");
}

#[test]
fn what_was_done_before_a_failure_is_told() {
    let fake = Fake::with_students(&["1001"]);
    images(&fake, &[("ada/1.jpg", "good"), ("ada/2.jpg", "database gone"), ("ada/3.jpg", "good")]);
    let ran = fake.cavs(&["enroll", "1001", "ada", "-o", "json"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert_eq!(ran.error()["reason"], "DATABASE_UNAVAILABLE");
    assert_eq!(ran.json()["accepted"], 1);
    assert_eq!(ran.json()["images"].as_array().unwrap().len(), 1);
}

#[test]
fn a_school_is_enrolled_from_folders() {
    let fake = Fake::with_students(&["1001", "1002"]);
    images(
        &fake,
        &[
            ("school/1001/a.jpg", "good"),
            ("school/1001/b.jpg", "no face"),
            ("school/1002/a.jpg", "good"),
            ("school/readme.txt", ""),
        ],
    );
    let ran = fake.cavs(&["enroll", "--photos", "school"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);

    images(&fake, &[("school/1003/a.jpg", "good"), ("school/1004/none.txt", "")]);
    let ran = fake.cavs(&["enroll", "--photos", "school", "-o", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let json = ran.json();
    assert_eq!((&json["students_enrolled"], &json["students_failed"]), (&2.into(), &2.into()));
    assert_eq!(json["students"][2]["error_reason"], "STUDENT_NOT_FOUND");
    assert_eq!(json["students"][3]["error_reason"], "NO_IMAGES");

    let ran = fake.cavs(&[
        "enroll",
        "--photos",
        "school",
        "--dry-run",
        "-o",
        "csv",
        "--columns",
        "number,student.number,images,left_out",
    ]);
    assert_eq!(ran.code, 1, "1003 and 1004 are nobody's: {ran:?}");
    let expected =
        "number,student.number,images,left_out\n1001,1001,2,0\n1002,1002,1,0\n1003,,1,0\n1004,,0,1\n";
    assert_eq!(ran.stdout, expected);
    fs::remove_dir_all(fake.home().join("school/1003")).unwrap();
    fs::remove_dir_all(fake.home().join("school/1004")).unwrap();
    let ran = fake.cavs(&["enroll", "--photos", "school", "--dry-run"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("no picture was sent"), "{ran:?}");
}

#[test]
fn a_school_is_not_tried_on_without_a_server() {
    let fake = Fake::with_students(&["1001", "1002"]);
    images(&fake, &[("school/1001/a.jpg", "database gone"), ("school/1002/a.jpg", "good")]);
    let ran = fake.cavs(&["enroll", "--photos", "school", "-o", "json"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    // The other one was on its way.
    assert_eq!(ran.json()["students"][0]["error_reason"], "DATABASE_UNAVAILABLE");
}

#[test]
fn a_school_is_enrolled_from_an_archive_of_pictures_named_by_number() {
    use std::io::Write;
    let fake = Fake::with_students(&["1001", "1002", "A-17"]);
    let mut archive = zip::ZipWriter::new(fs::File::create(fake.home().join("school.zip")).unwrap());
    for name in
        ["photos/1001.jpg", "photos/1001-2.jpg", "photos/A-17.jpg", "photos/1002.jpg", "photos/roster.csv"]
    {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(b"good").unwrap();
    }
    archive.finish().unwrap();
    fs::write(fake.home().join("roster.csv"), "number,name\n1,Ada\n").unwrap();
    let ran = fake.cavs(&["enroll", "--photos", "school.zip", "--roster", "roster.csv", "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let json = ran.json();
    let of = |at: usize| {
        let student = &json["students"][at];
        format!("{} {}", student["number"], student["enrollment"]["accepted"])
    };
    assert_eq!([of(0), of(1), of(2)], ["\"1001\" 2", "\"1002\" 1", "\"A-17\" 1"]);
    assert_eq!(json["students"][0]["enrollment"]["images"][0]["image"], "photos/1001-2.jpg");
    assert_eq!((&json["weak"], &json["students_missing"]), (&serde_json::json!([]), &3.into()));
    fs::write(fake.home().join("roster.csv"), "bad").unwrap();
    let ran = fake.cavs(&["enroll", "--photos", "school.zip", "--roster", "roster.csv"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("is that of"), "{ran:?}");
}

#[test]
fn many_large_images_pass() {
    let fake = Fake::with_students(&["1001"]);
    let large = "x".repeat(3 << 20);
    let names: Vec<_> = (0..6).map(|index| format!("ada/{index}.jpg")).collect();
    images(&fake, &names.iter().map(|name| (name.as_str(), large.as_str())).collect::<Vec<_>>());
    let ran = fake.cavs(&["enroll", "1001", "ada", "-o", "json"]);
    assert_eq!(ran.json()["accepted"], 6, "{ran:?}");
}
