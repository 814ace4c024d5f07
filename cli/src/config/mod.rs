//! Where the server is, and who speaks to it.
//!
//! Each value comes of the first of these that has it: flags (and what the context of `--context` says), `CAVS_*`
//! variables, the context in use, the configuration file's own keys, the last login.

mod address;
mod file;

use std::{
    env, fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;

pub use address::ServerUrl;
pub use file::ContextName;
pub(crate) use file::{ConfigEditor, Context, FileConfig, read_limited, replace};

use crate::{
    args::GlobalArgs,
    error::CliError,
    session::{Session, SessionFile},
    sync::Targets,
};

/// What a command needs to speak to the server.
#[derive(Debug)]
pub struct Config {
    /// Where the server is.
    pub server: ServerUrl,
    /// The site's root certificate.
    pub ca: PathBuf,
    /// The site that commands are about; the server says it where there is only one.
    pub site: Option<String>,
    /// Who logs in where the login does not say it.
    pub user: Option<String>,
    /// A token from the environment; it goes before a saved session. `None` where a flag leads to another server.
    pub token: Option<SecretString>,
    /// The session of the last login.
    pub session: Option<Session>,
    /// Where sessions are kept.
    pub session_file: SessionFile,
    /// How long the server may take to connect, and to answer.
    pub timeout: Duration,
    /// Other systems that attendance is sent to.
    pub(crate) targets: Targets,
}

/// A value, and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An option of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A context of the configuration file.
    Context(ContextName, PathBuf),
    /// The configuration file's own keys.
    File(PathBuf),
    /// The file of the last login.
    Session(String),
}

/// All that is configured, and where each value came from.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The configuration file, whether it is there or not.
    pub(crate) path: PathBuf,
    pub(crate) context: Option<Setting<ContextName>>,
    pub(crate) server: Option<Setting<String>>,
    pub(crate) ca: Option<Setting<PathBuf>>,
    pub(crate) site: Option<Setting<String>>,
    pub(crate) user: Option<Setting<String>>,
    pub(crate) token: Option<SecretString>,
    pub(crate) session: Option<Session>,
    pub(crate) session_file: SessionFile,
    pub(crate) targets: Targets,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::Context(name, path) => write!(f, "context {name} of {}", path.display()),
            Self::File(path) => path.display().fmt(f),
            Self::Session(path) => write!(f, "the last login, {path}"),
        }
    }
}

/// The configuration file of a command line.
///
/// # Errors
/// Where neither an option nor the environment says where it is.
pub(crate) fn path_of(args: &GlobalArgs) -> Result<PathBuf, CliError> {
    args.config.clone().map_or_else(file::default_path, Ok)
}

/// Reads the configuration file of a command line; it may be missing unless it was asked for by name.
///
/// # Errors
/// Names the file and the key.
pub(crate) fn read_file(args: &GlobalArgs) -> Result<(PathBuf, FileConfig), CliError> {
    let path = path_of(args)?;
    let config = file::read(&path, args.config.is_some())?;
    Ok((path, config))
}

