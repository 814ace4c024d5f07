//! Two sites with the same people in them: neither is ever told of the other's.

use std::time::Duration;

use cavs_proto::{FILE_DESCRIPTOR_SET, error_reason, v1};
use cavs_tests::{Cli, Device, TestSite, people};
use cavs_types::{ErrorReason, SightingId};
use jiff::Timestamp;
use prost::{
    Message,
    bytes::{Buf, BufMut},
};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, Value};
use serde_json::Value as Json;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Certificate, Channel, ClientTlsConfig},
};
use v1::stream_request::Message::Sightings;

use super::{
    bad_input::{converse, device_channel, hello},
    records::seen,
};

const PASSWORD: &str = "correct horse battery";
/// Is in every name that the first site has, and nowhere else.
const SECRET: &str = "Quagmire";

/// Sends a portrait's sighting as a device does, and gives whom its own site takes it for.
async fn named(
    site: &TestSite,
    cli: &Cli,
    device: &Device,
    portrait: &std::path::Path,
    sequence: u64,
) -> Json {
    let channel = device_channel(site, &device.certificate.certificate, &device.certificate.key).await;
    let sightings = vec![seen(site, portrait, sequence, Timestamp::now())];
    let batch = Some(Sightings(v1::SightingBatch { batch_id: sequence, sightings }));
    let (answers, status) = converse(channel, vec![hello(site), batch]).await;
    assert!(status.is_none() && answers.len() == 2, "{answers:?} {status:?}");
    cli.json(&["sightings", "list"])["sightings"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_of_one_site_is_met_or_told_of_in_another() {
    let site = TestSite::start();
    let portraits: Vec<_> = people(2).into_iter().map(|mut person| person.portraits.remove(0)).collect();
    site.add_user("olga", "operator", PASSWORD);
    let operator = site.cli_of("olga", PASSWORD);
    operator.json(&["sites", "update", "main", "--name", &format!("{SECRET} School")]);
    let north = operator.json(&["sites", "add", "North"]);
    assert!(site.cli.fails(4, &["sites", "add", "South"]).contains("needs an operator"));
    site.add_user_in("nora", "admin", "North", PASSWORD);
    let nora = site.cli_of("nora", PASSWORD);

    // The same faces, under other names and numbers; whoever has one site says nothing of it.
    let first = site.cli.clone();
    for (cli, prefix) in [(&first, SECRET), (&nora, "North")] {
        for (number, portrait) in portraits.iter().enumerate() {
            let number = format!("{prefix}-{number}");
            let name = format!("{prefix} Person");
            cli.json(&["students", "add", &number, "--name", &name]);
            let done = cli.json(&["enroll", &number, portrait.to_str().unwrap()]);
            assert!(done["images"][0]["template_id"].is_string(), "{done:#}");
        }
    }
    let door = site.add_device_of(&first, "Quagmire-door");
    let north_door = site.add_device_of(&nora, "north-door");
    let student = |sighting: &Json| sighting["student"]["number"].as_str().unwrap_or_default().to_owned();
    assert_eq!(student(&named(&site, &first, &door, &portraits[0], 1).await), "Quagmire-0");
    assert_eq!(student(&named(&site, &nora, &north_door, &portraits[0], 1).await), "North-0");
    for (cli, own) in [(&first, &door), (&nora, &north_door)] {
        let all = cli.json(&["sightings", "list"]);
        assert_eq!(
            (&all["total_size"], &all["sightings"][0]["device_id"]),
            (&1.into(), &own.id.clone().into())
        );
    }

    every_method_keeps_the_sites_apart(&site, &first, &door, north["id"].as_str().unwrap()).await;

    // What is changed in one stays there.
    first.json(&["thresholds", "set", "--accept", "0.95"]);
    assert_eq!(nora.json(&["thresholds", "list"])["thresholds"].as_array().unwrap().len(), 1);
    first.json(&["students", "erase", "Quagmire-0", "--yes"]);
    assert_eq!(student(&named(&site, &nora, &north_door, &portraits[0], 2).await), "North-0");
    assert_eq!(student(&named(&site, &first, &door, &portraits[0], 2).await), "");
    assert_eq!(nora.json(&["students", "list"])["total_size"], 3, "with the one that the walk has added");

    // Whoever has several names one; an archived one is looked at only.
    operator.fails(2, &["students", "list"]);
    let of_north = ["--site", "North", "students", "list"];
    assert_eq!(operator.json(&of_north)["total_size"], 3);
    operator.json(&["sites", "archive", "North", "--yes"]);
    assert_eq!(nora.json(&["students", "list"])["total_size"], 3);
    assert!(nora.fails(1, &["devices", "add", "late"]).contains("archived"));
    let files = &north_door.certificate;
    let channel = device_channel(&site, &files.certificate, &files.key).await;
    let (_, refused) = converse(channel, vec![hello(&site)]).await;
    assert_eq!(error_reason(&refused.unwrap()), Some(ErrorReason::SiteArchived));
}

/// Ids and names, of the first site or of nothing.
struct Known {
    student: String,
    template: String,
    device: String,
    sighting: String,
    site: String,
    webhook: String,
    /// A term, a holiday, a group, a room and a class session.
    schedule: [String; 5],
    /// A correction, an excuse and an appeal.
    attendance: [String; 3],
    /// Number and name of a student, of a device, of the site.
    text: [String; 4],
}

/// The ids of a term, a holiday, a group, a room and a session of the first site, called after it.
fn scheduled(cli: &Cli) -> [String; 5] {
    let days = ["--from", "2026-09-01", "--until", "2026-12-31"];
    let name = format!("{SECRET} School");
    let add = |noun: &[&str], more: &[&str]| {
        let json = cli.json(&[noun, &["add", &name], more].concat());
        json["id"].as_str().unwrap().to_owned()
    };
    let (term, holiday) = (add(&["terms"], &days), add(&["terms", "holidays"], &days));
    let (group, room) = (add(&["groups"], &["--term", &name]), add(&["rooms"], &[]));
    // It has not begun, so that time does not take it on meanwhile.
    let times = ["--start", "2054-09-01T08:00", "--end", "2054-09-01T09:00", "--room", &name];
    let session = add(&["sessions"], &times);
    [term, holiday, group, room, session]
}

/// The ids of a correction, an excuse and an appeal of the first site, and what it has for that.
fn attended(cli: &Cli, student: &str) -> [String; 3] {
    let group = format!("{SECRET} group");
    let (now, hour) = (Timestamp::now(), jiff::SignedDuration::from_hours(1));
    let yesterday = (now - 24 * hour).strftime("%Y-%m-%d").to_string();
    cli.json(&["groups", "add", &group]);
    assert!(cli.run(&["groups", "members", "add", &group, student, "--from", &yesterday]).status.success());
    let (start, end) = ((now - hour).to_string(), (now + hour).to_string());
    let session = cli.json(&["sessions", "add", &group, "--start", &start, "--end", &end]);
    let session = session["id"].as_str().unwrap();
    let begun = std::time::Instant::now();
    while cli.json(&["attendance", "show", session])["marks"].as_array().unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the session does not open");
        std::thread::sleep(Duration::from_millis(200));
    }
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    let said = cli.json(&["attendance", "correct", session, student, "absent", "--reason", SECRET]);
    let excuse = ["attendance", "excuses", "add", student, "--from", "2030-01-01", "--until", "2030-01-02"];
    let excuse = cli.json(&[&excuse[..], &["--reason", SECRET]].concat());
    let appeal = cli.json(&["attendance", "appeals", "add", session, student, "present", "--reason", SECRET]);
    [text(&said["corrections"][0]["id"]), text(&excuse["id"]), text(&appeal["id"])]
}

impl Known {
    fn of(cli: &Cli, door: &Device) -> Self {
        let student = cli.json(&["students", "show", "Quagmire-1"]);
        let templates = cli.json(&["templates", "list", "Quagmire-1"]);
        let sightings = cli.json(&["sightings", "list"]);
        let sites = cli.json(&["sites", "list"]);
        let webhook = cli.json(&["webhooks", "add", &format!("https://{SECRET}.invalid/hook")]);
        let text = |json: &Json| json.as_str().unwrap().to_owned();
        Self {
            student: text(&student["id"]),
            template: text(&templates["templates"][0]["id"]),
            device: door.id.clone(),
            sighting: text(&sightings["sightings"][0]["id"]),
            site: text(&sites["sites"][0]["id"]),
            webhook: text(&webhook["webhook"]["id"]),
            schedule: scheduled(cli),
            attendance: attended(cli, "Quagmire-1"),
            text: [
                text(&student["number"]),
                text(&student["name"]),
                "Quagmire-door".to_owned(),
                text(&sites["sites"][0]["name"]),
            ],
        }
    }

    fn of_nothing() -> Self {
        let id = || SightingId::generate().to_string();
        let text = ["nil-7", "Nobody At All", "nothing-door", "Nowhere School"].map(str::to_owned);
        let (schedule, attendance) = (std::array::from_fn(|_| id()), std::array::from_fn(|_| id()));
        Self {
            student: id(),
            template: id(),
            device: id(),
            sighting: id(),
            site: id(),
            webhook: id(),
            schedule,
            attendance,
            text,
        }
    }

    fn ids(&self) -> impl Iterator<Item = &String> {
        let first = [&self.student, &self.template, &self.device, &self.sighting, &self.site, &self.webhook];
        first.into_iter().chain(&self.schedule).chain(&self.attendance)
    }

    /// What a text field of a request is. A new field has to be thought about here.
    fn value(&self, message: &str, field: &str) -> String {
        let [number, name, door, school] = &self.text;
        let [term, holiday, group, room, session] = &self.schedule;
        let [correction, excuse, appeal] = &self.attendance;
        match (message, field) {
            (_, "correction_id") => correction,
            (_, "excuse_id") => excuse,
            (_, "appeal_id") => appeal,
            ("CorrectMarkRequest" | "CreateExcuseRequest" | "CreateAppealRequest", "reason")
            | ("DecideAppealRequest", "answer") => return "because".to_owned(),
            (_, "term_id") | ("GetTermRequest" | "Term", "id") => term,
            (_, "holiday_id") => holiday,
            (_, "group_id") | ("GetGroupRequest" | "Group", "id") => group,
            (_, "room_id") | ("GetRoomRequest" | "Room", "id") => room,
            (_, "session_id") => session,
            (_, "webhook_id") | ("Webhook", "id") => &self.webhook,
            (_, "url") => return "https://example.com/hook".to_owned(),
            (_, "description") | ("Webhook" | "WebhookHealth", _) => return String::new(),
            ("ResendWarningMailRequest", "mail_id") => session,
            ("WarningPolicy", "updated_by") => return String::new(),
            ("Site", "id") => &self.site,
            ("GetTermRequest" | "GetGroupRequest" | "GetRoomRequest", "name") => school,
            // By its term.
            ("ReportDays", "start_date" | "end_date") => return String::new(),
            (_, "start_date" | "end_date" | "date") => return "2026-09-01".to_owned(),
            (_, "start_clock") => return "08:00".to_owned(),
            (_, "end_clock" | "local_start" | "local_end" | "term_name" | "time_zone") => {
                return String::new();
            }
            (_, "student_id" | "other_student_id" | "predicted_student_id" | "corrected_student_id")
            | ("GetStudentRequest", "id") => &self.student,
            (_, "device_id" | "proxy_id") | ("GetDeviceRequest" | "Device", "id") => &self.device,
            ("Device", "name") => return "new".to_owned(),
            ("Device" | "SettingsReport", _) => return String::new(),
            (_, "sighting_id") | ("GetSightingRequest", "id") => &self.sighting,
            (_, "template_id") => &self.template,
            (_, "site_id") | ("GetSiteRequest", "id") => &self.site,
            ("GetStudentRequest", "number") => number,
            ("ListStudentsRequest", "query") => name,
            ("Student", "id") => &self.student,
            ("GetDeviceRequest", "name") => door,
            ("GetSiteRequest", "name") => school,
            (_, "sighting_ids" | "after_sighting_id") => &self.sighting,
            (_, "pack_digest") => return "0".repeat(64),
            (_, "number" | "name") => return "new".to_owned(),
            (_, "section" | "classroom" | "notes" | "page_token") => return String::new(),
            (_, "email" | "department" | "external_id" | "enrollment_date" | "etag") => return String::new(),
            (_, "reviewer" | "claimed_by") => return String::new(),
            (_, "request_id") => return String::new(),
            (_, "student_number") => number,
            (_, "encoding" | "delimiter" | "reason" | "calendar" | "text") | ("Erasure", _) => {
                return String::new();
            }
            (_, "card_number") => return "04A2BF11".to_owned(),
            (_, "pin") => return "12345678".to_owned(),
            (_, "code") => return "CAVS1.none".to_owned(),
            (_, "room_name") => school,
            _ => panic!("say what {message}.{field} is, and whose"),
        }
        .clone()
    }

    /// A request about what is known; of each choice, the one of this number.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "fields of all other kinds keep what the protocol gives them"
    )]
    fn request(&self, of: &MessageDescriptor, choice: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            let chosen = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()).is_none_or(|oneof| {
                let fields: Vec<_> = oneof.fields().map(|field| field.number()).collect();
                fields[choice % fields.len()] == field.number()
            });
            if !chosen || field.is_list() || field.is_map() {
                continue;
            }
            let value = match field.kind() {
                Kind::String => Value::String(self.value(of.name(), field.name())),
                Kind::Message(inner) if inner.package_name() == "cavs.v1" => {
                    Value::Message(self.request(&inner, choice))
                }
                // Verdicts and kinds: the first that says something. A filter's decision stays unset.
                Kind::Enum(_) if !of.name().ends_with("Filter") => Value::EnumNumber(1),
                Kind::Float => Value::F32(0.5),
                Kind::Double => Value::F64(1.0),
                Kind::Bool => Value::Bool(true),
                Kind::Uint32 if field.name() == "below_permille" => Value::U32(800),
                Kind::Uint32 if field.name() == "least_sessions" => Value::U32(5),
                _ => continue,
            };
            message.set_field(&field, value);
        }
        message
    }
}

