use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use cavs_certs::machine_names;
use serde::Deserialize;

use crate::{
    config::{ContextName, read_limited},
    error::CliError,
    printer::Printer,
};

/// What a file says of a first site, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answers {
    name: Option<ContextName>,
    server_names: Option<Vec<String>>,
    admin: Option<String>,
    api_listen: Option<SocketAddr>,
    devices_listen: Option<SocketAddr>,
    database_url: Option<String>,
    room: Option<String>,
    camera: Option<String>,
}

/// What a first site is to be.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Of the root certificate, and of the context.
    pub(crate) name: ContextName,
    /// DNS names and addresses by which the server is reached.
    pub(crate) server_names: Vec<String>,
    /// Who administers it.
    pub(crate) admin: String,
    pub(crate) api_listen: SocketAddr,
    pub(crate) devices_listen: SocketAddr,
    /// `None`: a private cluster that the server runs.
    pub(crate) database_url: Option<String>,
    /// The room of the first device; `None`: there is none yet.
    pub(crate) room: Option<String>,
    pub(crate) camera: Camera,
}

/// Where the first device's pictures come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Camera {
    /// The camera of a Raspberry Pi.
    Rpicam,
    /// A USB camera.
    V4l2(String),
    /// Pictures of a folder, once.
    Directory(PathBuf),
}

impl Answers {
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let text = read_limited(path).map_err(|error| CliError::file(path, error))?;
        toml::from_str(&text).map_err(|error| {
            let problem = error.to_string().trim_end().replace('\n', "\n  ");
            CliError::usage(format!("{}: {problem}", path.display()))
        })
    }

    /// Asks a person for what was not answered; else takes what suits most, but for the administrator's name.
    pub(crate) fn complete(self, printer: &Printer) -> Result<Plan, CliError> {
        let ask = |question: &str, usual: &str| match printer.may_ask() {
            true => {
                let shown = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
                let answer = printer.ask(&format!("{question}{shown}: "))?;
                Ok(if answer.is_empty() { usual.to_owned() } else { answer })
            }
            false => Ok(usual.to_owned()),
        };
        let or_ask = |given: Option<String>, question: &str, usual: &str| match given {
            Some(text) => Ok::<_, CliError>(text),
            None => ask(question, usual),
        };
        let name = match self.name {
            Some(name) => name,
            None => ask("Short name of the school or company", "site")?.parse().map_err(CliError::usage)?,
        };
        let admin = or_ask(self.admin, "User name of the administrator", "")?;
        if admin.is_empty() {
            return Err(CliError::usage("say who administers it: `admin = \"NAME\"` in the file of --file"));
        }
        let own = machine_names();
        let more = match self.server_names {
            Some(names) => names,
            None => ask(&format!("Names of this server besides {}", own.join(", ")), "")?
                .split([',', ' '])
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        };
        let api_listen = self.api_listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 7443)));
        let devices_listen = self.devices_listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 7444)));
        let mut server_names = own;
        let listened = [api_listen, devices_listen].map(|listen| listen.ip());
        let listened = listened.into_iter().filter(|ip| !is_localhost(*ip)).map(|ip| ip.to_string());
        for name in more.into_iter().chain(listened) {
            if !server_names.contains(&name) {
                server_names.push(name);
            }
        }
        let database = or_ask(
            self.database_url,
            "Address of a PostgreSQL database; empty for one of the server's own",
            "",
        )?;
        let room = or_ask(self.room, "Room of the first device; empty for none yet", "")?;
        let camera = match room.as_str() {
            "" => self.camera.unwrap_or_default(),
            _ => or_ask(self.camera, "Its camera: rpicam, /dev/video0, or a folder of pictures", "rpicam")?,
        };
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Plan {
            name,
            server_names,
            admin,
            api_listen,
            devices_listen,
            database_url: filled(database),
            room: filled(room),
            camera: Camera::of(&camera),
        })
    }
}

/// The host of a URL by which this machine reaches what listens on an address.
pub(crate) fn host_of(listen: SocketAddr) -> String {
    match listen.ip() {
        ip if is_localhost(ip) => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Whether what listens on an address is reached as `localhost`.
fn is_localhost(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

impl Camera {
    fn of(text: &str) -> Self {
        match text {
            "" | "rpicam" => Self::Rpicam,
            device if device.starts_with("/dev/") => Self::V4l2(device.to_owned()),
            folder => Self::Directory(folder.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::output::OutputArgs;

    #[test]
    fn a_file_answers_all_that_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("setup.toml");
        let printer = Printer::new(OutputArgs::default(), true).without_input();
        let plan = |text: &str| {
            fs::write(&path, text).unwrap();
            Answers::read(&path).and_then(|answers| answers.complete(&printer))
        };
        let found = plan("admin = \"ada\"\nserver_names = [\"cavs.example\", \"localhost\"]").unwrap();
        assert_eq!((found.name.as_str(), found.admin.as_str(), &found.room), ("site", "ada", &None));
        assert_eq!(found.server_names.iter().filter(|name| *name == "localhost").count(), 1);
        assert_eq!(found.server_names.last().unwrap(), "cavs.example");
        let addressed = "admin = \"a\"\napi_listen = \"127.0.0.9:1\"\ndevices_listen = \"[::]:2\"";
        let addressed = plan(addressed).unwrap();
        assert_eq!(addressed.server_names.last().unwrap(), "127.0.0.9");
        assert_eq!(
            [host_of(addressed.api_listen), host_of(addressed.devices_listen)],
            ["127.0.0.9", "localhost"]
        );
        assert_eq!(host_of("[2001:db8::1]:3".parse().unwrap()), "[2001:db8::1]");
        assert_eq!(plan("admin = \"a\"\nroom = \"B12\"").unwrap().camera, Camera::Rpicam);
        assert_eq!(Camera::of("/dev/video1"), Camera::V4l2("/dev/video1".to_owned()));
        assert_eq!(Camera::of("frames"), Camera::Directory("frames".into()));
        for (text, problem) in [
            ("", "who administers"),
            ("admn = \"ada\"", "unknown field `admn`"),
            ("admin = \"a\"\nname = \"a/b\"", "name of a context"),
            ("admin = \"a\"\napi_listen = \"x\"", "setup.toml"),
        ] {
            let error = plan(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
