//! `cavs templates`

use std::path::PathBuf;

use cavs_proto::{enum_to_wire, v1};
use cavs_types::{EnrollmentGate, SightingId, TemplateId};

use crate::{
    args::{gate_value, words},
    client::Api,
    completion,
    config::Config,
    error::CliError,
    files::write_new_private,
    lookup,
    printer::Printer,
    view::{TemplateAdded, TemplateDeleted, TemplateList, TemplateShown},
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
    /// Show an enrolled face, and write its picture into a file; admins only
    Show {
        /// Id of the template
        #[arg(value_name = "TEMPLATE")]
        id: TemplateId,
        /// Write the picture of the face (JPEG) into a new file, where the site keeps portraits; that is noted
        #[arg(long, value_name = "FILE")]
        portrait: Option<PathBuf>,
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
        /// How strictly the face is looked at, in the place of what the site's policy says
        #[arg(long, value_name = "GATE", value_parser = words(EnrollmentGate::ALL, gate_value))]
        gate: Option<EnrollmentGate>,
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
        TemplatesCommand::Show { id, portrait } => show(&api, id, portrait, printer).await,
        TemplatesCommand::Add { sighting, accept_unlike, gate } => {
            let gate = gate.map(enum_to_wire).unwrap_or_default();
            let request =
                v1::EnrollFromSightingRequest { sighting_id: sighting.to_string(), accept_unlike, gate };
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

async fn show(
    api: &Api,
    id: TemplateId,
    portrait: Option<PathBuf>,
    printer: &Printer,
) -> Result<(), CliError> {
    let template_id = id.to_string();
    let request =
        v1::GetTemplateRequest { template_id: template_id.clone(), with_portrait: portrait.is_some() };
    let found =
        api.call(api.enrollment().get_template(request)).await.map_err(|error| error.about(&template_id))?;
    let template = found.template.ok_or_else(|| CliError::protocol("the server's answer has no template"))?;
    if let Some(path) = &portrait {
        if found.portrait.is_empty() {
            let message =
                format!("{template_id}: no picture of the face is kept, or it may not be looked at");
            return Err(CliError::NotFound { reason: "NO_PORTRAIT", message });
        }
        write_new_private(path, &found.portrait)?;
    }
    let portrait_file = portrait.map(|path| path.display().to_string());
    printer.report(&TemplateShown::new(template, portrait_file))
}
