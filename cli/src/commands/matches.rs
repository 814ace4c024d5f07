//! `cavs match`

use std::{
    fs,
    path::{Path, PathBuf},
};

use cavs_proto::v1::{self, verify_request};

use crate::{
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{IdentifiedView, MatchList, VerifiedView},
};

/// Longest image that is sent, in bytes.
const LARGEST: u64 = 4 << 20;

/// What `cavs match` does.
#[derive(Debug, clap::Subcommand)]
pub enum MatchCommand {
    /// Say which student a photograph shows
    #[command(
        after_help = "Done (exit code 0) where the answer is one student, without a doubt that a person would have \
to clear up. That you asked is recorded; the photograph is not kept."
    )]
    Identify {
        /// A photograph with one face, of at most 4 MiB
        #[arg(value_name = "IMAGE")]
        image: PathBuf,
    },
    /// Say whether a photograph shows a student
    #[command(
        after_help = "Done (exit code 0) where it does, by the site's thresholds. That you asked is recorded; the \
photograph is not kept."
    )]
    Verify {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
        /// A photograph with one face, of at most 4 MiB
        #[arg(value_name = "IMAGE")]
        image: PathBuf,
    },
    /// List who has asked what, newest first; admins only
    #[command(visible_alias = "ls")]
    List {
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
}

pub(crate) async fn run(command: MatchCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    match command {
        MatchCommand::Identify { image } => {
            let face = face(&image)?;
            let api = Api::connect(config).await?;
            let found = api.call(api.matches().identify(v1::IdentifyRequest { face: Some(face) })).await?;
            let view = IdentifiedView::from(found);
            printer.report(&view)?;
            if view.is_accepted() { Ok(()) } else { Err(CliError::Reported) }
        }
        MatchCommand::Verify { student, image } => {
            let face = face(&image)?;
            let api = Api::connect(config).await?;
            let student = if lookup::is_id(&student) {
                verify_request::Student::StudentId(student)
            } else {
                verify_request::Student::StudentNumber(student)
            };
            let request = v1::VerifyRequest { face: Some(face), student: Some(student) };
            let view = VerifiedView::from(api.call(api.matches().verify(request)).await?);
            printer.report(&view)?;
            if view.verified { Ok(()) } else { Err(CliError::Reported) }
        }
        MatchCommand::List { extent } => {
            let api = Api::connect(config).await?;
            paging::list::<MatchList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request = v1::ListMatchesRequest { page_size, page_token, with_total_size };
                let page = api.call(api.matches().list_matches(request)).await?;
                Ok(Page {
                    items: page.matches,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await
        }
    }
}

fn face(image: &Path) -> Result<v1::MatchFace, CliError> {
    let length = fs::metadata(image).map_err(|error| CliError::file(image, error))?.len();
    if length > LARGEST {
        return Err(CliError::usage(format!("{}: is larger than 4 MiB", image.display())));
    }
    let data = fs::read(image).map_err(|error| CliError::file(image, error))?;
    Ok(v1::MatchFace { face: Some(v1::match_face::Face::Image(data.into())) })
}
