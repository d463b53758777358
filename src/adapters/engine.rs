//! What a tenant's `redis-server` (7.0 or newer) is told: its caps, its bounds and its access list.
//!
//! Owns the recipe that the Docker and the process runtime share. Must not know how the engine is started, and is
//! given the hash of a password only.

use getaredis_actors::domain::Flavour;

/// The port that the engine listens on where it has an address of its own.
pub(crate) const ENGINE_PORT: u16 = 6379;

/// What a tenant may do: everything less what managed Redis services take away.
///
/// Out go the commands that reach the host, the configuration, other users or the control plane's caps (`CONFIG`,
/// `DEBUG`, `SHUTDOWN`, `SAVE`, `MODULE`, `ACL SETUSER`, `REPLICAOF`, `MONITOR`, `CLIENT KILL|PAUSE|NO-EVICT` …), and
/// `MIGRATE`, `RESTORE` and `SWAPDB`. Back in come what ordinary clients and tools call: `INFO`, `KEYS`, `SORT` and
/// the flushes; `ROLE` (clients that look for a replica) and `CLIENT LIST` (job queues count their workers with it),
/// both of which only read what is the tenant's own.
const TENANT_RULES: [&str; 11] = [
    "+@all",
    "-@admin",
    "-@dangerous",
    "+info",
    "+keys",
    "+flushdb",
    "+flushall",
    "+sort",
    "+sort_ro",
    "+role",
    "+client|list",
];

/// What the buffers of all clients together may take beside the data, whatever the flavour: twice the 8 MiB value
/// that should meet the engine's own out-of-memory error instead of a closed connection.
const CLIENT_BUFFERS_BASE: u64 = 16 * 1024 * 1024;

/// The smallest value that Redis accepts for `proto-max-bulk-len`.
const SMALLEST_BULK: u64 = 1024 * 1024;

/// One directive: its name and its values.
pub(crate) type Directive = (&'static str, Vec<String>);

/// The directives of one instance.
///
/// Memory is bounded on three levels, so that a greedy client meets an error or a closed connection before the kernel
/// ends the engine: `maxmemory` refuses writes, a client's own limits cut single buffers, and `maxmemory-clients`
/// disconnects the greediest client before the next command is executed.
pub(crate) fn directives(flavour: &Flavour, password_sha256: &str) -> Vec<Directive> {
    let one = |name, value: String| (name, vec![value]);
    let buffers = CLIENT_BUFFERS_BASE + flavour.memory_bytes / 4;
    let bulk = (buffers / 4 * 3).max(SMALLEST_BULK);
    // A tenant may read back the largest value that fits, so the reply buffer must hold all of the data.
    let replies = flavour.maxmemory_bytes() + flavour.memory_bytes / 4;
    let user = ["default", "reset", "on", &format!("#{password_sha256}"), "~*", "&*"]
        .into_iter()
        .chain(TENANT_RULES)
        .map(str::to_owned)
        .collect();
    vec![
        ("user", user),
        // The user above has a password, so protected mode would only forbid the addresses we publish.
        one("protected-mode", "no".into()),
        // Nothing is ever written: no snapshot, no log of commands, no fork that doubles the memory.
        one("save", String::new()),
        one("appendonly", "no".into()),
        one("maxmemory", flavour.maxmemory_bytes().to_string()),
        one("maxmemory-policy", "noeviction".into()),
        one("maxmemory-clients", buffers.to_string()),
        one("maxclients", flavour.connections.to_string()),
        one("proto-max-bulk-len", bulk.to_string()),
        one("client-query-buffer-limit", (bulk + SMALLEST_BULK).to_string()),
        (
            "client-output-buffer-limit",
            ["normal", &replies.to_string(), "0", "0", "replica", "1", "1", "1"]
                .into_iter()
                .chain(["pubsub", &replies.to_string(), &(replies / 4).to_string(), "30"])
                .map(str::to_owned)
                .collect(),
        ),
        // Its histograms count as used memory: some hundred different commands would eat half of a small tenant's data.
        one("latency-tracking", "no".into()),
        one("io-threads", "1".into()),
        one("jemalloc-bg-thread", "no".into()),
        one("tcp-backlog", "128".into()),
        one("tcp-keepalive", "60".into()),
        one("loglevel", "warning".into()),
        one("logfile", String::new()),
        one("daemonize", "no".into()),
    ]
}

/// The directives as arguments of the command line.
pub(crate) fn arguments(directives: Vec<Directive>) -> Vec<String> {
    directives.into_iter().flat_map(|(name, values)| std::iter::once(format!("--{name}")).chain(values)).collect()
}

/// The directives as a configuration file. No value that we make holds a quote or a backslash.
pub(crate) fn config_file(directives: &[Directive]) -> String {
    let mut text = String::new();
    for (name, values) in directives {
        text.push_str(name);
        for value in values {
            text.push_str(&format!(" \"{value}\""));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flavour(memory_bytes: u64) -> Flavour {
        Flavour { name: "redis".into(), memory_bytes, connections: 5, cpus: 0.5, pids: 64 }
    }

    fn number(directives: &[Directive], name: &str) -> u64 {
        directives.iter().find(|(n, _)| *n == name).unwrap().1[0].parse().unwrap()
    }

    #[test]
    fn data_and_client_buffers_fit_into_the_container() {
        for memory in [64 * 1024, 5 * 1024 * 1024, 512 * 1024 * 1024, 8 * 1024 * 1024 * 1024] {
            let flavour = flavour(memory);
            let directives = directives(&flavour, "00");
            let bounded = number(&directives, "maxmemory") + number(&directives, "maxmemory-clients");
            assert!(bounded + 16 * 1024 * 1024 <= flavour.container_bytes(), "{memory}");
        }
    }

    #[test]
    fn a_configuration_file_quotes_every_value() {
        let text = config_file(&[("save", vec![String::new()]), ("user", vec!["default".into(), "#ab".into()])]);
        assert_eq!(text, "save \"\"\nuser \"default\" \"#ab\"\n");
    }
}
