//! Owns the question what a cloud has left on this machine. Everything it makes carries its mark, or is one of a few
//! things without room for a mark, which are compared before and after.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{images::cache, machine::loop_devices, run::run};

/// What begins the mark of every cloud.
pub(super) const MARK: &str = "getaredis-testbed-";

/// What of this machine a cloud could have changed without leaving its mark: addresses and rules in its ranges, named
/// network namespaces, settings of the kernel.
#[must_use]
pub fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let ours = |line: &&str| ["198.51.100.", "10.118.", "169.254."].iter().any(|range| line.contains(range));
    let mut lines = |kind: &str, program: &str, arguments: &[&str]| {
        let text = run(Command::new(program).args(arguments)).unwrap_or_default();
        found.extend(text.lines().filter(ours).map(|line| format!("{kind}: {}", line.trim())));
    };
    lines("address", "ip", &["-oneline", "address"]);
    lines("route", "ip", &["route", "show", "table", "all"]);
    lines("rule", "iptables-save", &[]);
    lines("rule", "nft", &["list", "ruleset"]);
    found.extend(names_in(Path::new("/run/netns")).map(|name| format!("network namespace: {name}")));
    for setting in ["kernel/pid_max", "kernel/core_pattern", "kernel/hostname", "kernel/sysrq", "kernel/printk"] {
        let value = fs::read_to_string(Path::new("/proc/sys").join(setting)).unwrap_or_default();
        found.insert(format!("{setting}: {}", value.trim()));
    }
    found
}

/// Everything that carries the mark of one cloud, or with `getaredis-testbed-` of any: processes, control groups,
/// mounts, loop devices and files. Empty when nothing is left.
#[must_use]
pub fn left_of(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in names_in(Path::new("/proc")).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        let read = |file: &str| fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
        let says = |file: &str| String::from_utf8_lossy(&read(file)).contains(mark);
        // A zombie is only a number that its parent has not read yet.
        let ended = read("stat").rsplit(|byte| *byte == b')').next().is_none_or(|rest| rest.starts_with(b" Z"));
        if ended {
            continue;
        }
        if says("cmdline") || says("cgroup") || says("mountinfo") {
            let words = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            found.push(format!("process {process}: {words}"));
        }
    }
    let hierarchies = names_in(Path::new("/sys/fs/cgroup")).map(|name| Path::new("/sys/fs/cgroup").join(name));
    found.extend(hierarchies.flat_map(|hierarchy| marked(&hierarchy, mark)).map(|path| format!("{}", path.display())));
    let loops = loop_devices();
    found.extend(loops.lines().filter(|file| file.contains(mark)).map(|file| format!("loop device on {file}")));
    let clouds = cache().map(|cache| marked(&cache.join("clouds"), mark)).unwrap_or_default();
    found.extend(clouds.iter().map(|path| format!("{}", path.display())));
    found
}

fn marked(folder: &Path, mark: &str) -> Vec<PathBuf> {
    names_in(folder).filter(|name| name.starts_with(mark)).map(|name| folder.join(name)).collect()
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}
