//! Owns the thread that serves what a provider offers inside a cloud: metadata, name server, registry, archive.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::mpsc,
    thread,
};

use actix_web::{App, HttpServer, dev::ServerHandle, rt, web};

use super::{
    Error, Network,
    archive::{self, Archive},
    cloud::{METADATA, PRIVATE_GATEWAY, PUBLIC_GATEWAY},
    dns,
    metadata::{self, Metadata},
    registry::{self, Registry},
};

/// The running services. Dropping them ends their thread and closes their sockets, which would else hold the network.
pub(super) struct Services {
    server: ServerHandle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Services {
    pub(super) fn start(
        network: &Network,
        metadata: Metadata,
        images: Registry,
        packages: Archive,
    ) -> Result<Self, Error> {
        let tcp = |address: Ipv4Addr, port| TcpListener::bind(SocketAddr::from((address, port)));
        let sockets = network.inside(|| {
            let names = UdpSocket::bind((PUBLIC_GATEWAY, 53))?;
            names.set_nonblocking(true)?;
            Ok((tcp(METADATA, 80)?, tcp(PRIVATE_GATEWAY, 5000)?, tcp(PUBLIC_GATEWAY, 80)?, names))
        });
        let (metadata_socket, registry_socket, archive_socket, names) =
            sockets.map_err(Error::io("the cloud's services"))?;
        let (started, start) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (metadata, images, packages) =
                (web::Data::new(metadata), web::Data::new(images), web::Data::new(packages));
            rt::System::new().block_on(async move {
                let serve = || -> io::Result<_> {
                    let facts = metadata.clone();
                    let app = move || {
                        let (facts, images, packages) = (facts.clone(), images.clone(), packages.clone());
                        App::new()
                            .app_data(facts)
                            .app_data(images)
                            .app_data(packages)
                            .configure(metadata::routes)
                            .configure(registry::routes)
                            .configure(archive::routes)
                    };
                    let server = HttpServer::new(app).workers(1).disable_signals();
                    let server = server.listen(metadata_socket)?.listen(registry_socket)?.listen(archive_socket)?.run();
                    Ok((server, tokio::net::UdpSocket::from_std(names)?))
                };
                match serve() {
                    Ok((server, names)) => {
                        rt::spawn(dns::serve(names));
                        let _ = started.send(Ok(server.handle()));
                        if let Err(error) = server.await {
                            tracing::error!(%error, "the cloud's services ended");
                        }
                    }
                    Err(error) => _ = started.send(Err(error)),
                }
            });
        });
        let server = start.recv().unwrap_or_else(|_| Err(io::Error::other("their thread ended")));
        Ok(Self { server: server.map_err(Error::io("the cloud's services"))?, thread: Some(thread) })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // The command is sent when the future is made; its answer is the end of the thread.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
