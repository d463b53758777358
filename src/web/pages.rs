//! The pages and their assets, embedded in the binary.
//!
//! Their names carry no version, so browsers are told to ask each time; an `ETag` keeps that short.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, ETag, EntityTag, Header, IfNoneMatch},
    },
    middleware::Compress,
    web::{Path, ServiceConfig},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::{
    problem::{Kind, Problem},
    reading, resource,
};

/// The bytes of the hash in an `ETag`; half of a SHA-256 tells all versions of a file apart.
const TAG_BYTES: usize = 16;

/// The files; read from the source tree in a debug build.
#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

/// `/`, `/i/{id}`, `/admin` and everything under `/static/`. Compressed here and nowhere else: no answer that carries a
/// secret is, so that the length of none can be measured against a guess.
pub(super) fn routes(config: &mut ServiceConfig) {
    let methods = &["GET", "HEAD"];
    for (path, file) in [("/", "index.html"), ("/i/{id}", "index.html"), ("/admin", "admin.html")] {
        let page = reading().to(move |request: HttpRequest| async move { serve(&request, file) });
        config.service(resource(path, methods).wrap(Compress::default()).route(page));
    }
    config.service(resource("/static/{file:.*}", methods).wrap(Compress::default()).route(reading().to(asset)));
}

async fn asset(request: HttpRequest, file: Path<String>) -> Result<HttpResponse, Problem> {
    serve(&request, &file)
}

fn serve(request: &HttpRequest, name: &str) -> Result<HttpResponse, Problem> {
    let file = Static::get(name).ok_or_else(|| Problem::new(Kind::NotFound, "There is no such page here."))?;
    let tag = tag(&file);
    let fresh = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|one| one.weak_eq(&tag)),
        // `*` asks whether anything is there at all, which is not what a browser that has a copy wants to know.
        Ok(IfNoneMatch::Any) | Err(_) => false,
    };
    let mut response = HttpResponse::build(if fresh { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    response.insert_header(ETag(tag)).insert_header((header::CACHE_CONTROL, "no-cache"));
    if fresh {
        return Ok(response.finish());
    }
    Ok(response.content_type(mime(name)).body(file.data.into_owned()))
}

/// Weak, because the compressed answer has the same one.
fn tag(file: &EmbeddedFile) -> EntityTag {
    let hash = file.metadata.sha256_hash();
    EntityTag::new_weak(hash.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect())
}

fn mime(name: &str) -> String {
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    if mime.type_() == mime_guess::mime::TEXT { format!("{mime}; charset=utf-8") } else { mime.to_string() }
}
