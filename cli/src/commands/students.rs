//! `cavs students`

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cavs_proto::{
    enum_to_wire,
    v1::{self, import_students_request::Message},
};
use cavs_reports::csv_line;
use cavs_types::{CredentialKind, ImportFormat, PhotoConsent, StudentField};
use clap::builder::PossibleValue;
use csv::Terminator;
use secrecy::ExposeSecret;

use super::login::read_password;
use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    files::write_new_private,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{CredentialsView, ErasureView, ImportView, StudentErased, StudentList, StudentView},
};

/// Largest file that a server takes, in bytes.
const LARGEST_FILE: u64 = 64 << 20;
/// How long a server may work on a file, at least.
pub(crate) const IMPORT_LIMIT: Duration = Duration::from_secs(600);
/// Bytes of a file in a message.
const PART: usize = 256 << 10;

fn consent(consent: PhotoConsent) -> PossibleValue {
    let help = match consent {
        PhotoConsent::Unknown => "Nobody has said",
        PhotoConsent::Given => "They, or who speaks for them, consented",
        PhotoConsent::Refused => "They, or who speaks for them, refused: neither enrolled nor recognised",
    };
    PossibleValue::new(consent.as_str()).help(help)
}

fn format(format: ImportFormat) -> PossibleValue {
    let help = match format {
        ImportFormat::Csv => "Comma-separated values with a header, also with semicolons or tabs",
        ImportFormat::Oneroster => "A OneRoster 1.1 or 1.2 bundle: a ZIP archive, bulk or delta",
    };
    PossibleValue::new(format.as_str()).help(help)
}

/// How long an erasure is waited for; it goes on without anybody who waits.
const PURGE_LIMIT: Duration = Duration::from_secs(60);
/// How often is asked how far it is.
const PURGE_PAUSE: Duration = Duration::from_millis(200);
/// From when on a person is told what is waited for.
const PURGE_QUIET: Duration = Duration::from_secs(2);

/// What `cavs students` does.
#[derive(Debug, clap::Subcommand)]
pub enum StudentsCommand {
    /// Add a student
    Add {
        /// The site's own number of the student; unique
        #[arg(value_name = "NUMBER")]
        number: String,
        /// Name of the student
        #[arg(long)]
        name: String,
        /// What else is said of the student.
        #[command(flatten)]
        details: Details,
    },
    /// List students by number
    #[command(visible_alias = "ls")]
    List {
        /// Which ones.
        #[command(flatten)]
        filter: Filter,
        /// How many entries are listed.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a student
    Show {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
    },
    /// Change what is said of a student
    Update {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
        /// The site's own number of the student; unique
        #[arg(long)]
        number: Option<String>,
        /// Name of the student
        #[arg(long)]
        name: Option<String>,
        /// What else is said of the student.
        #[command(flatten)]
        details: Details,
    },
    /// Note a student's card, or take it away; without either, say what they have
    Card {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
        /// Number of the card, as a reader gives it
        #[arg(value_name = "CARD", conflicts_with = "clear")]
        card: Option<String>,
        /// Take the card away
        #[arg(long)]
        clear: bool,
    },
    /// Have a PIN drawn for a student and told once, or take it away
    Pin {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
        /// Read the PIN from standard input, 6 to 12 digits, instead of having one drawn
        #[arg(long, conflicts_with = "clear")]
        pin_stdin: bool,
        /// Take the PIN away
        #[arg(long)]
        clear: bool,
    },
    /// Have a student recognised no more, until they are active again; nothing is deleted
    Deactivate {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
    },
    /// Have a student recognised again
    Reactivate {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
    },
    /// Add and change students as a file says
    #[command(after_help = ABOUT_IMPORT)]
    Import(ImportArgs),
    /// Write students to a CSV file that `cavs students import` reads
    #[command(
        after_help = "Cells that begin with =, +, - or @ get an apostrophe before them, so that no spreadsheet \
computes them; `cavs students import` takes it away again."
    )]
    Export {
        /// The file; - for standard output
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Which ones.
        #[command(flatten)]
        filter: Filter,
    },
    /// Destroy a student's face, name and number for good; the sightings stay, of a pseudonym
    Erase {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
        /// Says that it is meant: nobody can undo it
        #[arg(long)]
        yes: bool,
        /// Don't wait until nothing is left in the database's files
        #[arg(long)]
        no_wait: bool,
    },
}

