//! How many pictures are looked at at a time, where the configuration does not say.

use std::{fs, path::Path, thread};

/// Most workers that may be configured.
pub(super) const MOST: usize = 64;
/// Most workers where nothing is configured.
const MOST_BY_DEFAULT: usize = 8;
/// What a worker is reckoned with, in bytes: 256 MiB while it reads a large photograph, and as much for the rest of the
/// machine.
const MEMORY_A_WORKER: u64 = 512 << 20;

/// As many as there are cores, and as there is memory for.
pub(super) fn default_workers() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let memory = [total_memory(), memory_limit()].into_iter().flatten().min();
    workers(cores, memory)
}

fn workers(cores: usize, memory: Option<u64>) -> usize {
    let fit =
        memory.map_or(MOST_BY_DEFAULT, |bytes| usize::try_from(bytes / MEMORY_A_WORKER).unwrap_or(MOST));
    cores.min(fit).clamp(1, MOST_BY_DEFAULT)
}

/// Memory of the machine, in bytes (proc(5)).
fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the process's control group may use, in bytes, where it is limited (cgroups(7), version 2).
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    root.join(group)
        .ancestors()
        .take_while(|path| path.starts_with(root))
        .filter_map(|path| fs::read_to_string(path.join("memory.max")).ok()?.trim().parse::<u64>().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_fit_into_cores_and_memory() {
        assert_eq!(workers(2, Some(24 << 30)), 2);
        assert_eq!(workers(64, Some(256 << 30)), 8);
        assert_eq!(workers(4, Some(1 << 30)), 2);
        assert_eq!(workers(4, Some(100 << 20)), 1);
        assert_eq!(workers(4, None), 4);
        assert!((1..=8).contains(&default_workers()));
    }
}
