//! `cavs students`

use cavs_proto::v1;

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page},
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
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a student
    Get {
        /// Number or id
        #[arg(value_name = "STUDENT")]
        student: String,
    },
    /// Destroy a student's face for good: key, templates, pictures; the sightings stay without it
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
        StudentsCommand::List { section, extent } => {
            let section = section.unwrap_or_default();
            let students = paging::collect(extent, async |page_size, page_token| {
                let request = v1::ListStudentsRequest { page_size, page_token, section: section.clone() };
                let page = api.call(api.students().list_students(request)).await?;
                Ok(Page { items: page.students, next: page.next_page_token, total: page.total_size })
            })
            .await?;
            let remark = students.remark("students");
            printer.report(&StudentList::from(students))?;
            remark.iter().for_each(|remark| printer.note(remark));
            Ok(())
        }
        StudentsCommand::Get { student } => {
            printer.report(&StudentView::from(lookup::student(&api, &student).await?))
        }
        StudentsCommand::Erase { student, yes: _ } => {
            let student_id = lookup::student(&api, &student).await?.id;
            let request = v1::EraseStudentRequest { student_id };
            printer.report(&StudentErased::from(api.call(api.students().erase_student(request)).await?))
        }
    }
}
