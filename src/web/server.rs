//! The listening server around the application: its limits against clients that are slow or silent.

use std::{any::Any, io, net::TcpListener, time::Duration};

use actix_web::{
    HttpServer,
    dev::{Extensions, Server},
    rt::net::TcpStream,
    web::Data,
};
use socket2::SockRef;

use super::{Web, app};

/// A request's head is a few hundred bytes; who needs longer for it keeps a connection for nothing.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Longer than the page waits between two questions, so that they share a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A client that takes nothing of what it was sent for this long is cut off by the kernel: nothing else ends a
/// connection whose answer does not fit into the socket's buffer.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// What a create that is under way may take at a stop; after [`Web::shut_down`] no session keeps the server waiting.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// Serves `web` on `listeners` with that many worker threads (0: one for each core). It handles no signals: whoever
/// starts it stops it through its handle, after [`Web::shut_down`].
///
/// # Errors
/// When a listener cannot be registered.
pub fn serve(web: Data<Web>, listeners: Vec<TcpListener>, workers: usize) -> io::Result<Server> {
    let mut server = HttpServer::new(move || app(web.clone()))
        .disable_signals()
        .client_request_timeout(HEAD_WITHIN)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(STOP_WITHIN.as_secs())
        .on_connect(bound_unread_answers);
    if workers > 0 {
        server = server.workers(workers);
    }
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

fn bound_unread_answers(connection: &dyn Any, _: &mut Extensions) {
    #[cfg(target_os = "linux")]
    if let Some(stream) = connection.downcast_ref::<TcpStream>()
        && let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(TAKEN_WITHIN))
    {
        tracing::debug!(error = %error, "http.no_user_timeout");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[actix_web::test]
    async fn a_connection_whose_answer_is_not_taken_is_bounded_by_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        bound_unread_answers(&stream, &mut Extensions::new());
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(TAKEN_WITHIN));
    }
}
