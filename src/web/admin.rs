//! Who is the operator, and `GET /v1/admin/actors`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use secrecy::SecretString;
use serde_json::json;

use super::{
    Web,
    problem::{Kind, Problem},
    tokens::{bearer, open},
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

/// Lets the operator in.
pub(super) async fn admit(request: &HttpRequest, web: &Web, token: Option<SecretString>) -> Result<(), Problem> {
    let digest = configured(web)?;
    open(request, web, token, &digest, "The operator's token is missing or wrong.").await
}

/// `GET /v1/admin/actors`
pub(super) async fn actors(web: Data<Web>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    admit(&request, &web, bearer(request.headers())).await?;
    Ok(HttpResponse::Ok().json(json!({"actors": (web.vitals.actors)()})))
}
