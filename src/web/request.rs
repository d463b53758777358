//! What a request says about itself: its idempotency key, and the page it was sent from.

use actix_web::http::{
    Method, Uri,
    header::{self, HeaderMap, HeaderName},
    uri::Authority,
};
use getaredis_actors::domain::IdempotencyKey;

use super::problem::{Kind, Problem};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The `Idempotency-Key`, if one was sent.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else { return Ok(None) };
    let refuse = |why| Err(Problem::invalid("Idempotency-Key", why));
    if values.next().is_some() {
        return refuse("There may be one Idempotency-Key only.");
    }
    match value.to_str().ok().map(IdempotencyKey::parse) {
        Some(Ok(key)) => Ok(Some(key)),
        Some(Err(_)) | None => refuse("An Idempotency-Key must be 1 to 128 visible ASCII characters."),
    }
}

/// Keeps web pages of others from acting in their visitors' names: a browser would send such a request from the
/// visitor's address, and the quota of that address would pay for it. Programs that are no browser send neither header.
///
/// `Sec-Fetch-Site` comes first because it is right behind a proxy that changes `Host` too, and no page can forge it.
pub(super) fn refuse_foreign_pages(method: &Method, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) {
        return Ok(());
    }
    let own = match (headers.get(SEC_FETCH_SITE), headers.get(header::ORIGIN)) {
        (Some(site), _) => matches!(site.as_bytes(), b"same-origin" | b"none"),
        (None, Some(_)) => own_origin(headers, uri, &[]),
        (None, None) => true,
    };
    if own { Ok(()) } else { Err(Problem::new(Kind::Forbidden, "A web page of another origin may not do this.")) }
}

/// Whether `Origin`, if there is one, is that of this server's own pages or one of `allowed`.
pub(super) fn own_origin(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN);
    let Some(origin) = origins.next() else { return true };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
    if allowed.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let ours = host.or_else(|| uri.authority().map(Authority::as_str));
    let split = |text: &str| {
        let authority: Authority = text.parse().ok()?;
        Some((authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(default_port)))
    };
    split(authority).is_some_and(|theirs| Some(theirs) == ours.and_then(split))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn an_idempotency_key_is_one_to_128_visible_ascii_characters() {
        let longest = "k".repeat(128);
        for value in ["k", "a-b_c.d~", &longest] {
            let key = idempotency_key(&headers(&[("idempotency-key", value)])).unwrap();
            assert_eq!(key.unwrap().as_str(), value);
        }
        for value in ["", "a b", "\u{e9}", &"k".repeat(129)] {
            assert!(idempotency_key(&headers(&[("idempotency-key", value)])).is_err(), "{value}");
        }
        assert!(idempotency_key(&headers(&[("idempotency-key", "a"), ("idempotency-key", "a")])).is_err());
        assert!(idempotency_key(&headers(&[])).unwrap().is_none());
    }

    #[test]
    fn only_the_own_page_and_what_is_no_browser_may_change_something() {
        let may = |method: Method, pairs: &[(&'static str, &str)]| {
            refuse_foreign_pages(&method, &headers(pairs), &Uri::from_static("/v1/instances")).is_ok()
        };
        let host = ("host", "redis.example:8080");
        for (pairs, expected) in [
            (&[host][..], true),
            (&[host, ("origin", "http://redis.example:8080")], true),
            (&[host, ("origin", "https://redis.example:8080")], true),
            (&[host, ("origin", "http://REDIS.example:8080")], true),
            (&[host, ("origin", "http://redis.example")], false),
            (&[host, ("origin", "https://evil.example")], false),
            (&[host, ("origin", "https://redis.example:8080.evil.example")], false),
            (&[host, ("origin", "null")], false),
            (&[host, ("origin", "")], false),
            (&[host, ("origin", "file://redis.example:8080")], false),
            (&[("origin", "https://evil.example")], false),
            (&[host, ("origin", "http://redis.example:8080"), ("origin", "https://evil.example")], false),
            (&[("host", "redis.example"), ("origin", "https://redis.example")], true),
            (&[("host", "redis.example:443"), ("origin", "https://redis.example")], true),
            (&[("host", "redis.example:443"), ("origin", "http://redis.example")], false),
            (&[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")], true),
            // What the browser itself says of the page.
            (&[host, ("sec-fetch-site", "same-origin")], true),
            (&[host, ("sec-fetch-site", "none")], true),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (&[host, ("sec-fetch-site", "cross-site")], false),
            (&[host, ("sec-fetch-site", "cross-site"), ("origin", "http://redis.example:8080")], false),
            (&[("host", "upstream:1"), ("sec-fetch-site", "same-origin"), ("origin", "https://public.example")], true),
        ] {
            for method in [Method::POST, Method::PATCH, Method::DELETE, Method::PUT] {
                assert_eq!(may(method, pairs), expected, "{pairs:?}");
            }
            assert!(
                may(Method::GET, pairs),
                "reading is answered, and its answer kept from foreign pages by the browser"
            );
        }
    }

    #[test]
    fn a_listed_origin_is_as_good_as_the_own() {
        let listed = ["https://console.example".to_owned(), "http://localhost:5173/".to_owned()];
        let uri = Uri::from_static("/v1/admin/feed");
        let good = |origin| own_origin(&headers(&[("host", "h:1"), ("origin", origin)]), &uri, &listed);
        assert!(good("https://console.example"));
        assert!(good("https://Console.Example"));
        assert!(good("http://localhost:5173"));
        assert!(good("http://h:1"));
        assert!(!good("http://console.example"));
        assert!(!good("https://console.example.evil.example"));
    }
}
