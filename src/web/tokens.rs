//! Tokens: whose they are, and what a wrong one costs.
//!
//! Three kinds come in the same header: a management token opens one instance, the operator's token the console, and an
//! API token makes its holder a creator. Only digests are compared, which are equally long, in constant time. A wrong
//! token is never taken for none: it is refused, and the address that sends many of them is slowed down.

use std::{net::IpAddr, time::Duration};

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
};
use getaredis_actors::{domain::Creator, rate_limit::messages::WrongToken, supervision::ask};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    Web,
    client_ip::client_ip,
    problem::{Kind, Problem},
};

/// The rate limit looks into its memory only.
pub(super) const ADMIT_WITHIN: Duration = Duration::from_secs(2);

const BEARER: &str = "bearer";

/// Whom a request counts for.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) creator: Creator,
    /// Where it comes from, whoever it is.
    pub(super) address: IpAddr,
    /// Instances that the creator may have at once; 0 means no cap.
    pub(super) per_creator: u32,
}

/// The holder of the API token that the request carries, else the address that it comes from. Other schemes than
/// `Bearer` are a matter of some proxy in front and none of ours.
pub(super) async fn caller(request: &HttpRequest, web: &Web) -> Result<Caller, Problem> {
    let address = address(request, web);
    if !claims_a_token(request.headers()) {
        return Ok(Caller { creator: Creator::of(address), address, per_creator: web.settings.quotas.per_creator });
    }
    let token = bearer(request.headers());
    let known = token.and_then(|token| {
        let digest = Sha256::digest(token.expose_secret().as_bytes());
        web.settings.tokens.iter().find(|known| digest.as_slice().ct_eq(&known.sha256).into())
    });
    match known {
        Some(known) => {
            Ok(Caller { creator: Creator::Token(known.name.clone()), address, per_creator: known.per_creator })
        }
        None => {
            let detail = "This API token is not known here. Leave it out to be counted by your address.";
            Err(wrong(request, web, detail).await)
        }
    }
}

/// Lets a request in that shows this token, or says what is wrong in the words of `detail`. To show none is no guess.
pub(super) async fn open(
    request: &HttpRequest,
    web: &Web,
    token: Option<SecretString>,
    digest: &[u8; 32],
    detail: &'static str,
) -> Result<(), Problem> {
    let Some(token) = token else { return Err(Problem::new(Kind::Unauthorized, detail)) };
    let right: bool = Sha256::digest(token.expose_secret().as_bytes()).as_slice().ct_eq(digest).into();
    if right { Ok(()) } else { Err(wrong(request, web, detail).await) }
}

/// What a wrong token is answered with.
async fn wrong(request: &HttpRequest, web: &Web, detail: &'static str) -> Problem {
    match ask(&web.doors.wrong_token, WrongToken { address: address(request, web) }, ADMIT_WITHIN).await {
        Ok(Ok(())) => Problem::new(Kind::Unauthorized, detail),
        Ok(Err(refused)) => Problem::of_refused(&refused),
        Err(error) => Problem::of_ask(error, "rate limit"),
    }
}

fn address(request: &HttpRequest, web: &Web) -> IpAddr {
    client_ip(request.headers(), request.peer_addr().map(|peer| peer.ip()), &web.settings.trusted_proxies)
}

/// The token of `Authorization: Bearer …`. Anything else, or more than one, is none.
pub(super) fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let (Some(only), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(BEARER) && !token.is_empty()).then(|| token.into())
}

/// Whether any `Authorization` says `Bearer`, however badly.
fn claims_a_token(headers: &HeaderMap) -> bool {
    let schemes = headers
        .get_all(header::AUTHORIZATION)
        .map(|value| value.as_bytes().trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default());
    schemes.into_iter().any(|scheme| scheme.eq_ignore_ascii_case(BEARER.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(header::HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        let token =
            |value: &str| bearer(&headers(&[("authorization", value)])).map(|token| token.expose_secret().to_owned());
        for value in ["Bearer gar_x", "bearer gar_x", "BEARER   gar_x ", " Bearer gar_x"] {
            assert_eq!(token(value).as_deref(), Some("gar_x"), "{value}");
        }
        for value in ["", "Bearer", "Bearer ", "gar_x", "Basic gar_x", "Bearergar_x", "Bearer \u{e9}"] {
            assert_eq!(token(value), None, "{value}");
        }
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
        assert!(bearer(&twice).is_none());
    }

    #[test]
    fn whoever_says_bearer_claims_a_token_and_nobody_else_does() {
        let claims = |values: &[&str]| {
            claims_a_token(&headers(&values.iter().map(|value| ("authorization", *value)).collect::<Vec<_>>()))
        };
        for values in [&["Bearer x"][..], &["bearer"], &["BEARER  "], &["Basic x", "Bearer y"], &["Bearer \u{e9}"]] {
            assert!(claims(values), "{values:?}");
        }
        for values in [&[][..], &[""], &["Basic Bearer"], &["Bearergar_x"], &["Digest x"]] {
            assert!(!claims(values), "{values:?}");
        }
    }
}