/// What a call gave: its messages, and how it ended.
#[derive(Debug, PartialEq)]
struct Answer {
    messages: Vec<Vec<u8>>,
    end: Option<(tonic::Code, Option<ErrorReason>, String)>,
}

/// Walks over all methods that people call, as an administrator of the second site who knows all ids of the first.
async fn every_method_keeps_the_sites_apart(site: &TestSite, first: &Cli, door: &Device, north: &str) {
    let channel = api_channel(site).await;
    let session = std::fs::read_to_string(site.path("cli-of-nora/session.json")).unwrap();
    let token = serde_json::from_str::<Json>(&session).unwrap()["token"].as_str().unwrap().to_owned();
    let (theirs, nothing) = (Known::of(first, door), Known::of_nothing());
    let before = [
        first.json(&["students", "list"]),
        first.json(&["devices", "show", "Quagmire-door"])["name"].clone(),
        first.json(&["thresholds", "list"]),
        first.json(&["sessions", "list"]),
        first.json(&["rooms", "list"]),
        first.json(&["attendance", "list"]),
        first.json(&["attendance", "excuses", "list"]),
        first.json(&["attendance", "appeals", "list"]),
    ];
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut walked = 0;
    for service in pool.services().filter(|service| service.package_name() == "cavs.v1") {
        // Devices and cameras have listeners of their own.
        if matches!(service.name(), "IngestService" | "CaptureService") {
            continue;
        }
        for method in service.methods() {
            // Whoever calls these has no site yet, or no session any more, or has it from a code.
            if matches!(method.name(), "Login" | "Logout" | "CheckInWithCode") {
                continue;
            }
            walked += 1;
            let call = async |known: &Known, choice: usize, named: Option<&str>| {
                let message = known.request(&method.input(), choice).encode_to_vec();
                answer(&channel, &token, named, &method, message).await.without(known)
            };
            for choice in 0..2 {
                let told = call(&theirs, choice, None).await;
                told.tells_nothing(&theirs, method.full_name());
                let [about_theirs, about_nothing] =
                    [&theirs, &nothing].map(|known| known.request(&method.input(), choice).encode_to_vec());
                if about_theirs != about_nothing {
                    let expected = call(&nothing, choice, None).await;
                    assert_eq!(
                        told,
                        expected,
                        "{} tells their ids from those of nothing",
                        method.full_name()
                    );
                }
            }
            // The site itself is not there for who has no role in it.
            if !matches!(service.name(), "AuthService" | "SiteService") {
                let there = call(&theirs, 0, Some(&theirs.site)).await;
                let reason = there.end.as_ref().and_then(|end| end.1);
                assert_eq!(reason, Some(ErrorReason::SiteNotFound), "{}", method.full_name());
                assert_eq!(there, call(&nothing, 0, Some(&nothing.site)).await, "{}", method.full_name());
                let own = call(&nothing, 0, Some(north)).await.end.and_then(|end| end.1);
                assert_ne!(own, Some(ErrorReason::SiteNotFound), "{}", method.full_name());
            }
        }
    }
    assert!(walked > 25, "{walked} methods");
    let after = [
        first.json(&["students", "list"]),
        first.json(&["devices", "show", "Quagmire-door"])["name"].clone(),
        first.json(&["thresholds", "list"]),
        first.json(&["sessions", "list"]),
        first.json(&["rooms", "list"]),
        first.json(&["attendance", "list"]),
        first.json(&["attendance", "excuses", "list"]),
        first.json(&["attendance", "appeals", "list"]),
    ];
    assert_eq!(before, after, "something of the first site was changed from the second");
}

