use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_certs::{CertFiles, SiteCa, write_dev_set};
use cavs_models::Pack;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::{Cli, Process, binary};

/// What a site's server is configured with beyond what every site has.
#[derive(Debug, Clone, Default)]
pub struct SiteOptions {
    /// The database's address; a private cluster of the server's where it is `None`.
    pub database_url: Option<String>,
    /// More lines of the server's TOML.
    pub server_toml: String,
}

/// A school in a folder: certificates, key, a server with its own database, and an administrator.
pub struct Site {
    directory: PathBuf,
    pack: Option<PathBuf>,
    /// The administrator's command line.
    pub cli: Cli,
    server: Option<Process>,
    addresses: Value,
}

/// A registered device with its certificate.
pub struct Device {
    /// UUID of the device.
    pub id: String,
    /// Its certificate and key.
    pub certificate: CertFiles,
    /// Where its spool, configuration and log are.
    pub directory: PathBuf,
}

/// Who administers a site of the harness.
pub(crate) const ADMIN: (&str, &str) = ("admin", "correct horse battery");

impl Site {
    /// Makes a site in an empty folder and starts its server. Without `pack` it uses the built-in one.
    #[must_use]
    pub fn create(directory: &Path, pack: Option<&Path>, options: &SiteOptions) -> Self {
        // PostgreSQL runs as another user when this is root, and must be able to pass.
        fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        write_dev_set(&directory.join("certs"), &["localhost".into()], &[]).unwrap();
        fs::write(directory.join("server.toml"), server_toml(pack, options)).unwrap();
        let key = directory.join("vault.key");
        let made =
            Command::new(binary("cavs-server")).args(["key", "generate", key.to_str().unwrap()]).status();
        assert!(made.unwrap().success());
        // The session is kept beside the configuration.
        fs::create_dir(directory.join("cli")).unwrap();
        fs::write(directory.join("cli/config.toml"), "").unwrap();
        let cli = Cli {
            config: directory.join("cli/config.toml"),
            server: String::new(),
            authority: directory.join("certs/ca.pem"),
        };
        let (directory, pack) = (directory.to_owned(), pack.map(Path::to_owned));
        let mut site = Self { directory, pack, cli, server: None, addresses: Value::Null };
        site.add_user(ADMIN.0, "admin", ADMIN.1);
        site.start_server();
        site
    }

    /// A copy of a site's folder, made while it stood still; nothing of it runs.
    pub(crate) fn of_copy(directory: &Path) -> Self {
        let cli = Cli {
            config: directory.join("cli/config.toml"),
            server: String::new(),
            authority: directory.join("certs/ca.pem"),
        };
        Self { directory: directory.to_owned(), pack: None, cli, server: None, addresses: Value::Null }
    }

