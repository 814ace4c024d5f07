//! OneRoster CSV bundles (1EdTech OneRoster 1.1 and 1.2, "CSV Binding"): a ZIP archive with a file for each kind of
//! thing, and a manifest that says of each whether it is whole (`bulk`) or only what has changed (`delta`).

use std::{
    collections::{HashMap, HashSet},
    io::{Cursor, Read},
};

use cavs_types::StudentField;
use csv::StringRecord;
use zip::ZipArchive;

use super::{
    ImportFile, ImportOptions, ImportProblem, ImportRow, ImportScope, Place, Unreadable, table::Table,
};

const MANIFEST: &str = "manifest.csv";
const USERS: &str = "users.csv";
const ROLES: &str = "roles.csv";
const CLASSES: &str = "classes.csv";
const ENROLLMENTS: &str = "enrollments.csv";
/// Most files in a bundle, and most bytes of all that are read, unpacked.
const MOST_FILES: usize = 1000;
const MOST_BYTES: u64 = 128 << 20;

pub(super) fn read(data: &[u8], options: &ImportOptions) -> Result<ImportFile, Unreadable> {
    let mut bundle = Bundle::open(data, options)?;
    let manifest = bundle.manifest()?;
    let users = bundle.table(USERS)?.ok_or_else(|| Unreadable(format!("holds no {USERS}")))?;
    let roles = bundle.table(ROLES)?;
    let classes = bundle.table(CLASSES)?;
    let enrollments = bundle.table(ENROLLMENTS)?;
    let (is_delta, enrollments_are_delta) =
        (manifest.is_delta("file.users")?, manifest.is_delta("file.enrollments")?);
    let of_students = roles.as_ref().map(|roles| students_of(roles, is_delta)).transpose()?;
    let sections = sections(classes.as_ref(), enrollments.as_ref(), enrollments_are_delta)?;

    let mut file = ImportFile {
        scope: if is_delta { ImportScope::Changes } else { ImportScope::External },
        ..ImportFile::default()
    };
    let columns = Users::find(&users)?;
    for (place, record) in &users.rows {
        let cell =
            |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default().trim();
        let id = cell(Some(columns.id));
        let is_student = match &of_students {
            Some(students) => students.contains(id),
            None => cell(columns.role).eq_ignore_ascii_case("student"),
        };
        // Of whom a delta does not say the role, it was said before.
        let only_known = is_delta && !is_student && columns.role.is_none();
        if !is_student && !only_known {
            continue;
        }
        let mut row = ImportRow { place: place.clone(), only_known, ..ImportRow::default() };
        row.active = Some(
            !cell(columns.status).eq_ignore_ascii_case("tobedeleted")
                && !cell(columns.enabled).eq_ignore_ascii_case("false"),
        );
        // What schools call a student is the identifier; some leave it out.
        let number = [cell(columns.identifier), cell(columns.username), id]
            .into_iter()
            .find(|number| !number.is_empty());
        let name = [cell(columns.given), cell(columns.middle), cell(columns.family)];
        let name: Vec<_> = name.into_iter().filter(|part| !part.is_empty()).collect();
        row.fields = vec![
            (StudentField::ExternalId, id.to_owned()),
            (StudentField::Number, number.unwrap_or_default().to_owned()),
            (StudentField::Name, name.join(" ")),
            (StudentField::Email, cell(columns.email).to_owned()),
        ];
        // A delta says of a student's class only where that has changed.
        match sections.get(id) {
            Some(section) => row.fields.push((StudentField::Section, section.clone())),
            None if !is_delta && !enrollments_are_delta => {
                row.fields.push((StudentField::Section, cell(columns.grades).to_owned()));
            }
            None => {}
        }
        file.rows.push(row);
    }
    file.problems = [Some(users), roles, classes, enrollments]
        .into_iter()
        .flatten()
        .flat_map(|table| table.problems)
        .collect();
    if file.rows.is_empty() && file.problems.is_empty() {
        file.problems.push(ImportProblem::new(&Place { file: USERS, line: 0 }, None, "holds no students"));
    }
    Ok(file)
}

/// A bundle, as far as it was read.
pub(crate) struct Bundle<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    options: &'a ImportOptions,
    left: u64,
}

/// What a manifest says, by property.
#[derive(Debug, Default)]
pub(crate) struct Manifest(HashMap<String, String>);

impl Manifest {
    fn says(&self, property: &str) -> &str {
        self.0.get(property).map_or("", String::as_str)
    }

