//! `cavs students`

use cavs_proto::v1;

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{StudentErased, StudentList, StudentView},
};

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
        StudentsCommand::Erase { student, yes: _ } => {
            let student = lookup::student(&api, &student).await?;
            let request = v1::EraseStudentRequest { student_id: student.id.clone() };
            let done = api.call(api.students().erase_student(request)).await?;
            printer.report(&StudentErased::new(student, done))
        }
    }
}
