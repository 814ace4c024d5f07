//! A table of students: which column says what.

use cavs_types::StudentField;
use csv::StringRecord;

use super::{
    ImportFile, ImportOptions, ImportProblem, ImportRow, ImportScope, Place, Unreadable, table::Table,
};

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Field(StudentField),
    GivenName,
    FamilyName,
    Active,
}

/// A column by its header, as people and other programs call it.
fn column(header: &str) -> Option<Column> {
    use StudentField::{Department, Email, EnrollmentDate, ExternalId, Name, Number, PhotoConsent, Section};
    let plain: String = header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Some(match plain.as_str() {
        "number" | "studentnumber" | "studentid" | "studentno" | "matriculationnumber" => {
            Column::Field(Number)
        }
        "name" | "fullname" | "studentname" | "displayname" => Column::Field(Name),
        "givenname" | "firstname" | "forename" => Column::GivenName,
        "familyname" | "lastname" | "surname" => Column::FamilyName,
        "email" | "emailaddress" | "mail" => Column::Field(Email),
        "department" => Column::Field(Department),
        "section" | "class" | "course" | "group" => Column::Field(Section),
        "externalid" | "sourcedid" => Column::Field(ExternalId),
        "enrollmentdate" | "enrolmentdate" => Column::Field(EnrollmentDate),
        "photoconsent" | "consent" => Column::Field(PhotoConsent),
        "active" | "isactive" => Column::Active,
        _ => return None,
    })
}

pub(super) fn read(data: &[u8], options: &ImportOptions) -> Result<ImportFile, Unreadable> {
    let table = Table::read("", data, options)?;
    let columns: Vec<_> = table.header.iter().map(|header| column(header)).collect();
    for (index, known) in columns.iter().enumerate().filter(|(_, column)| column.is_some()) {
        if columns[..index].contains(known) {
            let header = table.header[index].trim();
            return Err(Unreadable(format!("two columns say the same; the second is {header:?}")));
        }
    }
    let has = |column| columns.contains(&Some(column));
    let is_named =
        has(Column::Field(StudentField::Name)) || has(Column::FamilyName) || has(Column::GivenName);
    if !has(Column::Field(StudentField::Number)) && !has(Column::Field(StudentField::ExternalId)) {
        let found = table.header.join(", ").chars().take(200).collect::<String>();
        return Err(Unreadable(format!("no column says the students' number: the header is {found:?}")));
    }
    if is_named
        && has(Column::Field(StudentField::Name))
        && (has(Column::FamilyName) || has(Column::GivenName))
    {
        return Err(Unreadable(
            "both a column of names and columns of given and family names: leave one out".to_owned(),
        ));
    }
    let ignored_columns = table.ignored(|header| column(header).is_some());
    let mut file = ImportFile {
        rows: Vec::with_capacity(table.rows.len()),
        problems: table.problems,
        ignored_columns,
        scope: ImportScope::All,
    };
    for (place, record) in table.rows {
        match row(place, &columns, &record) {
            Ok(row) => file.rows.push(row),
            Err(problem) => file.problems.push(problem),
        }
    }
    Ok(file)
}

fn row(place: Place, columns: &[Option<Column>], record: &StringRecord) -> Result<ImportRow, ImportProblem> {
    let mut row = ImportRow { place, ..ImportRow::default() };
    let (mut given, mut family) = (None, None);
    for (column, cell) in columns.iter().zip(record) {
        let cell = exported(cell);
        match column {
            None => {}
            Some(Column::GivenName) => given = Some(cell.trim()),
            Some(Column::FamilyName) => family = Some(cell.trim()),
            Some(Column::Active) => row.active = active(&row.place, cell)?,
            // Who leaves a consent open takes none back.
            Some(Column::Field(StudentField::PhotoConsent)) if cell.trim().is_empty() => {}
            Some(Column::Field(field)) => row.fields.push((*field, cell.to_owned())),
        }
    }
    if given.is_some() || family.is_some() {
        let name = [given, family].into_iter().flatten().filter(|part| !part.is_empty());
        row.fields.push((StudentField::Name, name.collect::<Vec<_>>().join(" ")));
    }
    Ok(row)
}

/// A cell without the mark that keeps spreadsheets from computing it.
fn exported(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@', '\t', '\r']) => rest,
        _ => cell,
    }
}

fn active(place: &Place, cell: &str) -> Result<Option<bool>, ImportProblem> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "yes" | "true" | "1" | "active" => Ok(Some(true)),
        "no" | "false" | "0" | "inactive" => Ok(Some(false)),
        other => {
            let shown: String = other.chars().take(32).collect();
            Err(ImportProblem::new(place, Some("active"), format!("{shown:?}: say yes or no")))
        }
    }
}

#[cfg(test)]
mod tests {
    use cavs_types::ImportFormat;

    use super::*;

    fn file(text: &str) -> Result<ImportFile, String> {
        let options = ImportOptions::new(ImportFormat::Csv, "", "").unwrap();
        read(text.as_bytes(), &options).map_err(|problem| problem.to_string())
    }

    #[test]
    fn columns_are_known_by_many_names() {
        use StudentField::{Email, Name, Number, PhotoConsent};
        let found = file("Student Number,First name,Last name,E-Mail,Consent,Active,Shoe size\n007,Ada,Lovelace,a@b,,no,38\n").unwrap();
        let expected = [(Number, "007"), (Email, "a@b"), (Name, "Ada Lovelace")];
        assert_eq!(found.rows[0].fields, expected.map(|(field, text)| (field, text.to_owned())));
        assert_eq!((found.rows[0].active, found.rows[0].place.line), (Some(false), 2));
        assert_eq!(found.ignored_columns, ["Shoe size"]);
        let found = file("number,photo_consent\n'=1,given\n'1,\n").unwrap();
        assert_eq!(found.rows[0].fields, [(Number, "=1".to_owned()), (PhotoConsent, "given".to_owned())]);
        assert_eq!(found.rows[1].fields, [(Number, "'1".to_owned())]);
    }

    #[test]
    fn headers_that_say_too_much_or_too_little_are_refused() {
        let error = |text| file(text).unwrap_err();
        assert!(error("name\nAda\n").contains("no column says the students' number: the header is \"name\""));
        assert!(error("number,Student ID\n1,2\n").contains("\"Student ID\""));
        assert!(error("number,name,surname\n1,2,3\n").contains("leave one out"));
        let found = file("number,active\n1,perhaps\n").unwrap();
        assert_eq!((found.rows.len(), found.problems[0].message.as_str()), (0, "\"perhaps\": say yes or no"));
    }
}
