//! Whether an address is on this machine, where nobody listens in, no proxy stands in between and nobody else gets.

use std::net::IpAddr;

use reqwest::Url;

/// Whether the host of an address is this machine.
#[must_use]
pub(crate) fn is_loopback(url: &Url) -> bool {
    is_loopback_host(url.host_str().unwrap_or_default())
}

/// Whether a host, as it stands in an address or without its brackets, is this machine.
#[must_use]
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_name_and_by_both_kinds_of_address() {
        for (url, is) in [
            ("http://localhost:1/x", true),
            ("http://127.0.0.2", true),
            ("https://[::1]:1", true),
            ("https://[::ffff:127.0.0.1]:1", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.org", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), is, "{url}");
        }
    }
}
