//! `cavs pairs`

use cavs_proto::v1;

use crate::{
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{PairList, PairView},
};

/// What `cavs pairs` does.
#[derive(Debug, clap::Subcommand)]
pub enum PairsCommand {
    /// List students who are taken for one another: a face that may be either's goes to a person
    #[command(
        visible_alias = "ls",
        after_help = "Pairs are noted when a reviewer corrects one student to another (confused), and when somebody \
says that two look alike (twins): `cavs pairs add`, or `cavs enroll --twin-of`."
    )]
    List {
        /// Only pairs with this student: number or id
        #[arg(long, value_name = "STUDENT", add = completion::students())]
        student: Option<String>,
        /// How many entries are listed.
        #[command(flatten)]
        extent: Extent,
    },
    /// Say that two students look alike, as twins do: each can be enrolled, and their faces go to a person
    Add(PairArgs),
    /// Take back that two students look alike
    Rm(PairArgs),
}

/// Two students.
#[derive(Debug, clap::Args)]
pub struct PairArgs {
    /// Number or id
    #[arg(value_name = "STUDENT", add = completion::students())]
    student: String,
    /// Number or id of the other
    #[arg(value_name = "OTHER", add = completion::students())]
    other: String,
}

pub(crate) async fn run(command: PairsCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        PairsCommand::List { student, extent } => {
            let student_id = lookup::student_id(&api, student.as_deref()).await?;
            paging::list::<PairList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let student_id = student_id.clone();
                let request =
                    v1::ListConfusablePairsRequest { page_size, page_token, with_total_size, student_id };
                let page = api.call(api.galleries().list_confusable_pairs(request)).await?;
                Ok(Page {
                    items: page.pairs,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await
        }
        PairsCommand::Add(PairArgs { student, other }) => {
            let student = lookup::student(&api, &student).await?;
            let other = lookup::student(&api, &other).await?;
            printer.report(&note_twins(&api, student.id, other.id).await?)
        }
        PairsCommand::Rm(PairArgs { student, other }) => {
            let student_id = lookup::student(&api, &student).await?.id;
            let other_student_id = lookup::student(&api, &other).await?.id;
            let request = v1::DeleteConfusablePairRequest { student_id, other_student_id };
            api.call(api.galleries().delete_confusable_pair(request)).await?;
            printer.note("the students are no pair any more");
            Ok(())
        }
    }
}

/// Says that two students look alike.
pub(crate) async fn note_twins(
    api: &Api,
    student_id: String,
    other_student_id: String,
) -> Result<PairView, CliError> {
    let request = v1::CreateConfusablePairRequest { student_id, other_student_id, request_id: String::new() };
    Ok(PairView::from(api.one(api.galleries().create_confusable_pair(request)).await?))
}
