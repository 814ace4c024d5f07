//! A server that holds everything in memory and checks nothing that the real one would.

mod gallery;
mod matching;
mod records;
mod retention;
mod sites;

use std::{
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use cavs_certs::{DevSet, write_dev_set};
use cavs_proto::{
    invalid_argument, status, to_timestamp,
    v1::{self, enroll_from_images_request::Message, get_student_request::Key},
};
use cavs_types::{ErrorReason, StudentId};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Identity, Server, ServerTlsConfig},
};

pub(crate) use records::NEWER;

use crate::program::{Ran, cavs, run};

pub(crate) const PASSWORD: &str = "open sesame";
const TOKEN: &str = "token-1";
/// Less than anybody asks for, so that lists have pages.
const PAGE: usize = 2;

/// What the server knows, and what it was asked.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) logged_in: bool,
    /// The site that the last request named.
    pub(crate) site: Option<String>,
    /// Those beside the first one.
    pub(crate) sites: Vec<v1::Site>,
    /// What the site has set.
    pub(crate) retention: Option<v1::RetentionPolicy>,
    pub(crate) students: Vec<v1::Student>,
    pub(crate) pairs: Vec<v1::ConfusablePair>,
    pub(crate) queue_filters: Vec<v1::QueueFilter>,
    /// What each watching was asked to go on after.
    pub(crate) watched_after: Vec<String>,
    /// Exports don't come to their end.
    pub(crate) export_breaks: bool,
    pub(crate) sightings: Vec<v1::Sighting>,
    pub(crate) filters: Vec<v1::SightingFilter>,
    pub(crate) reviews: Vec<v1::ReviewSightingRequest>,
    pub(crate) configured: Option<v1::ConfigureDeviceRequest>,
    /// Who speaks for the camera, and its tokens.
    pub(crate) proxy: String,
    pub(crate) tokens: u32,
}

/// The server, its certificates, and a home for whoever calls it.
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) certificates: DevSet,
    pub(crate) service: Service,
    home: TempDir,
    /// Stops the server when it goes.
    _runtime: Runtime,
}

#[derive(Clone, Default)]
pub(crate) struct Service(Arc<Mutex<State>>);

impl Service {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn authorise<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let site = request.metadata().get("cavs-site").map(|site| site.to_str().unwrap().to_owned());
        self.state().site = site;
        let token = request.metadata().get("authorization").and_then(|token| token.to_str().ok());
        if token == Some(&format!("Bearer {TOKEN}")) && self.state().logged_in {
            Ok(())
        } else {
            Err(status(ErrorReason::Unauthenticated, "the token is not valid"))
        }
    }
}

impl Service {
    fn change_student<R: From<v1::Student>>(
        &self,
        id: &str,
        change: impl FnOnce(&mut v1::Student),
    ) -> Result<Response<R>, Status> {
        let mut state = self.state();
        let found = state.students.iter_mut().find(|student| student.id == id);
        let student = found.ok_or_else(|| status(ErrorReason::StudentNotFound, "no such student"))?;
        change(student);
        Ok(Response::new(student.clone().into()))
    }
}

impl Fake {
    pub(crate) fn start() -> Self {
        let home = TempDir::new().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificates = write_dev_set(&home.path().join("certs"), &names, &[]).unwrap();
        let read = |path: &Path| std::fs::read(path).unwrap();
        let identity =
            Identity::from_pem(read(&certificates.server.certificate), read(&certificates.server.key));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let service = Service::default();
        let server = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(v1::auth_service_server::AuthServiceServer::new(service.clone()))
            .add_service(v1::site_service_server::SiteServiceServer::new(service.clone()))
            .add_service(v1::stats_service_server::StatsServiceServer::new(service.clone()))
            .add_service(v1::student_service_server::StudentServiceServer::new(service.clone()))
            .add_service(v1::enrollment_service_server::EnrollmentServiceServer::new(service.clone()))
            .add_service(v1::gallery_service_server::GalleryServiceServer::new(service.clone()))
            .add_service(v1::match_service_server::MatchServiceServer::new(service.clone()))
            .add_service(v1::device_service_server::DeviceServiceServer::new(service.clone()))
            .add_service(v1::retention_service_server::RetentionServiceServer::new(service.clone()))
            .add_service(v1::review_service_server::ReviewServiceServer::new(service.clone()))
            .add_service(v1::sighting_service_server::SightingServiceServer::new(service.clone()));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { url, certificates, service, home, _runtime: runtime }
    }

