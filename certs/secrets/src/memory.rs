//! Memory that is neither dumped nor swapped.

use std::{
    fmt, ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::sys::prctl::set_dumpable;
use tracing::warn;

/// A variable for who has to look into a process with a debugger: `1` lets it be dumped.
const ALLOW_VARIABLE: &str = "CAVS_ALLOW_CORE_DUMPS";

/// A key in memory that the system does not write to its swap space. It stays where it is: moving it
/// would leave a copy.
pub struct Locked<T>(Box<T>);

/// Logged once: it is the same for every key.
static LOGGED: AtomicBool = AtomicBool::new(false);

/// Neither a core dump nor another process of the same user reads this one's memory: it holds keys
/// and faces in the clear. The first thing that a `main` does.
pub fn forbid_core_dumps() {
    if std::env::var_os(ALLOW_VARIABLE).is_some_and(|value| value == "1") {
        return;
    }
    // Fails for another argument than 0 and 1 only.
    let _ = set_dumpable(false);
}

impl<T> Locked<T> {
    /// Locks the memory of a value. Where the system does not let it (`RLIMIT_MEMLOCK`), the value is
    /// as good as before, and the log says so.
    #[must_use]
    pub fn new(value: T) -> Self {
        let value = Box::new(value);
        match region::lock(ptr::from_ref::<T>(&value), size_of::<T>().max(1)) {
            // Locks don't count, and other keys may be on the page: it stays locked for good.
            Ok(guard) => std::mem::forget(guard),
            Err(error) => {
                if !LOGGED.swap(true, Ordering::Relaxed) {
                    warn!(%error, "keys can't be kept out of the swap space; is RLIMIT_MEMLOCK too low?");
                }
            }
        }
        Self(value)
    }
}

impl<T> std::ops::Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kilobytes of this process that are locked.
    fn locked() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_key_is_locked_where_the_system_lets_it() {
        let before = locked();
        let key = Locked::new([7u8; 32]);
        assert_eq!(*key, [7; 32]);
        assert!(locked() > before || LOGGED.load(Ordering::Relaxed), "neither locked nor said");
        assert_eq!(format!("{key:?}"), "Locked(..)");
    }
}
