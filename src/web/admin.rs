//! Who is the operator, and `GET /v1/admin/actors`.

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web::Data};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    Web,
    problem::{Kind, Problem},
    request::bearer,
};

/// The digest that an operator's token must have, if there is an operator at all.
pub(super) fn configured(web: &Web) -> Result<[u8; 32], Problem> {
    web.settings.admin_token_sha256.ok_or_else(|| {
        Problem::new(
            Kind::Forbidden,
            "The operator's pages are switched off. To use them, set admin.token_sha256 to the SHA-256 of a token.",
        )
    })
}

/// Whether this token has that digest. Digests are compared, which are equally long.
pub(super) fn admit(digest: &[u8; 32], token: Option<SecretString>) -> Result<(), Problem> {
    let right = token.is_some_and(|token| {
        let theirs = Sha256::digest(token.expose_secret().as_bytes());
        theirs.as_slice().ct_eq(digest).into()
    });
    if right { Ok(()) } else { Err(Problem::new(Kind::Unauthorized, "The operator's token is missing or wrong.")) }
}

fn operator(web: &Web, headers: &HeaderMap) -> Result<(), Problem> {
    admit(&configured(web)?, bearer(headers))
}

/// `GET /v1/admin/actors`
pub(super) async fn actors(web: Data<Web>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    operator(&web, request.headers())?;
    Ok(HttpResponse::Ok().json(json!({"actors": (web.vitals.actors)()})))
}
