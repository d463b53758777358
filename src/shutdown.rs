//! When the server is told to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal as on};

/// Waits for SIGINT or SIGTERM and names it.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn signal() -> io::Result<&'static str> {
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}
