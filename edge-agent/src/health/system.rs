//! What the kernel says of the machine. Everything here may be missing.

use std::{fs, path::Path};

use nix::sys::statvfs::statvfs;

/// Time that all processors spent busy, and altogether, in ticks since the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuTimes {
    pub(super) busy: u64,
    pub(super) all: u64,
}

pub(super) fn cpu_times() -> Option<CpuTimes> {
    parse_cpu_times(&fs::read_to_string("/proc/stat").ok()?)
}

/// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
fn parse_cpu_times(stat: &str) -> Option<CpuTimes> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|tick| tick.parse().ok()).collect();
    let all = ticks.iter().fold(0_u64, |sum, tick| sum.saturating_add(*tick));
    let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or(0));
    Some(CpuTimes { busy: all.saturating_sub(idle), all })
}

/// Of the hottest zone, in degrees Celsius.
pub(super) fn temperature() -> Option<f32> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?.flatten();
    let read = |zone: fs::DirEntry| fs::read_to_string(zone.path().join("temp")).ok()?.trim().parse().ok();
    let millidegrees = zones.filter(|zone| zone.file_name().as_encoded_bytes().starts_with(b"thermal_zone"));
    let hottest: f32 = millidegrees.filter_map(read).max_by(f32::total_cmp)?;
    Some(hottest / 1000.0)
}

/// Memory of this process that is in RAM, in bytes.
pub(super) fn memory_resident() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Memory that programs can still get, in bytes.
pub(super) fn memory_available() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Space that a file system has for this user, in bytes.
pub(crate) fn disk_free(path: &Path) -> Option<u64> {
    let stat = statvfs(path).ok()?;
    // The types differ between platforms.
    #[allow(clippy::useless_conversion, reason = "it is one elsewhere")]
    u64::from(stat.blocks_available()).checked_mul(u64::from(stat.fragment_size()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_machine_says_how_it_is() {
        assert!(memory_resident().unwrap() > 1 << 20);
        assert!(memory_available().unwrap() > 1 << 20);
        assert!(disk_free(Path::new("/tmp")).unwrap() > 0);
        let times = cpu_times().unwrap();
        assert!(times.busy > 0 && times.busy <= times.all);
        assert_eq!(disk_free(Path::new("/no/such/place")), None);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let stat = "cpu  10 1 20 60 5 2 1 1 7 0\ncpu0 10 1 20 60 5 2 1 1 7 0\n";
        assert_eq!(parse_cpu_times(stat), Some(CpuTimes { busy: 35, all: 100 }));
        assert_eq!(parse_cpu_times("intr 5\n"), None);
        assert_eq!(kilobytes("VmRSS:\t   12 kB\n", "VmRSS:"), Some(12288));
    }

    proptest! {
        #[test]
        fn nonsense_is_no_panic(text in "(cpu |VmRSS:)?\\PC{0,60}") {
            let _ = (parse_cpu_times(&text), kilobytes(&text, "VmRSS:"));
        }
    }
}
