use std::{collections::BTreeMap, fmt, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{Behaviour, Target, target::Protocol};

/// Time between two bytes of those that dribble.
const DRIP: Duration = Duration::from_millis(500);

/// A way to hold a connection open without ever finishing a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stall {
    /// Says nothing at all.
    Silent,
    /// Begins the handshake of TLS, byte for byte.
    InHandshake,
    /// Nothing after the handshake.
    NoRequest,
    /// The head of a request, byte for byte.
    InHead,
    /// A whole head, then the picture byte for byte.
    InBody,
    /// Half a picture at once, then nothing.
    HalfBody,
    /// A chunked body that never ends.
    InChunks,
    /// Half a frame in gRPC-Web, then nothing.
    HalfMessage,
    /// The preface of HTTP/2, then nothing.
    Http2Preface,
    /// A request of HTTP/2 without its body.
    Http2NoBody,
}

/// Every way to stall.
pub const STALLS: [Stall; 10] = [
    Stall::Silent,
    Stall::InHandshake,
    Stall::NoRequest,
    Stall::InHead,
    Stall::InBody,
    Stall::HalfBody,
    Stall::InChunks,
    Stall::HalfMessage,
    Stall::Http2Preface,
    Stall::Http2NoBody,
];

/// What became of connections that stalled.
#[derive(Debug, Clone, Default)]
pub struct StallReport {
    /// By kind: how long until the server closed each.
    pub closed: BTreeMap<Stall, Vec<Duration>>,
    /// Connections that were still open when patience ended.
    pub open: u64,
    /// Connections that were not even accepted.
    pub refused: u64,
}

impl StallReport {
    /// The longest that a connection stayed.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.closed.values().flatten().copied().max().unwrap_or_default()
    }
}

impl fmt::Display for StallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} still open, {} refused, longest {:?}", self.open, self.refused, self.longest())?;
        self.closed.iter().try_for_each(|(kind, times)| {
            let longest = times.iter().max().copied().unwrap_or_default();
            write!(f, "; {kind:?}: {} closed, longest {longest:?}", times.len())
        })
    }
}

/// Opens so many connections that stall, all kinds in turn, and waits until the server has closed them.
pub async fn stall(target: &Target, kinds: &[Stall], count: usize, patience: Duration) -> StallReport {
    let mut connections = JoinSet::new();
    for kind in kinds.iter().copied().cycle().take(count) {
        let target = target.clone();
        connections.spawn(async move {
            let begun = Instant::now();
            (kind, hold(&target, kind, begun + patience).await.map(|closed| closed.then(|| begun.elapsed())))
        });
    }
    let mut report = StallReport::default();
    while let Some(ended) = connections.join_next().await {
        match ended {
            Ok((kind, Ok(Some(time)))) => report.closed.entry(kind).or_default().push(time),
            Ok((_, Ok(None))) | Err(_) => report.open += 1,
            Ok((_, Err(_))) => report.refused += 1,
        }
    }
    report
}

/// Holds one connection; whether it was closed before the end.
async fn hold(target: &Target, kind: Stall, end: Instant) -> io::Result<bool> {
    let behaviour = Behaviour::default();
    let (at_once, dribbled) = bytes(target, kind);
    let bare = matches!(kind, Stall::Silent | Stall::InHandshake);
    let http2 = matches!(kind, Stall::Http2Preface | Stall::Http2NoBody);
    let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
    let stream: Box<dyn crate::target::Connection> =
        if bare { Box::new(target.open().await?) } else { target.connect(&behaviour, protocol).await? };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        writer.write_all(&at_once).await?;
        writer.flush().await?;
        for byte in dribbled {
            sleep(DRIP).await;
            writer.write_all(&[byte]).await?;
            writer.flush().await?;
        }
        std::future::pending::<io::Result<()>>().await
    };
    let read = async {
        let mut ignored = [0; 4096];
        while reader.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    };
    let closed = async {
        tokio::select! {
            // A failed write means closed as well; what was answered before does not matter.
            _ = write => {}
            () = read => {}
        }
    };
    Ok(timeout_at(end, closed).await.is_ok())
}

/// What is sent at once, and what byte for byte.
fn bytes(target: &Target, kind: Stall) -> (Vec<u8>, Vec<u8>) {
    let authorization =
        target.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = |more: &str| {
        format!(
            "POST /v1/capture HTTP/1.1\r\nHost: {}\r\nContent-Type: image/jpeg\r\n{authorization}{more}\r\n\r\n",
            target.host
        )
        .into_bytes()
    };
    let picture = [b"\xff\xd8".as_slice(), &[b'x'; 10_000]].concat();
    match kind {
        Stall::Silent | Stall::NoRequest => (Vec::new(), Vec::new()),
        // A record of a handshake, 512 bytes long, with a ClientHello inside.
        Stall::InHandshake => {
            (b"\x16\x03\x01\x02\x00".to_vec(), [b"\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 506]].concat())
        }
        Stall::InHead => (Vec::new(), head("Content-Length: 10002")),
        Stall::InBody => (head("Content-Length: 10002"), picture),
        Stall::HalfBody => ([head("Content-Length: 10002"), picture[..5000].to_vec()].concat(), Vec::new()),
        Stall::InChunks => (head("Transfer-Encoding: chunked"), b"1\r\nx\r\n".repeat(1000)),
        Stall::HalfMessage => {
            let head = format!(
                "POST /cavs.v1.CaptureService/SubmitFrame HTTP/1.1\r\nHost: {}\r\n\
                 Content-Type: application/grpc-web+proto\r\n{authorization}Content-Length: 10005\r\n\r\n",
                target.host
            );
            ([head.as_bytes(), b"\x00\x00\x00\x27\x10", &[0x7a; 100]].concat(), Vec::new())
        }
        Stall::Http2Preface => (super::mutated_grpc::PREFACE.to_vec(), Vec::new()),
        Stall::Http2NoBody => ([super::mutated_grpc::PREFACE, &http2_head(target)].concat(), Vec::new()),
    }
}

/// A HEADERS frame of stream 1 that opens a call of SubmitFrame: literals without indexing (RFC 7541, section 6.2.2).
fn http2_head(target: &Target) -> Vec<u8> {
    let mut block = Vec::new();
    let token = target.token.as_ref().map(|token| format!("Bearer {token}"));
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    let fields = [
        (":method", "POST"),
        (":scheme", scheme),
        (":authority", target.host.as_str()),
        (":path", "/cavs.v1.CaptureService/SubmitFrame"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in fields.into_iter().chain(token.as_deref().map(|token| ("authorization", token))) {
        block.push(0);
        for text in [name, value] {
            // Lengths of 127 and above would take more than this one byte; tokens are shorter.
            let text = &text.as_bytes()[..text.len().min(126)];
            block.extend(u8::try_from(text.len()));
            block.extend(text);
        }
    }
    // Length, type HEADERS, flag END_HEADERS, stream 1.
    let length = u32::try_from(block.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[1, 4, 0, 0, 0, 1], &block].concat()
}
