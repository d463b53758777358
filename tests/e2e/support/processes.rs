//! Processes as the kernel knows them: signals by id, and who is whose child.

use std::{collections::BTreeSet, fs, process::Command};

/// A process, told from a later one that got the same id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub id: u32,
    started: String,
}

impl Process {
    /// Whether it still runs. What is dead and waits to be collected does not.
    pub fn lives(&self) -> bool {
        read(self.id).is_some_and(|(process, _, state)| process == *self && state != "Z")
    }

    /// What it was started as.
    pub fn command(&self) -> String {
        let line = fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ")
    }
}

/// Sends a signal (`TERM`, `KILL`) to one process.
pub fn signal(id: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
    assert!(sent.success(), "no process {id} to send SIG{name} to");
}

/// All living children of a process, and theirs.
pub fn descendants(id: u32) -> BTreeSet<Process> {
    let all: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .collect();
    let mut found = BTreeSet::new();
    let mut parents = vec![id];
    while let Some(parent) = parents.pop() {
        for (process, its_parent, state) in &all {
            if *its_parent == parent && state != "Z" && found.insert(process.clone()) {
                parents.push(process.id);
            }
        }
    }
    found
}

/// The process, its parent and its state.
fn read(id: u32) -> Option<(Process, u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<_> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let (state, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
    Some((Process { id, started: (*started).to_owned() }, parent.parse().ok()?, (*state).to_owned()))
}
