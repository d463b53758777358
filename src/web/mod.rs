//! The HTTP edge: routes, who may do what, and the words of every answer.
//!
//! Owns the HTTP contract and nothing else: it reads requests, asks the brain through its [`Doors`] and writes down the
//! answer. Must not decide about instances, hosts or leases, must not wait for anything without a limit, and must never
//! log, cache or send to a third party what opens an instance. It forgets nothing on restart, because it keeps nothing
//! but the operators' open sessions.

mod access_log;
mod admin;
mod admin_feed;
mod admin_pool;
mod body;
mod capacity;
mod client_ip;
mod edge;
mod harden;
mod health;
mod instances;
mod legacy;
mod metrics;
mod pages;
mod problem;
mod refusals;
mod request;
mod server;
mod settings;
mod tokens;
mod views;

#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use actix_web::{
    App, Error, Resource, Route,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    guard,
    middleware::from_fn,
    web::{self, Data, ServiceConfig},
};
use getaredis_actors::{
    brain::Doors,
    domain::MasterKey,
    feed::messages::ActorView,
    ports::{Clock, Store, StoreError},
};
use tracing_actix_web::TracingLogger;

pub use server::serve;
pub use settings::{FeedSettings, TokenSettings, WebSettings};

use admin_feed::Sessions;
use metrics::Creates;
use problem::{Kind, Problem};

/// The database answers such small questions at once or is in trouble.
const STORE_WITHIN: Duration = Duration::from_secs(5);

/// How the supervised actors are, read from whatever supervises them.
pub struct Vitals {
    /// Every supervised actor, by name.
    pub actors: Box<dyn Fn() -> Vec<ActorView> + Send + Sync>,
    /// How long ago the actors' thread last gave a sign of life.
    pub pulse_age: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// Everything that the handlers need.
pub struct Web {
    doors: Doors,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    master_key: Arc<MasterKey>,
    vitals: Vitals,
    settings: WebSettings,
    sessions: Sessions,
    creates: Creates,
}

impl Web {
    /// Puts it together; opens nothing.
    #[must_use]
    pub fn new(
        doors: Doors,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        master_key: Arc<MasterKey>,
        vitals: Vitals,
        settings: WebSettings,
    ) -> Self {
        let sessions = Sessions::new(settings.feed.max_sessions);
        Self { doors, store, clock, master_key, vitals, settings, sessions, creates: Creates::new() }
    }

    /// Says that the server is about to stop: operators' sessions are closed with a close frame, no new one is let in,
    /// and `/readyz` says so. To be called before the server is stopped, which waits for open connections.
    pub fn shut_down(&self) {
        self.sessions.close();
    }

    /// Asks the store, within a limit.
    async fn stored<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
        let late = |_| Err(StoreError::Unavailable("no answer in time".to_owned()));
        tokio::time::timeout(STORE_WITHIN, answer).await.unwrap_or_else(late).map_err(Problem::of_store)
    }
}

/// The whole application: the routes behind what happens to every request.
pub fn app(
    web: Data<Web>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(web)
        .wrap(from_fn(edge::edge))
        .wrap(TracingLogger::<access_log::AccessLog>::new())
        .configure(routes)
}

fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/v1/instances", &["POST"]).route(web::post().to(instances::create)))
        .service(
            resource("/v1/instances/{id}", &["GET", "HEAD", "PATCH", "DELETE"])
                .route(reading().to(instances::show))
                .route(web::patch().to(instances::extend))
                .route(web::delete().to(instances::delete)),
        )
        .service(resource("/v1/capacity", &["GET", "HEAD"]).route(reading().to(capacity::show)))
        .service(resource("/v1/admin/actors", &["GET", "HEAD"]).route(reading().to(admin::actors)))
        .service(resource("/v1/admin/hosts", &["GET", "HEAD"]).route(reading().to(admin_pool::hosts)))
        .service(
            resource("/v1/admin/hosts/{name}/{deed:cordon|drain|uncordon}", &["POST"])
                .route(web::post().to(admin_pool::cordon)),
        )
        .service(resource("/v1/admin/scaling", &["GET", "HEAD"]).route(reading().to(admin_pool::scaling)))
        .service(resource("/v1/admin/scaling/pause", &["POST"]).route(web::post().to(admin_pool::pause)))
        .service(resource("/v1/admin/scaling/resume", &["POST"]).route(web::post().to(admin_pool::resume)))
        .service(resource("/v1/admin/feed", &["GET"]).route(web::get().to(admin_feed::open)))
        .service(resource("/instance", &["POST"]).route(web::post().to(legacy::create)))
        .service(resource("/livez", &["GET", "HEAD"]).route(reading().to(health::live)))
        .service(resource("/readyz", &["GET", "HEAD"]).route(reading().to(health::ready)))
        .service(resource("/metrics", &["GET", "HEAD"]).route(reading().to(metrics::show)))
        .configure(pages::routes)
        .default_service(web::to(|| async { Err::<&str, _>(nothing_here()) }));
}

/// A resource that says which methods it knows when it is asked with another one.
fn resource(path: &str, methods: &'static [&'static str]) -> Resource {
    web::resource(path)
        .default_service(web::to(move || async move { Err::<&str, _>(Problem::method_not_allowed(methods)) }))
}

/// GET, and HEAD wherever GET is.
fn reading() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn nothing_here() -> Problem {
    Problem::new(Kind::NotFound, "There is no such address here.")
}