    /// A server where somebody has logged in and there are students.
    pub(crate) fn with_students(numbers: &[&str]) -> Self {
        let fake = Self::start();
        assert_eq!(fake.login(PASSWORD).code, 0);
        fake.service.state().students =
            numbers.iter().map(|number| student(number, "Ada Lovelace")).collect();
        fake
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn ca(&self) -> &str {
        self.certificates.ca.certificate.to_str().unwrap()
    }

    pub(crate) fn login(&self, password: &str) -> Ran {
        let arguments =
            ["--server", &self.url, "--ca", self.ca(), "login", "--username", "admin", "--password-stdin"];
        run(self.home(), &arguments, &[], &format!("{password}\n"))
    }

    /// Runs `cavs` with nothing but what the login left.
    pub(crate) fn cavs(&self, arguments: &[&str]) -> Ran {
        cavs(self.home(), arguments)
    }
}

pub(crate) fn student(number: &str, name: &str) -> v1::Student {
    v1::Student {
        id: StudentId::generate().to_string(),
        number: number.to_owned(),
        name: name.to_owned(),
        section: "7b".to_owned(),
        create_time: Some(to_timestamp("2026-03-01T10:00:00Z".parse().unwrap())),
        template_count: 2,
        photo_consent: v1::PhotoConsent::Unknown.into(),
        active: true,
        etag: "1".to_owned(),
        ..v1::Student::default()
    }
}

/// `total_size` and `total_size_exact`.
fn counted(items: usize, with_total_size: bool) -> (u64, bool) {
    if with_total_size { (items as u64, true) } else { (0, false) }
}

/// The items of a page and the token of the next one.
fn page<T: Clone>(items: &[T], token: &str) -> (Vec<T>, String) {
    let start = token.parse().unwrap_or(0).min(items.len());
    let end = (start + PAGE).min(items.len());
    let next = if end == items.len() { String::new() } else { end.to_string() };
    (items[start..end].to_vec(), next)
}

#[tonic::async_trait]
impl v1::auth_service_server::AuthService for Service {
    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        let request = request.into_inner();
        if (request.username.as_str(), request.password.as_str()) != ("admin", PASSWORD) {
            return Err(status(ErrorReason::CredentialsInvalid, "wrong user name or password"));
        }
        self.state().logged_in = true;
        Ok(Response::new(v1::LoginResponse {
            access_token: TOKEN.to_owned(),
            expire_time: Some(to_timestamp(jiff::Timestamp::MAX)),
            user: Some(user()),
            sites: self.sites(),
        }))
    }

    async fn logout(
        &self,
        request: Request<v1::LogoutRequest>,
    ) -> Result<Response<v1::LogoutResponse>, Status> {
        self.authorise(&request)?;
        self.state().logged_in = false;
        Ok(Response::new(v1::LogoutResponse {}))
    }

    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        self.authorise(&request)?;
        Ok(Response::new(v1::WhoAmIResponse { user: Some(user()), sites: self.sites() }))
    }
}

fn user() -> v1::User {
    v1::User {
        id: "01890000-0000-7000-8000-000000000001".to_owned(),
        username: "admin".to_owned(),
        operator: false,
    }
}

