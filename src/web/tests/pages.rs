//! The pages and their assets.

use actix_web::http::Method;

use super::kit::{ID, Kit, get};

#[actix_web::test]
async fn every_page_is_html_that_loads_nothing_from_elsewhere() {
    for path in ["/", &format!("/i/{ID}"), "/admin", "/static/index.html"] {
        let answer = Kit::new().ask(get(path)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{path}"
        );
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert_ne!(answer.header("permissions-policy"), "");
    }
}

#[actix_web::test]
async fn a_page_that_is_known_is_not_sent_again() {
    let first = Kit::new().ask(get("/")).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\"") && tag.len() > 20, "{tag}");
    assert_eq!(first.header("cache-control"), "no-cache");
    let strong = tag.trim_start_matches("W/").to_owned();
    for known in [tag.clone(), format!("\"x\", {tag}"), strong] {
        let again = Kit::new().ask(get("/").insert_header(("if-none-match", known.clone()))).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{known}");
        assert_eq!((again.header("etag"), again.header("cache-control")), (tag.as_str(), "no-cache"));
        assert_ne!(again.header("content-security-policy"), "");
    }
    for other in ["\"x\"", "nonsense", "*"] {
        assert_eq!(Kit::new().ask(get("/").insert_header(("if-none-match", other))).await.status, 200, "{other}");
    }
    assert_ne!(Kit::new().ask(get("/admin")).await.header("etag"), tag);
}

#[actix_web::test]
async fn a_page_is_compressed_for_who_understands_it() {
    let plain = Kit::new().ask(get("/")).await;
    assert_eq!(plain.header("content-encoding"), "");
    let packed = Kit::new().ask(get("/").insert_header(("accept-encoding", "gzip, br"))).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.header("vary").eq_ignore_ascii_case("accept-encoding"));
    assert_eq!(packed.header("etag"), plain.header("etag"));
    assert!(packed.body.len() < plain.body.len());
    // What opens an instance is not.
    let secret = Kit::new().ask(super::kit::post("/v1/instances").insert_header(("accept-encoding", "gzip"))).await;
    assert_eq!((secret.status.as_u16(), secret.header("content-encoding")), (201, ""));
}

#[actix_web::test]
async fn nothing_outside_of_the_pages_is_served() {
    for path in [
        "/static/",
        "/static/none.js",
        "/static/../Cargo.toml",
        "/static/%2e%2e/Cargo.toml",
        "/static/..%2fCargo.toml",
        "/static//etc/passwd",
        "/index.html",
        "/i/",
        "/nothing",
        "/v1",
        "/v1/instances/",
    ] {
        let answer = Kit::new().ask(get(path)).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (404, "not-found"), "{path}");
    }
}

#[actix_web::test]
async fn pages_are_read_only() {
    for path in ["/", "/admin", "/static/index.html"] {
        let answer = Kit::new().ask(get(path).method(Method::POST)).await;
        assert_eq!((answer.status.as_u16(), answer.slug().as_str()), (405, "method-not-allowed"));
        assert_eq!(answer.header("allow"), "GET, HEAD");
        assert_eq!(Kit::new().ask(get(path).method(Method::HEAD)).await.status, 200);
    }
}