const ABOUT_IMPORT: &str = "A CSV file has a header: number, name (or given name and family name), and any of email, \
department, section, external_id, enrollment_date (2026-09-01), photo_consent (given, refused, unknown) and active \
(yes, no). Students are found by their external id, else by their number; those who are not there are added. A column \
that is missing changes nothing; an empty cell empties its field, but for photo_consent and active. Commas, semicolons \
and tabs are told apart, UTF-8 and UTF-16 are read as they are; other encodings have to be named.\n\n\
Of a OneRoster bundle (a ZIP archive) come the students of users.csv with their sourcedId as external id, their \
identifier (else the username) as number, and their home room (else their only class, else their grade) as section; who \
is to be deleted or not enabled becomes inactive.\n\n\
Where anything is wrong, nothing is changed (exit code 1), unless --skip-bad-rows takes the rest.";

/// What is said of a student beside number and name.
#[derive(Debug, clap::Args)]
pub struct Details {
    /// Class, course or group
    #[arg(long)]
    section: Option<String>,
    /// Department
    #[arg(long)]
    department: Option<String>,
    /// E-mail address; unique
    #[arg(long)]
    email: Option<String>,
    /// What another system calls the student; unique
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// Since when the student belongs to the site, as 2026-09-01
    #[arg(long, value_name = "DATE")]
    enrollment_date: Option<String>,
    /// Whether the student may be recognised
    #[arg(long, value_name = "CONSENT", value_parser = words(PhotoConsent::ALL, consent))]
    photo_consent: Option<PhotoConsent>,
}

/// Which students.
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Only this section
    #[arg(long)]
    section: Option<String>,
    /// Only this department
    #[arg(long)]
    department: Option<String>,
    /// Only students with a name of which each of these words begins one, or with a number that begins so; in any
    /// case, with accents or without
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Only students with templates
    #[arg(long, conflicts_with = "not_enrolled")]
    enrolled: bool,
    /// Only students without templates
    #[arg(long)]
    not_enrolled: bool,
    /// Only students who are active
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Only students who are not active
    #[arg(long)]
    inactive: bool,
    /// Only with this consent
    #[arg(long, value_name = "CONSENT", value_parser = words(PhotoConsent::ALL, consent))]
    photo_consent: Option<PhotoConsent>,
    /// Only students who look less and less like their pictures, and should be enrolled anew
    #[arg(long)]
    re_enroll: bool,
}

/// Options of `cavs students import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Form of the file; by its name (.zip is OneRoster) where it is not given
    #[arg(long, value_name = "FORMAT", value_parser = words(ImportFormat::ALL, format))]
    format: Option<ImportFormat>,
    /// How the text is encoded, as latin1 or windows-1252
    #[arg(long, value_name = "NAME", default_value = "")]
    encoding: String,
    /// What stands between two fields
    #[arg(long, value_name = "CHARACTER", default_value = "")]
    delimiter: String,
    /// Change nothing; say what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Leave out rows with problems, and take the others
    #[arg(long)]
    skip_bad_rows: bool,
    /// Have students recognised no more of whom the file says nothing: with CSV all of them, with a whole OneRoster
    /// bundle those with an external id
    #[arg(long)]
    deactivate_missing: bool,
}

