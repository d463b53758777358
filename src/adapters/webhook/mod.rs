//! Posts notices to sinks over HTTP, as the Standard Webhooks specification says.
//!
//! Owns the request, its signature, and which answer means what. Decides nothing about trying again. Must never log or
//! return an address or a secret of a sink: they open somebody else's door.

mod signature;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, error::Error, time::Duration};

use async_trait::async_trait;
use getaredis_actors::{
    domain::{SinkName, Timestamp},
    ports::{Delivery, WebhookError, Webhooks},
};
use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use secrecy::SecretSlice;

use crate::loopback::is_loopback;
use signature::sign;

/// A new connection takes no longer than this, whatever an answer may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// As much of an answer is read, so that its connection can be used again; nobody looks at it.
const MOST_READ: usize = 16 * 1024;

/// A receiver of notices.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// Its name.
    pub name: SinkName,
    /// Where it is.
    pub url: Url,
    /// What notices to it are signed with.
    pub key: SecretSlice<u8>,
}

/// See the module's header.
pub struct HttpWebhooks {
    sinks: HashMap<SinkName, (Client, SinkSettings)>,
}

impl HttpWebhooks {
    /// Prepares to post to these sinks. A post that takes longer than `timeout`, all told, has failed.
    ///
    /// # Errors
    /// When this machine's authorities cannot be read.
    pub fn new(sinks: Vec<SinkSettings>, timeout: Duration) -> Result<Self, reqwest::Error> {
        let prepared = sinks.into_iter().map(|sink| {
            let builder = Client::builder()
                .user_agent(concat!("getaredis/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT.min(timeout))
                .timeout(timeout)
                // A redirected notice would go to somebody whom the operator did not name.
                .redirect(redirect::Policy::none());
            let builder = if is_loopback(&sink.url) { builder.no_proxy() } else { builder };
            Ok((sink.name.clone(), (builder.build()?, sink)))
        });
        Ok(Self { sinks: prepared.collect::<Result<_, reqwest::Error>>()? })
    }
}

#[async_trait]
impl Webhooks for HttpWebhooks {
    async fn post(&self, delivery: &Delivery, now: Timestamp) -> Result<(), WebhookError> {
        // Its rows are of a configuration that had such a sink.
        let (client, sink) = self.sinks.get(&delivery.sink).ok_or(WebhookError::Unwanted)?;
        // What is signed is joined with full stops, so neither part in front may have one.
        let id = delivery.notice.id.replace('.', "_");
        let seconds = now.as_second().to_string();
        let signature = sign(&sink.key, &id, &seconds, &delivery.notice.body)
            .map_err(|why| WebhookError::Refused { why, retry_after: None })?;
        let request = client
            .post(sink.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature)
            .body(delivery.notice.body.clone());
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let outcome = judge(&response, now);
        drain(response).await;
        outcome
    }
}

/// What an answer means.
fn judge(response: &Response, now: Timestamp) -> Result<(), WebhookError> {
    match response.status() {
        status if status.is_success() => Ok(()),
        StatusCode::GONE => Err(WebhookError::Unwanted),
        status => {
            let wants_rest = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let retry_after = wants_rest.then(|| response.headers().get(header::RETRY_AFTER)).flatten();
            let retry_after = retry_after.and_then(|value| rest(value.to_str().ok()?, now));
            Err(WebhookError::Refused { why: format!("it answered {}", status.as_u16()), retry_after })
        }
    }
}

/// Reads a `Retry-After`: seconds, or the time when the rest is over.
fn rest(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    text.parse().ok().map(Duration::from_secs).or_else(|| {
        let end = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
        Duration::try_from(end.duration_since(now)).ok()
    })
}

/// Reads a bounded part of an answer and throws it away.
async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(bytes)) = response.chunk().await {
        read += bytes.len();
        if read > MOST_READ {
            return;
        }
    }
}

/// The innermost cause is the one that says something; the outer ones repeat the address.
fn unreachable(error: &reqwest::Error) -> WebhookError {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    WebhookError::Unreachable(why)
}
