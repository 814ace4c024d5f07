//! The texts of configuration files. Paths in them are relative to their own folder, but for the unit's.

use std::path::Path;

use toml::{Table, Value};

use super::{Plan, plan::Camera};
use crate::error::CliError;

/// The server's configuration.
pub(crate) fn server_toml(plan: &Plan) -> Result<String, CliError> {
    let database = match &plan.database_url {
        Some(url) => [("url".to_owned(), Value::from(url.as_str()))],
        None => [("data_dir".to_owned(), Value::from("data"))],
    };
    write([
        ("api", section([("listen", plan.api_listen.to_string())])),
        ("devices", section([("listen", plan.devices_listen.to_string())])),
        (
            "tls",
            section([
                ("certificate", "server/server.pem".to_owned()),
                ("key", "server/server.key".to_owned()),
                ("device_authority", "ca/ca.pem".to_owned()),
            ]),
        ),
        ("database", Value::Table(Table::from_iter(database))),
        ("vault", section([("key_file", "vault.key".to_owned())])),
    ])
}

/// The configuration of the first device's agent.
pub(crate) fn agent_toml(plan: &Plan, address: &str) -> Result<String, CliError> {
    let source = match &plan.camera {
        Camera::Rpicam => section([("kind", "rpicam".to_owned())]),
        Camera::V4l2(device) => section([("kind", "v4l2".to_owned()), ("device", device.clone())]),
        Camera::Directory(path) => {
            // Whoever starts the agent stands elsewhere.
            let path = std::path::absolute(path).map_err(|error| CliError::file(path, error))?;
            section([("kind", "directory".to_owned()), ("path", path.display().to_string())])
        }
    };
    write([
        (
            "server",
            section([
                ("address", address.to_owned()),
                ("ca", "ca.pem".to_owned()),
                ("certificate", "device.pem".to_owned()),
                ("key", "device.key".to_owned()),
            ]),
        ),
        ("source", source),
        ("spool", section([("path", "spool.db".to_owned())])),
    ])
}

/// A systemd unit that serves the site as the user who has set it up. Its limits are those that a server with a
/// PostgreSQL of its own can work under.
pub(crate) fn unit(program: &Path, dir: &Path, user: &str) -> String {
    let (program, dir) = (program.display(), dir.display());
    format!(
        "[Unit]
Description=CAVS server
After=network.target postgresql.service time-sync.target

[Service]
ExecStart={program} serve --config {dir}/server.toml
ExecReload=/bin/kill -HUP $MAINPID
User={user}
Restart=always
RestartSec=2
TimeoutStartSec=300
TimeoutStopSec=60
UMask=0077

# Keys and faces are in its memory: they are neither dumped nor swapped.
LimitCORE=0
MemorySwapMax=0

ProtectSystem=strict
ReadWritePaths={dir}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"
    )
}

fn section<const N: usize>(keys: [(&str, String); N]) -> Value {
    Value::Table(keys.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect())
}

fn write<const N: usize>(sections: [(&str, Value); N]) -> Result<String, CliError> {
    let table: Table = sections.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    toml::to_string(&table).map_err(|error| CliError::failure("OUTPUT", format!("TOML: {error}")))
}