pub(crate) async fn run(
    command: StudentsCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        StudentsCommand::Add { number, name, details } => {
            let (student, _) = details.into_wire(Some(number), Some(name));
            let request = v1::CreateStudentRequest {
                number: student.number,
                name: student.name,
                section: student.section,
                email: student.email,
                department: student.department,
                external_id: student.external_id,
                enrollment_date: student.enrollment_date,
                photo_consent: student.photo_consent,
                request_id: String::new(),
            };
            let student = api.one(api.students().create_student(request)).await?;
            printer.report(&StudentView::from(student))
        }
        StudentsCommand::List { filter, extent } => {
            let fetch = async |query| page(&api, &filter, query).await;
            paging::list::<StudentList, _>(extent, printer, fetch).await
        }
        StudentsCommand::Show { student } => {
            printer.report(&StudentView::from(lookup::student(&api, &student).await?))
        }
        StudentsCommand::Update { student, number, name, details } => {
            let (changed, paths) = details.into_wire(number, name);
            if paths.is_empty() {
                return Err(CliError::usage("say what is to be changed, as with --name; see --help"));
            }
            let id = lookup::student(&api, &student).await?.id;
            let request = v1::UpdateStudentRequest {
                student: Some(v1::Student { id, ..changed }),
                update_mask: Some(prost_types::FieldMask { paths }),
            };
            let student = api.one(api.students().update_student(request)).await?;
            printer.report(&StudentView::from(student))
        }
        StudentsCommand::Card { student, card, clear } => {
            set_card(&api, &student, card, clear, printer).await
        }
        StudentsCommand::Pin { student, pin_stdin, clear } => {
            set_pin(&api, &student, pin_stdin, clear, printer).await
        }
        StudentsCommand::Deactivate { student } => {
            let student_id = lookup::student(&api, &student).await?.id;
            let request = v1::DeactivateStudentRequest { student_id, etag: String::new() };
            let student = api.one(api.students().deactivate_student(request)).await?;
            printer.report(&StudentView::from(student))
        }
        StudentsCommand::Reactivate { student } => {
            let student_id = lookup::student(&api, &student).await?.id;
            let request = v1::ReactivateStudentRequest { student_id, etag: String::new() };
            let student = api.one(api.students().reactivate_student(request)).await?;
            printer.report(&StudentView::from(student))
        }
        StudentsCommand::Import(args) => import(&api, args, printer).await,
        StudentsCommand::Export { file, filter } => export(&api, &file, &filter, printer).await,
        StudentsCommand::Erase { student, yes, no_wait } => {
            let student = lookup::student(&api, &student).await?;
            if !yes {
                let v1::Student { number, name, template_count, .. } = &student;
                printer.confirm(&format!("Erase {number} {name} and {template_count} templates?"))?;
            }
            let request = v1::EraseStudentRequest { student_id: student.id.clone() };
            let mut done = api.call(api.students().erase_student(request)).await?;
            if !no_wait {
                wait_until_purged(&api, &student.id, &mut done, printer).await?;
            }
            printer.report(&StudentErased::new(student, done))
        }
    }
}

impl Details {
    /// As the wire has it, and which of its fields are said.
    fn into_wire(self, number: Option<String>, name: Option<String>) -> (v1::Student, Vec<String>) {
        let Self { section, department, email, external_id, enrollment_date, photo_consent } = self;
        let said = [
            (StudentField::Number, number.is_some()),
            (StudentField::Name, name.is_some()),
            (StudentField::Email, email.is_some()),
            (StudentField::Department, department.is_some()),
            (StudentField::Section, section.is_some()),
            (StudentField::ExternalId, external_id.is_some()),
            (StudentField::EnrollmentDate, enrollment_date.is_some()),
            (StudentField::PhotoConsent, photo_consent.is_some()),
        ];
        let paths = said.into_iter().filter(|(_, said)| *said).map(|(field, _)| field.to_string());
        let student = v1::Student {
            number: number.unwrap_or_default(),
            name: name.unwrap_or_default(),
            section: section.unwrap_or_default(),
            department: department.unwrap_or_default(),
            email: email.unwrap_or_default(),
            external_id: external_id.unwrap_or_default(),
            enrollment_date: enrollment_date.unwrap_or_default(),
            photo_consent: photo_consent.map(enum_to_wire).unwrap_or_default(),
            ..v1::Student::default()
        };
        (student, paths.collect())
    }
}

