use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_certs::SiteCa;
use cavs_pg_cluster::{Cluster, parent_death};
use nix::unistd::User;
use tokio_postgres::NoTls;

/// Somebody else's PostgreSQL: with passwords, TLS and a port.
pub struct Postgres {
    directory: PathBuf,
    account: Option<User>,
    binaries: PathBuf,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    child: Option<Child>,
}

/// Who may come, and how: to the database `tls` over TLS only.
const HBA: &str = "\
local all postgres trust
local all all scram-sha-256
hostssl tls all 127.0.0.1/32 scram-sha-256
host cavs all 127.0.0.1/32 scram-sha-256
";

impl Postgres {
    /// Makes a cluster in an empty folder and starts it.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        let directory = directory.join("postgres");
        let found = Cluster::inspect(&directory.join("none")).unwrap();
        let account = found.account.map(|name| User::from_name(&name).unwrap().unwrap());
        let binaries = found.postgres.parent().unwrap().to_owned();
        fs::create_dir(&directory).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut postgres = Self { directory, account, binaries, port, child: None };
        postgres.give(&postgres.directory);
        let data = postgres.directory.join("data");
        let mut initdb = postgres.command(&postgres.binaries.join("initdb"));
        initdb.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres", "-D"]);
        assert!(initdb.arg(&data).status().unwrap().success(), "{}", postgres.log());
        let ca = SiteCa::create("Database").unwrap();
        ca.save(&postgres.directory.join("ca")).unwrap();
        let server = ca.issue_server(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        let files = server.save(&data, "server").unwrap();
        fs::rename(files.certificate, data.join("server.crt")).unwrap();
        fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        for name in ["server.crt", "server.key", "pg_hba.conf"] {
            postgres.give(&data.join(name));
        }
        postgres.resume();
        postgres
    }

    /// Starts it again after [`Self::stop`].
    pub fn resume(&mut self) {
        let mut command = self.command(&self.binaries.join("postgres"));
        command.arg("-D").arg(self.directory.join("data")).arg("-k").arg(&self.directory);
        command.args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
        for setting in ["ssl=on", "fsync=off", "full_page_writes=off", "max_connections=60"] {
            command.args(["-c", setting]);
        }
        self.child = Some(parent_death::spawn(command).unwrap());
        let begun = Instant::now();
        let pid = self.directory.join("data/postmaster.pid");
        while !fs::read_to_string(&pid).is_ok_and(|text| text.contains("ready")) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it, as an operator does.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        child.wait().unwrap();
    }

    /// Runs statements as the superuser, each on its own.
    pub async fn execute(&self, database: &str, statements: &[&str]) {
        let client = self.superuser(database).await;
        for sql in statements {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }

    /// A connection of the superuser's.
    pub async fn superuser(&self, database: &str) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.directory).port(self.port).user("postgres").dbname(database);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The file of the authority that signed its certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca/ca.pem")
    }

    /// A pgbouncer before it, at another port of 127.0.0.1. It ends with this process.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn pool(&self, mode: &str, database: &str, role: &str, password: &str) -> (Child, u16) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = self.directory.join(mode);
        fs::create_dir(&folder).unwrap();
        self.give(&folder);
        let file = folder.join("pgbouncer.ini");
        let server = self.port;
        let text = format!(
            "[databases]\n{database} = host=127.0.0.1 port={server} dbname={database} user={role} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = {mode}\n\
             default_pool_size = 25\nserver_tls_sslmode = require\nignore_startup_parameters = extra_float_digits\nunix_socket_dir =\n"
        );
        fs::write(&file, text).unwrap();
        self.give(&file);
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| Path::new(path).exists());
        let mut command =
            self.command(Path::new(program.expect("pgbouncer is installed, as scripts/test does it")));
        let child = {
            command.arg(&file);
            parent_death::spawn(command).unwrap()
        };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        (child, port)
    }

    fn give(&self, path: &Path) {
        if let Some(User { uid, gid, .. }) = &self.account {
            chown(path, Some(uid.as_raw()), Some(gid.as_raw())).unwrap();
        }
    }

    fn command(&self, program: &Path) -> Command {
        let log = self.directory.join("log");
        let output = fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(program);
        command.current_dir(&self.directory).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        if let Some(User { uid, gid, .. }) = &self.account {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
