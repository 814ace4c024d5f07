//! Files of rosters: what they say of terms, groups and who belongs to them.

use cavs_types::ProtocolError;
use csv::StringRecord;
use jiff::civil::Date;

use super::{RosterImportOptions, problem};
use crate::{
    people::{ImportProblem, Place, Table, Unreadable},
    schedule::{Days, optional_date},
    text::{lookup_name, lookup_number},
};

/// A term as a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermRow {
    /// Where.
    pub place: Place,
    /// What the file's source calls it.
    pub external_id: String,
    /// As people call it.
    pub name: String,
    /// Its days.
    pub days: Days,
}

/// A group as a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// Where.
    pub place: Place,
    /// What the file's source calls it.
    pub external_id: String,
    /// As people call it.
    pub name: String,
    /// What its source calls its term; may be empty.
    pub term: String,
}

/// How a file names a group or a student.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// As people do: a group's name, a student's number.
    Own(String),
    /// As the file's source does.
    External(String),
}

/// Somebody of a roster as a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// Where.
    pub place: Place,
    /// Of which group.
    pub group: RowKey,
    /// Who.
    pub student: RowKey,
    /// The first day, where it is said.
    pub from: Option<Date>,
    /// The last day, where it is said.
    pub until: Option<Date>,
    /// They are no member any more.
    pub is_gone: bool,
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RosterFile {
    /// Terms, by the order of the file.
    pub terms: Vec<TermRow>,
    /// Groups, by the order of the file.
    pub groups: Vec<GroupRow>,
    /// Members, by the order of the file.
    pub members: Vec<MemberRow>,
    /// What can't be used.
    pub problems: Vec<ImportProblem>,
    /// Columns that mean nothing here.
    pub ignored_columns: Vec<String>,
    /// It says only what has changed: of whom it does not speak, nothing follows.
    pub is_delta: bool,
    /// A bundle of another system's: its groups are made, and students who are not known there are passed over where
    /// the system knows them not as students.
    pub is_bundle: bool,
}

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Group,
    Number,
    ExternalId,
    From,
    Until,
}

fn column(header: &str) -> Option<Column> {
    let plain: String = header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Some(match plain.as_str() {
        "group" | "class" | "course" | "section" => Column::Group,
        "number" | "studentnumber" | "studentid" | "studentno" | "matriculationnumber" => Column::Number,
        "externalid" | "sourcedid" => Column::ExternalId,
        "from" | "start" | "startdate" | "begin" => Column::From,
        "until" | "to" | "end" | "enddate" => Column::Until,
        _ => return None,
    })
}

/// Reads a table: group, number (or external id), and from and until where they are known.
pub(super) fn read_table(data: &[u8], options: &RosterImportOptions) -> Result<RosterFile, Unreadable> {
    let table = Table::read("", data, &options.text)?;
    let columns: Vec<Option<Column>> = table.header.iter().map(|header| column(header)).collect();
    for (index, said) in columns.iter().enumerate().filter(|(_, column)| column.is_some()) {
        if columns[..index].contains(said) {
            let header = table.header[index].trim();
            return Err(Unreadable(format!("two columns say the same; the second is {header:?}")));
        }
    }
    let has = |column| columns.contains(&Some(column));
    if !has(Column::Group) || !(has(Column::Number) || has(Column::ExternalId)) {
        let found = table.header.join(", ").chars().take(200).collect::<String>();
        let missing = if has(Column::Group) { "the students' number" } else { "the group" };
        return Err(Unreadable(format!("no column says {missing}: the header is {found:?}")));
    }
    let mut file = RosterFile {
        ignored_columns: table.ignored(|header| column(header).is_some()),
        problems: table.problems,
        ..RosterFile::default()
    };
    for (place, record) in table.rows {
        match member(&place, &columns, &record) {
            Ok(member) => file.members.push(member),
            Err(error) => file.problems.push(problem(&place, &error)),
        }
    }
    Ok(file)
}

fn member(
    place: &Place,
    columns: &[Option<Column>],
    record: &StringRecord,
) -> Result<MemberRow, ProtocolError> {
    let cell = |wanted: Column| {
        let at = columns.iter().position(|column| *column == Some(wanted));
        at.and_then(|at| record.get(at)).unwrap_or_default().trim()
    };
    let group = match lookup_name("group", cell(Column::Group))? {
        empty if empty.is_empty() => return Err(ProtocolError::Missing { field: "group" }),
        name => RowKey::Own(name),
    };
    let student = match (cell(Column::Number), cell(Column::ExternalId)) {
        ("", "") => return Err(ProtocolError::Missing { field: "number" }),
        ("", external) => RowKey::External(lookup_number("external_id", external)?),
        (number, _) => RowKey::Own(lookup_number("number", number)?),
    };
    let from = optional_date("from", cell(Column::From))?;
    let until = optional_date("until", cell(Column::Until))?;
    if from.zip(until).is_some_and(|(from, until)| until < from) {
        return Err(ProtocolError::invalid("until", "is before the first day"));
    }
    Ok(MemberRow { place: place.clone(), group, student, from, until, is_gone: false })
}
