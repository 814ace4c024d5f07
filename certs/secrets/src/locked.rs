//! Memory that is not swapped.

use std::{
    fmt, ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::warn;

/// A key in memory that the system does not write to its swap space. It stays where it is: moving it
/// would leave a copy.
pub struct Locked<T>(Box<T>);

/// Said once: it is the same for every key.
static SAID: AtomicBool = AtomicBool::new(false);

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
                if !SAID.swap(true, Ordering::Relaxed) {
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
        assert!(locked() > before || SAID.load(Ordering::Relaxed), "neither locked nor said");
        assert_eq!(format!("{key:?}"), "Locked(..)");
    }
}
