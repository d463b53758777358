//! What every request passes: faults, the token, the limits of requests, the account, and the log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    web::{Bytes, Data, Json, Query},
};
use jiff::Timestamp;
use socket2::Socket;

use super::{
    calls::{Call, Calls},
    faults::{Fault, Script, When},
    machines::Machines,
    rates::{Rates, Standing},
    world::{Effect, Refusal, Reply, Request, World},
};

/// The connection that a request came in on, to be cut.
pub(super) struct Line(pub(super) Socket);

/// Everything that requests share.
pub(super) struct Gate {
    pub(super) base: String,
    pub(super) token: String,
    /// From the order of a droplet until its machine begins to boot.
    pub(super) activation: Mutex<Duration>,
    pub(super) world: Mutex<World>,
    pub(super) rates: Mutex<Rates>,
    pub(super) script: Script,
    pub(super) calls: Calls,
    pub(super) begun: Instant,
    pub(super) machines: Arc<dyn Machines>,
    /// Where machines live; they outlive the worker that served their order.
    pub(super) runtime: tokio::runtime::Handle,
}

impl Gate {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the request as far as it gets, and says how the limits stand if it got that far.
    fn serve(self: &Arc<Self>, request: &HttpRequest, body: &[u8]) -> (Reply, Option<Standing>) {
        let refused = |status| {
            let refusal = Refusal::of(status);
            Reply { status, body: Some(refusal.body()) }
        };
        let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if bearer.and_then(|value| value.strip_prefix("Bearer ")) != Some(&self.token) {
            return (refused(401), None);
        }
        let standing = self.rates.lock().unwrap_or_else(PoisonError::into_inner).ask(self.begun.elapsed());
        if standing.wait.is_some() {
            return (refused(429), Some(standing));
        }
        let query = Query::<BTreeMap<String, String>>::from_query(request.query_string());
        let request = Request {
            method: request.method().as_str(),
            path: request.path(),
            query: query.map(Query::into_inner).unwrap_or_default(),
            body,
            base: &self.base,
        };
        let (reply, effects) = self.world().serve(&request);
        for effect in effects {
            self.runtime.spawn(Arc::clone(self).carry_out(effect));
        }
        (reply, Some(standing))
    }

    async fn carry_out(self: Arc<Self>, effect: Effect) {
        match effect {
            Effect::Boot { action, order } => {
                let activation = *self.activation.lock().unwrap_or_else(PoisonError::into_inner);
                tokio::time::sleep(activation).await;
                let droplet = order.id;
                let addresses = self.machines.boot(order).await.ok();
                if !self.world().booted(action, droplet, addresses) {
                    // It was deleted while it booted.
                    return self.machines.destroy(droplet).await;
                }
                self.machines.powered_itself_off(droplet).await;
                self.world().powered_itself_off(droplet);
            }
            Effect::Destroy { droplet } => self.machines.destroy(droplet).await,
            Effect::Power { action, droplet, power } => {
                let well = self.machines.power(droplet, power).await.is_ok();
                self.world().done(action, well);
            }
            Effect::Snapshot { action, droplet, image } => {
                let well = self.machines.snapshot(droplet, image).await.is_ok();
                self.world().done(action, well);
            }
        }
    }
}

/// Serves whatever is asked.
pub(super) async fn handle(request: HttpRequest, body: Bytes, gate: Data<Arc<Gate>>) -> HttpResponse {
    let (method, path) = (request.method().as_str().to_owned(), request.uri().to_string());
    let fault = gate.script.strike(&method, request.path());
    if let Some(fault) = &fault {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    let struck = |fault: &Fault| (fault.drop || fault.status.is_some()).then(|| fault.clone());
    let instead = fault.as_ref().and_then(struck);
    let served = match &instead {
        Some(Fault { when: When::Before, .. }) => None,
        _ => Some(gate.serve(&request, &body)),
    };
    let cut = instead.as_ref().is_some_and(|fault| fault.drop);
    let response = match (instead, served) {
        (Some(fault), _) => refusal_of(&fault),
        (None, Some((reply, standing))) => answer(&reply, standing),
        (None, None) => HttpResponse::InternalServerError().finish(),
    };
    gate.calls.add(Call { method, path, status: (!cut).then(|| response.status().as_u16()) });
    if cut && let Some(Line(socket)) = request.conn_data() {
        // Whatever is written now goes nowhere.
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
    response
}

/// `POST /_faults`: adds a line to the script.
pub(super) async fn add_fault(fault: Json<Fault>, gate: Data<Arc<Gate>>) -> HttpResponse {
    gate.script.add(fault.into_inner());
    HttpResponse::NoContent().finish()
}

/// `GET /_faults`: what is left of the script.
pub(super) async fn faults(gate: Data<Arc<Gate>>) -> HttpResponse {
    HttpResponse::Ok().json(gate.script.left())
}

/// `DELETE /_faults`: forgets the script.
pub(super) async fn clear_faults(gate: Data<Arc<Gate>>) -> HttpResponse {
    gate.script.clear();
    HttpResponse::NoContent().finish()
}

/// `GET /_calls`: what was asked so far.
pub(super) async fn calls(gate: Data<Arc<Gate>>) -> HttpResponse {
    HttpResponse::Ok().json(gate.calls.all())
}

fn refusal_of(fault: &Fault) -> HttpResponse {
    let status = fault.status.unwrap_or(500);
    let refusal = fault.message.as_ref().map_or_else(|| Refusal::of(status), |text| Refusal::new(status, text));
    let mut response = build(status);
    if let Some(seconds) = fault.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    response.json(refusal.body())
}

fn answer(reply: &Reply, standing: Option<Standing>) -> HttpResponse {
    let mut response = build(reply.status);
    if let Some(standing) = standing {
        let reset = Timestamp::now().as_second() + seconds(standing.reset);
        response
            .insert_header(("ratelimit-limit", standing.limit))
            .insert_header(("ratelimit-remaining", standing.remaining))
            .insert_header(("ratelimit-reset", reset));
        if let Some(wait) = standing.wait {
            response.insert_header((header::RETRY_AFTER, seconds(wait)));
        }
    }
    match &reply.body {
        Some(body) => response.json(body),
        None => response.finish(),
    }
}

fn build(status: u16) -> HttpResponseBuilder {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Whole seconds, and none too few.
fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}
