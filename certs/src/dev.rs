//! A complete set of certificates for development and tests.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags, unistd::gethostname};
use uuid::Uuid;

use crate::{CertError, CertFiles, SiteCa, files, profile};

/// Where the files of a development set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevSet {
    /// `ca.pem`, `ca.key`.
    pub ca: CertFiles,
    /// `server.pem`, `server.key`.
    pub server: CertFiles,
    /// `devices/UUID.pem`, `devices/UUID.key`, in the order that was asked for.
    pub devices: Vec<CertFiles>,
}

impl DevSet {
    /// The folder of the device certificates in a set's folder.
    #[must_use]
    pub fn devices_dir(dir: &Path) -> PathBuf {
        dir.join("devices")
    }
}

/// The names and addresses by which others on the network may reach this machine, and those by which it
/// reaches itself: `localhost`, the host's name, its name in multicast DNS, and the addresses of the
/// interfaces that are up.
#[must_use]
pub fn machine_names() -> Vec<String> {
    let host = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let addresses = getifaddrs()
        .into_iter()
        .flatten()
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP));
    let addresses = addresses.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    names(&host, addresses)
}

fn names(host: &str, addresses: impl Iterator<Item = IpAddr>) -> Vec<String> {
    let host = host.to_ascii_lowercase();
    let short = host.split('.').next().unwrap_or_default();
    let mut names = vec!["localhost".to_owned()];
    for name in [host.clone(), short.to_owned(), format!("{short}.local")] {
        // A host may have a name that no certificate can carry.
        if short != "localhost" && profile::is_server_name(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    // Addresses that need the name of an interface beside them can't be asked for.
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_unspecified(),
        IpAddr::V6(address) => {
            !address.is_loopback() && !address.is_unspecified() && !address.is_unicast_link_local()
        }
    };
    let others: BTreeSet<IpAddr> = addresses.filter(usable).collect();
    names.extend(own.into_iter().chain(others).map(|address| address.to_string()));
    names
}

/// Writes a new root, a server certificate and device certificates into a folder.
///
/// Keep the folder out of version control: whoever has `ca.key` can be any device.
///
/// # Errors
/// `Exists` where the folder has such files already, `ServerName` for a name that is none.
pub fn write_dev_set(dir: &Path, server_names: &[String], devices: &[Uuid]) -> Result<DevSet, CertError> {
    let root = SiteCa::create("CAVS development")?;
    let server = root.issue_server(server_names)?;
    // Nothing is written before everything that can be refused was.
    for name in ["server.pem", "server.key"] {
        files::refuse_existing(&dir.join(name))?;
    }
    let ca = root.save(dir)?;
    let server = server.save(dir, "server")?;
    let devices = devices
        .iter()
        .map(|&id| root.issue_device(id)?.save(&DevSet::devices_dir(dir), &id.to_string()))
        .collect::<Result<_, _>>()?;
    Ok(DevSet { ca, server, devices })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(host: &str, addresses: &[&str]) -> Vec<String> {
        names(host, addresses.iter().map(|address| address.parse().unwrap()))
    }

    #[test]
    fn a_machine_is_named_as_others_reach_it() {
        let addresses = ["127.0.0.1", "192.168.1.7", "192.168.1.7", "fe80::1", "2001:db8::7", "::1"];
        assert_eq!(
            names_of("Office.school.example", &addresses),
            [
                "localhost",
                "office.school.example",
                "office",
                "office.local",
                "127.0.0.1",
                "::1",
                "192.168.1.7",
                "2001:db8::7"
            ]
        );
    }

    #[test]
    fn names_that_no_certificate_can_carry_are_left_out() {
        for host in ["", "localhost", "-x", "a b", "übung"] {
            assert_eq!(names_of(host, &[]), ["localhost", "127.0.0.1", "::1"], "{host:?}");
        }
    }

    #[test]
    fn this_machine_gets_a_certificate() {
        SiteCa::create("Test").unwrap().issue_server(&machine_names()).unwrap();
    }
}
