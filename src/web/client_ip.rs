//! Who is at the other end: the one place that decides which address a request counts for.
//!
//! Only `X-Forwarded-For` is read, and only from trusted proxies, from right to left. `Forwarded` (RFC 7239) is not:
//! a proxy that writes only one of the two passes the other one through as its client wrote it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client: the rightmost one that is not one of our proxies.
///
/// Each proxy appends whom it heard the request from, so an entry is as trustworthy as the one to the right of it. An
/// entry that is no address ends the walk: the proxy that wrote it is then the best that is known. `peer` is missing on
/// sockets without addresses only; all their clients are one.
pub(super) fn client_ip(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut known = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.to_canonical());
    // Several header lines are one list, in their order.
    let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
    let mut entries = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("not text").rsplit(','));
    while is_trusted(&known) {
        match entries.next().map(|entry| address(entry.trim())) {
            Some(Some(address)) => known = address,
            Some(None) | None => break,
        }
    }
    known
}

/// The address of an entry: bare, with a port, or an IPv6 address in brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    entry.parse().ok().or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        map
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec();
        client_ip(&headers(lines), Some(peer.parse().unwrap()), &trusted).to_string()
    }

    #[test]
    fn the_rightmost_untrusted_entry_of_a_trusted_proxy_is_the_client() {
        for (peer, lines, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.2.3.4"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1,10.2.3.4"], "198.51.100.1"),
            ("10.0.0.1", &["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
            // Ports and brackets.
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            // Mapped addresses are the addresses that they map, for trust too.
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("::ffff:203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            // What is no address ends the walk at the proxy that wrote it.
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, "], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, _hidden, 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", &["198.51.100.1, \u{e9}"], "10.0.0.1"),
            ("10.0.0.1", &["[198.51.100.1]"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:99999"], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} with {lines:?}");
        }
    }

    #[test]
    fn a_request_without_a_peer_believes_no_header() {
        assert_eq!(client_ip(&headers(&["198.51.100.1"]), None, &[]).to_string(), "0.0.0.0");
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_never_believed(
            peer: IpAddr, lines in proptest::collection::vec("[0-9a-f.:, \\[\\]]{0,60}", 0..4),
        ) {
            let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
            prop_assume!(!trusted[0].contains(&peer.to_canonical()));
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(client_ip(&headers(&lines), Some(peer), &trusted), peer.to_canonical());
        }

        #[test]
        fn what_a_client_sends_along_changes_nothing_behind_an_honest_proxy(
            real: std::net::Ipv4Addr, sent in "[ -~]{0,80}",
        ) {
            let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
            prop_assume!(!trusted[0].contains(&IpAddr::V4(real)));
            let line = format!("{sent}, {real}");
            let found = client_ip(&headers(&[&line]), Some("10.0.0.1".parse().unwrap()), &trusted);
            prop_assert_eq!(found, IpAddr::V4(real));
        }

        #[test]
        fn no_header_whatever_breaks_the_walk(line in "\\PC{0,80}") {
            let value = HeaderValue::from_bytes(line.as_bytes());
            prop_assume!(value.is_ok());
            let mut map = HeaderMap::new();
            map.append(X_FORWARDED_FOR, value.unwrap());
            client_ip(&map, Some("10.0.0.1".parse().unwrap()), &["0.0.0.0/0".parse().unwrap()]);
        }
    }
}
