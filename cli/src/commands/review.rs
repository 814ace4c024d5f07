//! `cavs review`

use std::path::PathBuf;

use cavs_proto::{enum_to_wire, v1};
use cavs_types::{SightingId, Verdict};

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    files::write_new_private,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{ReviewItemView, ReviewQueue, SightingView},
};

/// What `cavs review` does.
#[derive(Debug, clap::Subcommand)]
pub enum ReviewCommand {
    /// List what waits for a person, oldest first
    List(ListArgs),
    /// Show a sighting and whom it may be
    Show(ShowArgs),
    /// Say that it is the predicted student, or the one given with --student
    Approve(VerdictArgs),
    /// Say that it is not the predicted student
    Reject(VerdictArgs),
    /// Leave it for somebody else to look at
    Flag(VerdictArgs),
    /// Take back the verdict in force, so that the one before it counts again
    Undo(UndoArgs),
}

/// Options of `cavs review list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only this room
    #[arg(long)]
    classroom: Option<String>,
    /// Only this device
    #[arg(long, value_name = "NAME|ID")]
    device: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

/// Options of `cavs review show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Id of the sighting
    id: SightingId,
    /// Write the picture of the face (JPEG) into a new file
    #[arg(long, value_name = "FILE")]
    evidence_out: Option<PathBuf>,
}

/// Options of a verdict.
#[derive(Debug, clap::Args)]
pub struct VerdictArgs {
    /// Id of the sighting
    id: SightingId,
    /// What the next reader should know
    #[arg(long, default_value = "", value_name = "TEXT")]
    notes: String,
    /// Who it really was
    #[arg(long, value_name = "NUMBER|ID")]
    student: Option<String>,
    /// Replace an earlier approval or rejection
    #[arg(long)]
    replace: bool,
}

/// Options of `cavs review undo`.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// Id of the sighting
    id: SightingId,
    /// What the next reader should know
    #[arg(long, default_value = "", value_name = "TEXT")]
    notes: String,
}

pub(crate) async fn run(command: ReviewCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        ReviewCommand::List(args) => list(args, &api, printer).await,
        ReviewCommand::Show(args) => show(args, &api, printer).await,
        ReviewCommand::Approve(args) => review(Verdict::Approved, args, &api, printer).await,
        ReviewCommand::Reject(args) => review(Verdict::Rejected, args, &api, printer).await,
        ReviewCommand::Flag(args) => review(Verdict::Flagged, args, &api, printer).await,
        ReviewCommand::Undo(args) => undo(args, &api, printer).await,
    }
}

async fn list(args: ListArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let filter = v1::SightingFilter {
        device_id: lookup::device_id(api, args.device.as_deref()).await?,
        classroom: args.classroom.unwrap_or_default(),
        ..Default::default()
    };
    paging::list::<ReviewQueue, _>(args.extent, printer, async |query| {
        let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
        let filter = Some(filter.clone());
        let request = v1::ListPendingRequest { page_size, page_token, filter, with_total_size };
        let page = api.call(api.reviews().list_pending(request)).await?;
        Ok(Page {
            items: page.sightings,
            next: page.next_page_token,
            total: page.total_size,
            total_exact: page.total_size_exact,
        })
    })
    .await
}

async fn show(args: ShowArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let request = v1::GetReviewItemRequest { sighting_id: args.id.to_string() };
    let item = api.call(api.reviews().get_review_item(request)).await?;
    let sighting = item.sighting.ok_or_else(|| CliError::protocol("the server's answer has no sighting"))?;
    if let Some(path) = &args.evidence_out {
        if item.evidence.is_empty() {
            let message = format!("sighting {}: no picture of the face was kept", args.id);
            return Err(CliError::NotFound { reason: "NO_EVIDENCE", message });
        }
        write_new_private(path, &item.evidence)?;
    }
    printer.report(&ReviewItemView {
        sighting: sighting.into(),
        evidence_bytes: item.evidence.len(),
        evidence_file: args.evidence_out.map(|path| path.display().to_string()),
    })
}

async fn review(verdict: Verdict, args: VerdictArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let request = v1::ReviewSightingRequest {
        sighting_id: args.id.to_string(),
        verdict: enum_to_wire(verdict),
        notes: args.notes,
        corrected_student_id: lookup::student_id(api, args.student.as_deref()).await?,
        replace: args.replace,
    };
    let sighting = api.call(api.reviews().review_sighting(request)).await?;
    printer.report(&SightingView::from(sighting))
}

async fn undo(args: UndoArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let request = v1::WithdrawReviewRequest { sighting_id: args.id.to_string(), notes: args.notes };
    let sighting = api.call(api.reviews().withdraw_review(request)).await?;
    printer.report(&SightingView::from(sighting))
}
