use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::JoinSet, time::Instant};

use super::{SeededRandom, mutate, mutated_grpc::GrpcFlood};
use crate::{
    Behaviour, Path, Target,
    http1::{Http1, Response},
    path::{OutgoingFrame, Request, form_request, plain_request, web_request},
    target::Protocol,
};

/// One request in so many has its head mutated too, on a connection of its own.
const HEADS: usize = 5;
/// Wrong answers that are kept to be shown.
const SHOWN: usize = 10;

/// A flood of mutated requests.
#[derive(Debug, Clone)]
pub struct Flood {
    /// Where to, and as whom: the token is a good one.
    pub target: Target,
    /// On which path; both kinds of gRPC take turns.
    pub path: Path,
    /// What is mutated: small pictures are soon tried.
    pub images: Vec<Bytes>,
    /// Requests to be sent.
    pub count: u64,
    /// The same seed makes the same mutations.
    pub seed: u64,
    /// How many connections at a time.
    pub connections: u64,
    /// An answer that takes longer is a hang.
    pub patience: Duration,
}

/// How a listener answered a flood.
#[derive(Debug, Clone, Default)]
pub struct FloodReport {
    /// Requests that were sent.
    pub sent: u64,
    /// Answers by status; `closed` where the connection ended instead.
    pub statuses: BTreeMap<String, u64>,
    /// Requests that got neither an answer nor an end in time.
    pub hangs: u64,
    /// Answers that no request may get: 5xx but 503, UNKNOWN, INTERNAL of our own, what can't be read; no connection.
    pub wrong: u64,
    /// Some of these, with the number of their mutation.
    pub examples: Vec<String>,
    /// The slowest answer.
    pub slowest: Duration,
}

impl FloodReport {
    pub(super) fn add(&mut self, number: u64, took: Duration, outcome: RequestOutcome) {
        self.sent += 1;
        self.slowest = self.slowest.max(took);
        let (name, wrong) = match outcome {
            RequestOutcome::Hang => {
                self.hangs += 1;
                ("hang".to_owned(), true)
            }
            RequestOutcome::Closed => ("closed".to_owned(), false),
            RequestOutcome::Answer { status, wrong } => {
                self.wrong += u64::from(wrong);
                (status, wrong)
            }
        };
        if wrong && self.examples.len() < SHOWN {
            self.examples.push(format!("mutation {number}: {name} after {took:?}"));
        }
        *self.statuses.entry(name).or_default() += 1;
    }
}

impl fmt::Display for FloodReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, hangs, wrong, slowest, .. } = self;
        write!(f, "{sent} mutated, {hangs} hangs, {wrong} wrong, slowest {slowest:?}")?;
        self.statuses.iter().try_for_each(|(status, count)| write!(f, "; {status}: {count}"))?;
        self.examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
    }
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    Answer { status: String, wrong: bool },
    Closed,
    Hang,
}

impl RequestOutcome {
    pub(super) fn wrong(status: impl fmt::Display) -> Self {
        Self::Answer { status: status.to_string(), wrong: true }
    }

    /// A status of gRPC; `detailed`: with the error details that our own code gives. The library's own INTERNAL, about
    /// a message that is none, has no details.
    pub(super) fn grpc(code: &str, detailed: bool) -> Self {
        let ours = detailed && code == "13";
        // UNKNOWN, DATA_LOSS, and what is no status.
        let wrong = ours || matches!(code, "2" | "15") || code.parse::<u8>().map_or(true, |code| code > 16);
        Self::Answer { status: format!("grpc-status {code}"), wrong }
    }
}

impl From<io::Error> for RequestOutcome {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::TimedOut {
            Self::Hang
        } else if kind == io::ErrorKind::InvalidData {
            Self::wrong("no HTTP")
        } else if kind == io::ErrorKind::ConnectionRefused {
            // Only where nobody listens any more.
            Self::wrong("connection refused")
        } else {
            Self::Closed
        }
    }
}

