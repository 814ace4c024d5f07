//! The command line.

use std::path::PathBuf;

use clap::{
    ArgMatches, Args, Parser, Subcommand,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
    parser::ValueSource,
};

use cavs_types::EnrollmentGate;

use crate::{commands, completion, output::OutputArgs};

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
Configuration: what a flag says (or the context of --context) goes before CAVS_* variables, these before the \
context in use, that before the file's own keys, and those before the last login; `cavs context show` says where \
each value came from. The file is $XDG_CONFIG_HOME/cavs/config.toml or ~/.config/cavs/config.toml; it may hold \
`server`, `ca`, `site` and `user`, and contexts with these, which `cavs context` writes. Sessions of `cavs login` are \
kept beside it, one a context; CAVS_TOKEN goes before them, unless --context or another --server is given.";

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
    #[arg(long, global = true, env = "CAVS_SITE", value_name = "SITE", hide_env_values = true, add = completion::sites())]
    pub site: Option<String>,
    /// The context to use, as `cavs context add` has named it
    #[arg(long, global = true, env = "CAVS_CONTEXT", value_name = "NAME", hide_env_values = true, add = completion::contexts())]
    pub context: Option<String>,
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
    /// Which of them a flag has said, and not the environment.
    #[arg(skip)]
    pub given: Given,
}

/// Which options a flag has said, and not the environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given {
    /// `--server`
    pub server: bool,
    /// `--ca`
    pub ca: bool,
    /// `--site`
    pub site: bool,
    /// `--context`
    pub context: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up a server with a first site on this machine, by questions or by a file
    Setup(commands::setup::SetupArgs),
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
    /// Terms and holidays
    #[command(subcommand)]
    Terms(commands::terms::TermsCommand),
    /// Those who are expected together, and from when until when
    #[command(subcommand)]
    Groups(commands::groups::GroupsCommand),
    /// Rooms, and which devices see what of them
    #[command(subcommand)]
    Rooms(commands::rooms::RoomsCommand),
    /// When a group is expected where
    #[command(subcommand, after_help = commands::sessions::ABOUT_SESSIONS)]
    Sessions(commands::sessions::SessionsCommand),
    /// What sessions say of people
    #[command(subcommand, after_help = commands::attendance::ABOUT_ATTENDANCE)]
    Attendance(commands::attendance::AttendanceCommand),
    /// Make face templates of a student from images
    Enroll(commands::enroll::EnrollArgs),
    /// Enrolled faces
    #[command(subcommand)]
    Templates(commands::templates::TemplatesCommand),
    /// The faces that those before cameras are compared with
    #[command(subcommand)]
    Gallery(commands::gallery::GalleryCommand),
    /// From which similarity on faces are taken for somebody's
    #[command(subcommand)]
    Thresholds(commands::thresholds::ThresholdsCommand),
    /// Students who are taken for one another
    #[command(subcommand)]
    Pairs(commands::pairs::PairsCommand),
    /// Whose face a photograph shows; nothing of it is kept
    #[command(subcommand)]
    Match(commands::matches::MatchCommand),
    /// Agents and cameras
    #[command(subcommand)]
    Devices(commands::devices::DevicesCommand),
    /// What the machine was unsure of; without a command, face by face on the whole terminal
    Review(Box<commands::review::ReviewArgs>),
    /// Numbers of today: who was seen, what waits for a person, which devices are there
    Stats(commands::stats::StatsArgs),
    /// What was seen
    #[command(subcommand)]
    Sightings(commands::sightings::SightingsCommand),
    /// Programs of yours that are told of what happens
    #[command(subcommand, after_help = commands::webhooks::ABOUT_WEBHOOKS)]
    Webhooks(commands::webhooks::WebhooksCommand),
    /// Servers by name, and what is configured
    #[command(subcommand)]
    Context(commands::context::ContextCommand),
    /// Certificates of the site; works without a server
    #[command(subcommand)]
    Certs(commands::certs::CertsCommand),
    /// Model packs; works without a server
    #[command(subcommand)]
    Models(commands::models::ModelsCommand),
    /// Print the script by which a shell completes commands, and names and numbers that the server knows
    Completions(commands::completions::CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(commands::completions::ManArgs),
}

impl GlobalArgs {
    /// Notes which options flags have said.
    pub fn note_sources(&mut self, matches: &ArgMatches) {
        let by_flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        self.given = Given {
            server: by_flag("server"),
            ca: by_flag("ca"),
            site: by_flag("site"),
            context: by_flag("context"),
        };
    }

    /// Takes empty environment variables for unset ones, as scripts leave them.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.server = self.server.filter(|text| !text.is_empty());
        self.ca = self.ca.filter(|path| !path.as_os_str().is_empty());
        self.site = self.site.filter(|text| !text.is_empty());
        self.context = self.context.filter(|text| !text.is_empty());
        self.config = self.config.filter(|path| !path.as_os_str().is_empty());
        self
    }
}

/// A gate of enrollment, as the help has it.
pub(crate) fn gate_value(gate: EnrollmentGate) -> PossibleValue {
    let help = match gate {
        EnrollmentGate::Off => "one upright face that is nobody else's",
        EnrollmentGate::Standard => "and good enough, and not unlike the student's other pictures",
        EnrollmentGate::Strict => "and a good picture, which is like the student's others",
    };
    PossibleValue::new(gate.as_str()).help(help)
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
