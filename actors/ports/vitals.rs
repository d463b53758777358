//! How a host fares by its own word.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

/// What a host says about its own engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineSeen {
    /// It answered a moment ago.
    Up,
    /// It does not answer; the count of containers is the last one that was heard.
    Silent,
}

/// How a host fares, as far as it says so itself. For people to look at: no decision rests on it, because it is a few
/// seconds old and may come from a host that was broken into. What a host does not say, or says wrongly, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostVitals {
    /// Containers that run, of whatever kind.
    pub containers: Option<u32>,
    /// Whether its engine answers it.
    pub engine: Option<EngineSeen>,
    /// Memory it has.
    pub memory_total_bytes: Option<u64>,
    /// Memory that could be given to a new process.
    pub memory_available_bytes: Option<u64>,
    /// The disk that holds images and containers.
    pub disk_total_bytes: Option<u64>,
    /// What is free of it.
    pub disk_free_bytes: Option<u64>,
    /// Its cores.
    pub cpus: Option<u32>,
    /// Load average of the last minute, in hundredths.
    pub load_percent: Option<u32>,
    /// Version of its container engine.
    pub engine_version: Option<String>,
    /// Version of its kernel.
    pub kernel: Option<String>,
    /// Version of getaredis that set it up.
    pub setup_version: Option<String>,
    /// When its kernel started.
    pub booted_at: Option<Timestamp>,
    /// How often each program that makes it a host had to be started again since then, by the program's name.
    pub restarts: BTreeMap<String, u32>,
}

impl HostVitals {
    /// The programs that were started again since `earlier` said how often that had happened, and how often it has by now.
    pub fn restarted_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = (&'a str, u32)> {
        let more = |(program, times): (&'a String, &'a u32)| {
            (times > earlier.restarts.get(program)?).then_some((program.as_str(), *times))
        };
        self.restarts.iter().filter_map(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(restarts: &[(&str, u32)]) -> HostVitals {
        let restarts = restarts.iter().map(|(program, times)| ((*program).to_owned(), *times)).collect();
        HostVitals { restarts, ..HostVitals::default() }
    }

    #[test]
    fn a_program_was_started_again_when_it_was_more_often_than_before() {
        let before = vitals(&[("containerd", 1), ("dockerd", 1)]);
        let now = vitals(&[("containerd", 1), ("dockerd", 3), ("nginx", 2)]);
        assert_eq!(now.restarted_since(&before).collect::<Vec<_>>(), [("dockerd", 3)]);
        assert_eq!(now.restarted_since(&vitals(&[])).count(), 0, "nobody knows how often it was before");
        assert_eq!(before.restarted_since(&now).count(), 0, "the host has booted since");
    }
}
