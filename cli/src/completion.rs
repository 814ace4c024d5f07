//! Names and numbers that a shell completes: the server and the configuration file say them.
//!
//! Whoever presses a key waits for nobody: there is little time for an answer, and without one nothing is completed.

use std::{env, ffi::OsStr, ffi::OsString, time::Duration};

use cavs_proto::v1;
use clap::FromArgMatches;
use clap_complete::{
    CompletionCandidate,
    engine::ArgValueCompleter,
    env::{Bash, CompleteEnv, EnvCompleter, Fish, Powershell, Zsh},
};

use crate::{
    args::GlobalArgs,
    client::Api,
    commands::completions::Shell,
    config::{self, Config},
    error::CliError,
    text::sanitised,
};

/// The variable by which a shell's script asks for completions.
const VARIABLE: &str = "COMPLETE";
/// How long a server may take to connect and to answer.
const PATIENCE: Duration = Duration::from_millis(800);
/// As many as a person looks through.
const MOST: u32 = 100;

/// Answers a shell that asks for completions. `false`: this is an ordinary command line.
pub(crate) fn answer(arguments: &[OsString]) -> bool {
    if env::var_os(VARIABLE).is_none_or(|value| value.is_empty()) {
        return false;
    }
    let here = env::current_dir().ok();
    // Whatever is wrong: a shell in the middle of a line has no place for it.
    let asked =
        CompleteEnv::with_factory(crate::command).var(VARIABLE).try_complete(arguments, here.as_deref());
    asked.unwrap_or(true)
}

/// The script by which a shell asks.
pub(crate) fn script(shell: Shell) -> Result<String, CliError> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
        Shell::Zsh => &Zsh,
    };
    let mut script = Vec::new();
    let written = shell.write_registration(VARIABLE, "cavs", "cavs", "cavs", &mut script);
    written.map_err(|error| CliError::failure("OUTPUT", error.to_string()))?;
    String::from_utf8(script).map_err(|error| CliError::failure("OUTPUT", error.to_string()))
}

/// Numbers of students.
pub(crate) fn students() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        asked(begun, async |api, begun| {
            let request =
                v1::ListStudentsRequest { page_size: MOST, query: begun.to_owned(), ..Default::default() };
            let found = api.call(api.students().list_students(request)).await?.students;
            Ok(found.into_iter().map(|student| (student.number, student.name)).collect())
        })
    })
}

/// Names of devices.
pub(crate) fn devices() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        asked(begun, async |api, _| {
            let request = v1::ListDevicesRequest { page_size: MOST, ..Default::default() };
            let found = api.call(api.devices().list_devices(request)).await?.devices;
            Ok(found.into_iter().map(|device| (device.name, device.classroom)).collect())
        })
    })
}

/// Names of groups.
pub(crate) fn groups() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        asked(begun, async |api, _| {
            let request = v1::ListGroupsRequest { page_size: MOST, ..Default::default() };
            let found = api.call(api.groups().list_groups(request)).await?.groups;
            Ok(found.into_iter().map(|group| (group.name, group.term_name)).collect())
        })
    })
}

/// Names of rooms.
pub(crate) fn rooms() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        asked(begun, async |api, _| {
            let request = v1::ListRoomsRequest { page_size: MOST, ..Default::default() };
            let found = api.call(api.rooms().list_rooms(request)).await?.rooms;
            Ok(found.into_iter().map(|room| (room.name, String::new())).collect())
        })
    })
}

/// Addresses of webhooks.
pub(crate) fn webhooks() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        asked(begun, async |api, _| {
            let request = v1::ListWebhooksRequest { page_size: MOST, ..Default::default() };
            let found = api.call(api.webhooks().list_webhooks(request)).await?.webhooks;
            Ok(found.into_iter().map(|webhook| (webhook.url, webhook.description)).collect())
        })
    })
}

/// Names of sites.
pub(crate) fn sites() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        asked(begun, async |api, _| {
            let request = v1::ListSitesRequest { page_size: MOST, ..Default::default() };
            let found = api.call(api.sites().list_sites(request)).await?.sites;
            Ok(found.into_iter().map(|site| (site.name, String::new())).collect())
        })
    })
}

/// Names of contexts.
pub(crate) fn contexts() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let file = global_args().and_then(|args| config::read_file(&args).ok());
        let names = file.into_iter().flat_map(|(_, file)| file.contexts.into_keys());
        candidates(begun, names.map(|name| (name.to_string(), String::new())).collect())
    })
}

/// What the server answers, if it does so soon.
fn asked(
    begun: &OsStr,
    ask: impl AsyncFnOnce(&Api, &str) -> Result<Vec<(String, String)>, CliError>,
) -> Vec<CompletionCandidate> {
    let found = || {
        let config = Config::resolve(&global_args()?).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            let answer =
                async { ask(&Api::connect(&config).await?, begun.to_str().unwrap_or_default()).await };
            tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()
        })
    };
    candidates(begun, found().unwrap_or_default())
}

fn candidates(begun: &OsStr, found: Vec<(String, String)>) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let wanted = |(name, _): &(String, String)| name.starts_with(begun.as_ref()) && is_plain(name);
    let candidate = |(name, help): (String, String)| {
        let help = sanitised(&help).into_owned();
        CompletionCandidate::new(name).help((!help.is_empty()).then(|| help.into()))
    };
    found.into_iter().filter(wanted).map(candidate).collect()
}

/// Whether a name stands in a command line as it is: others write it, and shells run what they find in `$(...)`.
fn is_plain(name: &str) -> bool {
    let is_safe = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+' | ',');
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_safe)
}

/// The global options of the command line that is being written: shells pass it after `--`.
fn global_args() -> Option<GlobalArgs> {
    let words: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let matches = crate::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    let mut args = GlobalArgs::from_arg_matches(&matches).ok()?;
    args.note_sources(&matches);
    args.timeout = 1;
    Some(args.normalised())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_completed() {
        for name in ["1001", "room-12", "Zo\u{eb}", "a.b/c"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "-x", "a b", "$(reboot)", "`x`", "a;b", "a\u{1b}[2J", "a'b", "~", "*"] {
            assert!(!is_plain(name), "{name}");
        }
        let found = ["1001", "1002", "20"].map(|number| (number.to_owned(), "Ada \u{1b}[2J".to_owned()));
        let found = candidates(OsStr::new("10"), found.into());
        let values: Vec<_> = found.iter().map(|one| one.get_value().to_str().unwrap()).collect();
        assert_eq!(values, ["1001", "1002"]);
        assert!(!found[0].get_help().unwrap().to_string().contains('\u{1b}'));
    }
}
