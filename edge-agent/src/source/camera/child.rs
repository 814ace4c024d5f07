use std::{
    fmt, io,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

use super::{Camera, PictureStream, reader::PictureReader};

/// How much of the child's standard error is kept for the log, in bytes.
const MAX_STDERR_BYTES: usize = 4 << 10;

/// A program that writes MJPEG to its standard output, such as `rpicam-vid --codec mjpeg -o -`.
#[derive(Debug, Clone)]
pub struct ChildCamera {
    program: String,
    arguments: Vec<String>,
}

impl ChildCamera {
    /// A camera behind a command; no shell is involved.
    #[must_use]
    pub fn new(program: String, arguments: Vec<String>) -> Self {
        Self { program, arguments }
    }

    /// Raspberry Pi's program for cameras at the CSI port, at `rate` frames a second.
    #[must_use]
    pub fn rpicam((width, height): (u32, u32), rate: f64) -> Self {
        let value = |name: &str, value: String| [name.to_owned(), value];
        let mut arguments = vec!["--nopreview".to_owned()];
        arguments.extend(value("--codec", "mjpeg".to_owned()));
        arguments.extend(value("--timeout", "0".to_owned()));
        arguments.extend(value("--width", width.to_string()));
        arguments.extend(value("--height", height.to_string()));
        arguments.extend(value("--framerate", format!("{rate:.3}")));
        // Every picture at once, not when a buffer is full.
        arguments.push("--flush".to_owned());
        arguments.extend(value("--output", "-".to_owned()));
        Self::new("rpicam-vid".to_owned(), arguments)
    }

    /// A USB camera that gives MJPEG, through the program of Video4Linux: its bindings would need
    /// system libraries to build, and a driver that hangs is ended with the child.
    #[must_use]
    pub fn v4l2(device: &Path, (width, height): (u32, u32)) -> Self {
        let arguments = vec![
            format!("--device={}", device.display()),
            format!("--set-fmt-video=width={width},height={height},pixelformat=MJPG"),
            "--stream-mmap".to_owned(),
            "--stream-to=-".to_owned(),
        ];
        Self::new("v4l2-ctl".to_owned(), arguments)
    }

    fn start(&self) -> io::Result<ChildStream> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: wrapper scripts die with what they started.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("the child has no output");
        let pictures = PictureReader::new(child.stdout.take().ok_or_else(missing)?);
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let stderr_text = Arc::<Mutex<Vec<u8>>>::default();
        let stderr_task = Some(tokio::spawn(first_bytes(stderr, Arc::clone(&stderr_text))));
        Ok(ChildStream { child, group, pictures, stderr_task, stderr_text })
    }
}

impl fmt::Display for ChildCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not its arguments: addresses with passwords may be among them.
        f.write_str(&self.program)
    }
}

impl Camera for ChildCamera {
    type PictureStream = ChildStream;

    async fn open(&mut self) -> io::Result<ChildStream> {
        self.start()
    }
}

/// A running child and its pictures; dropping it kills the child's process group.
#[derive(Debug)]
pub struct ChildStream {
    child: Child,
    group: Option<Pid>,
    pictures: PictureReader<ChildStdout>,
    /// Ends with the child's standard error, so with the child.
    stderr_task: Option<JoinHandle<()>>,
    /// The beginning of what the child wrote there so far.
    stderr_text: Arc<Mutex<Vec<u8>>>,
}

impl PictureStream for ChildStream {
    async fn next_picture(&mut self) -> io::Result<Vec<u8>> {
        match self.pictures.next_picture().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.exit_reason().await),
            result => result,
        }
    }

    fn failure_hint(&self) -> String {
        let (stderr_text, dropped_text) = (self.last_line(), self.pictures.failure_hint());
        if stderr_text.is_empty() { dropped_text } else { format!("{dropped_text}; it said: {stderr_text}") }
    }
}

