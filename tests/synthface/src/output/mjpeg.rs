//! A camera on the network: MJPEG over HTTP (`multipart/x-mixed-replace`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::jpeg;
use crate::classroom::Classroom;

/// Most viewers at a time; more are told to come back.
const MOST_VIEWERS: usize = 16;
/// A viewer that does not ask, or does not take a frame, within this time is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest request that is read, bytes.
const LONGEST_REQUEST: u64 = 8 * 1024;
/// How often a waiting thread looks whether to stop.
const GLANCE: Duration = Duration::from_millis(200);

/// The newest frame, for all viewers.
#[derive(Default)]
struct Board {
    newest: Mutex<Newest>,
    changed: Condvar,
    stopping: AtomicBool,
    viewers: AtomicUsize,
}

#[derive(Clone, Default)]
struct Newest {
    number: u64,
    picture: Arc<Vec<u8>>,
    truth: Arc<String>,
}

impl Board {
    fn post(&self, picture: Vec<u8>, truth: String) {
        let mut newest = self.newest.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        newest.number += 1;
        newest.picture = Arc::new(picture);
        newest.truth = Arc::new(truth);
        drop(newest);
        self.changed.notify_all();
    }

    /// Waits for a frame after number `last`; `None` when the server stops.
    fn after(&self, last: u64) -> Option<Newest> {
        let mut newest = self.newest.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return None;
            }
            if newest.number > last {
                return Some(newest.clone());
            }
            newest = match self.changed.wait_timeout(newest, GLANCE) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// A running stream; it ends when this is dropped.
pub struct MjpegServer {
    board: Arc<Board>,
    address: SocketAddr,
    threads: Vec<thread::JoinHandle<()>>,
}

impl MjpegServer {
    /// Plays a lesson over and over at `rate` frames a second, as far as rendering keeps up: `/` is the
    /// stream, `/frame.jpg` one picture, `/truth.json` who is in the newest one.
    ///
    /// # Errors
    /// When the listener has no address or cannot be switched to polling.
    pub fn start(listener: TcpListener, classroom: Classroom, rate: f64) -> std::io::Result<MjpegServer> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let board = Arc::new(Board::default());
        let (film, door) = (Arc::clone(&board), Arc::clone(&board));
        let threads = vec![
            thread::spawn(move || play(&film, &classroom, rate.clamp(0.01, 60.0))),
            thread::spawn(move || admit(&door, &listener)),
        ];
        Ok(MjpegServer { board, address, threads })
    }

    /// The bound address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the server ends, which it does by itself only on a failure.
    pub fn wait(mut self) {
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed by its own hook.
            let _ = thread.join();
        }
    }
}

impl Drop for MjpegServer {
    fn drop(&mut self) {
        self.board.stopping.store(true, Ordering::Release);
        self.board.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn play(board: &Board, classroom: &Classroom, rate: f64) {
    let start = Instant::now();
    let length = classroom.duration().as_secs_f64();
    let mut shown = 0u64;
    while !board.stopping.load(Ordering::Acquire) {
        let due = start + Duration::from_secs_f64(shown as f64 / rate);
        let now = Instant::now();
        if due > now {
            thread::sleep((due - now).min(GLANCE));
            continue;
        }
        // Frames that are already late are skipped: a camera never falls behind.
        shown = ((now - start).as_secs_f64() * rate) as u64;
        let at = Duration::from_secs_f64((shown as f64 / rate) % length);
        let frame = classroom.frame(at);
        let truth = serde_json::json!({ "time_ms": at.as_millis() as u64, "faces": frame.faces });
        if let Ok(picture) = jpeg(&frame.image) {
            board.post(picture, truth.to_string());
        }
        shown += 1;
    }
}

fn admit(board: &Arc<Board>, listener: &TcpListener) {
    while !board.stopping.load(Ordering::Acquire) {
        let Ok((stream, _)) = listener.accept() else {
            // Nobody is waiting, or a connection broke before it was taken.
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        if board.viewers.fetch_add(1, Ordering::AcqRel) >= MOST_VIEWERS {
            board.viewers.fetch_sub(1, Ordering::AcqRel);
            let _ = respond(&stream, "503 Service Unavailable", "text/plain", b"too many viewers\n");
            continue;
        }
        let own = Arc::clone(board);
        thread::spawn(move || {
            // A viewer that goes away is no failure of the camera's.
            let _ = serve(&own, &stream);
            own.viewers.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

fn respond(mut stream: &TcpStream, status: &str, kind: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

fn serve(board: &Board, stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(LONGEST_REQUEST));
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "GET" {
        return respond(stream, "405 Method Not Allowed", "text/plain", b"only GET\n");
    }
    match path.split('?').next().unwrap_or_default() {
        "/" | "/stream" => stream_frames(board, stream),
        "/frame.jpg" => match board.after(0) {
            Some(newest) => respond(stream, "200 OK", "image/jpeg", &newest.picture),
            None => Ok(()),
        },
        "/truth.json" => match board.after(0) {
            Some(newest) => respond(stream, "200 OK", "application/json", newest.truth.as_bytes()),
            None => Ok(()),
        },
        _ => respond(stream, "404 Not Found", "text/plain", b"try /, /frame.jpg or /truth.json\n"),
    }
}

fn stream_frames(board: &Board, mut stream: &TcpStream) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\
          Cache-Control: no-store\r\nConnection: close\r\n\r\n",
    )?;
    let mut last = 0;
    while let Some(newest) = board.after(last) {
        last = newest.number;
        let head = format!(
            "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
            newest.picture.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&newest.picture)?;
        stream.write_all(b"\r\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Roster, Settings};

    fn server() -> MjpegServer {
        let roster = Roster::generate(1, 1, 0).unwrap();
        let settings = Settings { size: [64, 64], ..Settings::default() };
        let classroom = Classroom::new(&roster, &settings).unwrap();
        MjpegServer::start(TcpListener::bind("127.0.0.1:0").unwrap(), classroom, 20.0).unwrap()
    }

    fn ask(server: &MjpegServer, request: &[u8], most: u64) -> Vec<u8> {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.take(most).read_to_end(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_viewer_gets_one_frame_after_the_other() {
        let server = server();
        let answer = ask(&server, b"GET / HTTP/1.1\r\n\r\n", 12_000);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 200 OK"));
        assert!(text.matches("--frame\r\n").count() >= 2, "{} bytes", answer.len());
    }

    #[test]
    fn one_picture_is_a_jpeg_file() {
        let server = server();
        let answer = ask(&server, b"GET /frame.jpg HTTP/1.0\r\n\r\n", u64::MAX);
        let body = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert!(image::load_from_memory(&answer[body..]).is_ok());
    }

    #[test]
    fn nonsense_is_refused_and_does_not_end_the_server() {
        let server = server();
        for (request, status) in [
            (&b"POST / HTTP/1.1\r\n\r\n"[..], "405"),
            (b"GET /nothing HTTP/1.1\r\n\r\n", "404"),
            (b"\r\n\r\n", "405"),
        ] {
            let answer = ask(&server, request, u64::MAX);
            assert!(String::from_utf8_lossy(&answer).contains(status));
        }
        let mut endless = b"GET /".to_vec();
        endless.resize(20_000, b'a');
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let _ = stream.write_all(&endless);
        assert!(ask(&server, b"GET /truth.json HTTP/1.1\r\n\r\n", u64::MAX).ends_with(b"}"));
    }
}