    /// Whether a file holds only what has changed.
    ///
    /// # Errors
    /// `Unreadable`: it is said to be something else.
    pub(crate) fn is_delta(&self, property: &str) -> Result<bool, Unreadable> {
        match self.says(property) {
            "bulk" | "absent" | "" => Ok(false),
            "delta" => Ok(true),
            other => Err(Unreadable(format!("{MANIFEST}: {property} is {other:?}, neither bulk nor delta"))),
        }
    }
}

impl<'a> Bundle<'a> {
    pub(crate) fn open(data: &'a [u8], options: &'a ImportOptions) -> Result<Self, Unreadable> {
        let archive = ZipArchive::new(Cursor::new(data))
            .map_err(|error| Unreadable(format!("is no ZIP archive: {error}")))?;
        if archive.len() > MOST_FILES {
            return Err(Unreadable(format!("holds more than {MOST_FILES} files")));
        }
        Ok(Self { archive, options, left: MOST_BYTES })
    }

    /// A file of the bundle; `None` where there is none. Some programs put all of them into a folder.
    pub(crate) fn table(&mut self, name: &'static str) -> Result<Option<Table>, Unreadable> {
        let found = self
            .archive
            .file_names()
            .filter_map(Result::ok)
            .find(|path| path.rsplit('/').next().is_some_and(|file| file.eq_ignore_ascii_case(name)))
            .map(std::borrow::Cow::into_owned);
        let Some(path) = found else { return Ok(None) };
        let broken = |error: &dyn std::fmt::Display| Unreadable(format!("{name}: {error}"));
        let file = self.archive.by_name(&path).map_err(|error| broken(&error))?;
        let mut data = Vec::new();
        let read = file.take(self.left + 1).read_to_end(&mut data).map_err(|error| broken(&error))? as u64;
        self.left = self.left.checked_sub(read).ok_or_else(|| {
            Unreadable(format!("the files in it have more than {} MiB together", MOST_BYTES >> 20))
        })?;
        Table::read(name, &data, self.options).map(Some)
    }

    pub(crate) fn manifest(&mut self) -> Result<Manifest, Unreadable> {
        let Some(table) = self.table(MANIFEST)? else {
            return Err(Unreadable(format!("holds no {MANIFEST}: is it a OneRoster bundle?")));
        };
        let (Some(name), Some(value)) = (table.column("propertyName"), table.column("value")) else {
            return Err(Unreadable(format!("{MANIFEST}: has no columns propertyName and value")));
        };
        let says = table.rows.iter().filter_map(|(_, record)| {
            Some((record.get(name)?.trim().to_owned(), record.get(value)?.trim().to_owned()))
        });
        // Of two rows of a property the first one counts.
        let mut manifest = Manifest::default();
        for (property, value) in says {
            manifest.0.entry(property).or_insert(value);
        }
        match manifest.says("oneroster.version") {
            "" | "1.1" | "1.2" => Ok(manifest),
            version => {
                Err(Unreadable(format!("{MANIFEST}: OneRoster {version:?} is not known; 1.1 and 1.2 are")))
            }
        }
    }
}

/// Columns of `users.csv`.
struct Users {
    id: usize,
    status: Option<usize>,
    enabled: Option<usize>,
    role: Option<usize>,
    username: Option<usize>,
    given: Option<usize>,
    middle: Option<usize>,
    family: Option<usize>,
    identifier: Option<usize>,
    email: Option<usize>,
    grades: Option<usize>,
}

impl Users {
    fn find(table: &Table) -> Result<Self, Unreadable> {
        Ok(Self {
            id: needed(table, USERS, "sourcedId")?,
            status: table.column("status"),
            enabled: table.column("enabledUser"),
            role: table.column("role"),
            username: table.column("username"),
            given: Some(needed(table, USERS, "givenName")?),
            middle: table.column("middleName"),
            family: Some(needed(table, USERS, "familyName")?),
            identifier: table.column("identifier"),
            email: table.column("email"),
            grades: table.column("grades"),
        })
    }
}

fn needed(table: &Table, file: &str, column: &str) -> Result<usize, Unreadable> {
    table.column(column).ok_or_else(|| Unreadable(format!("{file}: has no column {column}")))
}

/// Whether a row says that what it is about is no more.
fn is_deleted(table: &Table, record: &StringRecord) -> bool {
    let status = table.column("status").and_then(|column| record.get(column));
    status.is_some_and(|status| status.trim().eq_ignore_ascii_case("tobedeleted"))
}

