//! The terminal: taken over, and given back in every way out.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Stdout, Write},
    os::fd::AsFd,
    panic::{self, PanicHookInfo},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossterm::{
    cursor, event, execute,
    style::force_color_output,
    terminal::{
        Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
        window_size,
    },
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::{Terminal, backend::CrosstermBackend};
use ratatui_image::{
    FontSize,
    picker::{
        Picker, ProtocolType,
        cap_parser::{Parser, QueryStdioOptions, Response},
    },
};

use crate::error::CliError;

/// How long a terminal has for its answer: all answer, also at the far end of a slow line.
const ANSWER: Duration = Duration::from_secs(1);
/// Of terminals that do not tell how large their cells are, in pixels.
const USUAL_CELL: FontSize = FontSize::new(10, 20);

/// How pictures are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ImageProtocol {
    /// As the terminal says that it can; in coloured half-blocks where it says nothing
    #[default]
    Auto,
    /// The graphics protocol of kitty
    Kitty,
    /// Sixels
    Sixel,
    /// The protocol of iTerm2
    Iterm2,
    /// Coloured half-blocks, which every terminal has
    Halfblocks,
    /// No pictures
    None,
}

/// The terminal while the review has it: as it was before when this is dropped, or its thread panics.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
    taken: Arc<Taken>,
    before: Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}

/// Whether the terminal has to be given back.
#[derive(Debug, Default)]
struct Taken(AtomicBool);

impl Taken {
    fn give_back(&self) {
        if self.0.swap(false, Ordering::SeqCst) {
            // Where the terminal is gone, nothing is left to be given back.
            let _ = execute!(
                io::stdout(),
                event::DisableBracketedPaste,
                LeaveAlternateScreen,
                crossterm::style::ResetColor,
                cursor::Show
            );
            let _ = disable_raw_mode();
        }
    }
}

impl Screen {
    /// Whether there is a terminal to be taken.
    ///
    /// # Errors
    /// `USAGE`: there is none.
    pub(super) fn check() -> Result<(), CliError> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            return Ok(());
        }
        let message = "the full-screen review needs a terminal; `cavs review list` lists what waits";
        Err(CliError::usage(message))
    }

    /// Takes the terminal.
    ///
    /// # Errors
    /// `TERMINAL`: it can't be set up.
    pub(super) fn take() -> Result<Self, CliError> {
        let taken = Arc::new(Taken::default());
        let before: Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> = panic::take_hook().into();
        let (ours, told, here) = (Arc::clone(&taken), Arc::clone(&before), thread::current().id());
        panic::set_hook(Box::new(move |info| {
            // A thread that reads pictures is no reason to leave, and its words would be written over them.
            if thread::current().id() == here {
                ours.give_back();
                told(info);
            }
        }));
        taken.0.store(true, Ordering::SeqCst);
        // From here on the way out is through `drop`.
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(failed)?;
        let screen = Self { terminal, taken, before };
        enable_raw_mode().map_err(failed)?;
        let clear = Clear(ClearType::All);
        execute!(io::stdout(), EnterAlternateScreen, clear, event::EnableBracketedPaste, cursor::Hide)
            .map_err(failed)?;
        Ok(screen)
    }

    /// Gives the terminal back.
    pub(super) fn give_back(self) {
        drop(self);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.taken.give_back();
        // Whoever panics keeps the hook for what is left of the process.
        if !thread::panicking() {
            let before = Arc::clone(&self.before);
            panic::set_hook(Box::new(move |info| before(info)));
        }
    }
}

pub(super) fn failed(error: io::Error) -> CliError {
    CliError::failure("TERMINAL", format!("the terminal: {error}"))
}

