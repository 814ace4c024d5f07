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
        stats_service_client::StatsServiceClient, student_service_client::StudentServiceClient,
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
    Students(v1::ListStudentsRequest),
    Devices,
}

/// A list of a site.
#[derive(Debug, Clone)]
struct Asked {
    site: u64,
    list: List,
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
    fn request<T>(&self, site: u64, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("cavs-site", id(Kind::Site, site).parse().unwrap());
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    /// Asks for a page: the ids of its items, and the token of the next one.
    async fn page(&self, asked: &Asked, page: Page<'_>) -> (Vec<String>, String) {
        let Asked { site, list } = asked.clone();
        let (page_size, page_token, with_total_size) = (page.size, page.token.to_owned(), page.total);
        let channel = self.channel.clone();
        match list {
            List::Sightings(filter) => {
                let filter = Some(filter);
                let request = v1::ListSightingsRequest { page_size, page_token, filter, with_total_size };
                let mut client = SightingServiceClient::new(channel);
                let found = client.list_sightings(self.request(site, request)).await.unwrap().into_inner();
                (found.sightings.into_iter().map(|s| s.id).collect(), found.next_page_token)
            }
            List::Queue(filter) => {
                let filter = Some(filter);
                let request = v1::ListPendingRequest {
                    page_size,
                    page_token,
                    filter,
                    with_total_size,
                    ..Default::default()
                };
                let mut client = ReviewServiceClient::new(channel);
                let found = client.list_pending(self.request(site, request)).await.unwrap().into_inner();
                (found.sightings.into_iter().map(|s| s.id).collect(), found.next_page_token)
            }
            List::Students(filter) => {
                let request = v1::ListStudentsRequest { page_size, page_token, with_total_size, ..filter };
                let mut client = StudentServiceClient::new(channel);
                let found = client.list_students(self.request(site, request)).await.unwrap().into_inner();
                (found.students.into_iter().map(|s| s.id).collect(), found.next_page_token)
            }
            List::Devices => {
                let request = v1::ListDevicesRequest { page_size, page_token, with_total_size };
                let mut client = DeviceServiceClient::new(channel);
                let found = client.list_devices(self.request(site, request)).await.unwrap().into_inner();
                (found.devices.into_iter().map(|d| d.id).collect(), found.next_page_token)
            }
        }
    }

    /// The token of a page as deep as the list has, and no deeper than [`DEEP`] thousand items; of lists shorter
    /// than a thousand, as many hundreds.
    async fn deep(&self, list: &Asked) -> Option<String> {
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

    async fn sighting(&self, site: u64, id: String) {
        let request = self.request(site, v1::GetSightingRequest { id });
        SightingServiceClient::new(self.channel.clone()).get_sighting(request).await.unwrap();
    }

    async fn review_item(&self, site: u64, sighting_id: String) {
        let request = self.request(site, v1::GetReviewItemRequest { sighting_id });
        ReviewServiceClient::new(self.channel.clone()).get_review_item(request).await.unwrap();
    }

    async fn flag(&self, site: u64, sighting_id: String) {
        let verdict = v1::Verdict::Flagged.into();
        let request = v1::ReviewSightingRequest { sighting_id, verdict, ..Default::default() };
        let request = self.request(site, request);
        ReviewServiceClient::new(self.channel.clone()).review_sighting(request).await.unwrap();
    }

    async fn student(&self, site: u64, key: Key) {
        let request = self.request(site, v1::GetStudentRequest { key: Some(key) });
        StudentServiceClient::new(self.channel.clone()).get_student(request).await.unwrap();
    }
}

impl Api {
    /// The first page of the queue, one sighting of each visit, and whose they are from then on.
    async fn claim(&self, site: u64) {
        let request = v1::ClaimPendingRequest { by_visit: true, limit: 50, ..Default::default() };
        let mut client = ReviewServiceClient::new(self.channel.clone());
        client.claim_pending(self.request(site, request)).await.unwrap();
    }

    /// The first page of the queue with its length, the least certain first.
    async fn queue(&self, site: u64, filter: v1::QueueFilter, by_visit: bool) {
        let request = v1::ListPendingRequest {
            page_size: 50,
            with_total_size: true,
            queue_filter: Some(filter),
            order: v1::QueueOrder::LeastCertainFirst.into(),
            by_visit,
            ..v1::ListPendingRequest::default()
        };
        let mut client = ReviewServiceClient::new(self.channel.clone());
        client.list_pending(self.request(site, request)).await.unwrap();
    }

    /// The last day, and each of the last seven, all of them ending some minutes ago.
    async fn stats(&self, site: u64, minutes: u64) {
        let day = |days: u64| {
            let end = SystemTime::now() - Duration::from_secs(days * 86_400 + minutes * 60);
            let start = end - Duration::from_secs(86_400);
            v1::Period { start_time: Some(start.into()), end_time: Some(end.into()) }
        };
        let request =
            v1::GetStatsRequest { period: Some(day(0)), further_periods: (0..7).map(day).collect() };
        let mut client = StatsServiceClient::new(self.channel.clone());
        client.get_stats(self.request(site, request)).await.unwrap();
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
    async fn list(&mut self, api: &Api, name: &str, lists: &[Asked]) {
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
            let of = |kind: fn(v1::SightingFilter) -> List| -> Vec<Asked> {
                filters
                    .iter()
                    .map(|(site, filter)| Asked { site: *site, list: kind(filter.clone()) })
                    .collect()
            };
            let lists = of(List::Sightings);
            self.list(api, &format!("sightings{name}"), &lists).await;
            // The queue holds one decision only, and of nobody yet.
            if filters.iter().all(|(_, filter)| filter.decision == 0) {
                let lists = of(List::Queue);
                self.list(api, &format!("queue{name}"), &lists).await;
            }
        }
        for (name, lists) in students(size) {
            self.list(api, &format!("students{name}"), &lists).await;
        }
        let devices: Vec<Asked> = (0..size.sites).map(|site| Asked { site, list: List::Devices }).collect();
        self.list(api, "devices", &devices).await;
        self.queue(api, size).await;
        if "stats".contains(&self.only) {
            // Each of another minute, so that none is told again: today, and the days of a week.
            let stats = async |n: u64| api.stats(n % size.sites, n).await;
            self.measure("stats-week", stats).await;
        }
        self.single(api, size).await;
    }

    /// The queue by what only it can be filtered by, and the least certain first.
    async fn queue(&mut self, api: &Api, size: Size) {
        type OfSite = fn(u64) -> v1::QueueFilter;
        let filters: [(&str, OfSite); 5] = [
            ("certainty", |_| v1::QueueFilter::default()),
            ("certainty-reason", |_| v1::QueueFilter {
                reason: "LOW_SIMILARITY".into(),
                ..Default::default()
            }),
            ("certainty-similarity", |_| v1::QueueFilter {
                similarity_below: Some(0.5),
                ..Default::default()
            }),
            ("certainty-section", |n| v1::QueueFilter {
                section: format!("Class {n}"),
                ..Default::default()
            }),
            ("certainty-flagged", |_| v1::QueueFilter { flagged: Some(true), ..Default::default() }),
        ];
        for (name, filter) in filters {
            let name = format!("queue-{name}");
            if name.contains(&self.only) {
                let page = async |n: u64| api.queue(n % size.sites, filter(n), false).await;
                self.measure(&name, page).await;
            }
        }
        if "queue-visits".contains(&self.only) {
            let page = async |n: u64| api.queue(n % size.sites, v1::QueueFilter::default(), true).await;
            self.measure("queue-visits", page).await;
        }
        if "queue-claim".contains(&self.only) {
            self.measure("queue-claim", async |n: u64| api.claim(n % size.sites).await).await;
        }
    }

    /// One sighting, the queue's next item, and a verdict on it.
    async fn single(&mut self, api: &Api, size: Size) {
        if !"single".contains(&self.only) {
            return;
        }
        let (mut some, mut waiting) = (Vec::new(), Vec::new());
        for site in 0..size.sites {
            for (list, ids) in [(List::Sightings as fn(_) -> _, &mut some), (List::Queue, &mut waiting)] {
                let asked = Asked { site, list: list(v1::SightingFilter::default()) };
                let token = api.deep(&asked).await.unwrap_or_default();
                let (found, _) = api.page(&asked, Page { size: 100, token: &token, total: false }).await;
                ids.extend(found.into_iter().map(|id| (site, id)));
            }
        }
        // Of one site after the other.
        let of = |ids: &[(u64, String)], n: u64| ids[usize::try_from(n * 101).unwrap() % ids.len()].clone();
        let sighting = async |n: u64| {
            let (site, id) = of(&some, n);
            api.sighting(site, id).await;
        };
        self.measure("single-sighting", sighting).await;
        let numbers = async |n: u64| {
            let student = n * 7919 % size.students;
            api.student(size.site_of_student(student), Key::Number(student.to_string())).await;
        };
        self.measure("single-student", numbers).await;
        let next = async |n: u64| {
            let site = n % size.sites;
            let queue = Asked { site, list: List::Queue(v1::SightingFilter::default()) };
            let (mut ids, _) = api.page(&queue, Page { size: 1, ..FIRST }).await;
            api.review_item(site, ids.pop().unwrap()).await;
        };
        self.measure("single-queue-next", next).await;
        let flag = async |n: u64| {
            let (site, id) = of(&waiting, n);
            api.flag(site, id).await;
        };
        self.measure("single-verdict", flag).await;
    }
}

/// Each filter of sightings, and those that people set together, with values of some kind each.
fn filters(size: Size) -> Vec<(String, Vec<(u64, v1::SightingFilter)>)> {
    type Filters = Vec<(u64, v1::SightingFilter)>;
    let all = v1::SightingFilter::default;
    let everywhere = || (0..size.sites).map(|site| (site, all()));
    let numbers = || (0..50).map(|n| n * 7919);
    let by_camera = |filter: &dyn Fn(u64) -> v1::SightingFilter| -> Filters {
        numbers().map(|n| (size.site_of_camera(n % size.cameras()), filter(n))).collect()
    };
    let by_student = |filter: &dyn Fn(u64) -> v1::SightingFilter| -> Filters {
        numbers().map(|n| (size.site_of_student(n % size.students), filter(n))).collect()
    };
    let by_time = |most: u64, filter: &dyn Fn(u64) -> v1::SightingFilter| -> Filters {
        (1..=most).map(|n| (n % size.sites, filter(n))).collect()
    };
    let device = |n: u64| v1::SightingFilter { device_id: id(Kind::Camera, n % size.cameras()), ..all() };
    let room = |n: u64| v1::SightingFilter { classroom: classroom(n % size.cameras()), ..all() };
    let student = |n: u64| v1::SightingFilter { student_id: id(Kind::Student, n % size.students), ..all() };
    // Within the last so many days, for so many hours.
    let range = |filter: v1::SightingFilter, days: u64, hours: u64| {
        let from = SystemTime::now() - Duration::from_secs(days * 86_400);
        let until = from + Duration::from_secs(hours * 3600);
        v1::SightingFilter { start_time: Some(from.into()), end_time: Some(until.into()), ..filter }
    };
    let decided =
        |filter, decision: Decision| v1::SightingFilter { decision: enum_to_wire(decision), ..filter };
    let mut kinds = vec![
        (String::new(), everywhere().collect()),
        ("-device".to_owned(), by_camera(&device)),
        ("-classroom".to_owned(), by_camera(&room)),
        ("-student".to_owned(), by_student(&student)),
        ("-hour".to_owned(), by_time(50, &|n| range(all(), 3 * n, 1))),
        ("-month".to_owned(), by_time(5, &|n| range(all(), 30 * n, 30 * 24))),
        ("-device-day".to_owned(), by_camera(&|n| range(device(n), n % 150 + 1, 24))),
        ("-classroom-day".to_owned(), by_camera(&|n| range(room(n), n % 150 + 1, 24))),
        ("-student-month".to_owned(), by_student(&|n| range(student(n), n % 150 + 30, 720))),
        (
            "-device-classroom".to_owned(),
            by_camera(&|n| v1::SightingFilter { classroom: classroom(n % size.cameras()), ..device(n) }),
        ),
    ];
    for decision in Decision::ALL.iter().copied() {
        let with = |kind: &str, filters: Filters| {
            let filters =
                filters.into_iter().map(|(site, filter)| (site, decided(filter, decision))).collect();
            (format!("-{decision}{kind}"), filters)
        };
        kinds.extend([
            with("", everywhere().collect()),
            with("-device", by_camera(&device)),
            with("-classroom", by_camera(&room)),
            with("-student", by_student(&student)),
            with("-hour", by_time(50, &|n| range(all(), 3 * n, 1))),
        ]);
    }
    kinds
}

/// Each way of looking for students.
fn students(size: Size) -> Vec<(String, Vec<Asked>)> {
    // Somebody in each call, so that what is looked for is there.
    let somebody = || (0..50u64).map(|n| n * 7919 % size.students);
    let section = |student: u64| format!("Class {}", student / 30);
    let department = |student: u64| format!("Department {}", student % 10);
    let first = |student: u64| FIRST_NAMES[usize::try_from(student).unwrap() % FIRST_NAMES.len()].to_owned();
    let last = |student: u64| format!("Name{}", student / FIRST_NAMES.len() as u64);
    let each = |name: &str, filter: &dyn Fn(u64) -> v1::ListStudentsRequest| {
        let asked = |who| Asked { site: size.site_of_student(who), list: List::Students(filter(who)) };
        (name.to_owned(), somebody().map(asked).collect())
    };
    let all = v1::ListStudentsRequest::default;
    let looked_for = |query: String| v1::ListStudentsRequest { query, ..all() };
    vec![
        each("", &|_| all()),
        each("-section", &|who| v1::ListStudentsRequest { section: section(who), ..all() }),
        each("-department", &|who| v1::ListStudentsRequest { department: department(who), ..all() }),
        each("-first-name", &|who| looked_for(first(who))),
        each("-last-name", &|who| looked_for(last(who))),
        each("-both-names", &|who| looked_for(format!("{} {}", last(who), first(who)))),
        each("-beginning-n", &|_| looked_for("n".to_owned())),
        each("-beginning-a", &|_| looked_for("a".to_owned())),
        each("-nobody", &|_| looked_for("nobody".to_owned())),
        each("-number", &|who| looked_for(who.to_string())),
        each("-beginning-1", &|_| looked_for("1".to_owned())),
        each("-section-name", &|who| v1::ListStudentsRequest {
            section: section(who),
            ..looked_for(first(who))
        }),
        each("-enrolled", &|_| v1::ListStudentsRequest { enrolled: Some(true), ..all() }),
        each("-not-enrolled", &|_| v1::ListStudentsRequest { enrolled: Some(false), ..all() }),
        each("-active", &|_| v1::ListStudentsRequest { active: Some(true), ..all() }),
        each("-inactive", &|_| v1::ListStudentsRequest { active: Some(false), ..all() }),
        each("-refused", &|_| v1::ListStudentsRequest {
            photo_consent: v1::PhotoConsent::Refused.into(),
            ..all()
        }),
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
