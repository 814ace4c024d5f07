//! A table of sessions: group, date, start, end, and room and name where they are known.

use cavs_types::ProtocolError;
use csv::StringRecord;
use jiff::ToSpan;

use super::{KnownSchedule, SessionFile, SessionImportOptions, WantedSession, problem};
use crate::{
    people::{ImportProblem, Place, Table, Unreadable},
    schedule::{SessionTimes, clock, date, room_name, session_name},
    text::lookup_name,
};

/// What parts several rooms in one cell.
const ROOM_SEPARATORS: [char; 2] = ['|', ';'];

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Group,
    Date,
    Start,
    End,
    Room,
    Name,
}

fn column(header: &str) -> Option<Column> {
    let plain: String = header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Some(match plain.as_str() {
        "group" | "class" | "course" | "section" => Column::Group,
        "date" | "day" => Column::Date,
        "start" | "starttime" | "from" | "begin" => Column::Start,
        "end" | "endtime" | "until" | "to" => Column::End,
        "room" | "rooms" | "classroom" | "location" => Column::Room,
        "name" | "title" | "subject" => Column::Name,
        _ => return None,
    })
}

pub(super) fn read(
    data: &[u8],
    options: &SessionImportOptions,
    known: &KnownSchedule,
) -> Result<SessionFile, Unreadable> {
    let table = Table::read("", data, &options.text)?;
    let columns: Vec<Option<Column>> = table.header.iter().map(|header| column(header)).collect();
    for (index, said) in columns.iter().enumerate().filter(|(_, column)| column.is_some()) {
        if columns[..index].contains(said) {
            let header = table.header[index].trim();
            return Err(Unreadable(format!("two columns say the same; the second is {header:?}")));
        }
    }
    for (needed, name) in
        [(Column::Group, "group"), (Column::Date, "date"), (Column::Start, "start"), (Column::End, "end")]
    {
        if !(columns.contains(&Some(needed)) || needed == Column::Group && options.group.is_some()) {
            let found = table.header.join(", ").chars().take(200).collect::<String>();
            return Err(Unreadable(format!("no column says the {name}: the header is {found:?}")));
        }
    }
    let mut file = SessionFile {
        ignored_columns: table.ignored(|header| column(header).is_some()),
        problems: table.problems,
        ..SessionFile::default()
    };
    for (place, record) in table.rows {
        match row(&place, &columns, &record, options, known) {
            Ok(wanted) => file.wanted.push(wanted),
            Err(error) => file.problems.push(error),
        }
    }
    Ok(file)
}

fn row(
    place: &Place,
    columns: &[Option<Column>],
    record: &StringRecord,
    options: &SessionImportOptions,
    known: &KnownSchedule,
) -> Result<WantedSession, ImportProblem> {
    let cell = |wanted: Column| {
        let at = columns.iter().position(|column| *column == Some(wanted));
        at.and_then(|at| record.get(at)).unwrap_or_default().trim()
    };
    let read = || {
        let group = match (cell(Column::Group), options.group) {
            ("", Some(group)) => group,
            ("", None) => return Err(ProtocolError::Missing { field: "group" }),
            (name, _) => {
                let name = lookup_name("group", name)?;
                let found = known.group(&name);
                found
                    .ok_or_else(|| {
                        ProtocolError::invalid("group", format_args!("no group is named {name:?}"))
                    })?
                    .id
            }
        };
        let day = date("date", cell(Column::Date))?;
        let (starts, ends) = (clock("start", cell(Column::Start))?, clock("end", cell(Column::End))?);
        let last = if ends > starts { day } else { day.saturating_add(1.day()) };
        let times = SessionTimes::local(&known.zone, day.to_datetime(starts), last.to_datetime(ends))?;
        let parts = cell(Column::Room).split(ROOM_SEPARATORS).map(str::trim);
        let rooms = parts.filter(|part| !part.is_empty()).map(|part| room_name("room", part));
        Ok(WantedSession {
            place: place.clone(),
            key: format!("{group} {}", times.starts_at()),
            group,
            name: session_name("name", cell(Column::Name))?,
            times,
            rooms: columns
                .contains(&Some(Column::Room))
                .then(|| rooms.collect::<Result<_, _>>())
                .transpose()?,
        })
    };
    read().map_err(|error| problem(place, &error))
}
