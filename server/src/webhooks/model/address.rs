//! Where webhooks may lead: not into the network that the server stands in, unless its operator says so. Who may make a
//! webhook is an admin of a site, and what is behind the server's firewall is not theirs to call.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use cavs_types::ProtocolError;
use thiserror::Error;
use url::{Host, Url};

/// Longest address, in bytes.
const LONGEST_URL: usize = 2000;

/// What an operator allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiverPolicy {
    /// Receivers in private networks and on this machine.
    pub private_addresses: bool,
    /// Receivers without TLS; those on this machine need it not where they are allowed.
    pub plain_http: bool,
}

/// An address that the server may not call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressRefused {
    /// It is of this machine or of a network that is not public.
    #[error("{0} is no public address; the operator can allow such (`webhooks.allow_private_addresses`)")]
    NotPublic(IpAddr),
    /// A name leads to such. Not to which: that is for those who may look into the network.
    #[error(
        "what the host's name leads to is no public address; the operator can allow such (`webhooks.allow_private_addresses`)"
    )]
    NameNotPublic,
    /// Whoever stands between would read it.
    #[error(
        "http without TLS is for receivers on this machine; the operator can allow more (`webhooks.allow_http`)"
    )]
    NotEncrypted,
}

impl AddressRefused {
    /// The same, of an address that a name led to.
    pub(crate) const fn of_name(self) -> Self {
        match self {
            Self::NotPublic(_) | Self::NameNotPublic => Self::NameNotPublic,
            Self::NotEncrypted => Self::NotEncrypted,
        }
    }
}

impl ReceiverPolicy {
    /// Whether an address may be called, with or without TLS.
    ///
    /// # Errors
    /// [`AddressRefused`].
    pub fn check(self, address: IpAddr, is_encrypted: bool) -> Result<(), AddressRefused> {
        let address = address.to_canonical();
        if !self.private_addresses && !is_public(address) {
            return Err(AddressRefused::NotPublic(address));
        }
        if !is_encrypted && !self.plain_http && !address.is_loopback() {
            return Err(AddressRefused::NotEncrypted);
        }
        Ok(())
    }
}

/// Where a webhook leads.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// Reads an address: `https`, or `http` where the policy may allow it, of a host, without user name, password and
    /// fragment. Names are looked up when they are called, and checked then.
    ///
    /// # Errors
    /// `Missing` or `Invalid`.
    pub fn new(field: &'static str, text: &str, policy: ReceiverPolicy) -> Result<Self, ProtocolError> {
        let invalid = |problem: &str| Err(ProtocolError::invalid(field, problem));
        if text.is_empty() {
            return Err(ProtocolError::Missing { field });
        }
        if text.len() > LONGEST_URL {
            return invalid("is longer than 2000 bytes");
        }
        let Ok(url) = Url::parse(text) else { return invalid("is no address, as https://example.com/hook") };
        let is_encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return invalid("must begin with https://"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("must hold no user name and no password: the signature says who calls");
        }
        if url.fragment().is_some() {
            return invalid("must have no part after #, which is never sent");
        }
        let Some(host) = url.host() else { return invalid("names no host") };
        let refused = match host {
            Host::Ipv4(address) => policy.check(address.into(), is_encrypted).err(),
            Host::Ipv6(address) => policy.check(address.into(), is_encrypted).err(),
            // Whatever it leads to: this machine is named so.
            Host::Domain(name) if is_localhost(name) => {
                policy.check(Ipv4Addr::LOCALHOST.into(), is_encrypted).err()
            }
            Host::Domain(_) if !is_encrypted && !policy.plain_http && !policy.private_addresses => {
                Some(AddressRefused::NotEncrypted)
            }
            Host::Domain(_) => None,
        };
        match refused {
            Some(refused) => Err(ProtocolError::invalid(field, refused)),
            None => Ok(Self(url)),
        }
    }

    /// An address that was checked when it was stored. What the policy says now is looked at when it is called.
    #[must_use]
    pub fn stored(text: &str) -> Option<Self> {
        Url::parse(text).ok().filter(Url::has_host).map(Self)
    }

    /// Whether it is called by TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The address where it is one, and no name.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    /// As text, in the form in which it is called.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Without its path and what follows: these may hold what only the receiver should know.
impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({}://{}/..)", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

/// Whether an address is one of the public Internet: what the registries of special addresses (RFC 6890) do not list.
/// Addresses that carry another one are what they carry.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        // Between providers and their customers; protocol assignments; measurements; 6to4 relays; reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 88 && c == 99)
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let part = address.segments();
    let last_v4 = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    match part {
        // ::/96: unspecified, loopback, and what IPv4-compatible addresses were; ::ffff:0:0/96.
        [0, 0, 0, 0, 0, 0, ..] => false,
        [0, 0, 0, 0, 0, 0xffff, ..] => is_public_v4(last_v4()),
        // Translated by the network (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(last_v4()),
        // 6to4.
        [0x2002, ab, cd, ..] => {
            let ([a, b], [c, d]) = (ab.to_be_bytes(), cd.to_be_bytes());
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocol assignments with Teredo; documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast; all else is local, reserved or for many.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: ReceiverPolicy = ReceiverPolicy { private_addresses: false, plain_http: false };
    const PRIVATE: ReceiverPolicy = ReceiverPolicy { private_addresses: true, plain_http: false };
    const ALL: ReceiverPolicy = ReceiverPolicy { private_addresses: true, plain_http: true };

    #[test]
    fn addresses_of_networks_that_are_not_public_are_refused() {
        for private in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "250.0.0.1",
            "::1",
            "::",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fd00::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "3fff::1",
        ] {
            let address: IpAddr = private.parse().unwrap();
            assert!(!is_public(address.to_canonical()), "{private}");
            assert!(NONE.check(address, true).is_err(), "{private}");
            assert_eq!(ALL.check(address, false), Ok(()), "{private}");
        }
        for public in
            ["1.1.1.1", "93.184.216.34", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"]
        {
            assert_eq!(NONE.check(public.parse().unwrap(), true), Ok(()), "{public}");
            let refused = NONE.check(public.parse().unwrap(), false);
            assert_eq!(refused, Err(AddressRefused::NotEncrypted), "{public}");
        }
        assert_eq!(PRIVATE.check("127.0.0.1".parse().unwrap(), false), Ok(()));
        assert_eq!(PRIVATE.check("10.0.0.1".parse().unwrap(), false), Err(AddressRefused::NotEncrypted));
    }

    #[test]
    fn an_address_is_checked_when_it_is_said() {
        let said =
            |text: &str, policy| WebhookUrl::new("url", text, policy).map(|url| url.as_str().to_owned());
        assert_eq!(said("https://example.com/hook?a=1", NONE).unwrap(), "https://example.com/hook?a=1");
        for wrong in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://u:p@example.com",
            "https://example.com/#x",
            "http://example.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://localhost:1/",
            "https://x.LOCALHOST./",
            // Other ways to write 127.0.0.1 and 10.0.0.1.
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://10.1/",
            "https://[::ffff:7f00:1]/",
            "https://\u{ff11}27.0.0.1/",
        ] {
            assert!(said(wrong, NONE).is_err(), "{wrong}");
        }
        assert!(said(&format!("https://example.com/{}", "x".repeat(2000)), NONE).is_err());
        assert_eq!(said("http://localhost:9/", PRIVATE).unwrap(), "http://localhost:9/");
        assert!(said("http://10.0.0.1/", PRIVATE).is_err());
        assert!(said("http://10.0.0.1/", ALL).is_ok());
        let url = WebhookUrl::new("url", "https://example.com/token", NONE).unwrap();
        assert!(!format!("{url:?}").contains("token"));
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_an_error(text in "(https?://)?.{0,40}") {
            let _ = WebhookUrl::new("url", &text, NONE);
        }

        /// Whatever is written, an address of a private network is never called without leave.
        #[test]
        fn no_writing_of_a_private_address_is_taken(a in 0_u32..0x0100_0000) {
            let address = Ipv4Addr::from(0x0a00_0000 | a);
            for text in [format!("https://{address}/"), format!("https://{}/", u32::from(address)),
                format!("https://0x{:x}/", u32::from(address)), format!("https://[::ffff:{address}]/")] {
                prop_assert!(WebhookUrl::new("url", &text, NONE).is_err(), "{}", text);
            }
        }
    }
}
