use cavs_proto::{enum_to_wire, v1};
use cavs_types::Mark;

use super::{PersonArgs, mark, person};
use crate::{
    args::words,
    client::Api,
    error::CliError,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{ExplanationView, ProposalList},
};

/// What `cavs attendance proposals` does.
#[derive(Debug, clap::Subcommand)]
pub enum ProposalsCommand {
    /// List proposals of other marks than the final ones, the oldest first
    #[command(visible_alias = "ls")]
    List {
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Have the mark become what is proposed
    Accept(ProposalArgs),
    /// Have the mark stay as it is
    Dismiss(ProposalArgs),
}

/// A proposal.
#[derive(Debug, clap::Args)]
pub struct ProposalArgs {
    /// Whose mark.
    #[command(flatten)]
    of: PersonArgs,
    /// What is proposed: another one may be by now
    #[arg(value_name = "MARK", value_parser = words(Mark::ALL, mark))]
    mark: Mark,
}

pub(super) async fn run(api: &Api, command: ProposalsCommand, printer: &Printer) -> Result<(), CliError> {
    let (args, accept) = match command {
        ProposalsCommand::List { extent } => {
            return paging::list::<ProposalList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request = v1::ListMarkProposalsRequest { page_size, page_token, with_total_size };
                let page = api.call(api.attendance().list_mark_proposals(request)).await?;
                Ok(Page {
                    items: page.proposals,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await;
        }
        ProposalsCommand::Accept(args) => (args, true),
        ProposalsCommand::Dismiss(args) => (args, false),
    };
    let (session_id, student_id) = person(api, &args.of).await?;
    let machine_mark = enum_to_wire(args.mark);
    let request = v1::DecideMarkProposalRequest { session_id, student_id, machine_mark, accept };
    printer.report(&ExplanationView::from(api.one(api.attendance().decide_mark_proposal(request)).await?))
}
