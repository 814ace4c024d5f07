//! `cavs whoami`

use cavs_proto::v1;

use crate::{client::Api, config::Config, error::CliError, printer::Printer, view::WhoAmI};

pub(crate) async fn run(config: Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(&config).await?;
    let response = api.call(api.auth().who_am_i(v1::WhoAmIRequest {})).await?;
    let user = response.user.ok_or_else(|| CliError::protocol("the server did not say who is logged in"))?;
    printer.report(&WhoAmI { server: config.server.to_string(), user: user.into() })
}
