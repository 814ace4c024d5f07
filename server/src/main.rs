//! `cavs-server`: parses, loads the configuration and calls the library.

use std::{
    io::{IsTerminal, Read},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};
use cavs_server::{
    Addresses, Backend,
    app::create_user,
    config::{Config, LogFormat, Logging},
    domain::{Credentials, Role},
    run,
    vault::generate_key,
};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "cavs-server", version, about = "The CAVS server")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve devices and people until SIGINT or SIGTERM
    Serve {
        /// The configuration file
        #[arg(long, env = "CAVS_SERVER_CONFIG", value_name = "FILE")]
        config: PathBuf,
        /// Check the configuration and exit
        #[arg(long)]
        check_config: bool,
        /// Write the listeners' addresses to this file as JSON, once they accept connections
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// Manage the users of the API
    #[command(subcommand)]
    User(UserCommand),
    /// Manage the key that encrypts biometric data
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum UserCommand {
    /// Add a user; the password is asked for, or read from standard input
    Add {
        /// The configuration file
        #[arg(long, env = "CAVS_SERVER_CONFIG", value_name = "FILE")]
        config: PathBuf,
        /// What the user may do
        #[arg(long, value_enum)]
        role: RoleArgument,
        /// The user's name
        username: String,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a new key in a file that only its owner can read
    Generate {
        /// The file; it must not exist
        file: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArgument {
    Admin,
    Reviewer,
    Viewer,
}

fn main() -> ExitCode {
    cavs_secrets::forbid_core_dumps();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail(&anyhow::anyhow!("another cryptography provider is installed"));
    }
    match start(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "a start that fails may have no log yet")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("cavs-server: {error:#}");
    ExitCode::FAILURE
}

#[tokio::main]
async fn start(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { config, check_config, ready_file } => {
            let config = Config::load(&config)?;
            if check_config {
                return Ok(());
            }
            start_logging(&config.logging)?;
            let shutdown = on_signal()?;
            let ready = |addresses: Addresses| {
                if let Some(Err(error)) = ready_file.map(|file| write_addresses(&file, addresses)) {
                    tracing::error!(%error, "the ready file can't be written");
                }
            };
            run(config, shutdown, ready).await.context("can't serve")
        }
        Command::User(UserCommand::Add { config, role, username }) => {
            let config = Config::load(&config)?;
            start_logging(&config.logging)?;
            let password = read_password(&username)?;
            let role = match role {
                RoleArgument::Admin => Role::Admin,
                RoleArgument::Reviewer => Role::Reviewer,
                RoleArgument::Viewer => Role::Viewer,
            };
            let credentials = Credentials::new(&username, password)?;
            let backend = Backend::open(&config.database).await?;
            let created = create_user(&backend.store, credentials, role).await;
            backend.close().await;
            created.map(drop).context("the user was not added")
        }
        Command::Key(KeyCommand::Generate { file }) => Ok(generate_key(&file)?),
    }
}

/// Asks on a terminal, without showing what is typed; else the password is what standard input has.
fn read_password(username: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password(format!("Password of {username}: "))?;
        if password != rpassword::prompt_password("The same again: ")? {
            bail!("the two passwords are not the same");
        }
        return Ok(password);
    }
    let mut password = String::new();
    std::io::stdin().take(4096).read_to_string(&mut password).context("standard input")?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!("no password came from standard input");
    }
    Ok(password)
}

fn start_logging(logging: &Logging) -> anyhow::Result<()> {
    let filter = match EnvFilter::try_from_default_env() {
        Ok(filter) => filter,
        Err(_) => EnvFilter::try_new(&logging.level).context("logging.level")?,
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match logging.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Cancelled by the first SIGINT or SIGTERM.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = shutdown.clone();
    // Lives as long as the process: it waits for what ends it.
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(shutdown)
}

/// Written beside and renamed: whoever waits for the file never reads half of it.
fn write_addresses(file: &std::path::Path, addresses: Addresses) -> anyhow::Result<()> {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(&addresses)?)?;
    Ok(std::fs::rename(fresh, file)?)
}
