//! Who is refused is told why, and the log says so without naming anybody.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use cavs_certs::SiteCa;
use cavs_proto::{error_reason, v1};
use cavs_tests::{
    Device, Site, SiteOptions, binary,
    flood::{channel, log_in},
};
use cavs_types::ErrorReason;
use prost::Message;
use tokio_stream::StreamExt;
use tonic::{
    Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, metadata::MetadataValue,
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{v1 as reflection, v1alpha};
use v1::{auth_service_client::AuthServiceClient, student_service_client::StudentServiceClient};

use super::secrets::add_user_on_a_terminal;

/// What no log may hold: nobody else has such a number or name.
const NUMBER: &str = "S-4711-unlogged";
const NAME: &str = "Ada Unlogged";
const USERNAMES: [&str; 2] = ["mallory-unlogged", "trudy-unlogged"];

async fn unary<M: Message + 'static>(
    channel: &Channel,
    token: Option<&str>,
    path: &'static str,
    message: M,
) -> Status {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let codec = tonic_prost::ProstCodec::<M, prost_types::Any>::default();
    grpc.unary(request, PathAndQuery::from_static(path), codec).await.unwrap_err()
}

fn is(status: &Status, reason: ErrorReason) {
    assert_eq!(
        (error_reason(status), status.code()),
        (Some(reason), cavs_proto::code_of(reason)),
        "{status:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_reasons_and_logs_have_no_names() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let token = log_in(&site).await;
    let api = channel(&site, site.api_port(), None).await;

    errors_of_the_framework_have_reasons(&site, &api, &token).await;
    both_reflections_list_what_is_served(&api).await;
    a_scheme_has_no_case(&api, &token).await;
    let hashes = failed_logins_are_logged_by_pseudonym(&site, &api).await;
    assert_eq!(hashes.len(), USERNAMES.len(), "{hashes:?}");
    a_password_is_not_shown(&site);
    a_main_job_names_nobody(&site).await;
}

async fn errors_of_the_framework_have_reasons(site: &Site, api: &Channel, token: &str) {
    // A number where the method has a text.
    let wrong = prost_types::Duration { seconds: 7, nanos: 7 };
    let status = unary(api, Some(token), "/cavs.v1.StudentService/GetStudent", wrong).await;
    is(&status, ErrorReason::MessageInvalid);
    let large = v1::LoginRequest { username: "x".repeat(5 << 20), password: "x".into() };
    is(&unary(api, None, "/cavs.v1.AuthService/Login", large).await, ErrorReason::MessageTooLarge);
    for path in ["/cavs.v1.StudentService/Burn", "/cavs.v1.IngestService/Stream", "/x.Y/Z"] {
        is(&unary(api, Some(token), path, wrong).await, ErrorReason::Unimplemented);
    }
    let device = site.add_device("refused");
    let devices = channel(site, site.device_port(), Some(&device)).await;
    is(&unary(&devices, None, "/cavs.v1.StudentService/GetStudent", wrong).await, ErrorReason::Unimplemented);

    // In the trailers of a stream that has begun.
    site.cli.json(&["students", "add", "1", "--name", "One"]);
    let id = site.cli.json(&["students", "show", "1"])["id"].as_str().unwrap().to_owned();
    let first = prost_types::Any { type_url: id, value: Vec::new() };
    let second = prost_types::Any { value: vec![0xff; 8], ..first.clone() };
    let mut grpc = Grpc::new(api.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::iter([first, second]));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let codec = tonic_prost::ProstCodec::<_, v1::EnrollFromImagesResponse>::default();
    let path = PathAndQuery::from_static("/cavs.v1.EnrollmentService/EnrollFromImages");
    let status = match grpc.streaming(request, path, codec).await {
        Err(status) => status,
        Ok(response) => {
            let mut answers = response.into_inner();
            loop {
                match answers.message().await {
                    Ok(answer) => assert!(answer.is_some(), "no error"),
                    Err(status) => break status,
                }
            }
        }
    };
    is(&status, ErrorReason::MessageInvalid);

    // The 101st call at a time on one connection.
    let crowded = channel(site, site.api_port(), None).await;
    let mut watches = Vec::new();
    for _ in 0..100 {
        let mut health = HealthClient::new(crowded.clone());
        watches.push(health.watch(HealthCheckRequest::default()).await.unwrap());
    }
    let one_more = HealthClient::new(crowded.clone()).check(HealthCheckRequest::default()).await;
    is(&one_more.unwrap_err(), ErrorReason::Overloaded);
    drop(watches);
}

async fn both_reflections_list_what_is_served(api: &Channel) {
    let services = |list: Vec<String>| list.into_iter().collect::<BTreeSet<_>>();
    let request = reflection::ServerReflectionRequest {
        message_request: Some(reflection::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
        ..Default::default()
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(api.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let reflection::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let newer = services(list.service.into_iter().map(|service| service.name).collect());

    let request = v1alpha::ServerReflectionRequest {
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
        ..Default::default()
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(api.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let older = services(list.service.into_iter().map(|service| service.name).collect());

    let ours = ["Auth", "Device", "Enrollment", "Gallery", "Review", "Sighting", "Student"];
    for listed in [&newer, &older] {
        for name in ours.map(|name| format!("cavs.v1.{name}Service")) {
            assert!(listed.contains(&name), "{name} is missing: {listed:?}");
        }
        assert!(listed.contains("grpc.health.v1.Health"), "{listed:?}");
        let of_devices = |name: &&String| name.contains("Ingest") || name.contains("Capture");
        assert_eq!(listed.iter().find(of_devices), None);
    }
    assert!(newer.contains("grpc.reflection.v1.ServerReflection"));
    assert!(older.contains("grpc.reflection.v1alpha.ServerReflection"));
}

async fn a_scheme_has_no_case(api: &Channel, token: &str) {
    for scheme in ["bearer", "BEARER", "Bearer"] {
        let mut request = Request::new(v1::WhoAmIRequest {});
        request.metadata_mut().insert("authorization", format!("{scheme} {token}").parse().unwrap());
        AuthServiceClient::new(api.clone()).who_am_i(request).await.unwrap();
    }
}

/// The pseudonyms in the log.
async fn failed_logins_are_logged_by_pseudonym(site: &Site, api: &Channel) -> BTreeSet<String> {
    let mut auth = AuthServiceClient::new(api.clone());
    let ca = SiteCa::load(&site.path("certs")).unwrap();
    let stranger = ca.issue_device(uuid::Uuid::now_v7()).unwrap().save(&site.path("x"), "stranger").unwrap();
    let stranger = Device { id: String::new(), certificate: stranger, directory: site.path("x") };
    let devices = channel(site, site.device_port(), Some(&stranger)).await;
    let nothing = tokio_stream::iter(Vec::<v1::StreamRequest>::new());
    let refused = v1::ingest_service_client::IngestServiceClient::new(devices).stream(nothing).await;
    is(&refused.unwrap_err(), ErrorReason::DeviceUnknown);
    for _ in 0..20 {
        for username in USERNAMES {
            let request = v1::LoginRequest { username: username.into(), password: "wrong password".into() };
            let status = auth.login(request).await.unwrap_err();
            assert!(matches!(status.code(), Code::Unauthenticated | Code::ResourceExhausted), "{status:?}");
        }
    }
    let log = fs::read_to_string(site.path("server.log")).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("cavs::security")).collect();
    let refused = |line: &&&str| line.contains("DEVICE_UNKNOWN") && line.contains("peer=127.0.0.1:");
    assert_eq!(lines.iter().filter(refused).count(), 1, "{lines:#?}");
    let failed: Vec<_> = lines.iter().filter(|line| line.contains("a login failed")).collect();
    assert!((2..=12).contains(&failed.len()), "40 failures, {} lines", failed.len());
    failed
        .iter()
        .map(|line| {
            assert!(line.contains("peer=127.0.0.1:") && line.contains("reason="), "{line}");
            let name = line.split("name=").nth(1).unwrap().split(' ').next().unwrap();
            name.trim_matches('"').to_owned()
        })
        .collect()
}

fn a_password_is_not_shown(site: &Site) {
    let config = site.path("server.toml");
    let (shown, done) = add_user_on_a_terminal(&config, ["open sesame 1", "open sesame 2"]);
    assert!(!done && shown.contains("not the same"), "{shown}");
    let (shown, done) = add_user_on_a_terminal(&config, ["open sesame 1"; 2]);
    assert!(done && !shown.contains("sesame"), "{shown}");
    site.log_in("eve", "open sesame 1");
    let (username, password) = ("admin", "correct horse battery");
    site.log_in(username, password);
}

async fn a_main_job_names_nobody(site: &Site) {
    let rendered = site.path("rendered");
    let roster = ["roster", "--count", "1", "--seed", "17", "--portraits", "3", "--out"];
    assert!(Command::new(binary("synthface")).args(roster).arg(&rendered).status().unwrap().success());
    let student = fs::read_dir(rendered.join("portraits")).unwrap().next().unwrap().unwrap().path();
    let cli = &site.cli;
    cli.json(&["students", "add", NUMBER, "--name", NAME]);
    cli.fails(1, &["students", "add", NUMBER, "--name", NAME]);
    cli.fails(3, &["students", "show", "S-4712-unlogged"]);
    cli.json(&["enroll", NUMBER, student.to_str().unwrap()]);
    cli.fails(3, &["enroll", "S-4712-unlogged", student.to_str().unwrap()]);
    let device = site.add_device("camera");
    let config = site.configure_agent(&device, &student, "");
    let mut agent = site.start_agent(&device, &config);
    assert_eq!(agent.wait(Duration::from_secs(120)), Some(0), "{}", agent.output());
    let listed = cli.json(&["sightings", "list"]);
    assert_eq!(listed["sightings"][0]["student"]["number"], NUMBER, "{listed:#}");
    let id = listed["sightings"][0]["id"].as_str().unwrap();
    cli.json(&["review", "approve", id]);
    cli.fails(1, &["review", "reject", id, "--student", NUMBER]);
    cli.json(&["students", "erase", NUMBER, "--yes"]);
    cli.fails(3, &["enroll", NUMBER, student.to_str().unwrap()]);
    // An account that is refused, too.
    let token = log_in(site).await;
    let mut request = Request::new(v1::CreateStudentRequest {
        number: NUMBER.into(),
        name: NAME.into(),
        ..Default::default()
    });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut students = StudentServiceClient::new(channel(site, site.api_port(), None).await);
    let _ = students.create_student(request).await;

    for log in [site.path("server.log"), device.directory.join("agent.log"), site.path("db/postgres.log")] {
        let text = fs::read_to_string(&log).unwrap();
        assert!(!text.is_empty(), "{}", log.display());
        for person in [NUMBER, NAME, "Unlogged", "unlogged", USERNAMES[0], USERNAMES[1]] {
            let line = text.lines().find(|line| line.contains(person));
            assert_eq!(line, None, "{} names somebody", log.display());
        }
    }
}
