//! What happens to every request and every answer, whatever the route: foreign pages are refused, a panic becomes an
//! answer, errors of the libraries below become problems, and the hardening headers are added.

use std::{any::Any, panic::AssertUnwindSafe};

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderName, HeaderValue},
    middleware::Next,
};
use futures_util::FutureExt;
use tracing_actix_web::RequestId;

use super::{harden::harden, problem::Problem, request::refuse_foreign_pages};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The middleware.
pub(super) async fn edge<B>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<BoxBody>, Error>
where
    B: MessageBody + 'static,
{
    let response = match refuse_foreign_pages(request.method(), request.headers(), request.uri()) {
        Err(problem) => request.error_response(problem),
        Ok(()) => {
            // The request moves into the handler and may not be shared before it is routed, so after a panic there is
            // none to answer; an error is turned into an answer further out.
            let answering = AssertUnwindSafe(async move { next.call(request).await }).catch_unwind();
            match answering.await {
                Ok(Ok(response)) => response.map_into_boxed_body(),
                Ok(Err(error)) => return Err(as_problem(error)),
                Err(panic) => return Err(Problem::internal(format_args!("panic: {}", words(&*panic))).into()),
            }
        }
    };
    Ok(finish(response))
}

fn finish(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let explained = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    let mut response = if (status.is_client_error() || status.is_server_error()) && !explained {
        // The cause goes to the access log with the error that the framework had.
        let cause = response.response().error().map(ToString::to_string);
        let problem = Problem::from_status(status);
        let problem = if let Some(cause) = cause { problem.because(cause) } else { problem };
        response.error_response(problem)
    } else {
        response
    };
    let id = response.request().extensions().get::<RequestId>().map(ToString::to_string);
    if let Some(Ok(id)) = id.map(HeaderValue::try_from) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    harden(response.headers_mut());
    response
}

fn as_problem(error: Error) -> Error {
    if error.as_error::<Problem>().is_some() {
        return error;
    }
    Problem::from_status(error.as_response_error().status_code()).because(error).into()
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}
