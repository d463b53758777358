//! A named recipe for an instance: how much data it may hold, how many may connect, and what that costs a host.

use serde::Serialize;

/// The bytes a container needs beside its data: the engine itself, its fragmentation and its clients' buffers.
/// Redis 7 idles at about 8 MiB resident; the rest lets one oversized command be refused instead of the
/// container being killed for it.
const ENGINE_OVERHEAD_BYTES: u64 = 48 * 1024 * 1024;

/// What an empty engine counts as used memory before any data is in it (measured 0.9 MiB on Redis 7.0).
/// Added to the data a tenant was promised, because `maxmemory` counts both.
const ENGINE_BASELINE_BYTES: u64 = 1024 * 1024;

/// A recipe. `redis` is the only one so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flavour {
    /// The name a request chooses it by.
    pub name: String,
    /// Bytes of data a tenant may keep; writes beyond it get the engine's out-of-memory error.
    pub memory_bytes: u64,
    /// Clients that may be connected at once.
    pub connections: u32,
    /// Share of a CPU that the container may use, 1.0 being one core.
    pub cpus: f64,
    /// Processes and threads the container may have.
    pub pids: i64,
}

impl Flavour {
    /// The name of the default flavour.
    pub const DEFAULT: &'static str = "redis";

    /// The engine's `maxmemory` in bytes: the promised data on top of what an empty engine uses.
    #[must_use]
    pub fn maxmemory_bytes(&self) -> u64 {
        self.memory_bytes + ENGINE_BASELINE_BYTES
    }

    /// The container's memory limit in bytes, which is its memory-and-swap limit too. Above `maxmemory` by the
    /// engine's overhead and half of the data again for fragmentation, so that data beyond the cap meets
    /// Redis's own error before the kernel's out-of-memory killer.
    #[must_use]
    pub fn container_bytes(&self) -> u64 {
        self.memory_bytes + self.memory_bytes / 2 + ENGINE_OVERHEAD_BYTES
    }
}
