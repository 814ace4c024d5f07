//! `cavs login`, `cavs logout`, `cavs whoami`

use std::io::{self, BufRead, Read};

use cavs_proto::{from_timestamp, v1};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    client::Api,
    config::Config,
    error::CliError,
    exit::Exit,
    printer::Printer,
    session::Session,
    view::{LoggedIn, LoggedOut, UserView, WhoAmI},
};

/// Longer than any password that the server takes.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Options of `cavs login`.
#[derive(Debug, clap::Args)]
pub struct LoginArgs {
    /// User name; that of the context or of CAVS_USER, or it is asked for, where it is not given
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from the first line of standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

pub(crate) async fn log_in(args: LoginArgs, config: Config, printer: &Printer) -> Result<(), CliError> {
    let username = match args.username.or_else(|| config.user.clone()) {
        Some(username) => username,
        None => ask_username(printer)?,
    };
    let password = if args.password_stdin { read_password()? } else { ask_password(&username, printer)? };
    let (session, done) = begin_session(username, &password, &config).await?;
    config.session_file.write(&session)?;
    printer.report(&done)
}

/// Logs somebody in; keeping the session is up to the caller.
pub(crate) async fn begin_session(
    username: String,
    password: &SecretString,
    config: &Config,
) -> Result<(Session, LoggedIn), CliError> {
    let api = Api::connect_anonymously(config).await?;
    let request =
        v1::LoginRequest { username: username.clone(), password: password.expose_secret().to_owned() };
    let response = api.call(api.auth().login(request)).await?;
    let user = response.user.ok_or_else(|| CliError::protocol("the server did not say who logged in"))?;
    if response.access_token.is_empty() {
        return Err(CliError::protocol("the server gave no token"));
    }
    // Later commands run in other folders.
    let ca = std::path::absolute(&config.ca).map_err(|error| CliError::file(&config.ca, error))?;
    let session = Session {
        server: config.server.to_string(),
        ca,
        site: config.site.clone(),
        username,
        expires: from_timestamp("expire_time", response.expire_time.as_ref()).ok(),
        token: response.access_token.into(),
    };
    let done = LoggedIn {
        server: session.server.clone(),
        user: UserView::new(user, response.sites),
        expire_time: session.expires,
    };
    Ok((session, done))
}

/// Ends the session on the server, and forgets it here.
pub(crate) async fn log_out(config: Config, printer: &Printer) -> Result<(), CliError> {
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

/// Shows who the server takes this session for.
pub(crate) async fn who_am_i(config: Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(&config).await?;
    let response = api.call(api.auth().who_am_i(v1::WhoAmIRequest {})).await?;
    let user = response.user.ok_or_else(|| CliError::protocol("the server did not say who is logged in"))?;
    printer.report(&WhoAmI { server: config.server.to_string(), user: UserView::new(user, response.sites) })
}

/// The first line of standard input.
pub(crate) fn read_password() -> Result<SecretString, CliError> {
    let mut line = String::new();
    let failed = |error: io::Error| CliError::failure("INPUT", format!("standard input: {error}"));
    io::stdin().lock().take(MAX_PASSWORD_BYTES).read_line(&mut line).map_err(failed)?;
    let password = line.strip_suffix('\n').map_or(line.as_str(), |l| l.strip_suffix('\r').unwrap_or(l));
    if password.is_empty() {
        return Err(CliError::usage("standard input holds no password"));
    }
    Ok(password.into())
}

fn ask_username(printer: &Printer) -> Result<String, CliError> {
    if !printer.may_ask() {
        return Err(CliError::usage("nobody can be asked who logs in; give --username NAME"));
    }
    let name = printer.ask("User name: ")?;
    if name.is_empty() { Err(CliError::usage("nobody logs in without a name")) } else { Ok(name) }
}

fn ask_password(username: &str, printer: &Printer) -> Result<SecretString, CliError> {
    if !printer.may_ask() {
        return Err(CliError::usage("nobody can be asked for the password; give --password-stdin"));
    }
    rpassword::prompt_password(format!("Password of {username}: "))
        .map(Into::into)
        .map_err(|error| CliError::failure("INPUT", format!("the password can't be read: {error}")))
}

/// A password that a person types twice.
pub(crate) fn new_password(username: &str, printer: &Printer) -> Result<SecretString, CliError> {
    let password = ask_password(username, printer)?;
    let failed = |error| CliError::failure("INPUT", format!("the password can't be read: {error}"));
    let again = rpassword::prompt_password("The same again: ").map_err(failed)?;
    if again != password.expose_secret() {
        return Err(CliError::usage("the two passwords are not the same"));
    }
    Ok(password)
}

async fn end_session(config: &Config) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    api.call(api.auth().logout(v1::LogoutRequest {})).await?;
    Ok(())
}
