//! `[http]`: where the server listens and whom it believes.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::{
    kinds::{list, network, socket, whole, yes_or_no},
    reader::{Reader, read_section},
};

/// How HTTP is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where to listen; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Threads; 0 means one for each core.
    pub workers: usize,
    /// Whether `/metrics` answers.
    pub metrics: bool,
}

impl Http {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(read_section!(reader, "http" => Http {
            bind: socket,
            trusted_proxies: list(network),
            max_body_bytes: whole(256..=1024 * 1024),
            workers: whole(0..=1024),
            metrics: yes_or_no,
        }))
    }
}