async fn page(api: &Api, filter: &Filter, query: PageQuery) -> Result<Page<v1::Student>, CliError> {
    let either = |yes: bool, no: bool| (yes || no).then_some(yes);
    let request = v1::ListStudentsRequest {
        page_size: query.size,
        page_token: query.token,
        with_total_size: query.with_total,
        section: filter.section.clone().unwrap_or_default(),
        department: filter.department.clone().unwrap_or_default(),
        query: filter.search.clone().unwrap_or_default(),
        enrolled: either(filter.enrolled, filter.not_enrolled),
        active: either(filter.active, filter.inactive),
        photo_consent: filter.photo_consent.map(enum_to_wire).unwrap_or_default(),
        re_enroll: filter.re_enroll.then_some(true),
    };
    let page = api.call(api.students().list_students(request)).await?;
    Ok(Page {
        items: page.students,
        next: page.next_page_token,
        total: page.total_size,
        total_exact: page.total_size_exact,
    })
}

async fn import(api: &Api, args: ImportArgs, printer: &Printer) -> Result<(), CliError> {
    let is_zip = args.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    let format = args.format.unwrap_or(if is_zip { ImportFormat::Oneroster } else { ImportFormat::Csv });
    let options = v1::ImportOptions {
        format: enum_to_wire(format),
        encoding: args.encoding,
        delimiter: if args.delimiter == "\\t" { "\t".to_owned() } else { args.delimiter },
        dry_run: args.dry_run,
        skip_bad_rows: args.skip_bad_rows,
        deactivate_missing: args.deactivate_missing,
    };
    let done = ImportView::new(import_file(api, &args.file, &options).await?, args.dry_run);
    printer.report(&done)?;
    if done.problem_count > 0 { Err(CliError::Reported) } else { Ok(()) }
}

/// Sends a file of students to the server.
pub(crate) async fn import_file(
    api: &Api,
    file: &Path,
    options: &v1::ImportOptions,
) -> Result<v1::ImportStudentsResponse, CliError> {
    let parts = parts(file)?.map(Message::Data);
    let messages: Vec<_> = std::iter::once(Message::Options(options.clone())).chain(parts).collect();
    let messages = messages.into_iter().map(|message| v1::ImportStudentsRequest { message: Some(message) });
    api.call_within(IMPORT_LIMIT, api.students().import_students(tokio_stream::iter(messages))).await
}

/// A file that goes to the server, in parts.
pub(crate) fn parts(file: &Path) -> Result<impl Iterator<Item = Bytes>, CliError> {
    let data = Bytes::from(read(file)?);
    Ok((0..data.len()).step_by(PART).map(move |at| data.slice(at..data.len().min(at + PART))))
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    let mut data = Vec::new();
    let taken = if file == Path::new("-") {
        std::io::stdin().lock().take(LARGEST_FILE + 1).read_to_end(&mut data)
    } else {
        fs::File::open(file).and_then(|open| open.take(LARGEST_FILE + 1).read_to_end(&mut data))
    };
    match taken.map_err(|error| CliError::file(file, error))? as u64 {
        0 => Err(CliError::usage(format!("{}: is empty", file.display()))),
        read if read > LARGEST_FILE => {
            Err(CliError::usage(format!("{}: is larger than 64 MiB: import it in parts", file.display())))
        }
        _ => Ok(data),
    }
}

