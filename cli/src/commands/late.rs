//! `cavs review late`

use cavs_proto::v1;

use crate::{
    client::Api,
    completion,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{LateMatchList, LateMatchPolicyView},
};

/// What `cavs review late` does.
#[derive(Debug, clap::Subcommand)]
pub enum LateCommand {
    /// List faces that were taken for nobody and are like somebody who was enrolled since
    #[command(visible_alias = "ls")]
    List {
        /// Of a student: number or id
        #[arg(long, value_name = "STUDENT", add = completion::students())]
        student: Option<String>,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Say that it is them: the sighting is theirs, and marks follow
    Accept(LateArgs),
    /// Say that it is not them
    Dismiss(LateArgs),
    /// Say how many days back faces are looked up for who is enrolled, or whether they are; without either, what is so
    Policy {
        /// So many days, 1 to 90; as long as faces of nobody are kept (`cavs retention show`)
        #[arg(long, conflicts_with = "off")]
        days: Option<u32>,
        /// Not at all
        #[arg(long)]
        off: bool,
    },
}

/// What was found.
#[derive(Debug, clap::Args)]
pub struct LateArgs {
    /// Id of the sighting
    #[arg(value_name = "SIGHTING")]
    sighting: String,
    /// Number or id
    #[arg(value_name = "STUDENT", add = completion::students())]
    student: String,
}

pub(super) async fn run(api: &Api, command: LateCommand, printer: &Printer) -> Result<(), CliError> {
    let (args, accept) = match command {
        LateCommand::List { student, extent } => return list(api, student, extent, printer).await,
        LateCommand::Accept(args) => (args, true),
        LateCommand::Dismiss(args) => (args, false),
        LateCommand::Policy { days: None, off: false } => {
            let request = v1::GetLateMatchPolicyRequest {};
            let found = api.call(api.late_matches().get_late_match_policy(request)).await?;
            return printer.report(&LateMatchPolicyView::from(found.policy.unwrap_or_default()));
        }
        LateCommand::Policy { days, off: _ } => {
            let policy = Some(v1::LateMatchPolicy { days });
            let request = v1::UpdateLateMatchPolicyRequest { policy };
            let set = api.call(api.late_matches().update_late_match_policy(request)).await?;
            return printer.report(&LateMatchPolicyView::from(set.policy.unwrap_or_default()));
        }
    };
    let student_id = lookup::student(api, &args.student).await?.id;
    let request = v1::DecideLateMatchRequest { sighting_id: args.sighting, student_id, accept };
    api.call(api.late_matches().decide_late_match(request)).await?;
    printer.note(if accept { "the sighting is theirs" } else { "it is not proposed of them again" });
    Ok(())
}

async fn list(api: &Api, student: Option<String>, extent: Extent, printer: &Printer) -> Result<(), CliError> {
    let student_id = lookup::student_id(api, student.as_deref()).await?;
    paging::list::<LateMatchList, _>(extent, printer, async |query| {
        let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
        let student_id = student_id.clone();
        let request = v1::ListLateMatchesRequest { page_size, page_token, with_total_size, student_id };
        let page = api.call(api.late_matches().list_late_matches(request)).await?;
        Ok(Page {
            items: page.matches,
            next: page.next_page_token,
            total: page.total_size,
            total_exact: page.total_size_exact,
        })
    })
    .await
}
