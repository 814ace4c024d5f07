//! `cavs templates`

use cavs_proto::v1;
use cavs_types::TemplateId;

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    lookup,
    printer::Printer,
    view::{TemplateDeleted, TemplateList},
};

/// What `cavs templates` does.
#[derive(Debug, clap::Subcommand)]
pub enum TemplatesCommand {
    /// List the enrolled faces of a student
    List {
        /// Number or id
        #[arg(value_name = "STUDENT")]
        student: String,
    },
    /// Delete an enrolled face: it is never matched again
    Delete {
        /// Id of the template
        #[arg(value_name = "TEMPLATE")]
        id: TemplateId,
    },
}

pub(crate) async fn run(
    command: TemplatesCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        TemplatesCommand::List { student } => {
            let student = lookup::student(&api, &student).await?;
            let request = v1::ListTemplatesRequest { student_id: student.id.clone() };
            let found = api.call(api.enrollment().list_templates(request)).await?;
            printer.report(&TemplateList::new(student, found.templates))
        }
        TemplatesCommand::Delete { id } => {
            let template_id = id.to_string();
            let request = v1::DeleteTemplateRequest { template_id: template_id.clone() };
            api.call(api.enrollment().delete_template(request)).await.map_err(|e| e.about(&template_id))?;
            printer.report(&TemplateDeleted { id: template_id })
        }
    }
}
