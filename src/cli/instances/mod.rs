//! The commands that speak to a server: `new`, `ls`, `show`, `rm` and `extend`.

mod form;
mod ls;
mod new;

use getaredis_actors::domain::{InstanceId, Timestamp};
use secrecy::SecretString;

use super::{
    args::{InstanceCommand, Which},
    exit::Failure,
    output::Output,
};
use crate::client::{
    Client, ClientError, Removed, Server,
    state::{Remembered, State},
};

/// The server that is asked when nobody says which.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

pub(super) async fn run(command: &InstanceCommand, server: Option<&Server>, output: &Output) -> Result<(), Failure> {
    match command {
        InstanceCommand::New(wish) => new::run(wish, client(server)?, output).await,
        InstanceCommand::Ls { json } => ls::run(*json, server, output).await,
        InstanceCommand::Show { which, form } => {
            let target = Target::find(which, server)?;
            let answer = target.forget_if_gone(target.client.show(&target.id, &target.token).await)?;
            form::write(&answer, *form, output)
        }
        InstanceCommand::Extend { which, ttl, form } => {
            let target = Target::find(which, server)?;
            let result = target.client.extend(&target.id, &target.token, ttl.as_secs()).await;
            form::write(&target.forget_if_gone(result)?, *form, output)
        }
        InstanceCommand::Rm { which } => {
            let target = Target::find(which, server)?;
            if target.forget_if_gone(target.client.remove(&target.id, &target.token).await)? == Removed::Stopping {
                output.note("its host does not answer at the moment; the server goes on until it is gone");
            }
            forget(&[&target.id]);
            Ok(())
        }
    }
}

/// A client of this server, or of the default one.
pub(super) fn client(server: Option<&Server>) -> Result<Client, Failure> {
    let server = match server {
        Some(server) => server.clone(),
        None => DEFAULT_SERVER.parse().map_err(Failure::Usage)?,
    };
    Client::new(server).map_err(|e| Failure::Unexpected(e.into()))
}

/// An instance, who has it, and the right to manage it.
struct Target {
    client: Client,
    id: InstanceId,
    token: SecretString,
}

impl Target {
    /// Finds the instance among those remembered here, by any unambiguous beginning of its id. One that is not
    /// remembered needs its whole id and its token.
    fn find(which: &Which, server: Option<&Server>) -> Result<Self, Failure> {
        let wanted = which.id.to_lowercase();
        let token = which.token()?;
        let remembered = State::of_user().and_then(|state| state.read());
        let all = match (remembered, &token) {
            (Ok(all), _) => all,
            // Nothing that is remembered is needed then.
            (Err(_), Some(_)) => Vec::new(),
            (Err(e), None) => return Err(e.into()),
        };
        let found: Vec<_> =
            all.iter().filter(|one| !wanted.is_empty() && one.id.as_str().starts_with(&wanted)).collect();
        // A server that was named is asked, and no other: what is remembered of others does not count then.
        let there: Vec<_> =
            found.into_iter().filter(|one| server.is_none_or(|s| s.to_string() == one.server)).collect();
        match there.as_slice() {
            [one] => Ok(Self {
                client: client(Some(&one.server.parse().map_err(Failure::Usage)?))?,
                id: one.id.clone(),
                token: token.unwrap_or_else(|| one.token.clone()),
            }),
            [] => Self::elsewhere(&wanted, token, server),
            several => {
                let ids: Vec<_> = several.iter().map(|one| one.id.as_str()).collect();
                Err(Failure::Usage(format!("{wanted} is the beginning of several ids: {}", ids.join(", "))))
            }
        }
    }

    fn elsewhere(id: &str, token: Option<SecretString>, server: Option<&Server>) -> Result<Self, Failure> {
        let id = InstanceId::parse(id)
            .map_err(|_| Failure::Unknown(format!("no instance that begins with {id:?} was made here")))?;
        let token = token.ok_or_else(|| {
            Failure::Unknown(format!(
                "{id} has ended, or was not made here; in that case give its token with --token or GETAREDIS_TOKEN"
            ))
        })?;
        Ok(Self { client: client(server)?, id, token })
    }

    /// What has ended need not be remembered.
    fn forget_if_gone<T>(&self, result: Result<T, ClientError>) -> Result<T, ClientError> {
        if result.as_ref().is_err_and(is_gone) {
            forget(&[&self.id]);
        }
        result
    }
}

/// Whether the server knows for sure that the instance is no more.
fn is_gone(error: &ClientError) -> bool {
    matches!(error.status(), Some(404 | 410))
}

/// Forgets instances. Failing to is no harm: the next `ls` tries again, and their time ends anyway.
fn forget(ids: &[&InstanceId]) {
    let keep = |one: &Remembered| !ids.contains(&&one.id);
    if let Ok(state) = State::of_user()
        && state.read().is_ok_and(|all| !all.iter().all(keep))
    {
        let _ = state.update(Timestamp::now(), |all| all.retain(keep));
    }
}
