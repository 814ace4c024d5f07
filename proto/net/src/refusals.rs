//! The security log: who was refused, said so that a flood of refusals is no flood of lines.

use std::{
    collections::HashMap,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use parking_lot::Mutex;
use tracing::warn;

use super::slots::network;

/// The target of these lines, for filters (`info,cavs::security=off`).
pub const SECURITY: &str = "cavs::security";

/// Lines of one address: at once, and a second for longer than that.
const OF_ADDRESS: Rate = Rate { burst: 10.0, a_second: 0.1 };
/// Lines of all addresses together.
const IN_ALL: Rate = Rate { burst: 100.0, a_second: 5.0 };
/// Addresses that are remembered at most.
const REMEMBERED: usize = 4096;

/// Writes the security log, within bounds for each address and for all.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<IpAddr, Bucket>,
    all: Option<Bucket>,
    /// Lines that were left out since the last one.
    suppressed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: f64,
    a_second: f64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    lines: f64,
    at: Instant,
}

impl Refusals {
    /// Says that somebody was refused, and why: `reason` is stable, `name` a pseudonym of whom they
    /// said they are. What is left out is counted in the next line that is not.
    pub fn log(&self, peer: SocketAddr, reason: &str, name: Option<&str>, what: impl Display) {
        if let Some(suppressed) = self.admit(peer.ip(), Instant::now()) {
            warn!(target: SECURITY, %peer, reason, name, suppressed, "{what}");
        }
    }

    /// How many lines were left out before this one; `None` where this one is, too.
    fn admit(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let address = network(address);
        if state.addresses.len() >= REMEMBERED {
            state.addresses.retain(|_, bucket| bucket.filled(OF_ADDRESS, now) < OF_ADDRESS.burst);
        }
        let remembered = state.addresses.len() < REMEMBERED || state.addresses.contains_key(&address);
        let of_address = !remembered
            || state
                .addresses
                .entry(address)
                .or_insert_with(|| Bucket::full(OF_ADDRESS, now))
                .take(OF_ADDRESS, now);
        if of_address && state.all.get_or_insert_with(|| Bucket::full(IN_ALL, now)).take(IN_ALL, now) {
            return Some(std::mem::take(&mut state.suppressed));
        }
        state.suppressed += 1;
        None
    }
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { lines: rate.burst, at: now }
    }

    fn filled(&self, rate: Rate, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        since.mul_add(rate.a_second, self.lines).min(rate.burst)
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        (self.lines, self.at) = (self.filled(rate, now), now);
        let enough = self.lines >= 1.0;
        if enough {
            self.lines -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_refusals_is_no_flood_of_lines() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let one = IpAddr::from([10, 0, 0, 1]);
        let lines = (0..1000).filter(|_| refusals.admit(one, now).is_some()).count();
        assert_eq!(lines, 10);
        assert_eq!(
            refusals.admit(IpAddr::from([10, 0, 0, 2]), now),
            Some(990),
            "the others are not silenced"
        );
        assert_eq!(refusals.admit(one, now + Duration::from_secs(11)), Some(0));
        assert_eq!(refusals.admit(one, now + Duration::from_secs(11)), None);
    }

    #[test]
    fn many_addresses_share_what_there_is() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let hosts = (0..20_000u32).map(|host| IpAddr::from(host.to_be_bytes()));
        assert_eq!(hosts.filter(|host| refusals.admit(*host, now).is_some()).count(), 100);
        assert!(refusals.0.lock().addresses.len() <= REMEMBERED);
    }
}
