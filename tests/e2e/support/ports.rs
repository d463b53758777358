//! Ports for servers that cannot choose one themselves.

use std::net::TcpListener;

/// Below what Linux gives away by itself (`ip_local_port_range`), to connections and to whoever asks for any port. So
/// between here and the server's start hardly anybody takes it.
const PORTS: std::ops::Range<u16> = 20_000..32_768;

/// A port of the loopback address that nobody listens on.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
