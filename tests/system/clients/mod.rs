//! The clients of proto/README.md, as they stand there, against a server. `scripts/test-clients` makes what they
//! need: Python's and TypeScript's packages, and the code that is generated of the protocol.

use std::{error::Error, fs, path::Path, process::Command, sync::Mutex};

use cavs_proto::{
    error_reason,
    v1::{
        self, auth_service_client::AuthServiceClient, enroll_from_images_request::Message,
        enrollment_service_client::EnrollmentServiceClient, get_student_request::Key,
        student_service_client::StudentServiceClient,
    },
};
use cavs_tests::{Site, SiteOptions, people};
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::documents::{Block, blocks};

/// What the client in Rust says, which is no process of its own.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

macro_rules! println {
    ($($said:tt)*) => {{
        let said = format!($($said)*);
        SAID.lock().unwrap().push(said);
    }};
}

async fn client(
    [server, ca, username, password, number, picture]: [String; 6],
) -> Result<(), Box<dyn Error>> {
    include!("client.rs")
}

/// The most lines of a client.
const LINES: usize = 15;

#[test]
fn clients_are_short() {
    let readme = blocks(include_str!("../../../proto/README.md"));
    let languages: Vec<&str> = readme.iter().map(|block| block.language.as_str()).collect();
    assert_eq!(languages, ["python", "python", "typescript", "rust"]);
    for Block { language, text } in &readme {
        assert!(text.lines().count() <= LINES, "{language}: {} lines", text.lines().count());
    }
    let compiled = include_str!("client.rs").trim().trim_start_matches('{').trim_end_matches('}').trim();
    assert_eq!(compiled, readme[3].text.trim(), "client.rs is not what stands in proto/README.md");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the packages that scripts/test-clients installs"]
async fn clients_do_what_they_say() {
    let tools = std::env::var("CAVS_CLIENTS").unwrap();
    let (python, node) = (Path::new(&tools).join("python"), Path::new(&tools).join("node"));
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let mut readme = blocks(include_str!("../../../proto/README.md"));
    let portrait = people(1).remove(0).portraits.remove(0).to_string_lossy().into_owned();
    let server = format!("localhost:{}", site.api_port());
    let ca = site.path("certs/ca.pem").to_string_lossy().into_owned();
    let arguments = |number: &str| {
        [&*server, &ca, "admin", "correct horse battery", number, &portrait].map(str::to_owned)
    };
    site.cli.json(&["students", "add", "007", "--name", "Ada"]);

    client(arguments("007")).await.unwrap();
    assert_eq!(*SAID.lock().unwrap(), ["007 Ada", "enrolled", "STUDENT_NOT_FOUND"]);
    for (block, name) in readme.drain(..3).zip(["json.py", "client.py", "client.ts"]) {
        let (program, folder) = match block.language.as_str() {
            "python" => (python.join("bin/python"), &python),
            _ => (node.join("node_modules/.bin/tsx"), &node),
        };
        // Beside what was generated.
        let file = folder.join(format!("readme-{name}"));
        fs::write(&file, &block.text).unwrap();
        let run = Command::new(program).arg(&file).args(arguments("007")).output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&run.stderr));
        // The picture is there already.
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines, ["007 Ada", "DUPLICATE_TEMPLATE", "STUDENT_NOT_FOUND"], "{name}");
    }
}
