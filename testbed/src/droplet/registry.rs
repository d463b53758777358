//! Owns the cloud's registry at 10.118.0.1:5000: `redis:7`, for pulling only. Droplets' engines use it as their mirror.

use std::{fs, path::Path};

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Error;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// One image of one layer, as `testbed/image redis` makes it.
pub(super) struct Registry {
    manifest: Vec<u8>,
    manifest_digest: String,
    config: Vec<u8>,
    config_digest: String,
    layer: Vec<u8>,
    layer_digest: String,
}

impl Registry {
    /// Reads the image in `folder`.
    pub(super) fn of(folder: &Path) -> Result<Self, Error> {
        let read = |name: &str| fs::read(folder.join(name)).map_err(Error::io(format!("{name} of the image redis")));
        let (config, layer) = (read("config.json")?, read("layer.tar")?);
        let config_digest = digest(&config);
        // A layer that is not compressed is named in the configuration by its own digest.
        let layer_digest = serde_json::from_slice::<Value>(&config)
            .ok()
            .and_then(|config| config["rootfs"]["diff_ids"][0].as_str().map(str::to_owned))
            .ok_or_else(|| Error::Failed {
                program: "the image redis".to_owned(),
                said: "names no layer".to_owned(),
            })?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": blob("application/vnd.docker.container.image.v1+json", &config, &config_digest),
            "layers": [blob("application/vnd.docker.image.rootfs.diff.tar", &layer, &layer_digest)],
        })
        .to_string()
        .into_bytes();
        let manifest_digest = digest(&manifest);
        Ok(Self { manifest, manifest_digest, config, config_digest, layer, layer_digest })
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn blob(kind: &str, bytes: &[u8], digest: &str) -> Value {
    json!({"mediaType": kind, "size": bytes.len(), "digest": digest})
}

/// The routes of the distribution protocol that `docker pull` uses.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/v2/", web::get().to(HttpResponse::Ok));
    config.route("/v2/library/redis/manifests/{reference}", web::route().to(manifest));
    config.route("/v2/library/redis/blobs/{digest}", web::route().to(blobs));
}

async fn manifest(registry: web::Data<Registry>, reference: web::Path<String>) -> HttpResponse {
    if *reference != "7" && *reference != registry.manifest_digest {
        return HttpResponse::NotFound().json(json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}));
    }
    HttpResponse::Ok()
        .content_type(MANIFEST)
        .insert_header(("Docker-Content-Digest", registry.manifest_digest.clone()))
        .body(registry.manifest.clone())
}

async fn blobs(registry: web::Data<Registry>, digest: web::Path<String>) -> HttpResponse {
    let bytes = match digest.as_str() {
        asked if asked == registry.config_digest => registry.config.clone(),
        asked if asked == registry.layer_digest => registry.layer.clone(),
        _ => return HttpResponse::NotFound().json(json!({"errors": [{"code": "BLOB_UNKNOWN", "message": "unknown"}]})),
    };
    HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header(("Docker-Content-Digest", digest.into_inner()))
        .body(bytes)
}
