//! The command line.

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

use crate::{commands, output::OutputArgs};

/// Face-recognition attendance: students, devices, sightings and reviews of a CAVS server.
#[derive(Debug, Parser)]
#[command(name = "cavs", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong use or a refused value, 3 not found, \
4 not logged in or not allowed, 5 server unavailable.\n\n\
Configuration: flags go before environment variables, these before the file, and that before the last \
login. The file is $XDG_CONFIG_HOME/cavs/config.toml or ~/.config/cavs/config.toml and may hold `server`, \
`ca` and `site`. The session of `cavs login` is kept beside it; CAVS_TOKEN goes before it.";

/// Options of all commands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Address of the server
    #[arg(
        long,
        global = true,
        env = "CAVS_SERVER",
        value_name = "https://HOST:PORT",
        hide_env_values = true
    )]
    pub server: Option<String>,
    /// The site's root certificate, PEM
    #[arg(long, global = true, env = "CAVS_CA", value_name = "FILE", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// The site that a command is about, by name or id; needed by whoever has several
    #[arg(long, global = true, env = "CAVS_SITE", value_name = "SITE", hide_env_values = true)]
    pub site: Option<String>,
    /// Configuration file
    #[arg(long, global = true, env = "CAVS_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// How results are written.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Seconds that the server may take to answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// No remarks and no progress; results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Never ask; what can't be done without an answer is refused
    #[arg(long, global = true)]
    pub no_input: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Log in and keep the session
    Login(commands::login::LoginArgs),
    /// End the session
    Logout,
    /// Show who is logged in
    Whoami,
    /// Schools and company locations
    #[command(subcommand, after_help = commands::sites::ABOUT_SITES)]
    Sites(commands::sites::SitesCommand),
    /// How long the site keeps faces and sightings
    #[command(subcommand)]
    Retention(commands::retention::RetentionCommand),
    /// The people who are recognised
    #[command(subcommand)]
    Students(commands::students::StudentsCommand),
    /// Make face templates of a student from images
    Enroll(commands::enroll::EnrollArgs),
    /// Enrolled faces
    #[command(subcommand)]
    Templates(commands::templates::TemplatesCommand),
    /// What faces are compared with, and from which similarity on they are taken for somebody's
    #[command(subcommand)]
    Gallery(commands::gallery::GalleryCommand),
    /// Agents and cameras
    #[command(subcommand)]
    Devices(commands::devices::DevicesCommand),
    /// What the machine was unsure of
    #[command(subcommand)]
    Review(commands::review::ReviewCommand),
    /// Numbers of today: who was seen, what waits for a person, which devices are there
    Stats(commands::stats::StatsArgs),
    /// What was seen
    #[command(subcommand)]
    Sightings(commands::sightings::SightingsCommand),
    /// Certificates of the site; works without a server
    #[command(subcommand)]
    Certs(commands::certs::CertsCommand),
    /// Model packs; works without a server
    #[command(subcommand)]
    Models(commands::models::ModelsCommand),
}

impl GlobalArgs {
    /// Takes empty environment variables for unset ones, as scripts leave them.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.server = self.server.filter(|text| !text.is_empty());
        self.ca = self.ca.filter(|path| !path.as_os_str().is_empty());
        self.site = self.site.filter(|text| !text.is_empty());
        self.config = self.config.filter(|path| !path.as_os_str().is_empty());
        self
    }
}

/// Takes the values of a closed vocabulary, as `explained` has them in the help.
pub(crate) fn words<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    explained: fn(T) -> PossibleValue,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|value| explained(*value))).try_map(move |typed| {
        let meant = all.iter().copied().find(|value| explained(*value).matches(&typed, false));
        meant.ok_or("not one of the possible values")
    })
}