impl ChildStream {
    /// Why the child ended: its exit status and the last line of its standard error.
    async fn exit_reason(&mut self) -> io::Error {
        self.end_group();
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if let Some(task) = self.stderr_task.take() {
            // A task that panicked has said what it could.
            let _ = task.await;
        }
        let dropped_text = self.pictures.failure_hint();
        io::Error::other(
            format!("the program ended ({status}) {}{dropped_text}", self.last_line()).trim_end().to_owned(),
        )
    }

    /// The last line of the beginning of what the child wrote to its standard error.
    fn last_line(&self) -> String {
        let stderr_text = self.stderr_text.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&stderr_text);
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
    }

    fn end_group(&mut self) {
        // Once: after the wait, another process may have the number.
        if let Some(group) = self.group.take() {
            // Fails where all of them have ended already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for ChildStream {
    fn drop(&mut self) {
        self.end_group();
        if let Some(task) = &self.stderr_task {
            task.abort();
        }
    }
}

/// Keeps the beginning of a text; the rest is read and forgotten, so that the writer never blocks. A child
/// whose standard error can't be read still gives pictures.
async fn first_bytes(mut stream: impl AsyncRead + Unpin, stderr_text: Arc<Mutex<Vec<u8>>>) {
    let mut portion = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut portion).await {
        let mut stderr_text = stderr_text.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_STDERR_BYTES.saturating_sub(stderr_text.len());
        stderr_text.extend_from_slice(&portion[..count.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::time::timeout;

    use super::*;
    use crate::source::{Source, camera::Supervised};

    const PICTURE: &str = r"\377\330\377\332\000\002light\377\331";

    fn shell(script: &str) -> ChildCamera {
        ChildCamera::new("sh".to_owned(), vec!["-c".to_owned(), script.to_owned()])
    }

    #[tokio::test]
    async fn frames_are_back_within_three_seconds_of_killing_the_child() {
        // The camera writes its own process id where a segment may be.
        let script = format!("while true; do printf '{PICTURE}'; sleep 0.05; done");
        let mut source = Supervised::new(shell(&script), Duration::from_secs(5), Default::default());
        for _ in 0..5 {
            source.next_frame().await.unwrap().unwrap();
            let group = source.stream.as_ref().unwrap().group.unwrap();
            killpg(group, Signal::SIGKILL).unwrap();
            let killed = Instant::now();
            // What was written before the kill is read first.
            while source.stream.as_ref().is_none_or(|stream| stream.group == Some(group)) {
                let frame = timeout(Duration::from_secs(3), source.next_frame()).await.unwrap();
                assert!(frame.unwrap().is_some());
            }
            assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
        }
    }

    #[tokio::test]
    async fn a_child_that_is_silent_is_replaced() {
        let script = format!("printf '{PICTURE}'; exec sleep 600");
        let mut source = Supervised::new(shell(&script), Duration::from_millis(200), Default::default());
        for _ in 0..3 {
            let frame = timeout(Duration::from_secs(5), source.next_frame()).await.unwrap();
            assert!(frame.unwrap().unwrap().image.unwrap().starts_with(&[0xFF, 0xD8]));
        }
    }

    #[tokio::test]
    async fn what_a_silent_child_said_is_told() {
        let script = "echo 'select() timeout' >&2; exec sleep 600";
        let mut source = Supervised::new(shell(script), Duration::from_millis(300), Default::default());
        let _ = timeout(Duration::from_millis(800), source.next_frame()).await;
        let failure = source.last_failure().unwrap();
        assert!(
            failure.contains("no picture for 0.3 s") && failure.contains("select() timeout"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn the_child_says_why_it_ended() {
        let mut feed = shell("echo 'no cameras available' >&2; exit 3").start().unwrap();
        let error = feed.next_picture().await.unwrap_err().to_string();
        assert!(error.contains("no cameras available") && error.contains('3'), "{error}");
        let error = ChildCamera::new("/no/such/program".to_owned(), vec![]).start().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
