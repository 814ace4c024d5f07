//! `cavs context`

use std::path::absolute;

use secrecy::ExposeSecret;

use crate::{
    args::GlobalArgs,
    client::read_roots,
    completion,
    config::{self, ConfigEditor, Context, ContextName, Origin, ServerUrl, Setting, Settings},
    error::CliError,
    printer::Printer,
    session::SessionFile,
    view::{ContextList, ContextView, SettingView, SettingsView},
};

/// What `cavs context` does.
#[derive(Debug, clap::Subcommand)]
pub enum ContextCommand {
    /// Add a context: --server and --ca say which server it is about, --site which of its sites
    ///
    /// The first one is in use at once.
    Add {
        /// Its name
        #[arg(value_name = "NAME")]
        name: ContextName,
        /// Who logs in there
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Use it from now on
        #[arg(long = "use")]
        in_use: bool,
    },
    /// List the contexts by name
    #[command(visible_alias = "ls")]
    List,
    /// Show what is configured, and where each value came from
    Show {
        /// As if this context were in use
        #[arg(value_name = "NAME", add = completion::contexts())]
        name: Option<ContextName>,
    },
    /// Change a context by --server, --ca, --site and --user; what is not given stays
    Update {
        /// Its name
        #[arg(value_name = "NAME", add = completion::contexts())]
        name: ContextName,
        /// Who logs in there
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Use a context from now on
    Use {
        /// Its name
        #[arg(value_name = "NAME", add = completion::contexts())]
        name: ContextName,
    },
    /// Forget a context, and the session in it
    #[command(visible_alias = "remove")]
    Rm {
        /// Its name
        #[arg(value_name = "NAME", add = completion::contexts())]
        name: ContextName,
    },
}

pub(crate) fn run(
    command: ContextCommand,
    mut global: GlobalArgs,
    printer: &Printer,
) -> Result<(), CliError> {
    match command {
        ContextCommand::Add { name, user, in_use } => add(&name, user, in_use, &global, printer),
        ContextCommand::List => list(&global, printer),
        ContextCommand::Show { name } => {
            if let Some(name) = name {
                global.context = Some(name.to_string());
                global.given.context = true;
            }
            printer.report(&shown(Settings::read(&global)?))
        }
        ContextCommand::Update { name, user } => {
            let (path, file) = config::read_file(&global)?;
            config::find(&file, &path, &name)?;
            // What a variable says is of the moment; it is not written into a context that is there.
            let given = global.given;
            let changed = said(
                user,
                &GlobalArgs {
                    server: global.server.clone().filter(|_| given.server),
                    ca: global.ca.clone().filter(|_| given.ca),
                    ..global.clone()
                },
            )?;
            let mut editor = ConfigEditor::open(&path)?;
            editor.put(&name, &changed)?;
            editor.save()?;
            list(&global, printer)
        }
        ContextCommand::Use { name } => {
            let (path, file) = config::read_file(&global)?;
            config::find(&file, &path, &name)?;
            choose(Some(&name), &global)?;
            printer.note(&format!("context {name} is in use"));
            Ok(())
        }
        ContextCommand::Rm { name } => {
            let (path, file) = config::read_file(&global)?;
            config::find(&file, &path, &name)?;
            let mut editor = ConfigEditor::open(&path)?;
            editor.remove(&name);
            if file.context.as_ref() == Some(&name) {
                editor.choose(None);
            }
            editor.save()?;
            SessionFile::of(&path, Some(&name)).remove()?;
            printer.note(&format!("context {name} is forgotten"));
            Ok(())
        }
    }
}

fn add(
    name: &ContextName,
    user: Option<String>,
    in_use: bool,
    global: &GlobalArgs,
    printer: &Printer,
) -> Result<(), CliError> {
    // A file that is to be made need not be there.
    let path = config::path_of(global)?;
    let file =
        config::read_file(&GlobalArgs { config: path.exists().then(|| path.clone()), ..global.clone() })?.1;
    if file.contexts.contains_key(name) {
        let message = format!("{}: has a context {name} already", path.display());
        return Err(CliError::failure("CONTEXT_EXISTS", message));
    }
    let context = said(user, global)?;
    if context.server.is_none() || context.ca.is_none() {
        return Err(CliError::usage("say which server it is, with --server https://HOST:PORT and --ca FILE"));
    }
    let mut editor = ConfigEditor::open(&path)?;
    editor.put(name, &context)?;
    if in_use || file.context.is_none() {
        editor.choose(Some(name));
    }
    editor.save()?;
    printer.note(&format!("next: cavs login --context {name}"));
    list(global, printer)
}

/// What the command line says of a context: of the site, only what a flag says.
fn said(user: Option<String>, global: &GlobalArgs) -> Result<Context, CliError> {
    let server = global.server.as_deref().map(ServerUrl::parse).transpose().map_err(CliError::usage)?;
    let ca = match &global.ca {
        Some(path) => {
            read_roots(path)?;
            // Later commands run in other folders.
            Some(absolute(path).map_err(|error| CliError::file(path, error))?)
        }
        None => None,
    };
    let site = global.site.clone().filter(|_| global.given.site);
    Ok(Context { server: server.map(|url| url.to_string()), ca, site, user })
}

fn choose(name: Option<&ContextName>, global: &GlobalArgs) -> Result<(), CliError> {
    let mut editor = ConfigEditor::open(&config::path_of(global)?)?;
    editor.choose(name);
    editor.save()
}

fn list(global: &GlobalArgs, printer: &Printer) -> Result<(), CliError> {
    let path = config::path_of(global)?;
    let file = config::read_file(&GlobalArgs { config: path.exists().then_some(path), ..global.clone() })?.1;
    let view = |(name, context): (&ContextName, &Context)| ContextView {
        name: name.to_string(),
        in_use: file.context.as_ref() == Some(name),
        server: context.server.clone(),
        ca: context.ca.as_ref().map(|path| path.display().to_string()),
        site: context.site.clone(),
        user: context.user.clone(),
    };
    let contexts: Vec<_> = file.contexts.iter().map(view).collect();
    if contexts.is_empty() {
        printer.note("no contexts; see: cavs context add --help");
    }
    printer.report(&ContextList { contexts })
}

fn shown(settings: Settings) -> SettingsView {
    let Settings { path, context, server, ca, site, user, token, session, session_file, targets: _ } =
        settings;
    let text = |name: &'static str, setting: Option<Setting<String>>| SettingView {
        name,
        from: setting.as_ref().map(|setting| setting.origin.to_string()),
        value: setting.map(|setting| setting.value),
    };
    let token = match (token, session) {
        (Some(token), _) => {
            // Never the token itself.
            let length = token.expose_secret().len();
            let origin = Origin::Variable("CAVS_TOKEN");
            Some(Setting { value: format!("{length} characters"), origin })
        }
        (None, Some(session)) => {
            let end = session.expires.map(|end| format!(", until {end}")).unwrap_or_default();
            let value = format!("of {} at {}{end}", session.username, session.server);
            Some(Setting { value, origin: Origin::Session(session_file.to_string()) })
        }
        (None, None) => None,
    };
    let name = context.map(|Setting { value, origin }| Setting { value: value.to_string(), origin });
    let ca = ca.map(|Setting { value, origin }| Setting { value: value.display().to_string(), origin });
    SettingsView {
        file: path.display().to_string(),
        settings: vec![
            text("context", name),
            text("server", server),
            text("ca", ca),
            text("site", site),
            text("user", user),
            text("token", token),
        ],
    }
}
