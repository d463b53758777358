//! A TCP door to the Docker Engine that can be shut or stuck: the engine goes away, or hangs, and comes back.

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use super::{SOON, engine, eventually};

/// How the door stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Everything goes through.
    Open,
    /// Whoever comes is let in, and nothing goes through.
    Stuck,
    /// Nobody is let in.
    Shut,
}

/// See the module's header. Shut when it is dropped.
pub struct EngineDoor {
    port: u16,
    way: watch::Sender<Way>,
    keeper: JoinHandle<()>,
}

impl EngineDoor {
    /// An open door on a free port.
    pub async fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (way, seen) = watch::channel(Way::Open);
        Self { port, way, keeper: tokio::spawn(keep(listener, seen)) }
    }

    /// Where the engine is, behind the door.
    pub fn endpoint(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection and refuses new ones.
    pub async fn shut(&self) {
        self.way.send_replace(Way::Shut);
        eventually("the engine's door is shut", SOON, async || {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await {
                Ok(_) => Err("it is open".to_owned()),
                Err(_) => Ok(()),
            }
        })
        .await;
    }

    /// Takes everything and answers nothing.
    pub fn jam(&self) {
        self.way.send_replace(Way::Stuck);
    }

    /// Lets everything through again. Connections that were stuck are cut.
    pub fn reopen(&self) {
        self.way.send_replace(Way::Open);
    }
}

impl Drop for EngineDoor {
    fn drop(&mut self) {
        self.way.send_replace(Way::Shut);
        self.keeper.abort();
    }
}

/// Sees to everybody who comes, until nobody can open the door any more.
async fn keep(mut listener: TcpListener, mut way: watch::Receiver<Way>) {
    let address = listener.local_addr().unwrap();
    let seen = way.clone();
    loop {
        tokio::select! {
            shut = way.wait_for(|way| *way == Way::Shut) => if shut.is_err() { return },
            accepted = listener.accept() => {
                if let Ok((visitor, _)) = accepted {
                    tokio::spawn(carry(visitor, seen.clone()));
                }
                continue;
            }
        }
        drop(listener);
        if way.wait_for(|way| *way != Way::Shut).await.is_err() {
            return;
        }
        listener = TcpListener::bind(address).await.unwrap();
    }
}

async fn carry(visitor: TcpStream, way: watch::Receiver<Way>) {
    let endpoint = engine::endpoint();
    if let Some(path) = endpoint.strip_prefix("unix://") {
        through(visitor, UnixStream::connect(path).await.unwrap(), way).await;
    } else {
        let address = endpoint.trim_start_matches("tcp://").to_owned();
        through(visitor, TcpStream::connect(address).await.unwrap(), way).await;
    }
}

async fn through(
    mut visitor: TcpStream,
    mut engine: impl AsyncRead + AsyncWrite + Unpin,
    mut way: watch::Receiver<Way>,
) {
    let changed = way.clone();
    tokio::select! {
        biased;
        _ = way.wait_for(|way| *way != Way::Open) => {}
        _ = copy_bidirectional(&mut visitor, &mut engine) => return,
    }
    // Held without a word as long as the door is stuck.
    let mut way = changed;
    let _ = way.wait_for(|way| *way != Way::Stuck).await;
}