#[tonic::async_trait]
impl v1::student_service_server::StudentService for Service {
    async fn create_student(
        &self,
        request: Request<v1::CreateStudentRequest>,
    ) -> Result<Response<v1::CreateStudentResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        if request.number.len() > 32 {
            return Err(invalid_argument("number", "has more than 32 characters"));
        }
        let mut state = self.state();
        if state.students.iter().any(|student| student.number == request.number) {
            return Err(status(ErrorReason::StudentExists, "a student of this number exists"));
        }
        let student = student(&request.number, &request.name);
        state.students.push(student.clone());
        Ok(Response::new(student.into()))
    }

    async fn update_student(
        &self,
        request: Request<v1::UpdateStudentRequest>,
    ) -> Result<Response<v1::UpdateStudentResponse>, Status> {
        self.authorise(&request)?;
        let v1::UpdateStudentRequest { student, update_mask } = request.into_inner();
        let (new, paths) = (student.unwrap(), update_mask.unwrap().paths);
        self.change_student(&new.id.clone(), |student| {
            for path in paths {
                match path.as_str() {
                    "name" => student.name.clone_from(&new.name),
                    "email" => student.email.clone_from(&new.email),
                    "photo_consent" => student.photo_consent = new.photo_consent,
                    path => panic!("{path}"),
                }
            }
        })
    }

    async fn deactivate_student(
        &self,
        request: Request<v1::DeactivateStudentRequest>,
    ) -> Result<Response<v1::DeactivateStudentResponse>, Status> {
        self.authorise(&request)?;
        self.change_student(&request.into_inner().student_id, |student| student.active = false)
    }

    async fn reactivate_student(
        &self,
        request: Request<v1::ReactivateStudentRequest>,
    ) -> Result<Response<v1::ReactivateStudentResponse>, Status> {
        self.authorise(&request)?;
        self.change_student(&request.into_inner().student_id, |student| student.active = true)
    }

    async fn import_students(
        &self,
        request: Request<Streaming<v1::ImportStudentsRequest>>,
    ) -> Result<Response<v1::ImportStudentsResponse>, Status> {
        use v1::import_students_request::Message;
        self.authorise(&request)?;
        let (mut messages, mut told) = (request.into_inner(), Vec::new());
        while let Some(message) = messages.message().await? {
            told.push(message.message.unwrap());
        }
        let Some(Message::Options(options)) = told.first() else { panic!("{told:?}") };
        let bytes = told.iter().map(|message| match message {
            Message::Options(_) => 0,
            Message::Data(data) => data.len(),
        });
        // What was sent says what is found: a problem where the file has that word.
        let is_bad = told.iter().any(|m| matches!(m, Message::Data(data) if data.starts_with(b"bad")));
        let problem = v1::ImportProblem {
            line: 3,
            field: "email".to_owned(),
            message: "is that of \u{1b}[31mstudent \"1\"".to_owned(),
            ..v1::ImportProblem::default()
        };
        Ok(Response::new(v1::ImportStudentsResponse {
            applied: !options.dry_run && (!is_bad || options.skip_bad_rows),
            created: bytes.sum::<usize>() as u64,
            updated: options.format.try_into().unwrap(),
            unchanged: 7,
            deactivated: options.deactivate_missing.into(),
            problems: if is_bad { vec![problem] } else { Vec::new() },
            problem_count: is_bad.into(),
            ignored_columns: vec!["Shoe size".to_owned()],
            ..v1::ImportStudentsResponse::default()
        }))
    }

    async fn get_student(
        &self,
        request: Request<v1::GetStudentRequest>,
    ) -> Result<Response<v1::GetStudentResponse>, Status> {
        self.authorise(&request)?;
        let key = request.into_inner().key;
        let state = self.state();
        let found = state.students.iter().find(|student| match &key {
            Some(Key::Id(id)) => student.id == *id,
            Some(Key::Number(number)) => student.number == *number,
            None => false,
        });
        found
            .cloned()
            .map(|found| Response::new(found.into()))
            .ok_or_else(|| status(ErrorReason::StudentNotFound, "no such student"))
    }

    async fn list_students(
        &self,
        request: Request<v1::ListStudentsRequest>,
    ) -> Result<Response<v1::ListStudentsResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        let mut found = self.state().students.clone();
        found.retain(|student| student.number.starts_with(&request.query));
        let (students, next_page_token) = page(&found, &request.page_token);
        let (total_size, total_size_exact) = counted(found.len(), request.with_total_size);
        Ok(Response::new(v1::ListStudentsResponse {
            students,
            next_page_token,
            total_size,
            total_size_exact,
        }))
    }

    async fn erase_student(
        &self,
        request: Request<v1::EraseStudentRequest>,
    ) -> Result<Response<v1::EraseStudentResponse>, Status> {
        self.authorise(&request)?;
        let id = request.into_inner().student_id;
        let mut state = self.state();
        let found = state.students.iter_mut().find(|student| student.id == id);
        let student = found.ok_or_else(|| status(ErrorReason::StudentNotFound, "no such student"))?;
        let templates = std::mem::take(&mut student.template_count).into();
        student.number = "erased-80000000000000ad".to_owned();
        student.name.clear();
        student.erase_time = Some(to_timestamp("2026-03-02T10:00:00Z".parse().unwrap()));
        // As a server with little to do: done when it is asked again.
        let erasure = v1::Erasure {
            id: "01890000-0000-7000-8000-0000000000ee".to_owned(),
            state: v1::ErasureState::Pending.into(),
            templates,
            sightings: 7,
            request_time: student.erase_time,
            ..v1::Erasure::default()
        };
        student.erasure = Some(v1::Erasure {
            state: v1::ErasureState::Purged.into(),
            purge_time: student.erase_time,
            ..erasure.clone()
        });
        Ok(Response::new(v1::EraseStudentResponse { student: Some(student.clone()), erasure: Some(erasure) }))
    }

    async fn get_erasure(
        &self,
        request: Request<v1::GetErasureRequest>,
    ) -> Result<Response<v1::GetErasureResponse>, Status> {
        self.authorise(&request)?;
        let id = request.into_inner().student_id;
        let state = self.state();
        let erasure = state.students.iter().find(|student| student.id == id).and_then(|s| s.erasure.clone());
        erasure
            .map(|found| Response::new(found.into()))
            .ok_or_else(|| status(ErrorReason::NotFound, "not erased"))
    }
}

#[tonic::async_trait]
impl v1::enrollment_service_server::EnrollmentService for Service {
    type EnrollFromImagesStream =
        Pin<Box<dyn Stream<Item = Result<v1::EnrollFromImagesResponse, Status>> + Send>>;

