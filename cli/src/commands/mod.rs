//! One file per command.

pub mod attendance;
pub mod certs;
pub mod completions;
pub mod context;
pub mod devices;
pub mod enroll;
mod from_device;
pub mod gallery;
pub mod groups;
pub mod late;
pub mod login;
pub mod matches;
pub mod models;
pub mod pairs;
pub mod retention;
pub mod review;
pub mod rooms;
pub mod sessions;
pub mod setup;
pub mod sightings;
pub mod sites;
pub mod stats;
pub mod students;
pub mod templates;
pub mod terms;
pub mod thresholds;
mod watching;
pub mod webhooks;

use crate::{
    args::{Cli, Command},
    config::Config,
    error::CliError,
    printer::Printer,
};

/// Which fields a change is of, of those that can be; at least one.
fn mask<const N: usize>(said: [(&str, bool); N]) -> Result<prost_types::FieldMask, CliError> {
    let paths: Vec<String> =
        said.iter().filter(|(_, said)| *said).map(|(field, _)| (*field).to_owned()).collect();
    if paths.is_empty() {
        return Err(CliError::usage("say what is to be changed, as with --name; see --help"));
    }
    Ok(prost_types::FieldMask { paths })
}

/// Runs a command.
///
/// # Errors
/// Why it was not done.
pub async fn run(cli: Cli, printer: &Printer) -> Result<(), CliError> {
    let global = cli.global.normalised();
    let config = || Config::resolve(&global);
    match cli.command {
        Command::Login(args) => login::log_in(args, config()?, printer).await,
        Command::Logout => login::log_out(config()?, printer).await,
        Command::Whoami => login::who_am_i(config()?, printer).await,
        Command::Sites(command) => sites::run(command, &config()?, printer).await,
        Command::Retention(command) => retention::run(command, &config()?, printer).await,
        Command::Students(command) => students::run(command, &config()?, printer).await,
        Command::Terms(command) => terms::run(command, &config()?, printer).await,
        Command::Groups(command) => groups::run(command, &config()?, printer).await,
        Command::Rooms(command) => rooms::run(command, &config()?, printer).await,
        Command::Sessions(command) => sessions::run(command, &config()?, printer).await,
        Command::Attendance(command) => attendance::run(command, &config()?, printer).await,
        Command::Enroll(args) => enroll::run(args, &config()?, printer).await,
        Command::Templates(command) => templates::run(command, &config()?, printer).await,
        Command::Gallery(command) => gallery::run(command, &config()?, printer).await,
        Command::Thresholds(command) => thresholds::run(command, &config()?, printer).await,
        Command::Pairs(command) => pairs::run(command, &config()?, printer).await,
        Command::Match(command) => matches::run(command, &config()?, printer).await,
        Command::Devices(command) => devices::run(command, &config()?, printer).await,
        Command::Review(args) => review::run(*args, &config()?, printer).await,
        Command::Stats(args) => stats::run(args, &config()?, printer).await,
        Command::Sightings(command) => sightings::run(command, &config()?, printer).await,
        Command::Webhooks(command) => webhooks::run(command, &config()?, printer).await,
        Command::Setup(args) => setup::run(args, &global, printer).await,
        Command::Context(command) => context::run(command, global, printer),
        Command::Completions(args) => completions::completions(&args, printer),
        Command::Man(args) => completions::man(args, printer),
        Command::Certs(command) => certs::run(command, printer),
        Command::Models(command) => models::run(command, printer),
    }
}
