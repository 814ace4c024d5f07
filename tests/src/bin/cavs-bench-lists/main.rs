//! Measures how long people wait for lists of a large installation: `scripts/bench-lists` builds everything and
//! runs this.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "this is what a benchmark does")]

mod fill;

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use cavs_proto::{
    enum_to_wire,
    v1::{
        self, device_service_client::DeviceServiceClient, get_student_request::Key,
        review_service_client::ReviewServiceClient, sighting_service_client::SightingServiceClient,
        student_service_client::StudentServiceClient,
    },
};
use cavs_tests::{
    Site, SiteOptions,
    flood::{channel, log_in},
};
use cavs_types::Decision;
use clap::Parser;
use tokio::runtime::Runtime;
use tonic::{Request, metadata::AsciiMetadataValue, transport::Channel};

use crate::fill::{FIRST_NAMES, Kind, Size, classroom, fill, id};

/// Lists, filters, searches and the queue of a large installation over the real API: one line per bar,
/// `name figure bar ok|SHORT`, the figure the 95th percentile in milliseconds; ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/bench-lists")]
struct Arguments {
    /// How much there is.
    #[command(flatten)]
    size: Size,
    /// Calls of each kind
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    calls: u64,
    /// Only kinds of calls whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// Most milliseconds for 95 of a hundred calls.
const BAR_MS: u128 = 50;
/// Pages of a thousand before a deep page.
const DEEP: usize = 5;
/// Of so many filters of one kind, a deep page is asked for.
const DEEP_FILTERS: usize = 4;

/// A list and what of it is wanted.
#[derive(Debug, Clone)]
enum List {
    Sightings(v1::SightingFilter),
    Queue(v1::SightingFilter),
    Students { section: String, name: String },
    Devices,
}

/// How a page is asked for.
#[derive(Debug, Clone, Copy)]
struct Page<'a> {
    size: u32,
    token: &'a str,
    total: bool,
}

const FIRST: Page<'_> = Page { size: 50, token: "", total: false };

/// The API as an administrator calls it.
struct Api {
    channel: Channel,
    token: AsciiMetadataValue,
}

impl Api {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    /// Asks for a page: the ids of its items, and the token of the next one.
    async fn page(&self, list: &List, page: Page<'_>) -> (Vec<String>, String) {
        let (page_size, page_token, with_total_size) = (page.size, page.token.to_owned(), page.total);
        let channel = self.channel.clone();
        match list.clone() {
            List::Sightings(filter) => {
                let filter = Some(filter);
                let request = v1::ListSightingsRequest { page_size, page_token, filter, with_total_size };
                let mut client = SightingServiceClient::new(channel);
                let found = client.list_sightings(self.request(request)).await.unwrap().into_inner();
                (found.sightings.into_iter().map(|s| s.id).collect(), found.next_page_token)
            }
            List::Queue(filter) => {
                let filter = Some(filter);
                let request = v1::ListPendingRequest { page_size, page_token, filter, with_total_size };
                let mut client = ReviewServiceClient::new(channel);
                let found = client.list_pending(self.request(request)).await.unwrap().into_inner();
                (found.sightings.into_iter().map(|s| s.id).collect(), found.next_page_token)
            }
            List::Students { section, name } => {
                let request =
                    v1::ListStudentsRequest { page_size, page_token, section, name, with_total_size };
                let mut client = StudentServiceClient::new(channel);
                let found = client.list_students(self.request(request)).await.unwrap().into_inner();
                (found.students.into_iter().map(|s| s.id).collect(), found.next_page_token)
            }
            List::Devices => {
                let request = v1::ListDevicesRequest { page_size, page_token, with_total_size };
                let mut client = DeviceServiceClient::new(channel);
                let found = client.list_devices(self.request(request)).await.unwrap().into_inner();
                (found.devices.into_iter().map(|d| d.id).collect(), found.next_page_token)
            }
        }
    }

    /// The token of a page as deep as the list has, and no deeper than [`DEEP`] thousand items; of lists shorter
    /// than a thousand, as many hundreds.
    async fn deep(&self, list: &List) -> Option<String> {
        for size in [1000, 100] {
            let mut deepest = None;
            for _ in 0..DEEP {
                let token = deepest.as_deref().unwrap_or_default();
                let (_, next) = self.page(list, Page { size, token, total: false }).await;
                if next.is_empty() {
                    break;
                }
                deepest = Some(next);
            }
            if deepest.is_some() {
                return deepest;
            }
        }
        None
    }

    async fn sighting(&self, id: String) {
        let request = self.request(v1::GetSightingRequest { id });
        SightingServiceClient::new(self.channel.clone()).get_sighting(request).await.unwrap();
    }

