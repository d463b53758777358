//! Owns the cloud's archive of packages at http://198.51.100.1/packages, which stock images are told of. It has what the
//! first of them came with; without a droplet of such an image it is empty.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use actix_web::{HttpResponse, web};

/// A folder as its files are asked for, and how many more requests it fails to serve.
#[derive(Clone, Default)]
pub(super) struct Archive(Arc<(OnceLock<PathBuf>, AtomicU32)>);

impl Archive {
    /// Serves this folder from now on, unless there is one already: a cloud has droplets of one stock image.
    pub(super) fn serve(&self, folder: PathBuf) {
        self.0.0.get_or_init(|| folder);
    }

    /// Fails to serve the next `count` requests.
    pub(super) fn fail_next(&self, count: u32) {
        self.0.1.store(count, Ordering::Relaxed);
    }

    fn fails(&self) -> bool {
        self.0.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let is_inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        is_inside.then(|| fs::read(self.0.0.get()?.join(path)).ok())?
    }
}

/// Files of an archive, as apt asks for them.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/packages/{path:.*}", web::get().to(file));
}

async fn file(archive: web::Data<Archive>, path: web::Path<String>) -> HttpResponse {
    if archive.fails() {
        return HttpResponse::ServiceUnavailable().finish();
    }
    archive.read(&path).map_or_else(
        || HttpResponse::NotFound().finish(),
        |bytes| HttpResponse::Ok().content_type("application/octet-stream").body(bytes),
    )
}
