use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    Behaviour, FrameLoop,
    behaviour::is_affected,
    hostile::{SeededRandom, mutate},
    target::ThrottledStream,
};

/// What the example web server of the board's maker writes between pictures.
const BOUNDARY: &str = "123456789000000000000987654321";
/// Longest request that is read, in bytes.
const LONGEST_REQUEST: u64 = 4096;
/// Of so many pictures of a hostile camera, one has its head mutated too.
const HEADS: usize = 50;
/// How long a viewer may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// A camera with the stock web server: MJPEG at `/stream`, one picture at `/capture`. It ends when dropped.
#[derive(Debug)]
pub struct WebCamera {
    address: SocketAddr,
    counts: Arc<Counts>,
    _stop: DropGuard,
}

/// What a web camera has done.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that were accepted.
    pub viewers: AtomicU64,
    /// Pictures that were sent, damaged ones included.
    pub pictures: AtomicU64,
    /// Pictures that were cut off or changed.
    pub damaged: AtomicU64,
}

struct WebCameraState {
    frame_loop: FrameLoop,
    behaviour: Behaviour,
    random: Option<Mutex<SeededRandom>>,
    counts: Arc<Counts>,
}

impl WebCamera {
    /// Serves a film with a camera's behaviour. With a seed every picture and what stands around it is mutated.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(
        listener: TcpListener,
        frame_loop: FrameLoop,
        behaviour: Behaviour,
        seed: Option<u64>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let random = seed.map(|seed| Mutex::new(SeededRandom::new(seed)));
        let shown = Arc::new(WebCameraState { frame_loop, behaviour, random, counts: Arc::clone(&counts) });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let viewers = TaskTracker::new();
            while let Some(Ok((stream, _))) = stopped.run_until_cancelled(listener.accept()).await {
                shown.counts.viewers.fetch_add(1, Ordering::Relaxed);
                let (shown, stopped) = (Arc::clone(&shown), stopped.clone());
                viewers.spawn(async move {
                    // A viewer that goes away ends its own connection, and nothing else.
                    let _ = stopped.run_until_cancelled(shown.serve(stream)).await;
                });
            }
        });
        Ok(Self { address, counts, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl WebCameraState {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(ThrottledStream::new(stream, &self.behaviour));
        let request = async {
            let mut first = String::new();
            let mut limited = (&mut stream).take(LONGEST_REQUEST);
            limited.read_line(&mut first).await?;
            let mut line = String::new();
            while limited.read_line(&mut line).await? > 2 {
                line.clear();
            }
            Ok::<_, io::Error>(first)
        };
        let first = timeout(PATIENCE, request).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let mut stream = stream.into_inner();
        match first.split(' ').nth(1).and_then(|path| path.split('?').next()) {
            Some("/stream") => self.stream(&mut stream).await,
            Some("/capture") => self.snapshot(&mut stream).await,
            _ => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await,
        }
    }

    async fn stream<S: AsyncWriteExt + Unpin>(&self, viewer: &mut S) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary={BOUNDARY}\r\n\
             Transfer-Encoding: chunked\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
        );
        viewer.write_all(head.as_bytes()).await?;
        let mut clock = interval(self.behaviour.interval);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let picture = self.picture();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let part = format!(
                "\r\n--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {}.{:06}\r\n\r\n",
                picture.whole,
                now.as_secs(),
                now.subsec_micros()
            )
            .into_bytes();
            let bytes = self.damage(part, picture.bytes);
            write_chunk(viewer, &bytes).await?;
            if picture.cut {
                return Ok(());
            }
        }
    }

    async fn snapshot<S: AsyncWriteExt + Unpin>(&self, viewer: &mut S) -> io::Result<()> {
        let picture = self.picture();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\
             Content-Disposition: inline; filename=capture.jpg\r\nConnection: close\r\n\r\n",
            picture.whole
        );
        viewer.write_all(&self.damage(head.into_bytes(), picture.bytes)).await?;
        viewer.shutdown().await
    }

    /// Puts a picture behind its head. Of a hostile camera, both are mutated; most often the picture alone, as a viewer
    /// that no longer understands the stream leaves it.
    fn damage(&self, mut head: Vec<u8>, mut picture: Vec<u8>) -> Vec<u8> {
        if let Some(random) = &self.random {
            let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
            if random.below(HEADS) == 0 {
                mutate(&mut head, &mut random);
            }
            let length = picture.len();
            mutate(&mut picture, &mut random);
            // What the head says is true again.
            picture.resize(length, 0);
        }
        head.extend_from_slice(&picture);
        head
    }

    /// The next picture, damaged where the behaviour says so.
    fn picture(&self) -> Picture {
        let number = self.counts.pictures.fetch_add(1, Ordering::Relaxed);
        let mut bytes = self.frame_loop.frame(number).to_vec();
        let cut = is_affected(self.behaviour.cut_one_in, number);
        let truncated = is_affected(self.behaviour.truncate_one_in, number);
        let mut whole = bytes.len();
        if cut || truncated {
            bytes.truncate(whole / 2);
        }
        if truncated {
            whole = bytes.len();
        }
        if cut || truncated || self.random.is_some() {
            self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        }
        Picture { bytes, whole, cut }
    }
}

struct Picture {
    bytes: Vec<u8>,
    /// What its `Content-Length` says.
    whole: usize,
    /// The connection ends with it.
    cut: bool,
}

async fn write_chunk<S: AsyncWriteExt + Unpin>(viewer: &mut S, bytes: &[u8]) -> io::Result<()> {
    viewer.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
    viewer.write_all(bytes).await?;
    viewer.write_all(b"\r\n").await?;
    viewer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(camera: &WebCamera, path: &str, most: u64) -> Vec<u8> {
        let mut stream = TcpStream::connect(camera.address()).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: camera\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.take(most).read_to_end(&mut answer).await.unwrap();
        answer
    }

    async fn camera(behaviour: Behaviour) -> WebCamera {
        let frame_loop = FrameLoop::of(vec![vec![b'x'; 1000].into()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        WebCamera::start(listener, frame_loop, behaviour, None).unwrap()
    }

    #[tokio::test]
    async fn it_serves_as_the_stock_camera_does() {
        let fast = Behaviour { interval: Duration::from_millis(1), ..Behaviour::default() };
        let camera = camera(Behaviour { cut_one_in: Some(3), ..fast }).await;
        let snapshot = ask(&camera, "/capture", 1 << 20).await;
        assert!(snapshot.ends_with(&[b'x'; 1000]) && snapshot.starts_with(b"HTTP/1.1 200 OK\r\n"));
        // The third picture of all is cut off, and the connection with it.
        let stream = String::from_utf8(ask(&camera, "/stream", 1 << 20).await).unwrap();
        assert_eq!(stream.matches(&format!("--{BOUNDARY}\r\n")).count(), 2);
        assert_eq!(stream.matches("xxxxx").count(), 1500 / 5);
        assert_eq!(camera.counts().damaged.load(Ordering::Relaxed), 1);
        assert!(ask(&camera, "/other", 100).await.starts_with(b"HTTP/1.1 404"));
    }
}
