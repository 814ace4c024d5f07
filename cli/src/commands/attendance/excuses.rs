use cavs_proto::{to_timestamp, v1};

use crate::{
    client::Api,
    completion,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    timespec::TimeSpec,
    view::{ExcuseList, ExcuseView},
};

/// What `cavs attendance excuses` does.
#[derive(Debug, clap::Subcommand)]
pub enum ExcusesCommand {
    /// Excuse somebody for a time: whoever does not come then is excused, not absent
    Add {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
        /// From then on; a date or a time
        #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
        from: TimeSpec,
        /// Until then; a date belongs to it wholly
        #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
        until: TimeSpec,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// List excuses, the latest to begin first
    #[command(visible_alias = "ls")]
    List {
        /// Only of this student: number or id
        #[arg(long, value_name = "STUDENT", add = completion::students())]
        student: Option<String>,
        /// Only those that hold then
        #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
        at: Option<TimeSpec>,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Take an excuse back
    Rm {
        /// Its id
        #[arg(value_name = "EXCUSE")]
        excuse: String,
    },
}

pub(super) async fn run(api: &Api, command: ExcusesCommand, printer: &Printer) -> Result<(), CliError> {
    let zone = &printer.style().zone;
    let excuse = match command {
        ExcusesCommand::Add { student, from, until, reason } => {
            let start_time = Some(to_timestamp(from.start(zone).map_err(CliError::usage)?));
            let end_time = Some(to_timestamp(until.end(zone).map_err(CliError::usage)?));
            let student_id = lookup::student(api, &student).await?.id;
            let request = v1::CreateExcuseRequest { student_id, start_time, end_time, reason };
            api.one(api.attendance().create_excuse(request)).await?
        }
        ExcusesCommand::List { student, at, extent } => {
            let student_id = lookup::student_id(api, student.as_deref()).await?;
            let at = at.map(|at| at.start(zone)).transpose().map_err(CliError::usage)?;
            return paging::list::<ExcuseList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let (student_id, hold_time) = (student_id.clone(), at.map(to_timestamp));
                let request =
                    v1::ListExcusesRequest { page_size, page_token, with_total_size, student_id, hold_time };
                let page = api.call(api.attendance().list_excuses(request)).await?;
                Ok(Page {
                    items: page.excuses,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await;
        }
        ExcusesCommand::Rm { excuse } => {
            let request = v1::WithdrawExcuseRequest { excuse_id: excuse };
            api.one(api.attendance().withdraw_excuse(request)).await?
        }
    };
    printer.report(&ExcuseView::from(excuse))
}
