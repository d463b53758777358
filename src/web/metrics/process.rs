//! What the process takes from its machine, under the names that Prometheus's own clients use. Linux only.

use std::fs;

use metrics::{describe_gauge, gauge};

use super::float;

/// Sets the gauges of what can be read.
pub(super) fn measure() {
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().and_then(|text| resident_bytes(&text)) {
        describe_gauge!("process_resident_memory_bytes", "Memory that the process holds.");
        gauge!("process_resident_memory_bytes").set(float(bytes));
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        describe_gauge!("process_open_fds", "Files and connections that the process has open.");
        gauge!("process_open_fds").set(float(files.count() as u64));
    }
    if let Some(most) = fs::read_to_string("/proc/self/limits").ok().and_then(|text| most_files(&text)) {
        describe_gauge!("process_max_fds", "Files and connections that the process may have open.");
        gauge!("process_max_fds").set(float(most));
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_files_are_read_as_the_kernel_writes_them() {
        assert_eq!(resident_bytes("VmHWM:\t  9 kB\nVmRSS:\t   15360 kB\n"), Some(15_360 * 1024));
        assert_eq!(
            most_files("Max open files            1024                 524288               files\n"),
            Some(1024)
        );
        assert_eq!((resident_bytes("nothing"), most_files("Max open files  unlimited  unlimited")), (None, None));
    }
}
