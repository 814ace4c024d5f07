//! What every report becomes: a title, facts, a table, and what is to be said beside it.

mod person;
mod rooms;
mod sheet;
mod warnings;
mod week;

use cavs_types::Mark;
use jiff::civil::Date;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{Cell, Head, Kind, Person, Tally};

/// A report, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Of which school, when.
    pub head: Head,
    /// Which report: stable, as `week`.
    pub report: &'static str,
    /// As `Week of 7B`.
    pub title: String,
    /// Names and values, such as the days that it is of.
    pub facts: Vec<(&'static str, String)>,
    /// What it is about.
    pub table: Table,
    /// What belongs to it beside: visitors of a sheet.
    pub more: Vec<Table>,
    /// Sentences under the tables.
    pub notes: Vec<String>,
}

/// Columns and rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Over it; may be empty.
    pub title: String,
    /// In their order.
    pub columns: Vec<Column>,
    /// Each with a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Stable and unique in its table: what programs find it by.
    pub name: String,
    /// For people; lines are parted by a line feed.
    pub title: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether people see it: ids are for programs.
    pub printed: bool,
}

impl Column {
    fn new(name: &str, title: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), kind, printed: true }
    }

    /// A column that is for programs.
    fn id(name: &str) -> Self {
        Self { printed: false, ..Self::new(name, name, Kind::Text) }
    }

    /// Whether numbers stand in it, which are read from the right.
    #[must_use]
    pub const fn is_numeric(&self) -> bool {
        match self.kind {
            Kind::Real | Kind::Integer | Kind::Rate => true,
            Kind::Text | Kind::Flag | Kind::Time | Kind::Mark => false,
        }
    }
}

impl Table {
    /// The columns that people see, with their places.
    pub fn printed(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.printed)
    }
}

impl Document {
    /// A name for a file of it, without what follows the point.
    #[must_use]
    pub fn file_stem(&self) -> String {
        let words: String = self.title.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-").to_lowercase()
    }
}

/// A row as a map by the names of its columns.
struct Row<'a>(&'a [Column], &'a [Cell]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (column, cell) in self.0.iter().zip(self.1) {
            map.serialize_entry(&column.name, &cell.clone().json())?;
        }
        map.end()
    }
}

fn rows<'a>(table: &'a Table) -> Vec<Row<'a>> {
    table.rows.iter().map(|row| Row(&table.columns, row)).collect()
}

/// The report for programs: what it is of, and its rows by the names of their columns.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("report", self.report)?;
        map.serialize_entry("title", &self.title)?;
        map.serialize_entry("school", &self.head.school)?;
        map.serialize_entry("time_zone", &self.head.zone_name)?;
        map.serialize_entry("make_time", &self.head.made_at.to_string())?;
        for (name, value) in &self.facts {
            map.serialize_entry(&name.to_lowercase().replace(' ', "_"), value)?;
        }
        map.serialize_entry("rows", &rows(&self.table))?;
        for table in &self.more {
            map.serialize_entry(&table.title.to_lowercase().replace(' ', "_"), &rows(table))?;
        }
        map.serialize_entry("notes", &self.notes)?;
        map.end()
    }
}

/// A mark as people read it.
#[must_use]
pub const fn mark_words(mark: Mark) -> &'static str {
    match mark {
        Mark::Present => "present",
        Mark::Late => "late",
        Mark::LeftEarly => "left early",
        Mark::Absent => "absent",
        Mark::Excused => "excused",
        Mark::Undetermined => "undetermined",
    }
}

/// What a mark that a person has said is marked with.
const SAID: &str = "* a person has said so";
/// How shares are counted.
const RATE: &str = "Attendance: present, late and left early, of these and absent. What was excused or is undetermined \
counts neither way; rounded down to a tenth of a percent.";

/// The columns by which a person is known.
fn person_columns() -> Vec<Column> {
    vec![
        Column::id("student_id"),
        Column::new("number", "Number", Kind::Text),
        Column::new("name", "Name", Kind::Text),
    ]
}

fn person_cells(person: &Person) -> Vec<Cell> {
    [&person.id, &person.number, &person.name].map(|text| Cell::text(text)).to_vec()
}

/// The columns of a count of marks.
fn tally_columns() -> Vec<Column> {
    let count = |mark: &Mark| Column::new(mark.as_str(), mark_title(*mark), Kind::Integer);
    let mut columns: Vec<_> = Mark::ALL.iter().map(count).collect();
    columns.push(Column::new("attendance", "Attendance", Kind::Rate));
    columns
}

fn tally_cells(tally: &Tally) -> Vec<Cell> {
    let mut cells: Vec<_> = Mark::ALL.iter().map(|mark| Cell::count(tally.of(*mark))).collect();
    cells.push(Cell::Rate(tally.rate()));
    cells
}

const fn mark_title(mark: Mark) -> &'static str {
    match mark {
        Mark::Present => "Present",
        Mark::Late => "Late",
        Mark::LeftEarly => "Left early",
        Mark::Absent => "Absent",
        Mark::Excused => "Excused",
        Mark::Undetermined => "Undetermined",
    }
}

/// `12 present, 1 late`
fn tally_words(tally: &Tally) -> String {
    let parts = Mark::ALL.iter().filter(|mark| tally.of(**mark) > 0);
    parts.map(|mark| format!("{} {}", tally.of(*mark), mark_words(*mark))).collect::<Vec<_>>().join(", ")
}

/// `2026-09-01 to 2026-12-18 (Autumn)`
fn days(first: Date, last: Date, term: &str) -> String {
    if term.is_empty() { format!("{first} to {last}") } else { format!("{first} to {last} ({term})") }
}

/// What of a session was missed, in words.
fn missed(minutes_late: u32, minutes_left_early: u32) -> String {
    let late = (minutes_late > 0).then(|| format!("{minutes_late} min late"));
    let left = (minutes_left_early > 0).then(|| format!("left {minutes_left_early} min early"));
    [late, left].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