async fn export(api: &Api, file: &Path, filter: &Filter, printer: &Printer) -> Result<(), CliError> {
    let header = StudentField::ALL.iter().map(|field| field.as_str()).chain(["active"]);
    let mut text = csv_line(header.map(str::to_owned), Terminator::CRLF)?;
    let (mut token, mut count) = (String::new(), 0_u64);
    // To standard output page by page, as a reader may want no more; into a file as a whole.
    let is_stdout = file == Path::new("-");
    loop {
        let page = page(api, filter, PageQuery { size: 1000, token, with_total: false }).await?;
        // Of whom was erased there is nothing to be told.
        for student in
            page.items.into_iter().filter(|student| student.erase_time.is_none()).map(StudentView::from)
        {
            count += 1;
            text.push_str(&csv_line(student.csv(), Terminator::CRLF)?);
        }
        if is_stdout && !printer.write(&std::mem::take(&mut text))? {
            return Ok(());
        }
        if page.next.is_empty() {
            break;
        }
        token = page.next;
    }
    if !is_stdout {
        write_new_private(file, text.as_bytes())?;
        printer.note(&format!("{count} students written to {}", file.display()));
    }
    Ok(())
}

/// Asks how far the erasure is until it is done, or [`PURGE_LIMIT`] is over.
async fn wait_until_purged(
    api: &Api,
    student_id: &str,
    done: &mut v1::EraseStudentResponse,
    printer: &Printer,
) -> Result<(), CliError> {
    let begun = Instant::now();
    let mut told = String::new();
    while let Some(erasure) = done.erasure.clone()
        && erasure.purge_time.is_none()
        && begun.elapsed() < PURGE_LIMIT
    {
        tokio::time::sleep(PURGE_PAUSE).await;
        // What is over at once needs no word.
        if begun.elapsed() > PURGE_QUIET {
            let words = ErasureView::from(erasure).in_words();
            if words != told {
                printer.note(&format!("waiting: {words}"));
                told = words;
            }
        }
        let request = v1::GetErasureRequest { student_id: student_id.to_owned() };
        done.erasure = Some(api.one(api.students().get_erasure(request)).await?);
    }
    Ok(())
}
async fn set_card(
    api: &Api,
    student: &str,
    card: Option<String>,
    clear: bool,
    printer: &Printer,
) -> Result<(), CliError> {
    let student_id = lookup::student(api, student).await?.id;
    if let Some(card_number) = card {
        let request = v1::SetStudentCardRequest { student_id: student_id.clone(), card_number };
        api.call(api.check_ins().set_student_card(request)).await?;
    } else if clear {
        take_away(api, &student_id, CredentialKind::Card).await?;
    }
    printer.report(&credentials(api, student_id).await?)
}

async fn set_pin(
    api: &Api,
    student: &str,
    from_stdin: bool,
    clear: bool,
    printer: &Printer,
) -> Result<(), CliError> {
    let student_id = lookup::student(api, student).await?.id;
    let mut drawn_pin = String::new();
    if clear {
        take_away(api, &student_id, CredentialKind::Pin).await?;
    } else {
        let pin = if from_stdin { read_password()?.expose_secret().to_owned() } else { String::new() };
        let request = v1::SetStudentPinRequest { student_id: student_id.clone(), pin };
        drawn_pin = api.call(api.check_ins().set_student_pin(request)).await?.drawn_pin;
    }
    printer.report(&CredentialsView { drawn_pin, ..credentials(api, student_id).await? })
}

async fn take_away(api: &Api, student_id: &str, kind: CredentialKind) -> Result<(), CliError> {
    let (student_id, kind) = (student_id.to_owned(), enum_to_wire(kind));
    let request = v1::DeleteStudentCredentialRequest { student_id, kind };
    api.call(api.check_ins().delete_student_credential(request)).await?;
    Ok(())
}

async fn credentials(api: &Api, student_id: String) -> Result<CredentialsView, CliError> {
    let request = v1::GetStudentCredentialsRequest { student_id };
    Ok(api.call(api.check_ins().get_student_credentials(request)).await?.into())
}