    async fn review_item(&self, sighting_id: String) {
        let request = self.request(v1::GetReviewItemRequest { sighting_id });
        ReviewServiceClient::new(self.channel.clone()).get_review_item(request).await.unwrap();
    }

    async fn flag(&self, sighting_id: String) {
        let verdict = v1::Verdict::Flagged.into();
        let request = v1::ReviewSightingRequest { sighting_id, verdict, ..Default::default() };
        let request = self.request(request);
        ReviewServiceClient::new(self.channel.clone()).review_sighting(request).await.unwrap();
    }

    async fn student(&self, key: Key) {
        let request = self.request(v1::GetStudentRequest { key: Some(key) });
        StudentServiceClient::new(self.channel.clone()).get_student(request).await.unwrap();
    }
}

struct Bench {
    calls: u64,
    only: String,
    short: bool,
}

impl Bench {
    /// Times calls of one kind, each with its number, and compares their 95th percentile with the bar.
    async fn measure(&mut self, name: &str, mut call: impl AsyncFnMut(u64)) {
        // Once for nothing: a new plan, a page that nobody has read yet.
        call(0).await;
        let mut times = Vec::new();
        for number in 0..self.calls {
            let begun = Instant::now();
            call(number).await;
            times.push(begun.elapsed());
        }
        times.sort();
        let of_hundred = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1)];
        let (median, p95): (Duration, Duration) = (of_hundred(50), of_hundred(95));
        println!("# {name}: median {median:.1?}, longest {:.1?}", of_hundred(100));
        let met = p95.as_millis() <= BAR_MS;
        self.short |= !met;
        println!("{name}-p95-ms {} {BAR_MS} {}", p95.as_millis(), if met { "ok" } else { "SHORT" });
    }

    /// The first page, a deep one, and the first with the whole list counted.
    async fn list(&mut self, api: &Api, name: &str, lists: &[List]) {
        if !name.contains(&self.only) {
            return;
        }
        let of = |number: u64| &lists[usize::try_from(number).unwrap() % lists.len()];
        self.measure(&format!("{name}-first"), async |n| drop(api.page(of(n), FIRST).await)).await;
        let with_total = Page { total: true, ..FIRST };
        self.measure(&format!("{name}-total"), async |n| drop(api.page(of(n), with_total).await)).await;
        let mut deep = Vec::new();
        for list in lists.iter().take(DEEP_FILTERS) {
            deep.extend(api.deep(list).await.map(|token| (list, token)));
        }
        if deep.is_empty() {
            println!("# {name}: no list of it is longer than a hundred");
            return;
        }
        let page = async |n: u64| {
            let (list, token) = &deep[usize::try_from(n).unwrap() % deep.len()];
            drop(api.page(list, Page { token, ..FIRST }).await);
        };
        self.measure(&format!("{name}-deep"), page).await;
    }

    async fn run(&mut self, api: &Api, size: Size) {
        for (name, filters) in filters(size) {
            let lists: Vec<List> = filters.iter().cloned().map(List::Sightings).collect();
            self.list(api, &format!("sightings{name}"), &lists).await;
            // The queue holds one decision only, and of nobody yet.
            if filters.iter().all(|filter| filter.decision == 0) {
                let lists: Vec<List> = filters.into_iter().map(List::Queue).collect();
                self.list(api, &format!("queue{name}"), &lists).await;
            }
        }
        for (name, lists) in students(size) {
            self.list(api, &format!("students{name}"), &lists).await;
        }
        self.list(api, "devices", &[List::Devices]).await;
        self.single(api, size).await;
    }

    /// One sighting, the queue's next item, and a verdict on it.
    async fn single(&mut self, api: &Api, size: Size) {
        if !"single".contains(&self.only) {
            return;
        }
        let some = async |n: u64| api.sighting(id(Kind::Sighting, n * 7919 % size.sightings)).await;
        self.measure("single-sighting", some).await;
        let numbers = async |n: u64| api.student(Key::Number((n * 7919 % size.students).to_string())).await;
        self.measure("single-student", numbers).await;
        let queue = List::Queue(v1::SightingFilter::default());
        let next = async |_| {
            let (mut ids, _) = api.page(&queue, Page { size: 1, ..FIRST }).await;
            api.review_item(ids.pop().unwrap()).await;
        };
        self.measure("single-queue-next", next).await;
        let (waiting, _) = api.page(&queue, Page { size: 1000, ..FIRST }).await;
        let flag = async |n: u64| {
            let index = usize::try_from(n).unwrap() % waiting.len();
            api.flag(waiting[index].clone()).await;
        };
        self.measure("single-verdict", flag).await;
    }
}