/// How pictures are made for the terminal; `None` where none are drawn. To be asked when the terminal is taken, and
/// before its keys are read.
pub(super) fn picker(wanted: ImageProtocol, colour: bool) -> Result<Option<Picker>, CliError> {
    let of = |protocol, asked: &Answers| Some(asked.picker(Some(protocol)));
    Ok(match wanted {
        ImageProtocol::None => None,
        ImageProtocol::Halfblocks => {
            // NO_COLOR is about text; these pictures are nothing without colours, and were asked for.
            force_color_output(true);
            Some(Picker::halfblocks())
        }
        ImageProtocol::Kitty => of(ProtocolType::Kitty, &ask()?),
        ImageProtocol::Sixel => of(ProtocolType::Sixel, &ask()?),
        ImageProtocol::Iterm2 => of(ProtocolType::Iterm2, &ask()?),
        ImageProtocol::Auto => {
            let asked = ask()?;
            let picker = asked.picker(asked.protocol);
            (colour || picker.protocol_type() != ProtocolType::Halfblocks).then_some(picker)
        }
    })
}

/// What a terminal says of itself.
#[derive(Debug, Default)]
struct Answers {
    protocol: Option<ProtocolType>,
    cell: Option<FontSize>,
}

impl Answers {
    fn of(responses: &[Response]) -> Self {
        let mut answers = Self::default();
        for response in responses {
            match response {
                Response::Kitty => answers.protocol = Some(ProtocolType::Kitty),
                Response::Sixel => answers.protocol = answers.protocol.or(Some(ProtocolType::Sixel)),
                Response::CellSize(Some((width, height))) => {
                    answers.cell =
                        Some(FontSize::new(*width, *height)).filter(|cell| cell.width * cell.height > 0);
                }
                Response::CellSize(None)
                | Response::RectangularOps
                | Response::KittyCompression
                | Response::CursorPositionReport(..)
                | Response::Background(..)
                | Response::Status => {}
            }
        }
        answers
    }

    /// For a protocol, or for what the environment hints at.
    fn picker(&self, protocol: Option<ProtocolType>) -> Picker {
        let Some(cell) = self.cell.or_else(cell_size).or(protocol.map(|_| USUAL_CELL)) else {
            return Picker::halfblocks();
        };
        // The library's own question leaves a thread behind that takes the first key where nobody answers, so it is
        // asked here, and this is the only other way to a picker with a size.
        #[expect(deprecated, reason = "the library's own way takes keys away")]
        let mut picker = Picker::from_fontsize(cell);
        if let Some(protocol) = protocol {
            picker.set_protocol_type(protocol);
        }
        picker
    }
}

/// Asks the terminal what it can draw; what it does not tell in time is not known.
fn ask() -> Result<Answers, CliError> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut options = QueryStdioOptions::default();
    if is_set("WEZTERM_EXECUTABLE") || is_set("KONSOLE_VERSION") {
        // They answer yes, and draw neither of them rightly; what iTerm2 has, they have, too.
        options.blacklist_protocols = vec![ProtocolType::Kitty, ProtocolType::Sixel];
    }
    let query = Parser::query(Picker::halfblocks().tmux_detected(), options);
    let mut out = io::stdout();
    out.write_all(query.as_bytes()).and_then(|()| out.flush()).map_err(failed)?;
    // Not through the buffer of `stdin`: what is typed meanwhile and follows the answers stays where it is.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let (mut parser, mut responses, until) = (Parser::new(), Vec::new(), Instant::now() + ANSWER);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let mut ready = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        if poll(&mut ready, limit).map_err(|error| failed(error.into()))? == 0 {
            break;
        }
        let mut byte = [0];
        if input.read(&mut byte).map_err(failed)? == 0 {
            break;
        }
        let more = parser.push(char::from(byte[0]));
        // It answers this one last, as all terminals do.
        let is_last = more.contains(&Response::Status);
        responses.extend(more);
        if is_last {
            break;
        }
    }
    Ok(Answers::of(&responses))
}

