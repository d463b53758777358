//! `ls`: asks each server about what was made here, and forgets what has ended.

use futures_util::{StreamExt, stream};
use secrecy::ExposeSecret;

use super::{
    super::{
        exit::Failure,
        operator::table,
        output::{Output, printable, span},
    },
    client, forget, is_gone,
};
use crate::client::{
    Answer, ClientError, Server,
    state::{Remembered, State},
};

/// Questions that are asked at once.
const PARALLEL: usize = 8;

pub(super) async fn run(json: bool, server: Option<&Server>, output: &Output) -> Result<(), Failure> {
    let mut remembered = State::of_user()?.read()?;
    remembered.retain(|one| server.is_none_or(|server| server.to_string() == one.server));
    let answers: Vec<_> = stream::iter(&remembered).map(ask).buffered(PARALLEL).collect().await;

    let (mut live, mut gone, mut failed) = (Vec::new(), Vec::new(), None);
    for (one, answer) in remembered.iter().zip(answers) {
        match answer {
            Ok(answer) => live.push((one, answer)),
            Err(Failure::Client(e)) if is_gone(&e) => gone.push(&one.id),
            Err(failure) => {
                output.note(&format!("{}: {failure}", one.id));
                failed.get_or_insert(failure.exit());
            }
        }
    }
    forget(&gone);
    if json {
        let items: Vec<_> = live.iter().map(|(_, answer)| answer.json.expose_secret().trim()).collect();
        output.line(&format!("[{}]", items.join(",")))?;
    } else if !live.is_empty() {
        let names = ["ID", "STATE", "ADDRESS", "EXPIRES IN", "SERVER", "LABEL"];
        output.text(&printable(&table(names, rows(&live))))?;
    } else if failed.is_none() {
        output.note("no live instances; `getaredis new` makes one");
    }
    failed.map_or(Ok(()), |exit| Err(Failure::Said(exit)))
}

async fn ask(one: &Remembered) -> Result<Answer, Failure> {
    let server: Server = one.server.parse().map_err(Failure::Usage)?;
    let answer: Result<_, ClientError> = client(Some(&server))?.show(&one.id, &one.token).await;
    Ok(answer?)
}

/// One line an instance, the oldest first.
fn rows(live: &[(&Remembered, Answer)]) -> Vec<[String; 6]> {
    let row = |(one, answer): &(&Remembered, Answer)| {
        let instance = &answer.instance;
        let address = instance.host.as_ref().zip(instance.port).map(|(host, port)| format!("{host}:{port}"));
        [
            instance.id.to_string(),
            instance.state.clone(),
            address.unwrap_or_else(|| "-".to_owned()),
            span(instance.expires_in_s),
            one.server.clone(),
            // The others hold no line ends; this is somebody's own text.
            instance.label.clone().unwrap_or_default().replace('\n', " "),
        ]
    };
    live.iter().map(row).collect()
}
