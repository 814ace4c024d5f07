//! How many files and connections this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What is assumed where the system does not say.
const ASSUMED: u64 = 1024;
/// More is of no use here, and some systems count in billions.
const ENOUGH: u64 = 65_536;

/// Raises the soft limit of open files to the hard one, where the system lets it, and gives what
/// holds from now on.
#[must_use]
pub fn raise_descriptors() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return ASSUMED as usize };
    let wanted = hard.min(ENOUGH).max(soft);
    let now = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        // A service may be forbidden to: what its unit gives it is what there is.
        Err(_) => soft,
    };
    usize::try_from(now.min(ENOUGH)).unwrap_or(ASSUMED as usize)
}
