//! What goes on until nobody listens any more.

use std::time::Duration;

use crate::{client::Api, config::Config, error::CliError, exit::Exit, output::Format, printer::Printer};

/// How long to wait before asking again where the server is away.
const AGAIN: Duration = Duration::from_secs(2);

/// Refuses forms of output that have an end.
///
/// # Errors
/// `Usage`.
pub(super) fn endless(printer: &Printer) -> Result<(), CliError> {
    if matches!(printer.format(), Format::Json | Format::Yaml) {
        return Err(CliError::usage("a document that never ends: use -o jsonl, -o csv or a table"));
    }
    Ok(())
}

/// Follows a stream of the server again and again: it ends by itself from time to time, and breaks off where the server
/// is away. `follow` follows it once; false where the reader of standard output has left.
///
/// # Errors
/// Those of `follow`, but that the server is away.
pub(super) async fn follow_always(
    mut api: Api,
    config: &Config,
    printer: &Printer,
    mut follow: impl AsyncFnMut(&Api) -> Result<bool, CliError>,
) -> Result<(), CliError> {
    loop {
        match follow(&api).await {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) if error.exit() == Exit::Unavailable => {
                printer.note(&format!("{error}; trying again"));
                tokio::time::sleep(AGAIN).await;
                match Api::connect(config).await {
                    Ok(again) => api = again,
                    Err(error) if error.exit() == Exit::Unavailable => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
}
