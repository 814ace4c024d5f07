//! `cavs students`

use std::time::{Duration, Instant};

use cavs_proto::v1;

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{ErasureView, StudentErased, StudentList, StudentView},
};

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
        #[arg(long)]
        number: String,
        /// Name of the student
        #[arg(long)]
        name: String,
        /// Class, course or department
        #[arg(long, default_value = "")]
        section: String,
    },
    /// List students by number
    List {
        /// Only this section
        #[arg(long)]
        section: Option<String>,
        /// Only students with a name of which each of these words begins one
        #[arg(long, value_name = "WORDS")]
        name: Option<String>,
        /// How many entries are listed.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a student
    Get {
        /// Number or id
        #[arg(value_name = "STUDENT")]
        student: String,
    },
    /// Destroy a student's face, name and number for good; the sightings stay, of a pseudonym
    Erase {
        /// Number or id
        #[arg(value_name = "STUDENT")]
        student: String,
        /// Says that it is meant: nobody can undo it
        #[arg(long, required = true)]
        yes: bool,
        /// Don't wait until nothing is left in the database's files
        #[arg(long)]
        no_wait: bool,
    },
}

pub(crate) async fn run(
    command: StudentsCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        StudentsCommand::Add { number, name, section } => {
            let request = v1::CreateStudentRequest { number, name, section };
            let student = api.call(api.students().create_student(request)).await?;
            printer.report(&StudentView::from(student))
        }
        StudentsCommand::List { section, name, extent } => {
            let (section, name) = (section.unwrap_or_default(), name.unwrap_or_default());
            paging::list::<StudentList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let (section, name) = (section.clone(), name.clone());
                let request =
                    v1::ListStudentsRequest { page_size, page_token, section, name, with_total_size };
                let page = api.call(api.students().list_students(request)).await?;
                Ok(Page {
                    items: page.students,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await
        }
        StudentsCommand::Get { student } => {
            printer.report(&StudentView::from(lookup::student(&api, &student).await?))
        }
        StudentsCommand::Erase { student, yes: _, no_wait } => {
            let student = lookup::student(&api, &student).await?;
            let request = v1::EraseStudentRequest { student_id: student.id.clone() };
            let mut done = api.call(api.students().erase_student(request)).await?;
            if !no_wait {
                wait_until_purged(&api, &student.id, &mut done, printer).await?;
            }
            printer.report(&StudentErased::new(student, done))
        }
    }
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
        done.erasure = Some(api.call(api.students().get_erasure(request)).await?);
    }
    Ok(())
}
