//! `cavs setup`

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use cavs_certs::SiteCa;
use cavs_proto::{enum_to_wire, v1};
use cavs_types::DeviceKind;
use nix::unistd::{Uid, User};
use secrecy::SecretString;
use uuid::Uuid;

use super::login;
use crate::{
    args::GlobalArgs,
    client::Api,
    config::{self, Config, ConfigEditor, Context, ServerUrl},
    error::CliError,
    files::write_new_private,
    interruption::interruption,
    printer::Printer,
    session::SessionFile,
    setup::{Answers, Plan, Running, ServerProgram, agent_toml, host_of, server_toml, unit},
    sync::Targets,
    view::SetupView,
};

/// Options of `cavs setup`.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT_FILE)]
pub struct SetupArgs {
    /// Folder for everything that the server has: certificates, keys, configuration, database; it is made
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A TOML file with the answers, in the place of questions
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Read the administrator's password from the first line of standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

const ABOUT_FILE: &str = "Run it as the user who is to run the server. It makes the site's root, the server's certificate, \
the keyring, server.toml, a database of the server's own (unless another one is named), the administrator, a context \
of this program with a session, and a systemd unit; with a room, also the first device with its certificate and \
agent.toml. Everything is tried out on the way; where something fails, nothing of it stays.\n\n\
The file may hold (each is asked for where it is missing and somebody can be asked):\n  \
name = \"north\"                   # of the root certificate and of the context; \"site\" if not said\n  \
admin = \"ada\"                    # user name of the administrator\n  \
server_names = [\"cavs.example\"]  # besides this machine's names and addresses\n  \
api_listen = \"0.0.0.0:7443\"      # people\n  \
devices_listen = \"0.0.0.0:7444\"  # devices\n  \
database_url = \"\"                # empty: a private cluster in the folder\n  \
room = \"B12\"                     # of the first device; empty: none yet\n  \
camera = \"rpicam\"                # or /dev/video0, or a folder of pictures";

pub(crate) async fn run(args: SetupArgs, global: &GlobalArgs, printer: &Printer) -> Result<(), CliError> {
    let SetupArgs { dir, file, password_stdin } = args;
    let dir = absolute(&dir).map_err(|error| CliError::file(&dir, error))?;
    refuse_quoted(&dir)?;
    let program = ServerProgram::find()?;
    refuse_used(&dir)?;
    let plan = file.as_deref().map(Answers::read).transpose()?.unwrap_or_default().complete(printer)?;
    let config_path = config::path_of(global)?;
    let known = GlobalArgs { config: config_path.exists().then(|| config_path.clone()), ..global.clone() };
    if config::read_file(&known)?.1.contexts.contains_key(&plan.name) {
        let message = format!("there is a context {} already", plan.name);
        return Err(CliError::failure("CONTEXT_EXISTS", message));
    }
    let password =
        if password_stdin { login::read_password()? } else { login::new_password(&plan.admin, printer)? };
    let made = Made(Some(dir.clone()));
    let done = tokio::select! {
        // First, so that signals are received before anything is made.
        biased;
        interrupted = interruption("nothing of the site stays") => return Err(interrupted),
        done = make(&plan, &dir, &password, &program, &config_path, global, printer) => done?,
    };
    made.keep();
    printer.report(&done)
}

async fn make(
    plan: &Plan,
    dir: &Path,
    password: &SecretString,
    program: &ServerProgram,
    config_path: &Path,
    global: &GlobalArgs,
    printer: &Printer,
) -> Result<SetupView, CliError> {
    let failed = |error| CliError::file(dir, error);
    let is_new = !dir.exists();
    fs::create_dir_all(dir).map_err(failed)?;
    if is_new {
        // Others may enter, whatever the umask says: run by root, PostgreSQL is another user's.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    printer.note("making the site's root and the server's certificate");
    let root = SiteCa::create(plan.name.as_str())?;
    let ca = root.save(&dir.join("ca"))?.certificate;
    root.issue_server(&plan.server_names)?.save(&dir.join("server"), "server")?;
    let config = dir.join("server.toml");
    write_new_private(&config, server_toml(plan)?.as_bytes())?;
    printer.note("making the keyring");
    program.run(&["key", "generate", &shown(&dir.join("vault.key"))], None)?;
    printer.note("making the database and the administrator");
    let config = shown(&config);
    let add = ["user", "add", "--config", &config, "--role", "admin", &plan.admin];
    program.run(&add, Some(password))?;
    program.run(&["serve", "--config", &config, "--check-config"], None)?;
    let unit_path = dir.join("cavs-server.service");
    write_new_private(&unit_path, unit(program.path(), dir, &user_name()).as_bytes())?;

    printer.note("trying out the server");
    let running = program.serve(dir).await?;
    let server = format!("https://{}:{}", host_of(plan.api_listen), running.api_port());
    let server = ServerUrl::parse(&server).map_err(|problem| CliError::failure("SETUP", problem))?;
    let config = Config {
        server: server.clone(),
        ca: ca.clone(),
        site: None,
        user: Some(plan.admin.clone()),
        token: None,
        session: None,
        session_file: SessionFile::of(config_path, Some(&plan.name)),
        timeout: Duration::from_secs(global.timeout),
        targets: Targets::default(),
    };
    let (session, _) = login::begin_session(plan.admin.clone(), password, &config).await?;
    let config = Config { session: Some(session.clone()), ..config };
    let agent = match &plan.room {
        Some(room) => Some(first_device(room, plan, dir, &root, &config, &running).await?),
        None => None,
    };
    running.stop().await;
    config.session_file.write(&session)?;
    if let Err(error) = remember(plan, &server, &ca, config_path) {
        // A session of a context that is not there is of no use.
        let _ = config.session_file.remove();
        return Err(error);
    }
    Ok(SetupView {
        dir: shown(dir),
        server: server.to_string(),
        server_names: plan.server_names.clone(),
        ca: shown(&ca),
        context: plan.name.to_string(),
        admin: plan.admin.clone(),
        unit: shown(&unit_path),
        agent: agent.as_deref().map(shown),
        next: next(dir, &unit_path, agent.as_deref()),
    })
}

/// Registers the first device and writes all that its machine needs into a folder; the agent's configuration in it.
async fn first_device(
    room: &str,
    plan: &Plan,
    dir: &Path,
    root: &SiteCa,
    config: &Config,
    running: &Running,
) -> Result<PathBuf, CliError> {
    let api = Api::connect(config).await?;
    let request = v1::CreateDeviceRequest {
        name: room.to_owned(),
        kind: enum_to_wire(DeviceKind::Agent),
        classroom: room.to_owned(),
        request_id: String::new(),
    };
    let device = api.one(api.devices().create_device(request)).await?;
    let id: Uuid = device.id.parse().map_err(|_| CliError::protocol("the server gave a device no id"))?;
    let folder = dir.join("device");
    root.issue_device(id)?.save(&folder, "device")?;
    write_new_private(&folder.join("ca.pem"), root.certificate_pem().as_bytes())?;
    let agent = folder.join("agent.toml");
    let address = format!("https://{}:{}", host_of(plan.devices_listen), running.devices_port());
    write_new_private(&agent, agent_toml(plan, &address)?.as_bytes())?;
    Ok(agent)
}

/// Makes a context of the site, and uses it from now on: the commands that come next are about it.
fn remember(plan: &Plan, server: &ServerUrl, ca: &Path, config_path: &Path) -> Result<(), CliError> {
    let mut editor = ConfigEditor::open(config_path)?;
    let context = Context {
        server: Some(server.to_string()),
        ca: Some(ca.to_owned()),
        site: None,
        user: Some(plan.admin.clone()),
    };
    editor.put(&plan.name, &context)?;
    editor.choose(Some(&plan.name));
    editor.save()
}

fn next(dir: &Path, unit: &Path, agent: Option<&Path>) -> Vec<String> {
    let mut next = vec![
        format!(
            // A link to it would let whoever may write it, the user of the service, say what root runs.
            "sudo install -m 644 -o root -g root {} /etc/systemd/system/ && \
             sudo systemctl enable --now cavs-server   # or: cavs-server serve --config {}",
            unit.display(),
            dir.join("server.toml").display()
        ),
        "cavs enroll --photos DIR --roster CSV".to_owned(),
    ];
    next.extend(agent.map(|agent| format!("cavs-edge-agent run --config {}", agent.display())));
    next.push("cavs sightings list".to_owned());
    next
}

/// Refuses a folder that a systemd unit can't name as it is.
fn refuse_quoted(dir: &Path) -> Result<(), CliError> {
    let is_special =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '%' | '$' | '"' | '\'' | '\\');
    if dir.to_str().is_some_and(|text| !text.contains(is_special)) {
        return Ok(());
    }
    Err(CliError::usage(format!(
        "--dir: {}: give a folder without blanks, quotes, %, $ and \\ in its path; systemd reads them otherwise",
        dir.display()
    )))
}

/// Refuses a folder in which something is: a second setup must not mix with a first one.
fn refuse_used(dir: &Path) -> Result<(), CliError> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let message = format!("{}: is not empty; give --dir a folder that is to be made", dir.display());
            Err(CliError::failure("DIRECTORY_USED", message))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(CliError::file(dir, error)),
    }
}

fn user_name() -> String {
    let user = User::from_uid(Uid::current()).ok().flatten();
    user.map_or_else(|| Uid::current().to_string(), |user| user.name)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A folder that goes where what is in it was not finished: keys and databases of half a site help nobody.
struct Made(Option<PathBuf>);

impl Made {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(dir) = &self.0 {
            // What can't be removed is found by the next setup, which refuses the folder.
            let _ = fs::remove_dir_all(dir);
        }
    }
}