    async fn enroll_from_images(
        &self,
        request: Request<Streaming<v1::EnrollFromImagesRequest>>,
    ) -> Result<Response<Self::EnrollFromImagesStream>, Status> {
        self.authorise(&request)?;
        let mut images = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(message)) = images.message().await {
                if let Some(Message::Image(image)) = message.message
                    && sender.send(verdict(&image)).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_templates(
        &self,
        request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        self.authorise(&request)?;
        let template = v1::Template {
            id: TEMPLATE.to_owned(),
            student_id: request.into_inner().student_id,
            pack_digest: "ab".repeat(32),
            quality: Some(v1::FaceQuality { unified_score: 81, ..Default::default() }),
            create_time: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
            gate: v1::EnrollmentGate::Off.into(),
            enrolled_by: "ada".to_owned(),
            has_portrait: true,
        };
        Ok(Response::new(v1::ListTemplatesResponse { templates: vec![template] }))
    }

    async fn get_template(
        &self,
        request: Request<v1::GetTemplateRequest>,
    ) -> Result<Response<v1::GetTemplateResponse>, Status> {
        self.authorise(&request)?;
        let v1::GetTemplateRequest { template_id: id, with_portrait } = request.into_inner();
        if id != TEMPLATE {
            return Err(status(ErrorReason::TemplateNotFound, "no such template"));
        }
        let template = v1::Template {
            id,
            quality: Some(v1::FaceQuality { unified_score: 81, ..Default::default() }),
            has_portrait: true,
            ..Default::default()
        };
        let portrait = if with_portrait { b"jpeg".as_slice().into() } else { Default::default() };
        Ok(Response::new(v1::GetTemplateResponse { template: Some(template), portrait }))
    }

    async fn get_enrollment_policy(
        &self,
        request: Request<v1::GetEnrollmentPolicyRequest>,
    ) -> Result<Response<v1::GetEnrollmentPolicyResponse>, Status> {
        self.authorise(&request)?;
        Ok(Response::new(v1::EnrollmentPolicy { gate: v1::EnrollmentGate::Standard.into() }.into()))
    }

    async fn update_enrollment_policy(
        &self,
        request: Request<v1::UpdateEnrollmentPolicyRequest>,
    ) -> Result<Response<v1::UpdateEnrollmentPolicyResponse>, Status> {
        self.authorise(&request)?;
        Ok(Response::new(request.into_inner().policy.unwrap().into()))
    }

    async fn enroll_from_sighting(
        &self,
        request: Request<v1::EnrollFromSightingRequest>,
    ) -> Result<Response<v1::EnrollFromSightingResponse>, Status> {
        self.authorise(&request)?;
        let verdict = if request.into_inner().accept_unlike {
            v1::EnrollmentVerdict { template_id: TEMPLATE.to_owned(), ..Default::default() }
        } else {
            let (reason, message) = ("UNLIKE_OTHER_PICTURES".to_owned(), "the face is unlike".to_owned());
            v1::EnrollmentVerdict { reason, message, ..Default::default() }
        };
        Ok(Response::new(v1::EnrollFromSightingResponse { verdict: Some(verdict) }))
    }

    async fn enroll_from_embeddings(
        &self,
        _: Request<v1::EnrollFromEmbeddingsRequest>,
    ) -> Result<Response<v1::EnrollFromEmbeddingsResponse>, Status> {
        Err(Status::unimplemented("the command line has no embeddings"))
    }

    async fn delete_template(
        &self,
        request: Request<v1::DeleteTemplateRequest>,
    ) -> Result<Response<v1::DeleteTemplateResponse>, Status> {
        self.authorise(&request)?;
        match request.into_inner().template_id == TEMPLATE {
            true => Ok(Response::new(v1::DeleteTemplateResponse {})),
            false => Err(status(ErrorReason::TemplateNotFound, "no such template")),
        }
    }
}

/// The one template that the fake server has.
pub(crate) const TEMPLATE: &str = "01a202b6-1de5-7026-a7bc-4890060626f8";

/// What an image holds says what becomes of it.
fn verdict(image: &v1::EnrollmentImage) -> Result<v1::EnrollFromImagesResponse, Status> {
    let mut verdict = v1::EnrollFromImagesResponse { name: image.name.clone(), ..Default::default() };
    match image.data.as_ref() {
        b"database gone" => {
            return Err(status(ErrorReason::DatabaseUnavailable, "the database does not answer"));
        }
        b"no face" => {
            verdict.reason = "NO_FACE".to_owned();
            verdict.message = "no face \u{1b}[31mwas found".to_owned();
        }
        _ => {
            verdict.template_id = StudentId::generate().to_string();
            verdict.quality = Some(v1::FaceQuality { unified_score: 81, ..Default::default() });
        }
    }
    Ok(verdict)
}