impl Answer {
    /// With the ids that the request named, and texts, replaced: what is left must not depend on them.
    fn without(mut self, known: &Known) -> Self {
        if let Some((.., message)) = &mut self.end {
            for text in known.ids().chain(&known.text) {
                *message = message.replace(text.as_str(), "?");
            }
        }
        self
    }

    fn tells_nothing(&self, theirs: &Known, method: &str) {
        let told = self.messages.iter().map(|message| String::from_utf8_lossy(message).into_owned());
        let told = told.chain(self.end.iter().map(|(.., message)| message.clone()));
        for text in told {
            assert!(!text.contains(SECRET), "{method}: {text}");
            assert!(theirs.ids().all(|id| !text.contains(id.as_str())), "{method}: {text}");
        }
    }
}

async fn answer(
    channel: &Channel,
    token: &str,
    site: Option<&str>,
    method: &MethodDescriptor,
    message: Vec<u8>,
) -> Answer {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::iter([message]));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    if let Some(site) = site {
        request.metadata_mut().insert("cavs-site", site.parse().unwrap());
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
    let mut messages = Vec::new();
    let end = match grpc.streaming(request, path, Raw).await {
        Err(status) => Some(status),
        Ok(response) => {
            let mut stream = response.into_inner();
            // Nothing comes in: whoever watches waits.
            let waits = method.name().starts_with("Watch");
            let limit = if waits { Duration::from_millis(300) } else { Duration::from_secs(60) };
            loop {
                match tokio::time::timeout(limit, stream.message()).await {
                    Ok(Ok(Some(message))) => messages.push(message),
                    Ok(Ok(None)) => break None,
                    Ok(Err(status)) => break Some(status),
                    Err(_) => {
                        assert!(waits, "{} gives no answer", method.full_name());
                        break None;
                    }
                }
            }
        }
    };
    let end = end.map(|status| (status.code(), error_reason(&status), status.message().to_owned()));
    Answer { messages, end }
}

async fn api_channel(site: &TestSite) -> Channel {
    let authority = std::fs::read_to_string(site.path("certs/ca.pem")).unwrap();
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name("localhost");
    let address = format!("https://127.0.0.1:{}", site.api_port());
    Channel::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await.unwrap()
}

/// Messages as their bytes, of whichever type.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(bytes.to_vec()))
    }
}