impl Settings {
    /// Brings flags, environment, contexts, file and the last login together.
    ///
    /// # Errors
    /// Names the file and the key.
    pub(crate) fn read(args: &GlobalArgs) -> Result<Self, CliError> {
        let (path, mut file) = read_file(args)?;
        let targets = Targets::new(path.clone(), std::mem::take(&mut file.targets));
        let chosen = match (&args.context, &file.context) {
            (Some(name), _) => {
                let name = name.parse().map_err(CliError::usage)?;
                let origin = origin(args.given.context, "--context", "CAVS_CONTEXT");
                Some(Setting { value: name, origin })
            }
            (None, Some(name)) => Some(Setting { value: name.clone(), origin: Origin::File(path.clone()) }),
            (None, None) => None,
        };
        let context = match &chosen {
            Some(name) => find(&file, &path, &name.value)?.clone(),
            None => Context::default(),
        };
        let session_file = SessionFile::of(&path, chosen.as_ref().map(|name| &name.value));
        let session = session_file.read()?;
        let near = |relative: PathBuf| path.parent().unwrap_or(Path::new("")).join(relative);
        let by_context = |value: Option<String>| {
            let name = chosen.as_ref()?.value.clone();
            Some(Setting { value: value?, origin: Origin::Context(name, path.clone()) })
        };
        let by_file =
            |value: Option<String>| Some(Setting { value: value?, origin: Origin::File(path.clone()) });
        let by_session = |value: Option<String>| {
            Some(Setting { value: value?, origin: Origin::Session(session_file.to_string()) })
        };
        // A context that a flag has chosen goes before the environment, as all flags do.
        let context_is_flag = args.given.context;
        let first = |given: Option<Setting<String>>,
                     in_context: Option<String>,
                     in_file: Option<String>,
                     in_session| {
            let is_flag = given.as_ref().is_some_and(|given| matches!(given.origin, Origin::Flag(_)));
            let in_context = by_context(in_context.filter(|text| !text.is_empty()));
            let [one, two] =
                if context_is_flag && !is_flag { [in_context, given] } else { [given, in_context] };
            one.or(two)
                .or_else(|| by_file(in_file.filter(|text| !text.is_empty())))
                .or_else(|| by_session(in_session))
        };
        let given = |value: &Option<String>, by_flag, flag, variable| {
            Some(Setting { value: value.clone()?, origin: origin(by_flag, flag, variable) })
        };
        let text = |path: PathBuf| path.into_os_string().into_string().ok();
        let of_session = session.as_ref();
        // A token of the environment is for the server that is configured; it is not told to another one.
        let without_flag = [variable("CAVS_SERVER"), context.server.clone(), file.server.clone()];
        let is_elsewhere = args.given.context || is_overridden(args, without_flag.into_iter().flatten());
        let server = first(
            given(&args.server, args.given.server, "--server", "CAVS_SERVER"),
            context.server,
            file.server,
            of_session.map(|session| session.server.clone()),
        );
        // What belongs to a login is not told to another server.
        let same = of_session
            .filter(|session| server.as_ref().is_some_and(|server| is_same(&server.value, session)));
        let ca = first(
            given(&args.ca.clone().and_then(text), args.given.ca, "--ca", "CAVS_CA"),
            context.ca.map(near).and_then(text),
            file.ca.map(near).and_then(text),
            same.and_then(|session| text(session.ca.clone())),
        );
        let site = first(
            given(&args.site, args.given.site, "--site", "CAVS_SITE"),
            context.site,
            file.site,
            same.and_then(|session| session.site.clone()),
        );
        let user = first(
            variable("CAVS_USER").map(|value| Setting { value, origin: Origin::Variable("CAVS_USER") }),
            context.user,
            file.user,
            same.map(|session| session.username.clone()),
        );
        // Not an option: command lines can be read by everybody on the machine.
        let token = variable("CAVS_TOKEN").filter(|_| !is_elsewhere).map(SecretString::from);
        let ca = ca.map(|Setting { value, origin }| Setting { value: PathBuf::from(value), origin });
        Ok(Self { path, context: chosen, server, ca, site, user, token, session, session_file, targets })
    }
}

/// The context of a name.
///
/// # Errors
/// `NotFound`, with the names that there are.
pub(crate) fn find<'a>(
    file: &'a FileConfig,
    path: &Path,
    name: &ContextName,
) -> Result<&'a Context, CliError> {
    file.contexts.get(name).ok_or_else(|| {
        let names: Vec<_> = file.contexts.keys().map(ContextName::as_str).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let message = format!("{}: has no context {name}; there is {there}", path.display());
        CliError::NotFound { reason: "CONTEXT_NOT_FOUND", message }
    })
}

/// A variable of the environment; an empty one is none, as scripts leave them.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

fn origin(by_flag: bool, flag: &'static str, variable: &'static str) -> Origin {
    if by_flag { Origin::Flag(flag) } else { Origin::Variable(variable) }
}

/// Whether `--server` names another server than the first of those that are configured otherwise.
fn is_overridden(args: &GlobalArgs, mut configured: impl Iterator<Item = String>) -> bool {
    let url = |text: &str| ServerUrl::parse(text).ok().map(|url| url.to_string());
    let Some(flag) = args.server.as_deref().filter(|_| args.given.server) else { return false };
    configured.find(|text| !text.is_empty()).is_some_and(|text| url(&text) != url(flag))
}

/// Whether a session is of the server at this address.
fn is_same(server: &str, session: &Session) -> bool {
    ServerUrl::parse(server).is_ok_and(|url| url.to_string() == session.server)
}

impl Config {
    /// Brings flags, environment, contexts, file and the last login together.
    ///
    /// # Errors
    /// Names the file and the key, or the option that is missing.
    pub fn resolve(args: &GlobalArgs) -> Result<Self, CliError> {
        let Settings { path, server, ca, site, user, token, session, session_file, targets, .. } =
            Settings::read(args)?;
        let Some(Setting { value, origin }) = server else {
            return Err(CliError::usage(format!(
                "no server is configured; run: cavs context add NAME --server https://HOST:PORT --ca FILE (it is kept in {}), or give --server or CAVS_SERVER",
                path.display()
            )));
        };
        let server =
            ServerUrl::parse(&value).map_err(|problem| CliError::usage(format!("{origin}: {problem}")))?;
        let Some(ca) = ca else {
            return Err(CliError::usage(format!(
                "no root certificate is configured for {server}; give --ca FILE, set CAVS_CA, or write `ca = \"...\"` into {}",
                path.display()
            )));
        };
        Ok(Self {
            server,
            ca: ca.value,
            site: site.map(|site| site.value),
            user: user.map(|user| user.value),
            token,
            session,
            session_file,
            timeout: Duration::from_secs(args.timeout),
            targets,
        })
    }
}