/// The size of a cell, as far as the system knows it.
fn cell_size() -> Option<FontSize> {
    let size = window_size().ok()?;
    let cell = FontSize::new(size.width.checked_div(size.columns)?, size.height.checked_div(size.rows)?);
    (cell.width > 0 && cell.height > 0).then_some(cell)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use portable_pty::{CommandBuilder, PtySize, native_pty_system};

    use super::*;

    const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();
    const COLUMNS: NonZeroU16 = NonZeroU16::new(80).unwrap();

    /// Set where this program is the one in the terminal: what it does there.
    const DEED: &str = "CAVS_TEST_DEED";

    /// What the other test runs in a terminal of its own.
    #[test]
    #[ignore = "the other tests run it"]
    fn in_a_terminal() {
        let deed = std::env::var(DEED).unwrap();
        // As the program's own thread.
        let mut screen = Screen::take().unwrap();
        screen.terminal.draw(|frame| frame.render_widget("face", frame.area())).unwrap();
        match deed.as_str() {
            "panic" => panic!("the end of the world"),
            "panic elsewhere" => {
                let other = thread::spawn(|| panic!("nobody's business"));
                assert!(other.join().is_err());
                screen.give_back();
                println!("given back");
            }
            "ask" => {
                let begun = Instant::now();
                let answers = ask().unwrap();
                screen.give_back();
                println!("{answers:?} within {:?}", begun.elapsed() < ANSWER * 2);
            }
            deed => panic!("{deed}"),
        }
    }

    /// What a terminal has shown of a deed, where it answers `answers` to the first thing that is written.
    fn shown(deed: &str, answers: &str) -> (String, vt100::Parser, bool) {
        let size = PtySize { rows: ROWS.get(), cols: COLUMNS.get(), pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let before = nix_termios(&*pair.master);
        let name = "review_screen::terminal::tests::in_a_terminal";
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(DEED, deed);
        command.env("RUST_BACKTRACE", "0");
        command.env_remove("TERM_PROGRAM");
        let mut child = pair.slave.spawn_command(command).unwrap();
        let (mut reader, mut writer) =
            (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let (mut bytes, mut parser, mut answered) =
            (Vec::new(), vt100::Parser::new(ROWS, COLUMNS, 100), false);
        // The end of the slave's other side is an error on some systems.
        drop(pair.slave);
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..read]);
            parser.process(&buffer[..read]);
            if !answered && String::from_utf8_lossy(&bytes).contains("\u{1b}[5n") {
                answered = true;
                writer.write_all(answers.as_bytes()).unwrap();
            }
        }
        child.wait().unwrap();
        let after = nix_termios(&*pair.master);
        (String::from_utf8_lossy(&bytes).into_owned(), parser, before == after)
    }

    fn nix_termios(master: &(dyn portable_pty::MasterPty + Send)) -> String {
        format!("{:?}", master.get_termios().unwrap())
    }

    #[test]
    fn whoever_panics_leaves_the_terminal_as_it_was() {
        let (bytes, parser, is_as_before) = shown("panic", "");
        assert!(bytes.contains("face"), "{bytes}");
        assert!(!parser.screen().alternate_screen() && !parser.screen().hide_cursor(), "{bytes:?}");
        assert!(is_as_before, "{bytes:?}");
        // The words are on the screen that stays.
        assert!(parser.screen().contents().contains("the end of the world"), "{bytes:?}");

        let (bytes, parser, is_as_before) = shown("panic elsewhere", "");
        assert!(bytes.contains("given back") && !bytes.contains("nobody's business"), "{bytes}");
        assert!(is_as_before && !parser.screen().alternate_screen(), "{bytes:?}");
    }

    #[test]
    fn a_terminal_is_asked_what_it_can_draw_and_need_not_answer() {
        let answers = "\u{1b}_Gi=31;OK\u{1b}\\\u{1b}[?62;4c\u{1b}[6;20;10t\u{1b}[0n";
        for (answers, known) in [
            (answers, "protocol: Some(Kitty), cell: Some(FontSize { width: 10, height: 20 })"),
            (
                "\u{1b}[?62;4c\u{1b}[6;16;8t\u{1b}[0n",
                "protocol: Some(Sixel), cell: Some(FontSize { width: 8, height: 16 })",
            ),
            ("", "protocol: None, cell: None"),
        ] {
            let (bytes, parser, is_as_before) = shown("ask", answers);
            assert!(bytes.contains(known) && bytes.contains("within true"), "{answers:?}: {bytes:?}");
            assert!(is_as_before && !parser.screen().alternate_screen(), "{bytes:?}");
        }
    }
}
