//! When the server ends, and with which exit code.

use std::{fmt::Debug, io, process::ExitCode};

use anyhow::{Result, anyhow};
use getaredis_actors::supervision::Roster;
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

/// Waits until the process is to end: it is told to, or an actor without which it cannot work was given up.
///
/// # Errors
/// When `server`, which should serve for ever, ends before that.
pub async fn due<T: Debug>(roster: &Roster, server: impl Future<Output = T>) -> Result<ExitCode> {
    tokio::select! {
        signal = signal() => {
            tracing::info!(signal = signal?, "server.stopping");
            Ok(ExitCode::SUCCESS)
        }
        exit = roster.exit_requested() => {
            tracing::error!(actor = exit.name, cause = %exit.cause, "server.cannot_go_on");
            Ok(ExitCode::from(exit.code))
        }
        ended = server => Err(anyhow!("the HTTP server ended by itself: {ended:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc, time::Duration};

    use actix::{Actor, ActorContext, Context};
    use getaredis_actors::{
        answers_probe,
        domain::Timestamp,
        supervision::{Cradle, GiveUp, Spec, supervise},
    };

    use super::*;

    struct Doomed;

    impl Actor for Doomed {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    answers_probe!(Doomed);

    #[actix_web::test]
    async fn the_process_ends_with_code_1_when_an_actor_that_it_cannot_work_without_was_given_up() {
        let roster = Roster::new(Arc::new(|| Timestamp::UNIX_EPOCH));
        let indispensable = Spec::permanent("doomed").limits(0, Duration::from_secs(60)).give_up(GiveUp::ExitProcess);
        let _child = supervise(Cradle::new(), indispensable, &roster, |_| Doomed);
        assert_eq!(due(&roster, pending::<()>()).await.unwrap(), ExitCode::from(1));
    }

    #[actix_web::test]
    async fn a_server_that_ends_by_itself_is_an_error() {
        let roster = Roster::new(Arc::new(|| Timestamp::UNIX_EPOCH));
        let error = due(&roster, async { "the port is gone" }).await.unwrap_err();
        assert!(error.to_string().contains("the port is gone"), "{error}");
    }
}
