//! `cavs-server`: parses, loads the configuration and calls the library.

use std::{
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use cavs_server::{
    Addresses, Backend, Control, Finding, Level,
    biometrics::Keyring,
    check,
    config::{Config, LogFormat, Logging},
    people::{Credentials, Grant, SiteKey, create_user, grant},
    rotate_keys, run,
};
use cavs_types::Role;
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long computations may go on after the server has stopped.
const STRAGGLERS: Duration = Duration::from_millis(500);

#[derive(Parser)]
#[command(name = "cavs-server", version, about = "The CAVS server")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve devices and people until SIGINT or SIGTERM; SIGHUP reads certificates and `logging.level` again
    Serve {
        /// The configuration file
        #[arg(long, env = "CAVS_SERVER_CONFIG", value_name = "FILE")]
        config: PathBuf,
        /// Try out certificates, keys, pack, addresses and database, and exit: with 1 where something is wrong
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
        #[command(flatten)]
        grant: GrantArguments,
        /// The user's name
        username: String,
    },
    /// Give a user a role in a site, in the place of the one that they had there, or make them an operator
    Grant {
        /// The configuration file
        #[arg(long, env = "CAVS_SERVER_CONFIG", value_name = "FILE")]
        config: PathBuf,
        /// What the user may do
        #[command(flatten)]
        grant: GrantArguments,
        /// The user's name
        username: String,
    },
}

#[derive(clap::Args)]
struct GrantArguments {
    /// What the user may do
    #[arg(long, value_enum)]
    role: RoleArgument,
    /// In which site, by name or id; the only one where there is only one
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
}

impl TryFrom<GrantArguments> for Grant {
    type Error = anyhow::Error;

    fn try_from(GrantArguments { role, site }: GrantArguments) -> anyhow::Result<Self> {
        let role = match role {
            RoleArgument::Admin => Role::Admin,
            RoleArgument::Reviewer => Role::Reviewer,
            RoleArgument::Viewer => Role::Viewer,
            RoleArgument::Capture => Role::Capture,
            RoleArgument::Operator => {
                if site.is_some() {
                    bail!("an operator is one in all sites: leave out --site");
                }
                return Ok(Self::Operator);
            }
        };
        Ok(Self::Role(role, site.map(|site| SiteKey::read("site", &site)).transpose()?))
    }
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a new keyring in a file that only its owner can read
    Generate {
        /// The file; it must not exist
        file: PathBuf,
    },
    /// Make a new key, wrap all data keys by it, and destroy the keys before; servers go on meanwhile
    ///
    /// Backups of the database from before open with a copy of the keyring from before only: whoever keeps
    /// neither keeps nothing of those who were erased since.
    Rotate {
        /// The configuration file
        #[arg(long, env = "CAVS_SERVER_CONFIG", value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArgument {
    /// Everything in a site
    Admin,
    /// Give verdicts, and look
    Reviewer,
    /// Look
    Viewer,
    /// Send frames of a camera, as a program does, and nothing else
    Capture,
    /// Everything in all sites, and to add, rename and archive them
    Operator,
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

fn start(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(act(command));
    // A computation whose result nobody wants any more must not keep the process alive.
    runtime.shutdown_timeout(STRAGGLERS);
    done
}

async fn act(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { config: file, check_config, ready_file } => {
            let config = Config::load(&file)?;
            if check_config {
                return report(&file, &check(&config).await);
            }
            let log = start_logging(&config.logging)?;
            let control = on_signal(file, log)?;
            let ready = |addresses: Addresses| {
                if let Some(Err(error)) = ready_file.map(|file| write_addresses(&file, addresses)) {
                    tracing::error!(%error, "the ready file can't be written");
                }
            };
            run(config, control, ready).await.context("can't serve")
        }
        Command::User(UserCommand::Add { config, grant, username }) => {
            let config = Config::load(&config)?;
            drop(start_logging(&config.logging)?);
            let password = read_password(&username)?;
            let grant = Grant::try_from(grant)?;
            let credentials = Credentials::new(&username, password)?;
            let backend = Backend::open(&config.database).await?;
            let created = create_user(&backend.store, credentials, grant).await;
            backend.close().await;
            created.map(drop).context("the user was not added")
        }
        Command::User(UserCommand::Grant { config, grant: given, username }) => {
            let config = Config::load(&config)?;
            drop(start_logging(&config.logging)?);
            let given = Grant::try_from(given)?;
            let backend = Backend::open(&config.database).await?;
            let granted = grant(&backend.store, &username, given).await;
            backend.close().await;
            granted.context("nothing was given")
        }
        Command::Key(KeyCommand::Rotate { config }) => {
            let config = Config::load(&config)?;
            drop(start_logging(&config.logging)?);
            let backend = Backend::open(&config.database).await?;
            let rotated = rotate_keys(&config, &backend).await;
            backend.close().await;
            let epoch = rotated.context("the keyring was not rotated")?;
            Ok(writeln!(std::io::stdout(), "epoch {epoch} is in use; those before are destroyed")?)
        }
        Command::Key(KeyCommand::Generate { file }) => Ok(Keyring::generate(&file)?),
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

/// Prints what a check found.
fn report(file: &Path, findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    match findings.iter().filter(|finding| finding.level == Level::Failed).count() {
        0 => Ok(writeln!(out, "{}: ok", file.display())?),
        failed => bail!("{}: {failed} of {} checks failed", file.display(), findings.len()),
    }
}

/// Has the running log follow another filter.
type SetFilter = Box<dyn Fn(EnvFilter) -> anyhow::Result<()> + Send>;

fn start_logging(logging: &Logging) -> anyhow::Result<SetFilter> {
    let log = tracing_subscriber::fmt().with_env_filter(filter(logging)?).with_writer(std::io::stderr);
    // Its type depends on the format.
    macro_rules! init {
        ($log:expr) => {{
            let log = $log.with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Ok(Box::new(move |filter: EnvFilter| -> anyhow::Result<()> { Ok(handle.reload(filter)?) }))
        }};
    }
    match logging.format {
        LogFormat::Text => init!(log.with_ansi(std::io::stderr().is_terminal())),
        LogFormat::Json => init!(log.json()),
    }
}

/// What is logged: `RUST_LOG` goes before the configuration.
fn filter(logging: &Logging) -> anyhow::Result<EnvFilter> {
    match EnvFilter::try_from_default_env() {
        Ok(filter) => Ok(filter),
        Err(_) => EnvFilter::try_new(&logging.level).context("logging.level"),
    }
}

/// The first SIGINT or SIGTERM ends the server; until then SIGHUP has it read again what may change.
fn on_signal(file: PathBuf, set_filter: SetFilter) -> anyhow::Result<Control> {
    let control = Control::default();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let Control { shutdown, reload } = control.clone();
    // Lives as long as the process: it waits for what ends it.
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hang_up.recv() => {
                    let changed = Config::load(&file).map_err(anyhow::Error::from);
                    match changed.and_then(|config| set_filter(filter(&config.logging)?)) {
                        Ok(()) => tracing::info!("SIGHUP: read logging.level again"),
                        Err(error) => tracing::error!("SIGHUP: {error:#}; the log stays as it is"),
                    }
                    reload.notify_one();
                }
            }
        }
        shutdown.cancel();
    });
    Ok(control)
}

/// Written beside and renamed: whoever waits for the file never reads half of it.
fn write_addresses(file: &std::path::Path, addresses: Addresses) -> anyhow::Result<()> {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(&addresses)?)?;
    Ok(std::fs::rename(fresh, file)?)
}
