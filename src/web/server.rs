//! The listening server around the application: its limits against clients that are slow or silent.
//!
//! Put together from actix's own parts as `actix_web::HttpServer` does it, because that one takes no other stream than
//! the socket itself, and what the codec refuses would then have no body.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_http::HttpService;
use actix_server::GracefulShutdownSignal;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    dev::{AppConfig, Server},
    rt::net::TcpStream,
    web::Data,
};
use socket2::SockRef;

use super::{Web, app, refusals::Explained};

/// A request's head is a few hundred bytes; who needs longer for it keeps a connection for nothing.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Longer than the page waits between two questions, so that they share a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A client that was answered before its body was read may finish sending for this long.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(1);
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
    let mut server = Server::build().disable_signals().shutdown_timeout(STOP_WITHIN.as_secs());
    if workers > 0 {
        server = server.workers(workers);
    }
    let stopping = server.graceful_shutdown_signal();
    for listener in listeners {
        let address = listener.local_addr()?;
        let (web, stopping) = (web.clone(), stopping.clone());
        let connections = move || connections(web.clone(), stopping.clone(), address, HEAD_WITHIN);
        server = server.listen(format!("http {address}"), listener, connections)?;
    }
    Ok(server.run())
}

/// What serves one connection after the other.
pub(super) fn connections(
    web: Data<Web>,
    stopping: GracefulShutdownSignal,
    address: SocketAddr,
    head_within: Duration,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = impl std::fmt::Debug, InitError = impl std::fmt::Debug>
{
    let app = app(web).into_factory().map_err(|error| error.error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(head_within)
        .client_disconnect_timeout(DISCONNECT_WITHIN)
        .local_addr(address)
        .on_connect_ext(|socket: &Explained<TcpStream>, connection| {
            connection.insert(socket.hung_up());
        })
        .h1(map_config(app, |()| AppConfig::default()));
    fn_service(|socket: TcpStream| async move {
        bound_unread_answers(&socket);
        let peer = socket.peer_addr().ok();
        Ok((Explained::new(socket, peer), peer))
    })
    .and_then(http)
}

fn bound_unread_answers(socket: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(socket).set_tcp_user_timeout(Some(TAKEN_WITHIN)) {
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
        bound_unread_answers(&stream);
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(TAKEN_WITHIN));
    }
}
