use std::{
    io::{Read, Write},
    num::NonZeroU16,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use vt100::{Parser, Screen};

use crate::{Cli, binary};

/// A program in a terminal that does not exist: its screen, and keys for it. Killed when dropped.
pub struct PseudoTerminal {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    shown: Arc<Shown>,
    /// Settings of the terminal as they were before.
    before: String,
}

/// What the program has written.
struct Shown {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    parser: Parser,
    /// When the last of it came.
    at: Instant,
    /// No more of it comes.
    ended: bool,
}

/// How a program left its terminal.
#[derive(Debug)]
pub struct LeftTerminal {
    /// `None` where a signal has ended it.
    pub code: Option<u32>,
    /// What is on the screen.
    pub text: String,
    /// Whether the terminal is as it was before: its settings, its first screen, and a cursor that can be seen.
    pub is_restored: bool,
}

impl Cli {
    /// Starts a command in a terminal of this size.
    ///
    /// # Panics
    /// The system has no terminals.
    #[must_use]
    pub fn in_terminal(&self, arguments: &[&str], rows: u16, columns: u16) -> PseudoTerminal {
        let mut command = CommandBuilder::new(binary("cavs"));
        command.args(arguments);
        for variable in ["CAVS_TOKEN", "NO_COLOR", "TERM_PROGRAM", "LC_TERMINAL", "TMUX"] {
            command.env_remove(variable);
        }
        command.env("CAVS_CONFIG", &self.config);
        command.env("CAVS_SERVER", &self.server);
        command.env("CAVS_CA", &self.authority);
        command.env("TERM", "xterm-256color");
        PseudoTerminal::start(command, rows, columns)
    }
}

impl PseudoTerminal {
    fn start(command: CommandBuilder, rows: u16, columns: u16) -> Self {
        let pair = native_pty_system().openpty(size(rows, columns)).unwrap();
        let before = settings(&*pair.master);
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let (mut reader, writer) =
            (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let (height, width) = (NonZeroU16::new(rows).unwrap(), NonZeroU16::new(columns).unwrap());
        let state = State { parser: Parser::new(height, width, 0), at: Instant::now(), ended: false };
        let shown = Arc::new(Shown { state: Mutex::new(state), changed: Condvar::new() });
        let ours = Arc::clone(&shown);
        // Ends with the terminal.
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                let mut state = ours.state.lock().unwrap();
                state.parser.process(&buffer[..read]);
                state.at = Instant::now();
                ours.changed.notify_all();
            }
            ours.state.lock().unwrap().ended = true;
            ours.changed.notify_all();
        });
        Self { master: pair.master, writer, child, shown, before }
    }

    /// Types; when that was.
    ///
    /// # Panics
    /// The terminal is gone.
    pub fn type_keys(&mut self, keys: &str) -> Instant {
        let begun = Instant::now();
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
        begun
    }

    /// Waits until the screen is as wanted.
    ///
    /// # Panics
    /// It does not become so in time.
    pub fn wait_for(&self, what: &str, limit: Duration, is_so: impl Fn(&Screen) -> bool) {
        let until = Instant::now() + limit;
        let mut state = self.shown.state.lock().unwrap();
        while !is_so(state.parser.screen()) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !state.ended, "{what}:\n{}", state.parser.screen().contents());
            state = self.shown.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until a text is on the screen.
    ///
    /// # Panics
    /// It does not come in time.
    pub fn wait_for_text(&self, text: &str) {
        self.wait_for(text, Duration::from_secs(20), |screen| screen.contents().contains(text));
    }

    /// Waits until a part of the screen is as wanted and nothing on the screen has changed for `quiet`: the part, and
    /// when it came to be so.
    ///
    /// # Panics
    /// It does not become so in time.
    pub fn settled<T: PartialEq>(
        &self,
        what: &str,
        limit: Duration,
        quiet: Duration,
        part: impl Fn(&Screen) -> T,
        is_so: impl Fn(&T) -> bool,
    ) -> (T, Instant) {
        let until = Instant::now() + limit;
        let mut state = self.shown.state.lock().unwrap();
        let (mut now, mut since) = (part(state.parser.screen()), state.at);
        loop {
            if is_so(&now) && state.at.elapsed() >= quiet {
                return (now, since);
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !state.ended, "{what}:\n{}", state.parser.screen().contents());
            state = self.shown.changed.wait_timeout(state, quiet.min(left)).unwrap().0;
            let next = part(state.parser.screen());
            if next != now {
                (now, since) = (next, state.at);
            }
        }
    }

    /// What is on the screen.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn text(&self) -> String {
        self.shown.state.lock().unwrap().parser.screen().contents()
    }

    /// Makes the terminal larger or smaller.
    ///
    /// # Panics
    /// The terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) {
        let (height, width) = (NonZeroU16::new(rows).unwrap(), NonZeroU16::new(columns).unwrap());
        self.shown.state.lock().unwrap().parser.screen_mut().set_size(height, width);
        self.master.resize(size(rows, columns)).unwrap();
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.process_id().unwrap()).unwrap();
        kill(Pid::from_raw(process), signal).unwrap();
    }

    /// Waits for the program's end.
    ///
    /// # Panics
    /// It goes on.
    #[must_use]
    pub fn wait(mut self, limit: Duration) -> LeftTerminal {
        let until = Instant::now() + limit;
        let mut state = self.shown.state.lock().unwrap();
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still running:\n{}", state.parser.screen().contents());
            state = self.shown.changed.wait_timeout(state, left).unwrap().0;
        }
        drop(state);
        let status = self.child.wait().unwrap();
        let after = settings(&*self.master);
        let state = self.shown.state.lock().unwrap();
        let screen = state.parser.screen();
        let is_restored = !screen.alternate_screen() && !screen.hide_cursor() && after == self.before;
        LeftTerminal {
            code: status.signal().is_none().then_some(status.exit_code()),
            text: screen.contents(),
            is_restored,
        }
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const fn size(rows: u16, columns: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn settings(master: &(dyn MasterPty + Send)) -> String {
    format!("{:?}", master.get_termios().unwrap())
}