/// Each filter of sightings, and those that people set together, with values of some kind each.
fn filters(size: Size) -> Vec<(String, Vec<v1::SightingFilter>)> {
    let all = v1::SightingFilter::default;
    let numbers = || (0..50).map(|n| n * 7919);
    let device = |n: u64| v1::SightingFilter { device_id: id(Kind::Camera, n % size.cameras()), ..all() };
    let room = |n: u64| v1::SightingFilter { classroom: classroom(n % size.cameras()), ..all() };
    let student = |n: u64| v1::SightingFilter { student_id: id(Kind::Student, n % size.students), ..all() };
    // Within the last so many days, for so many hours.
    let range = |filter: v1::SightingFilter, days: u64, hours: u64| {
        let from = SystemTime::now() - Duration::from_secs(days * 86_400);
        let until = from + Duration::from_secs(hours * 3600);
        v1::SightingFilter { captured_from: Some(from.into()), captured_until: Some(until.into()), ..filter }
    };
    let decided =
        |filter, decision: Decision| v1::SightingFilter { decision: enum_to_wire(decision), ..filter };
    let mut kinds = vec![
        (String::new(), vec![all()]),
        ("-device".to_owned(), numbers().map(device).collect()),
        ("-classroom".to_owned(), numbers().map(room).collect()),
        ("-student".to_owned(), numbers().map(student).collect()),
        ("-hour".to_owned(), (0..50).map(|n| range(all(), 3 * n + 1, 1)).collect()),
        ("-month".to_owned(), (1..6).map(|n| range(all(), 30 * n, 30 * 24)).collect()),
        ("-device-day".to_owned(), numbers().map(|n| range(device(n), n % 150 + 1, 24)).collect()),
        ("-classroom-day".to_owned(), numbers().map(|n| range(room(n), n % 150 + 1, 24)).collect()),
        ("-student-month".to_owned(), numbers().map(|n| range(student(n), n % 150 + 30, 720)).collect()),
        (
            "-device-classroom".to_owned(),
            numbers()
                .map(|n| v1::SightingFilter { classroom: classroom(n % size.cameras()), ..device(n) })
                .collect(),
        ),
    ];
    for decision in Decision::ALL.iter().copied() {
        let with = |kind: &str, filters: Vec<v1::SightingFilter>| {
            let filters = filters.into_iter().map(|filter| decided(filter, decision)).collect();
            (format!("-{decision}{kind}"), filters)
        };
        kinds.extend([
            with("", vec![all()]),
            with("-device", numbers().map(device).collect()),
            with("-classroom", numbers().map(room).collect()),
            with("-student", numbers().map(student).collect()),
            with("-hour", (0..50).map(|n| range(all(), 3 * n + 1, 1)).collect()),
        ]);
    }
    kinds
}

/// Each way of looking for students.
fn students(size: Size) -> Vec<(String, Vec<List>)> {
    let list = |section: String, name: String| List::Students { section, name };
    let section = |n: u64| format!("Class {}", n * 7919 % size.students / 30);
    let names = FIRST_NAMES.iter().map(|name| (*name).to_owned());
    let last = |n: u64| format!("Name{}", n * 7919 % size.students / FIRST_NAMES.len() as u64);
    vec![
        (String::new(), vec![list(String::new(), String::new())]),
        ("-section".to_owned(), (0..50).map(|n| list(section(n), String::new())).collect()),
        ("-first-name".to_owned(), names.clone().map(|name| list(String::new(), name)).collect()),
        ("-last-name".to_owned(), (0..50).map(|n| list(String::new(), last(n))).collect()),
        (
            "-both-names".to_owned(),
            (0..50)
                .zip(names.clone().cycle())
                .map(|(n, first)| list(String::new(), format!("{} {first}", last(n))))
                .collect(),
        ),
        ("-beginning".to_owned(), vec![list(String::new(), "n".into()), list(String::new(), "a".into())]),
        ("-nobody".to_owned(), vec![list(String::new(), "nobody".into())]),
        (
            "-section-name".to_owned(),
            (0..50).zip(names.cycle()).map(|(n, first)| list(section(n), first)).collect(),
        ),
    ]
}

fn main() -> ExitCode {
    let Arguments { size, calls, only } = Arguments::parse();
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    runtime.block_on(async {
        fill(&site.database().await, size).await;
        let token = format!("Bearer {}", log_in(&site).await).parse().unwrap();
        let api = Api { channel: channel(&site, site.api_port(), None).await, token };
        let mut bench = Bench { calls, only, short: false };
        bench.run(&api, size).await;
        if bench.short { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}