/// Who is a student, by `roles.csv` of 1.2; with `left`, also who is one no more.
fn students_of(table: &Table, left: bool) -> Result<HashSet<String>, Unreadable> {
    let (user, role) = (needed(table, ROLES, "userSourcedId")?, needed(table, ROLES, "role")?);
    let students = table.rows.iter().filter(|(_, record)| {
        (left || !is_deleted(table, record))
            && record.get(role).is_some_and(|role| role.trim().eq_ignore_ascii_case("student"))
    });
    Ok(students.filter_map(|(_, record)| Some(record.get(user)?.trim().to_owned())).collect())
}

/// The section of each student: the title of their home room, else of their only class, which changes alone do not
/// tell.
fn sections(
    classes: Option<&Table>,
    enrollments: Option<&Table>,
    only_home_rooms: bool,
) -> Result<HashMap<String, String>, Unreadable> {
    let (Some(classes), Some(enrollments)) = (classes, enrollments) else { return Ok(HashMap::new()) };
    let (id, title) = (needed(classes, CLASSES, "sourcedId")?, needed(classes, CLASSES, "title")?);
    let kind = classes.column("classType");
    let known: HashMap<&str, (&str, bool)> = classes
        .rows
        .iter()
        .filter(|(_, record)| !is_deleted(classes, record))
        .filter_map(|(_, record)| {
            let home = kind
                .and_then(|kind| record.get(kind))
                .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("homeroom"));
            Some((record.get(id)?.trim(), (record.get(title)?.trim(), home)))
        })
        .collect();
    let class = needed(enrollments, ENROLLMENTS, "classSourcedId")?;
    let user = needed(enrollments, ENROLLMENTS, "userSourcedId")?;
    let role = enrollments.column("role");
    let mut home: HashMap<String, String> = HashMap::new();
    let mut others: HashMap<String, Vec<&str>> = HashMap::new();
    for (_, record) in enrollments.rows.iter().filter(|(_, record)| !is_deleted(enrollments, record)) {
        let is_student = role
            .and_then(|role| record.get(role))
            .is_none_or(|role| role.trim().eq_ignore_ascii_case("student"));
        let (Some(user), Some(class)) = (record.get(user), record.get(class)) else { continue };
        let Some((title, is_home)) = known.get(class.trim()).filter(|_| is_student) else { continue };
        if *is_home {
            home.insert(user.trim().to_owned(), (*title).to_owned());
        } else {
            others.entry(user.trim().to_owned()).or_default().push(title);
        }
    }
    for (user, titles) in others {
        if let [only] = titles.as_slice()
            && !only_home_rooms
        {
            home.entry(user).or_insert_with(|| (*only).to_owned());
        }
    }
    Ok(home)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use cavs_types::ImportFormat;
    use proptest::prelude::*;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn bundle(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn options() -> ImportOptions {
        ImportOptions::new(ImportFormat::Oneroster, "", "").unwrap()
    }

    const BULK: &str = "propertyName,value\nmanifest.version,1.0\noneroster.version,1.1\nfile.users,bulk\n";
    const USERS_1_1: &str = "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,identifier,email,sms,phone,agentSourcedIds,grades,password\n\
        u1,,,true,o,student,ada,,Ada,Lovelace,,0017,ada@x.org,,,,09,\n\
        u2,,,true,o,teacher,bob,,Bob,Teacher,,9,,,,,,\n\
        u3,,,false,o,student,cid,,Cid,Byron,King,,,,,,10,\n";
    const CLASSES_CSV: &str = "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType\n\
        c1,,,9B,,,,homeroom\nc2,,,Maths,,,,scheduled\n";
    const ENROLLMENTS_CSV: &str = "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate\n\
        e1,,,c2,o,u1,student,,,\ne2,,,c1,o,u1,student,,,\ne3,,,c2,o,u2,teacher,,,\ne4,,,c2,o,u3,student,,,\n";

    #[test]
    fn bundles_name_students_with_their_sections() {
        let files = [
            ("x/manifest.csv", BULK),
            ("x/users.csv", USERS_1_1),
            ("x/classes.csv", CLASSES_CSV),
            ("x/enrollments.csv", ENROLLMENTS_CSV),
        ];
        let file = read(&bundle(&files), &options()).unwrap();
        assert_eq!((file.scope, file.rows.len(), file.problems.len()), (ImportScope::External, 2, 0));
        use StudentField::{Email, ExternalId, Name, Number, Section};
        let expected = [
            (ExternalId, "u1"),
            (Number, "0017"),
            (Name, "Ada Lovelace"),
            (Email, "ada@x.org"),
            (Section, "9B"),
        ];
        assert_eq!(file.rows[0].fields, expected.map(|(field, text)| (field, text.to_owned())));
        assert_eq!((file.rows[0].active, file.rows[1].active), (Some(true), Some(false)));
        let expected =
            [(ExternalId, "u3"), (Number, "cid"), (Name, "Cid King Byron"), (Email, ""), (Section, "Maths")];
        assert_eq!(file.rows[1].fields, expected.map(|(field, text)| (field, text.to_owned())));
        assert_eq!(file.rows[1].place, Place { file: USERS, line: 4 });
    }

    #[test]
    fn deltas_say_what_has_changed_and_1_2_has_roles_of_its_own() {
        let manifest = BULK.replace("1.1", "1.2").replace("bulk", "delta");
        let users = "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,identifier,email\n\
            u1,tobedeleted,,true,ada,,Ada,Lovelace,,17,\nu2,active,,true,bob,,Bob,Teacher,,9,\n";
        let roles = "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId\n\
            r1,active,,u1,primary,student,,,o\nr2,active,,u2,primary,teacher,,,o\n";
        let file =
            read(&bundle(&[(MANIFEST, &manifest), (USERS, users), (ROLES, roles)]), &options()).unwrap();
        assert_eq!(
            (file.scope, file.rows.len(), file.rows[0].active),
            (ImportScope::Changes, 2, Some(false))
        );
        assert!(file.rows[0].fields.iter().all(|(field, _)| *field != StudentField::Section));
        assert!(!file.rows[0].only_known && file.rows[1].only_known);
        // Who is a student no more is so by their role, too; and of whom no role is said, it was said before.
        let left = roles.replace("r1,active", "r1,tobedeleted");
        let file =
            read(&bundle(&[(MANIFEST, &manifest), (USERS, users), (ROLES, &left)]), &options()).unwrap();
        assert_eq!((file.rows[0].only_known, file.rows[0].active), (false, Some(false)));
        let file = read(&bundle(&[(MANIFEST, &manifest), (USERS, users)]), &options()).unwrap();
        assert!(file.rows.len() == 2 && file.rows.iter().all(|row| row.only_known));
        // A class that is new is not all of the classes.
        let changes = BULK.to_owned() + "file.enrollments,delta\n";
        let files = [
            (MANIFEST, changes.as_str()),
            (USERS, USERS_1_1),
            (CLASSES, CLASSES_CSV),
            (ENROLLMENTS, ENROLLMENTS_CSV),
        ];
        let file = read(&bundle(&files), &options()).unwrap();
        let section =
            |at: usize| file.rows[at].fields.iter().find(|(field, _)| *field == StudentField::Section);
        assert_eq!((section(0).map(|(_, text)| text.as_str()), section(1)), (Some("9B"), None));
    }

    #[test]
    fn what_is_no_bundle_is_told() {
        let error = |files: &[(&str, &str)]| read(&bundle(files), &options()).unwrap_err().to_string();
        assert!(read(b"PK", &options()).unwrap_err().to_string().starts_with("is no ZIP archive"));
        assert_eq!(error(&[(USERS, USERS_1_1)]), "holds no manifest.csv: is it a OneRoster bundle?");
        assert_eq!(error(&[(MANIFEST, BULK)]), "holds no users.csv");
        assert!(
            error(&[(MANIFEST, &BULK.replace("1.1", "2.0")), (USERS, USERS_1_1)])
                .contains("\"2.0\" is not known")
        );
        assert!(
            error(&[(MANIFEST, &BULK.replace("bulk", "some")), (USERS, USERS_1_1)])
                .contains("neither bulk nor delta")
        );
        assert_eq!(
            error(&[(MANIFEST, BULK), (USERS, "sourcedId\nu1\n")]),
            "users.csv: has no column givenName"
        );
        let nobody =
            read(&bundle(&[(MANIFEST, BULK), (USERS, "sourcedId,givenName,familyName,role\n")]), &options())
                .unwrap();
        assert_eq!(nobody.problems[0].message, "holds no students");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(cut in 0_usize..2000, at in 0_usize..2000, with: u8) {
            let mut data = bundle(&[(MANIFEST, BULK), (USERS, USERS_1_1), (CLASSES, CLASSES_CSV), (ENROLLMENTS, ENROLLMENTS_CSV)]);
            let at = at % data.len();
            data[at] = with;
            let kept = data.len().saturating_sub(cut);
            let _ = read(&data[..kept], &options());
        }
    }
}
