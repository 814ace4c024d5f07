//! `cavs templates`

use cavs_proto::v1;
use cavs_types::{SightingId, TemplateId};

use crate::{
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    printer::Printer,
    view::{TemplateAdded, TemplateDeleted, TemplateList},
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
    /// Enroll the face of a sighting that a person has approved or corrected, for the student whom they named
    #[command(
        after_help = "The student's consent to photographs must be on record (cavs students update STUDENT \
--photo-consent given), and the face is checked as a picture is."
    )]
    Add {
        /// Id of the sighting
        #[arg(value_name = "SIGHTING")]
        sighting: SightingId,
        /// Take it although it is unlike the student's other pictures: you know that it is the student
        #[arg(long)]
        accept_unlike: bool,
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
        TemplatesCommand::Add { sighting, accept_unlike } => {
            let request = v1::EnrollFromSightingRequest { sighting_id: sighting.to_string(), accept_unlike };
            let verdict = api.call(api.enrollment().enroll_from_sighting(request)).await?.verdict;
            let verdict = verdict.ok_or_else(|| CliError::protocol("the server's answer has no verdict"))?;
            let added = TemplateAdded::from(verdict);
            printer.report(&added)?;
            if added.template_id.is_some() { Ok(()) } else { Err(CliError::Reported) }
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
