//! `cavs templates`

use cavs_proto::v1;
use cavs_types::TemplateId;

use crate::{
    client::Api,
    completion,
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
    #[command(visible_alias = "ls")]
    List {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
    },
    /// Delete an enrolled face: it is never matched again
    Rm {
        /// Id of the template
        #[arg(value_name = "TEMPLATE")]
        id: TemplateId,
        /// Says that it is meant: nobody can undo it
        #[arg(long)]
        yes: bool,
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
        TemplatesCommand::Rm { id, yes } => {
            if !yes {
                printer.confirm(&format!("Delete the template {id}?"))?;
            }
            let template_id = id.to_string();
            let request = v1::DeleteTemplateRequest { template_id: template_id.clone() };
            api.call(api.enrollment().delete_template(request)).await.map_err(|e| e.about(&template_id))?;
            printer.report(&TemplateDeleted { id: template_id })
        }
    }
}
