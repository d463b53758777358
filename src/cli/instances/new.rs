//! `new`: asks for an instance, goes on trying as told, and remembers it.

use std::time::Duration;

use getaredis_actors::domain::Timestamp;
use secrecy::SecretString;
use tokio::time::Instant;

use super::{
    super::{args::New, exit::Failure, output::Output},
    form,
};
use crate::client::{
    Answer, Client, ClientError, NewInstance, Retry,
    state::{Remembered, State, StateError},
};

/// Pause before a request whose answer was lost is sent again: enough for a server that restarts to listen again.
const LOST_PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(wish: &New, client: Client, output: &Output) -> Result<(), Failure> {
    let request = NewInstance {
        ttl: wish.ttl.map(|ttl| ttl.as_secs()),
        flavour: wish.flavour.clone(),
        label: wish.label.as_ref().map(ToString::to_string),
    };
    // One key for all tries, so that a lost answer never costs a second instance.
    let key = match &wish.idempotency_key {
        Some(key) => key.to_string(),
        None => uuid::Uuid::now_v7().simple().to_string(),
    };
    let token = wish.token()?;
    let answer = create(&client, &request, &key, token.as_ref(), wish.wait, output).await?;
    if let Err(e) = remember(&answer, &client) {
        output.note(&format!("{e}; the instance works, but rm and extend will need its token, which --json shows"));
    }
    form::write(&answer, wish.form, output)
}

/// Asks until there is an answer, it makes no sense to ask again, or `wait` is over. A lost answer is asked for once
/// more in any case.
async fn create(
    client: &Client,
    request: &NewInstance,
    key: &str,
    token: Option<&SecretString>,
    wait: Duration,
    output: &Output,
) -> Result<Answer, ClientError> {
    let give_up = Instant::now() + wait;
    let mut lost_before = false;
    loop {
        let error = match client.create(request, key, token).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let pause = match error.retry() {
            Retry::Lost if !lost_before => {
                lost_before = true;
                Some(LOST_PAUSE)
            }
            Retry::Lost => Some(LOST_PAUSE).filter(|pause| Instant::now() + *pause <= give_up),
            Retry::After(pause) => Some(pause).filter(|pause| Instant::now() + *pause <= give_up),
            Retry::Never => None,
        };
        let Some(pause) = pause else { return Err(error) };
        output.note(&format!("{error}; asking again"));
        tokio::time::sleep(pause).await;
    }
}

fn remember(answer: &Answer, client: &Client) -> Result<(), StateError> {
    let instance = &answer.instance;
    let Some(token) = instance.management_token.clone() else { return Ok(()) };
    let new = Remembered {
        id: instance.id.clone(),
        server: client.server().to_string(),
        token,
        max_expires_at: instance.max_expires_at,
    };
    State::of_user()?.update(Timestamp::now(), |all| {
        // A repeated key gives the same instance again.
        all.retain(|one| one.id != new.id);
        all.push(new);
    })
}