    /// A path inside the site's folder.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.directory.join(inside)
    }

    /// Adds a user through the server's own command.
    pub fn add_user(&self, username: &str, role: &str, password: &str) {
        self.add_user_with(&["--role", role, username], password);
    }

    /// As [`Self::add_user`], with a role in the site of a name, where there are several.
    ///
    /// # Panics
    /// It fails.
    pub fn add_user_in(&self, username: &str, role: &str, site: &str, password: &str) {
        self.add_user_with(&["--role", role, "--site", site, username], password);
    }

    fn add_user_with(&self, arguments: &[&str], password: &str) {
        let mut child = Command::new(binary("cavs-server"))
            .args(["user", "add", "--config", self.path("server.toml").to_str().unwrap()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Logs the command line in.
    pub fn log_in(&self, username: &str, password: &str) {
        log_in(&self.cli, username, password);
    }

    /// A command line on which nobody is logged in.
    #[must_use]
    pub fn anonymous_cli(&self, name: &str) -> Cli {
        let directory = self.path(&format!("cli-of-{name}"));
        fs::create_dir(&directory).unwrap();
        let config = directory.join("config.toml");
        fs::write(&config, "").unwrap();
        Cli { config, ..self.cli.clone() }
    }

    /// The command line of another user, logged in.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn cli_of(&self, username: &str, password: &str) -> Cli {
        let cli = self.anonymous_cli(username);
        log_in(&cli, username, password);
        cli
    }

    /// Starts the server, waits until it serves, and logs the administrator in.
    pub fn start_server(&mut self) {
        let (server, addresses) = self.serve("server");
        self.addresses = addresses;
        self.cli.server = format!("https://localhost:{}", self.api_port());
        self.server = Some(server);
        // A session holds for one address, and the port is a new one.
        self.log_in(ADMIN.0, ADMIN.1);
    }

    /// Has the server come back at the same addresses when it is restarted.
    ///
    /// # Panics
    /// Its configuration can't be read or written.
    pub fn keep_ports(&self) {
        let ports = [("api", self.api_port()), ("devices", self.device_port())];
        let text = fs::read_to_string(self.path("server.toml")).unwrap();
        let text = ports.iter().fold(text, |text, (listener, port)| {
            let at = |port| format!("{listener}.listen = \"127.0.0.1:{port}\"");
            text.replace(&at(0), &at(*port))
        });
        fs::write(self.path("server.toml"), text).unwrap();
    }

    /// Starts a server that was killed, without a login: its addresses are to stay what they were.
    pub fn restart_server(&mut self) {
        let (server, addresses) = self.serve("server");
        self.addresses = addresses;
        self.server = Some(server);
    }

    /// Starts another server of the site, configured by `NAME.toml`, and gives its command line.
    #[must_use]
    pub fn start_another_server(&self, name: &str) -> (Process, Cli) {
        let (server, addresses) = self.serve(name);
        let directory = self.path(&format!("cli-{name}"));
        fs::create_dir(&directory).unwrap();
        let config = directory.join("config.toml");
        fs::write(&config, "").unwrap();
        let server_url = format!("https://localhost:{}", port(&addresses["api"]));
        let cli = Cli { config, server: server_url, authority: self.cli.authority.clone() };
        log_in(&cli, ADMIN.0, ADMIN.1);
        (server, cli)
    }

    fn serve(&self, name: &str) -> (Process, Value) {
        let (config, ready) = (self.path(&format!("{name}.toml")), self.path(&format!("{name}.ready")));
        let _ = fs::remove_file(&ready);
        let arguments =
            ["serve", "--config", config.to_str().unwrap(), "--ready-file", ready.to_str().unwrap()];
        let mut server = Process::start("cavs-server", &arguments, &self.path(&format!("{name}.log")));
        let begun = Instant::now();
        while !ready.exists() {
            assert!(server.exit_code().is_none(), "the server ended:\n{}", server.output());
            assert!(begun.elapsed() < Duration::from_secs(60), "not ready:\n{}", server.output());
            thread::sleep(Duration::from_millis(20));
        }
        (server, serde_json::from_slice(&fs::read(&ready).unwrap()).unwrap())
    }

    /// The running server.
    pub fn server(&mut self) -> &mut Process {
        self.server.as_mut().unwrap()
    }

    /// Takes the server's process away, to end it in one way or another.
    pub fn take_server(&mut self) -> Process {
        self.server.take().unwrap()
    }

    /// The port of the device listener.
    #[must_use]
    pub fn device_port(&self) -> u16 {
        port(&self.addresses["devices"])
    }

    /// The port of the API listener.
    #[must_use]
    pub fn api_port(&self) -> u16 {
        port(&self.addresses["api"])
    }

    /// What the server tells monitoring at a path: the status and the text.
    #[must_use]
    pub fn monitoring(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", port(&self.addresses["monitoring"]))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), text.to_owned())
    }

    /// The digest of the site's model pack.
    #[must_use]
    pub fn pack_digest(&self) -> cavs_embedding::PackDigest {
        Pack::open_or_built_in(self.pack.as_deref()).unwrap().digest()
    }

    /// The line of a configuration that names the site's pack, if it is not the built-in one.
    pub(crate) fn pack_toml(&self, key: &str) -> String {
        pack_toml(key, self.pack.as_deref())
    }

    /// Registers a device and issues its certificate.
    #[must_use]
    pub fn add_device(&self, name: &str) -> Device {
        self.add_device_of(&self.cli, name)
    }

    /// As [`Self::add_device`], as somebody else, in their site.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn add_device_of(&self, cli: &Cli, name: &str) -> Device {
        let added = cli.json(&["devices", "add", name, "--classroom", "Room 1"]);
        let id = added["id"].as_str().unwrap().to_owned();
        let directory = self.path(name);
        fs::create_dir_all(&directory).unwrap();
        let ca = SiteCa::load(&self.path("certs")).unwrap();
        let certificate = ca.issue_device(id.parse().unwrap()).unwrap().save(&directory, "device").unwrap();
        Device { id, certificate, directory }
    }

    /// Writes an agent's configuration for a folder of frames.
    #[must_use]
    pub fn configure_agent(&self, device: &Device, frames: &Path, more: &str) -> PathBuf {
        let file = device.directory.join("agent.toml");
        let text = format!(
            "[server]\naddress = \"https://localhost:{}\"\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n\
             [source]\nkind = \"directory\"\npath = {:?}\n{more}\n\
             [vision]\n{}\n[spool]\npath = {:?}\n",
            self.device_port(),
            self.path("certs/ca.pem"),
            device.certificate.certificate,
            device.certificate.key,
            frames,
            self.pack_toml("pack"),
            device.directory.join("spool.db"),
        );
        fs::write(&file, text).unwrap();
        file
    }

    /// Starts an agent that ends when the frames are done and the spool is empty.
    #[must_use]
    pub fn start_agent(&self, device: &Device, config: &Path) -> Process {
        let arguments = ["run", "--config", config.to_str().unwrap(), "--until-drained"];
        Process::start("cavs-edge-agent", &arguments, &device.directory.join("agent.log"))
    }

    /// A connection to the site's database, behind the server's back.
    pub async fn database(&self) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.path("db")).user("cavs").dbname("cavs");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Enrolls photographs of somebody new; the number of templates made.
    pub fn enroll(&self, number: &str, photographs: &[PathBuf]) -> usize {
        let _ = self.cli.json(&["students", "add", number, "--name", number]);
        let mut arguments = vec!["enroll", number];
        arguments.extend(photographs.iter().map(|p| p.to_str().unwrap()));
        let _ = self.cli.json(&arguments);
        let student = self.cli.json(&["students", "show", number]);
        usize::try_from(student["template_count"].as_u64().unwrap()).unwrap()
    }
}

fn log_in(cli: &Cli, username: &str, password: &str) {
    let output = cli.run_with_input(&["login", "--username", username, "--password-stdin"], password);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn port(address: &Value) -> u16 {
    address.as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

/// The line of a configuration that names a pack, if it is not the built-in one.
fn pack_toml(key: &str, pack: Option<&Path>) -> String {
    pack.map(|folder| format!("{key} = {folder:?}")).unwrap_or_default()
}

fn server_toml(pack: Option<&Path>, options: &SiteOptions) -> String {
    let database = match &options.database_url {
        Some(url) => format!("database.url = {url:?}"),
        None => "database = { embedded = true, data_dir = \"db\" }".to_owned(),
    };
    format!(
        r#"api.listen = "127.0.0.1:0"
devices.listen = "127.0.0.1:0"
monitoring.listen = "127.0.0.1:0"
tls = {{ certificate = "certs/server.pem", key = "certs/server.key", device_authority = "certs/ca.pem" }}
{database}
vault.key_file = "vault.key"
{}
{}
"#,
        pack_toml("recognition.pack", pack),
        options.server_toml
    )
}
