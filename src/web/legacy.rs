//! `POST /instance`: what the program of 2015 answered, for scripts that still ask it.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::{Web, body::CreateBody, instances::make, problem::Problem};

/// The old answer; the port was a text.
#[derive(Serialize)]
struct OldAnswer {
    #[serde(rename = "IP")]
    ip: String,
    port: String,
    password: String,
}

/// It never read a body, so whatever is sent along is left alone.
pub(super) async fn create(web: Data<Web>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let created = make(&web, &request, CreateBody::default(), None).await?.instance;
    let at = created.endpoint.ok_or_else(|| Problem::internal("a created instance without an endpoint"))?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(OldAnswer {
        ip: at.address.to_string(),
        port: at.port.to_string(),
        password: web.master_key.password(&created.id, created.rotation).expose_secret().to_owned(),
    }))
}
