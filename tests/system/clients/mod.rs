//! The clients of proto/README.md, as they stand there, against a server. `scripts/test-clients` makes what they
//! need: Python's and TypeScript's packages, and the code that is generated of the protocol.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use cavs_proto::{
    error_reason,
    v1::{
        self, auth_service_client::AuthServiceClient, enroll_from_images_request::Message,
        enrollment_service_client::EnrollmentServiceClient, get_student_request::Key,
        sighting_service_client::SightingServiceClient, student_service_client::StudentServiceClient,
    },
};
use cavs_tests::{Process, Site, SiteOptions, lay_out, people};
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::{
    documents::{Block, blocks},
    webhooks::{RECEIVER_HERE, receivers_answers},
};

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

async fn watch([server, ca, username, password, after]: [String; 5]) -> Result<(), Box<dyn Error>> {
    include!("watch.rs")
}

#[test]
#[ignore = "needs Python, which scripts/test-clients has"]
fn a_receiver_in_python_checks_signatures() {
    let python = Path::new(&std::env::var("CAVS_CLIENTS").unwrap()).join("python/bin/python");
    let directory = tempfile::tempdir().unwrap();
    let mut options = SiteOptions::for_rendered_faces();
    options.server_toml = format!("{}\n{RECEIVER_HERE}", options.server_toml);
    let site = Site::create(directory.path(), None, &options);
    let mut document = blocks(include_str!("../../../docs/WEBHOOKS.md"));
    document.retain(|block| block.language == "python");
    let (file, log) = (site.path("receiver.py"), site.path("receiver.log"));
    fs::write(&file, &document[0].text).unwrap();
    let answers = receivers_answers(&site, |certificate, key, port, secret| {
        let mut command = Command::new(&python);
        command.arg(&file).env("CERTIFICATE", certificate).env("KEY", key);
        command.env("PORT", port.to_string()).env("SECRET", secret);
        Process::start_command(command, &log)
    });
    let said = fs::read_to_string(&log).unwrap();
    assert_eq!(answers, [true, false], "{said}");
    assert!(said.contains("webhook.test {'webhook_id': "), "{said}");
}

/// A sighting before all others.
const LONG_AGO: &str = "01890000-0000-7000-8000-000000000000";

/// The most lines of a client.
const LINES: usize = 15;

#[test]
fn clients_are_short() {
    let readme = blocks(include_str!("../../../proto/README.md"));
    let languages: Vec<&str> = readme.iter().map(|block| block.language.as_str()).collect();
    let four = ["python", "python", "typescript", "rust"];
    assert_eq!(languages, [four, four].concat());
    for Block { language, text } in &readme {
        assert!(text.lines().count() <= LINES, "{language}: {} lines", text.lines().count());
    }
    for (name, file, block) in [
        ("client.rs", include_str!("client.rs"), &readme[3]),
        ("watch.rs", include_str!("watch.rs"), &readme[7]),
    ] {
        let compiled = file.trim().strip_prefix('{').and_then(|file| file.strip_suffix('}')).unwrap().trim();
        assert_eq!(compiled, block.text.trim(), "{name} is not what stands in proto/README.md");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the packages that scripts/test-clients installs"]
async fn clients_do_what_they_say() {
    let tools = std::env::var("CAVS_CLIENTS").unwrap();
    let (python, node) = (Path::new(&tools).join("python"), Path::new(&tools).join("node"));
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::for_rendered_faces());
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
    // Beside what was generated.
    let program = |block: &Block, name: &str| {
        let (program, folder) = match block.language.as_str() {
            "python" => (python.join("bin/python"), &python),
            _ => (node.join("node_modules/.bin/tsx"), &node),
        };
        let file = folder.join(format!("readme-{name}"));
        fs::write(&file, &block.text).unwrap();
        let mut command = Command::new(program);
        command.arg(&file);
        command
    };
    let watching = readme.split_off(4);
    for (block, name) in readme.iter().zip(["json.py", "client.py", "client.ts"]) {
        let run = program(block, name).args(arguments("007")).output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&run.stderr));
        // The picture is there already.
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines, ["007 Ada", "DUPLICATE_TEMPLATE", "STUDENT_NOT_FOUND"], "{name}");
    }

    // One is there before they watch, and one comes while they do.
    let device = site.add_device("door");
    let see = |folder: &str| {
        lay_out(&site.path(folder), [("1.jpg".to_owned(), &PathBuf::from(&portrait))]);
        let config = site.configure_agent(&device, &site.path(folder), "");
        let mut agent = site.start_agent(&device, &config);
        assert_eq!(agent.wait(Duration::from_secs(60)), Some(0), "{}", agent.output());
    };
    see("first");
    SAID.lock().unwrap().clear();
    let arguments = [&*server, &ca, "admin", "correct horse battery", LONG_AGO].map(str::to_owned);
    let watching_here =
        tokio::spawn(async move { watch(arguments).await.map_err(|error| error.to_string()) });
    let log = |name: &str| site.path(&format!("{name}.log"));
    let names = ["watch-json.py", "watch.py", "watch.ts"];
    let arguments = [&*server, &ca, "admin", "correct horse battery", LONG_AGO];
    let running: Vec<Process> = watching
        .iter()
        .zip(names)
        .map(|(block, name)| {
            let mut command = program(block, name);
            command.args(arguments);
            Process::start_command(command, &log(name))
        })
        .collect();
    let told = || -> Vec<Vec<String>> {
        let lines = |text: String| text.lines().map(str::to_owned).collect();
        let here = SAID.lock().unwrap().join("\n");
        running.iter().map(Process::output).chain([here]).map(lines).collect()
    };
    for (sightings, folder) in [(1, Some("second")), (2, None)] {
        let begun = Instant::now();
        while told().iter().any(|lines| lines.len() < sightings) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:#?}", told());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if let Some(folder) = folder {
            see(folder);
        }
    }
    for lines in told() {
        assert!(lines.iter().all(|line| line.ends_with(" door 007")), "{lines:?}");
    }
    watching_here.abort();
}
