//! Terms, groups and rosters of OneRoster bundles: `academicSessions.csv`, `classes.csv` and `enrollments.csv`.
//!
//! The last days of the format are the days after the last (OneRoster 1.1, tables 3 and 8: "exclusive").

use std::collections::{BTreeSet, HashMap, HashSet};

use cavs_types::ProtocolError;
use csv::StringRecord;
use jiff::{ToSpan, civil::Date};

use super::{
    RosterImportOptions, problem,
    rosters::{GroupRow, MemberRow, RosterFile, RowKey, TermRow},
};
use crate::{
    people::{Bundle, Place, Table, Unreadable},
    schedule::{Days, optional_date, schedule_name},
    text::external_id,
};

const TERMS: &str = "academicSessions.csv";
const CLASSES: &str = "classes.csv";
const ENROLLMENTS: &str = "enrollments.csv";

pub(super) fn read(data: &[u8], options: &RosterImportOptions) -> Result<RosterFile, Unreadable> {
    let mut bundle = Bundle::open(data, &options.text)?;
    let manifest = bundle.manifest()?;
    let is_delta = manifest.is_delta("file.enrollments")? || manifest.is_delta("file.classes")?;
    let mut file = RosterFile { is_delta, is_bundle: true, ..RosterFile::default() };
    if let Some(table) = bundle.table(TERMS)? {
        each(&mut file, table, TERMS, |file, table, place, record| {
            file.terms.extend(term(table, place, record)?);
            Ok(())
        })?;
    }
    let classes = bundle.table(CLASSES)?.ok_or_else(|| Unreadable(format!("holds no {CLASSES}")))?;
    each(&mut file, classes, CLASSES, |file, table, place, record| {
        file.groups.extend(group(table, place, record)?);
        Ok(())
    })?;
    if let Some(table) = bundle.table(ENROLLMENTS)? {
        each(&mut file, table, ENROLLMENTS, |file, table, place, record| {
            file.members.extend(enrollment(table, place, record)?);
            Ok(())
        })?;
    }
    name_apart(&mut file.groups);
    Ok(file)
}

/// Takes each row of a file of the bundle.
fn each(
    file: &mut RosterFile,
    table: Table,
    name: &str,
    take: impl Fn(&mut RosterFile, &Table, &Place, &StringRecord) -> Result<(), ProtocolError>,
) -> Result<(), Unreadable> {
    if table.column("sourcedId").is_none() {
        return Err(Unreadable(format!("{name}: has no column sourcedId")));
    }
    for (place, record) in &table.rows {
        if let Err(error) = take(file, &table, place, record) {
            file.problems.push(problem(place, &error));
        }
    }
    file.problems.extend(table.problems);
    Ok(())
}

fn cell<'a>(table: &Table, record: &'a StringRecord, column: &str) -> &'a str {
    table.column(column).and_then(|column| record.get(column)).unwrap_or_default().trim()
}

fn is_deleted(table: &Table, record: &StringRecord) -> bool {
    cell(table, record, "status").eq_ignore_ascii_case("tobedeleted")
}

/// The last day, of a date that is the day after it.
fn last_day(field: &'static str, typed: &str) -> Result<Option<Date>, ProtocolError> {
    Ok(optional_date(field, typed)?.map(|after| after.saturating_sub(1.day())))
}

fn term(table: &Table, place: &Place, record: &StringRecord) -> Result<Option<TermRow>, ProtocolError> {
    if is_deleted(table, record) {
        return Ok(None);
    }
    let first = optional_date("startDate", cell(table, record, "startDate"))?;
    let last = last_day("endDate", cell(table, record, "endDate"))?;
    let (Some(first), Some(last)) = (first, last) else {
        return Err(ProtocolError::Missing { field: "startDate" });
    };
    Ok(Some(TermRow {
        place: place.clone(),
        external_id: external_id(cell(table, record, "sourcedId"))?,
        name: schedule_name("title", cell(table, record, "title"))?,
        days: Days::new(first, last)?,
    }))
}

fn group(table: &Table, place: &Place, record: &StringRecord) -> Result<Option<GroupRow>, ProtocolError> {
    if is_deleted(table, record) {
        return Ok(None);
    }
    // A class may be of several terms; it is known by the first.
    let terms = [cell(table, record, "termSourcedIds"), cell(table, record, "termSourcedId")];
    let term = terms.iter().flat_map(|ids| ids.split(',')).map(str::trim).find(|id| !id.is_empty());
    Ok(Some(GroupRow {
        place: place.clone(),
        external_id: external_id(cell(table, record, "sourcedId"))?,
        name: schedule_name("title", &title(table, record))?,
        term: term.unwrap_or_default().to_owned(),
    }))
}

/// The title of a class, and its code where that is not in it.
fn title(table: &Table, record: &StringRecord) -> String {
    let (title, code) = (cell(table, record, "title"), cell(table, record, "classCode"));
    if code.is_empty() || title.contains(code) { title.to_owned() } else { format!("{title} ({code})") }
}

/// Gives classes of one name a name of their own: names of groups are unique.
fn name_apart(groups: &mut [GroupRow]) {
    let mut counted: HashMap<String, usize> = HashMap::new();
    for group in groups.iter() {
        *counted.entry(group.name.clone()).or_default() += 1;
    }
    let several: HashSet<String> =
        counted.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect();
    let mut taken: BTreeSet<String> = groups.iter().map(|group| group.name.clone()).collect();
    for group in groups.iter_mut().filter(|group| several.contains(&group.name)) {
        let apart = format!("{} [{}]", group.name, group.external_id);
        if taken.insert(apart.clone()) {
            group.name = apart;
        }
    }
}

fn enrollment(
    table: &Table,
    place: &Place,
    record: &StringRecord,
) -> Result<Option<MemberRow>, ProtocolError> {
    let role = cell(table, record, "role");
    if !role.is_empty() && !role.eq_ignore_ascii_case("student") {
        return Ok(None);
    }
    let (class, user) = (cell(table, record, "classSourcedId"), cell(table, record, "userSourcedId"));
    if class.is_empty() {
        return Err(ProtocolError::Missing { field: "classSourcedId" });
    }
    if user.is_empty() {
        return Err(ProtocolError::Missing { field: "userSourcedId" });
    }
    let from = optional_date("beginDate", cell(table, record, "beginDate"))?;
    let until = last_day("endDate", cell(table, record, "endDate"))?;
    if from.zip(until).is_some_and(|(from, until)| until < from) {
        return Err(ProtocolError::invalid("endDate", "is not after the first day"));
    }
    Ok(Some(MemberRow {
        place: place.clone(),
        group: RowKey::External(external_id(class)?),
        student: RowKey::External(external_id(user)?),
        from,
        until,
        is_gone: is_deleted(table, record),
    }))
}
