//! How an instance is written down, for people and for scripts.

use secrecy::ExposeSecret;

use super::super::{
    args::Form,
    exit::{Exit, Failure},
    output::{Output, printable, quoted, span},
};
use crate::client::{Answer, Instance};

/// Where a running instance is reached.
struct Connection<'a> {
    url: &'a str,
    host: &'a str,
    port: u16,
    username: &'a str,
    password: &'a str,
}

impl<'a> Connection<'a> {
    fn of(instance: &'a Instance) -> Option<Self> {
        Some(Self {
            url: instance.redis_url.as_ref()?.expose_secret(),
            host: instance.host.as_deref()?,
            port: instance.port?,
            username: instance.username.as_deref().unwrap_or("default"),
            password: instance.password.as_ref()?.expose_secret(),
        })
    }
}

/// Writes an instance in the form that was asked for.
pub(super) fn write(answer: &Answer, form: Form, output: &Output) -> Result<(), Failure> {
    let instance = &answer.instance;
    if form.json {
        return Ok(output.line(answer.json.expose_secret().trim_end())?);
    }
    let connection = Connection::of(instance);
    if form.url || form.env {
        let Some(connection) = connection else {
            output.note(&format!("{} is {} and has no address", instance.id, instance.state));
            return Err(Failure::Said(Exit::Unavailable));
        };
        let text = if form.url { format!("{}\n", printable(connection.url)) } else { env(instance, &connection) };
        return Ok(output.text(&text)?);
    }
    output.text(&printable(&for_people(instance, connection.as_ref())))?;
    if !instance.isolated {
        output.note("tenants of this server are not isolated from each other; keep no secrets there");
    }
    Ok(())
}

/// Lines for `eval`. The management token stays in the file that remembers it.
fn env(instance: &Instance, connection: &Connection<'_>) -> String {
    let port = connection.port.to_string();
    [
        ("REDIS_URL", connection.url),
        ("REDIS_HOST", connection.host),
        ("REDIS_PORT", &port),
        ("REDIS_USERNAME", connection.username),
        ("REDIS_PASSWORD", connection.password),
        ("GETAREDIS_ID", instance.id.as_str()),
    ]
    .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
    .concat()
}

fn for_people(instance: &Instance, connection: Option<&Connection<'_>>) -> String {
    let mut lines = Vec::new();
    if let Some(c) = connection {
        // The password goes by the environment, because everybody on a machine can read arguments.
        let (password, user, host) = (quoted(c.password), quoted(c.username), quoted(c.host));
        lines.push(format!("url      {}", c.url));
        lines.push(format!("try it   REDISCLI_AUTH={password} redis-cli --user {user} -h {host} -p {}", c.port));
    } else {
        lines.push(format!("state    {}", instance.state));
    }
    lines.push(format!(
        "expires  in {}, at {} (can be extended to {})",
        span(instance.expires_in_s),
        instance.expires_at,
        instance.max_expires_at
    ));
    lines.push(format!("id       {}", instance.id));
    lines.extend(instance.label.as_ref().map(|label| format!("label    {label}")));
    lines.join("\n") + "\n"
}
