//! A site where faces wait for a reviewer.

use std::time::Duration;

use nix::sys::signal::Signal;
use vt100::Screen;

use crate::{Person, PseudoTerminal, SiteOptions, TestSite, lay_out, people};

/// Nobody is accepted without a person, as no pack tells whether a face is live, and portraits are kept.
const ALL_WAIT: &str = "recognition.accept = 0.95\nrecognition.review = -0.5\nrecognition.margin = 0.0\n\
     recognition.min_liveness = 0.5\n\
     enrollment.same_person = 0.99\nenrollment.keep_portraits = true";

/// Rows of the terminals that review.
pub const ROWS: u16 = 30;
/// Columns of them.
pub const COLUMNS: u16 = 100;

/// A site where people are enrolled by their first picture, and were seen on their others.
pub struct ReviewSite {
    /// The site.
    pub site: TestSite,
    /// Who is enrolled.
    pub people: Vec<Person>,
    /// Faces that wait.
    pub waiting: usize,
}

impl ReviewSite {
    /// Starts it, with so many people and at least so many sightings: the first ones again where there are too few
    /// pictures.
    ///
    /// # Panics
    /// It can't be started, or not all that was seen waits.
    #[must_use]
    pub fn start(enrolled: usize, sightings: usize) -> Self {
        let site =
            TestSite::start_with(&SiteOptions { server_toml: ALL_WAIT.to_owned(), ..SiteOptions::default() });
        let people = people(enrolled);
        for person in &people {
            assert_eq!(site.enroll(&person.number, &person.portraits[..1]), 1, "{}", person.number);
        }
        let others: Vec<_> = people.iter().flat_map(|person| &person.portraits[1..]).collect();
        let frames = site.path("seen");
        let seen = (0..sightings).map(|index| (format!("{index:03}.jpg"), others[index % others.len()]));
        lay_out(&frames, seen);
        let device = site.add_device("door");
        let config = site.configure_agent(&device, &frames, "[evidence]\nmax_side = 224\nquality = 85\n");
        let mut agent = site.start_agent(&device, &config);
        assert_eq!(agent.wait(Duration::from_secs(300)), Some(0), "{}", agent.output());
        let queue = site.cli.json(&["review", "list", "--limit", "1"]);
        let waiting = usize::try_from(queue["total_size"].as_u64().unwrap()).unwrap();
        let all = site.cli.json(&["sightings", "list", "--limit", "1000"]);
        assert!(waiting * 10 >= sightings * 9, "{waiting} of {sightings}: {all:#}");
        Self { site, people, waiting }
    }

    /// Starts the review in a terminal of its own.
    #[must_use]
    pub fn review(&self, options: &[&str]) -> PseudoTerminal {
        self.site.cli.in_terminal(&[&["review"], options].concat(), ROWS, COLUMNS)
    }
}

/// How a review is left.
type Way = fn(&mut PseudoTerminal);

/// Lets a review end in each way that there is: those in which the terminal was not left as it was.
///
/// # Panics
/// It does not end.
#[must_use]
pub fn ways_out_that_leave_traces(site: &ReviewSite) -> Vec<&'static str> {
    let ways: [(&str, Way); 5] = [
        ("q", |terminal| _ = terminal.type_keys("q")),
        ("Ctrl-C", |terminal| _ = terminal.type_keys("\u{3}")),
        ("SIGTERM", |terminal| terminal.signal(Signal::SIGTERM)),
        ("SIGHUP", |terminal| terminal.signal(Signal::SIGHUP)),
        ("SIGINT", |terminal| terminal.signal(Signal::SIGINT)),
    ];
    let mut traces = Vec::new();
    for (way, leave) in ways {
        let mut terminal = site.review(&["--image-protocol", "halfblocks"]);
        terminal.wait_for_text("help");
        leave(&mut terminal);
        let left = terminal.wait(Duration::from_secs(10));
        let code = if way.starts_with("SIG") { 1 } else { 0 };
        if !left.is_restored || left.code != Some(code) || !left.text.contains("Recorded: ") {
            traces.push(way);
        }
    }
    traces
}

/// The part of the screen where the face is, with its colours; empty while it is not there.
#[must_use]
pub fn face(screen: &Screen) -> Vec<String> {
    let size = screen.size();
    let (rows, columns): (u16, u16) = (size.0.into(), size.1.into());
    let width = columns * 2 / 5 - 4;
    // Below the header and the frame, above what is told of it.
    let line = |row: u16| -> String {
        let cells = (2..2 + width).filter_map(|column| screen.cell(row, column));
        // A blank that was written is a place where nothing is.
        let cell =
            |cell: &vt100::Cell| format!("{:1}{:?}{:?} ", cell.contents(), cell.fgcolor(), cell.bgcolor());
        cells.map(cell).collect()
    };
    let lines: Vec<String> = (2..2 + rows / 3).map(line).collect();
    let is_there = lines.iter().filter(|line| line.contains('▀')).count() > 2;
    if is_there { lines } else { Vec::new() }
}