/// Sends mutated requests, several at a time, and judges the answers.
pub async fn flood(flood: Flood) -> FloodReport {
    let report = Arc::new(Mutex::new(FloodReport::default()));
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..flood.connections.max(1) {
        let (flood, report, next) = (flood.clone(), Arc::clone(&report), Arc::clone(&next));
        workers.spawn(async move {
            let mut worker = match flood.path {
                Path::Grpc | Path::GrpcStream => Worker::Grpc(GrpcFlood::new(&flood)),
                Path::GrpcWeb | Path::Post | Path::Form => Worker::Http(None),
            };
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= flood.count {
                    return;
                }
                let begun = Instant::now();
                let outcome = worker.send(&flood, number).await;
                report.lock().unwrap_or_else(PoisonError::into_inner).add(number, begun.elapsed(), outcome);
            }
        });
    }
    while workers.join_next().await.is_some() {}
    let report = report.lock().unwrap_or_else(PoisonError::into_inner);
    report.clone()
}

enum Worker {
    Http(Option<Http1>),
    Grpc(GrpcFlood),
}

impl Worker {
    async fn send(&mut self, flood: &Flood, number: u64) -> RequestOutcome {
        // Each mutation can be made again from the seed and its number.
        let mut random = SeededRandom::new(flood.seed ^ number.wrapping_mul(0x9e37_79b9));
        match self {
            Self::Http(connection) => {
                send_http(connection, flood, number, &mut random).await.unwrap_or_else(RequestOutcome::from)
            }
            Self::Grpc(grpc) => grpc.send(flood, number, &mut random).await,
        }
    }
}

impl Flood {
    pub(super) fn outgoing(&self, number: u64) -> OutgoingFrame {
        let at = usize::try_from(number).unwrap_or(0) % self.images.len().max(1);
        let image = self.images.get(at).cloned().unwrap_or_default();
        OutgoingFrame { id: format!("m{:x}-{number}", self.seed), captured_at: None, image, cut: false }
    }

    fn request(&self, number: u64) -> Request {
        let outgoing = self.outgoing(number);
        match self.path {
            Path::Post => plain_request(&self.target, &outgoing, None),
            Path::Form => form_request(&self.target, &outgoing, None),
            Path::GrpcWeb | Path::Grpc | Path::GrpcStream => web_request(&self.target, &outgoing, None),
        }
    }
}

async fn send_http(
    connection: &mut Option<Http1>,
    flood: &Flood,
    number: u64,
    random: &mut SeededRandom,
) -> io::Result<RequestOutcome> {
    let Request { head, mut body, .. } = flood.request(number);
    let whole_head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    let behaviour = Behaviour::default();
    if random.below(HEADS) == 0 {
        let mut bytes = whole_head.into_bytes();
        // Most of the bytes are picture: the head gets mutations of its own.
        mutate(&mut bytes, random);
        bytes.extend(body);
        if random.below(2) == 0 {
            mutate(&mut bytes, random);
        }
        let mut http = Http1::new(flood.target.connect(&behaviour, Protocol::Http1).await?);
        // The server may close on the first bad byte; what it said before counts.
        let _ = http.send_raw(&bytes).await;
        // It must not wait for what a wrong length promises.
        let _ = http.finish().await;
        return http.receive(flood.patience).await.map(|response| judge(&response, flood.path, true));
    }
    mutate(&mut body, random);
    let mut http = match connection.take() {
        Some(http) => http,
        None => Http1::new(flood.target.connect(&behaviour, Protocol::Http1).await?),
    };
    let _ = http.send(&head, &body, random.below(2) == 0, None).await;
    let response = http.receive(flood.patience).await?;
    if response.keeps_alive() {
        *connection = Some(http);
    }
    Ok(judge(&response, flood.path, false))
}

/// `any_head`: where the head was mutated, the answer may be that of another path or of HTTP itself.
fn judge(response: &Response, path: Path, any_head: bool) -> RequestOutcome {
    let status = response.status;
    if !(200..500).contains(&status) && status != 503 && !(any_head && matches!(status, 501 | 505)) {
        return RequestOutcome::wrong(status);
    }
    if path == Path::GrpcWeb && status == 200 && !any_head {
        let trailers = String::from_utf8_lossy(&response.body);
        let in_body = trailers.split("grpc-status:").nth(1).and_then(|rest| rest.split("\r\n").next());
        return match in_body.map(str::trim).or_else(|| response.header("grpc-status")) {
            Some(code) => RequestOutcome::grpc(code, trailers.contains("grpc-status-details-bin")),
            None => RequestOutcome::wrong("200 without grpc-status"),
        };
    }
    RequestOutcome::Answer { status: status.to_string(), wrong: false }
}
