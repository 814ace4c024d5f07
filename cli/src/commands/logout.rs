//! `cavs logout`

use cavs_proto::v1;

use crate::{client::Api, config::Config, error::CliError, exit::Exit, printer::Printer, view::LoggedOut};

pub(crate) async fn run(config: Config, printer: &Printer) -> Result<(), CliError> {
    let server = config.server.to_string();
    let logged_out = match end_session(&config).await {
        Ok(()) => true,
        // A session that the server does not know has ended already.
        Err(error) if error.exit() == Exit::NotAuthorised => false,
        Err(error) => return Err(error),
    };
    // A token from the environment belongs to no file, and another server's session stays.
    if config.token.is_none() && config.session.as_ref().is_some_and(|session| session.server == server) {
        config.session_file.remove()?;
    }
    printer.report(&LoggedOut { server, logged_out })
}

async fn end_session(config: &Config) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    api.call(api.auth().logout(v1::LogoutRequest {})).await?;
    Ok(())
}
