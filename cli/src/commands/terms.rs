//! `cavs terms`

use cavs_proto::v1;

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{HolidayList, HolidayView, TermList, TermView},
};

/// What `cavs terms` does.
#[derive(Debug, clap::Subcommand)]
pub enum TermsCommand {
    /// Add a term
    Add {
        /// Its name; unique
        #[arg(value_name = "NAME")]
        name: String,
        /// The first day, as 2026-09-01
        #[arg(long, value_name = "DATE")]
        from: String,
        /// The last day
        #[arg(long, value_name = "DATE")]
        until: String,
        /// What another system calls it; unique
        #[arg(long, value_name = "ID", default_value = "")]
        external_id: String,
    },
    /// List terms by their first day
    #[command(visible_alias = "ls")]
    List {
        /// Only terms that this day is in
        #[arg(long, value_name = "DATE", default_value = "")]
        on: String,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a term
    Show {
        /// Name or id
        #[arg(value_name = "TERM")]
        term: String,
    },
    /// Change a term
    Update {
        /// Name or id
        #[arg(value_name = "TERM")]
        term: String,
        /// Its new name; unique
        #[arg(long)]
        name: Option<String>,
        /// The first day
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
        /// The last day
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
        /// What another system calls it; unique
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
    },
    /// Delete a term that no group is of
    Rm {
        /// Name or id
        #[arg(value_name = "TERM")]
        term: String,
    },
    /// Days without sessions
    #[command(subcommand)]
    Holidays(HolidaysCommand),
}

/// What `cavs terms holidays` does.
#[derive(Debug, clap::Subcommand)]
pub enum HolidaysCommand {
    /// Add a holiday: weekly patterns pass over it
    Add {
        /// As people call it
        #[arg(value_name = "NAME")]
        name: String,
        /// The first day, as 2026-12-24
        #[arg(long, value_name = "DATE")]
        from: String,
        /// The last day; without it, the holiday has one day
        #[arg(long, value_name = "DATE", default_value = "")]
        until: String,
    },
    /// List holidays by their first day
    #[command(visible_alias = "ls")]
    List {
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Delete a holiday; sessions stay as they are
    Rm {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

pub(crate) async fn run(command: TermsCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    let term = match command {
        TermsCommand::Add { name, from, until, external_id } => {
            let request = v1::CreateTermRequest {
                name,
                start_date: from,
                end_date: until,
                external_id,
                request_id: String::new(),
            };
            api.one(api.terms().create_term(request)).await?
        }
        TermsCommand::List { on, extent } => {
            return paging::list::<TermList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request =
                    v1::ListTermsRequest { page_size, page_token, with_total_size, date: on.clone() };
                let page = api.call(api.terms().list_terms(request)).await?;
                Ok(Page {
                    items: page.terms,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await;
        }
        TermsCommand::Show { term } => lookup::term(&api, &term).await?,
        TermsCommand::Update { term, name, from, until, external_id } => {
            let said = [
                ("name", name.is_some()),
                ("start_date", from.is_some()),
                ("end_date", until.is_some()),
                ("external_id", external_id.is_some()),
            ];
            let update_mask = Some(super::mask(said)?);
            let term = v1::Term {
                id: lookup::term(&api, &term).await?.id,
                name: name.unwrap_or_default(),
                start_date: from.unwrap_or_default(),
                end_date: until.unwrap_or_default(),
                external_id: external_id.unwrap_or_default(),
                ..v1::Term::default()
            };
            let request = v1::UpdateTermRequest { term: Some(term), update_mask };
            api.one(api.terms().update_term(request)).await?
        }
        TermsCommand::Rm { term } => {
            let v1::Term { id, name, .. } = lookup::term(&api, &term).await?;
            api.call(api.terms().delete_term(v1::DeleteTermRequest { term_id: id })).await?;
            printer.note(&format!("deleted the term {name}"));
            return Ok(());
        }
        TermsCommand::Holidays(command) => return holidays(command, &api, printer).await,
    };
    printer.report(&TermView::from(term))
}

async fn holidays(command: HolidaysCommand, api: &Api, printer: &Printer) -> Result<(), CliError> {
    match command {
        HolidaysCommand::Add { name, from, until } => {
            let request = v1::CreateHolidayRequest {
                name,
                start_date: from,
                end_date: until,
                request_id: String::new(),
            };
            printer.report(&HolidayView::from(api.one(api.terms().create_holiday(request)).await?))
        }
        HolidaysCommand::List { extent } => {
            paging::list::<HolidayList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request = v1::ListHolidaysRequest { page_size, page_token, with_total_size };
                let page = api.call(api.terms().list_holidays(request)).await?;
                Ok(Page {
                    items: page.holidays,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await
        }
        HolidaysCommand::Rm { id } => {
            api.call(api.terms().delete_holiday(v1::DeleteHolidayRequest { holiday_id: id })).await?;
            printer.note("deleted the holiday");
            Ok(())
        }
    }
}
