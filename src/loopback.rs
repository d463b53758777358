//! Whether an address is on this machine, where nobody listens in and no proxy stands in between.

use std::net::IpAddr;

use reqwest::Url;

/// Whether the host of an address is this machine.
#[must_use]
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
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
            ("http://10.0.0.1", false),
            ("http://localhost.example.org", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), is, "{url}");
        }
    }
}
