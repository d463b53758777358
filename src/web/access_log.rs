//! One line for every request, and the span that everything said on its behalf stands in.
//!
//! Never a query string, a token or a body; the client's address is ours to judge, not the proxy headers'.

use std::time::{Duration, Instant};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    web::Data,
};
use tracing::{Span, field::Empty};
use tracing_actix_web::{RequestId, RootSpanBuilder};

use super::{Web, client_ip::client_ip, problem::Problem};

/// The most bytes of a path that are logged; ours are far shorter.
const LONGEST_PATH: usize = 200;

/// When the request came in.
struct Arrived(Instant);

/// As a number that logs can be searched by; a wider one is written as text.
fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the span of a request and ends it with its line.
pub(super) struct AccessLog;

impl RootSpanBuilder for AccessLog {
    fn on_request_start(request: &ServiceRequest) -> Span {
        request.extensions_mut().insert(Arrived(Instant::now()));
        let trusted = request.app_data::<Data<Web>>().map(|web| web.settings.trusted_proxies.as_slice());
        let peer = request.peer_addr().map(|peer| peer.ip());
        let client = client_ip(request.headers(), peer, trusted.unwrap_or_default());
        let path = request.path();
        let path = path.get(..LONGEST_PATH).unwrap_or(path);
        let id = request.extensions().get::<RequestId>().map(ToString::to_string);
        tracing::info_span!("http", method = %request.method(), path, %client, request_id = id, status = Empty)
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let (status, error, ms, routine) = match outcome {
            Ok(response) => {
                let arrived = response.request().extensions().get::<Arrived>().map(|arrived| arrived.0.elapsed());
                let path = response.request().path();
                let routine = path.starts_with("/static/") || matches!(path, "/livez" | "/readyz" | "/metrics");
                (response.status(), response.response().error(), arrived.map(whole_millis), routine)
            }
            Err(error) => (error.as_response_error().status_code(), Some(error), None, false),
        };
        let cause = error.map(|error| match error.as_error::<Problem>() {
            Some(problem) => problem.cause().map(str::to_owned),
            None => Some(error.to_string()),
        });
        let cause = cause.flatten();
        let status = status.as_u16();
        span.record("status", status);
        let _in_span = span.enter();
        match status {
            500 => tracing::error!(status, ms, cause, "http.answered"),
            501.. => tracing::warn!(status, ms, cause, "http.answered"),
            _ if routine => tracing::debug!(status, ms, cause, "http.answered"),
            _ => tracing::info!(status, ms, cause, "http.answered"),
        }
    }
}
