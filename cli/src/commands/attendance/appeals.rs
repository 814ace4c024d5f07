use cavs_proto::{enum_to_wire, v1};
use cavs_types::{AppealState, Mark};
use clap::builder::PossibleValue;

use super::{PersonArgs, mark, person};
use crate::{
    args::words,
    client::Api,
    completion,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{AppealList, AppealView},
};

/// What `cavs attendance appeals` does.
#[derive(Debug, clap::Subcommand)]
pub enum AppealsCommand {
    /// Record what somebody says against their mark
    Add {
        /// Whose mark.
        #[command(flatten)]
        of: PersonArgs,
        /// What it should be
        #[arg(value_name = "MARK", value_parser = words(Mark::ALL, mark))]
        mark: Mark,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// List appeals, those that are due first before others
    #[command(visible_alias = "ls")]
    List {
        /// In which state
        #[arg(long, default_value = "open", value_parser = words(AppealState::ALL, state))]
        state: AppealState,
        /// Only of this student: number or id
        #[arg(long, value_name = "STUDENT", add = completion::students())]
        student: Option<String>,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Have the mark become what it should be
    Accept(DecisionArgs),
    /// Have the mark stay as it is
    Reject(DecisionArgs),
    /// Take an appeal back that nobody has decided on
    Rm {
        /// Its id
        #[arg(value_name = "APPEAL")]
        appeal: String,
    },
}

/// A decision on an appeal.
#[derive(Debug, clap::Args)]
pub struct DecisionArgs {
    /// Its id
    #[arg(value_name = "APPEAL")]
    appeal: String,
    /// What is answered
    #[arg(long)]
    answer: String,
}

fn state(state: AppealState) -> PossibleValue {
    let help = match state {
        AppealState::Open => "Nobody has decided on it",
        AppealState::Accepted => "The mark became what it should be",
        AppealState::Rejected => "The mark stayed",
        AppealState::Withdrawn => "It was taken back",
    };
    PossibleValue::new(state.as_str()).help(help)
}

pub(super) async fn run(api: &Api, command: AppealsCommand, printer: &Printer) -> Result<(), CliError> {
    let decide = async |DecisionArgs { appeal: appeal_id, answer }, accept| {
        let request = v1::DecideAppealRequest { appeal_id, accept, answer };
        api.one(api.attendance().decide_appeal(request)).await
    };
    let appeal = match command {
        AppealsCommand::Add { of, mark, reason } => {
            let (session_id, student_id) = person(api, &of).await?;
            let request =
                v1::CreateAppealRequest { session_id, student_id, mark: enum_to_wire(mark), reason };
            api.one(api.attendance().create_appeal(request)).await?
        }
        AppealsCommand::List { state, student, extent } => {
            let (state, student_id) =
                (enum_to_wire(state), lookup::student_id(api, student.as_deref()).await?);
            return paging::list::<AppealList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let student_id = student_id.clone();
                let request =
                    v1::ListAppealsRequest { page_size, page_token, with_total_size, state, student_id };
                let page = api.call(api.attendance().list_appeals(request)).await?;
                Ok(Page {
                    items: page.appeals,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await;
        }
        AppealsCommand::Accept(args) => decide(args, true).await?,
        AppealsCommand::Reject(args) => decide(args, false).await?,
        AppealsCommand::Rm { appeal } => {
            let request = v1::WithdrawAppealRequest { appeal_id: appeal };
            api.one(api.attendance().withdraw_appeal(request)).await?
        }
    };
    printer.report(&AppealView::from(appeal))
}
