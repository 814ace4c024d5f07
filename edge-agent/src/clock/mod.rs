//! When something happened, on a machine that may not know the time.
//!
//! A Raspberry Pi has no clock that runs without power. Every event is therefore stamped twice: by
//! the wall clock, which may be wrong, and by the time since the kernel started, which is always
//! right but means nothing elsewhere. Once the server has said what time it is, an [`ClockAnchor`] turns
//! the second into the first.

mod anchor;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use cavs_types::ClockTrust;
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

pub use anchor::{ClockAnchor, EstimatedTime};

/// systemd-timesyncd keeps this file while it follows a time server.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// A text that is different after every start of the kernel.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The server has confirmed the wall clock since this process began.
static CONFIRMED: AtomicBool = AtomicBool::new(false);

/// Both clocks' readings at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The wall clock's reading, right or wrong.
    pub wall: Timestamp,
    /// Time since the kernel started, suspension included.
    pub since_boot: Duration,
    /// The wall clock was known to be right: it followed a time server, or agreed with the server's.
    pub synchronised: bool,
}

impl Stamp {
    /// The readings of both clocks at this moment.
    #[must_use]
    pub fn now() -> Self {
        Self {
            wall: Timestamp::now(),
            since_boot: since_boot(),
            synchronised: CONFIRMED.load(Ordering::Relaxed) || Path::new(SYNCHRONISED).exists(),
        }
    }

    /// A stamp `later` after this one, on clocks that run evenly.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        let wall = self.wall.checked_add(later).unwrap_or(self.wall);
        Self { wall, since_boot: self.since_boot.saturating_add(later), ..self }
    }
}

impl Default for Stamp {
    fn default() -> Self {
        Self { wall: Timestamp::UNIX_EPOCH, since_boot: Duration::ZERO, synchronised: false }
    }
}

/// Compares the wall clock with what was learnt of the time; stamps from now on say whether the two
/// agree. Not every system has a file that says so.
pub fn confirm(anchor: &ClockAnchor) {
    let unknown = Stamp { synchronised: false, ..Stamp::now() };
    let agrees = EstimatedTime::of(unknown, Some(anchor)).trust == ClockTrust::Synchronised;
    CONFIRMED.store(agrees, Ordering::Relaxed);
}

/// Time since the kernel started, suspension included; never goes back.
#[must_use]
pub fn since_boot() -> Duration {
    // Linux knows this clock since 2.6.39; zero only where the call itself is forbidden.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Which start of the kernel this is; stamps of different ones can't be compared.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_of_this_machine_run() {
        let (first, second) = (Stamp::now(), Stamp::now());
        assert!(first.since_boot > Duration::ZERO && second.since_boot >= first.since_boot);
        assert_eq!(boot_id(), boot_id());
        assert!(!boot_id().is_empty());
    }
}
