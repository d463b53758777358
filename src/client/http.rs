//! The requests themselves.

use std::{error::Error, fmt, str::FromStr, time::Duration};

use getaredis_actors::domain::InstanceId;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{Answer, ClientError, Problem};
use crate::loopback::is_loopback;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for an answer: above the server's own deadline for a create (30 s by default), which answers itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The address of a server: `http` or `https`, host and port, perhaps a path in front of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(Url);

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "must be an address such as https://redis.example.org".to_owned();
        let mut url = Url::parse(text.trim_end_matches('/')).map_err(|_| refused())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !url.username().is_empty() {
            return Err(refused());
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// What a new instance shall be like. What is left out is the server's choice.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewInstance {
    /// How long it shall live, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// The recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavour: Option<String>,
    /// A note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// Its host does not answer; the server goes on trying.
    Stopping,
}

/// Speaks to one server.
pub struct Client {
    http: reqwest::Client,
    server: Server,
}

impl Client {
    /// Prepares a client. Connects with the first request.
    ///
    /// # Errors
    /// When this machine's certificates cannot be read.
    pub fn new(server: Server) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("getaredis/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // A redirected POST becomes a GET, and a redirected token goes to somebody else.
            .redirect(redirect::Policy::none());
        if is_loopback(&server.0) {
            builder = builder.no_proxy();
        }
        Ok(Self { http: builder.build()?, server })
    }

    /// Who is asked.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Asks for an instance, which counts for the holder of `token`, or else for our address. Repeating it with the same
    /// `key` gives the same instance.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn create(
        &self,
        wish: &NewInstance,
        key: &str,
        token: Option<&SecretString>,
    ) -> Result<Answer, ClientError> {
        let request = self.request(Method::POST, "/v1/instances", token).header("Idempotency-Key", key).json(wish);
        self.answer(self.send(request).await?).await
    }

    /// Asks how an instance is.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn show(&self, id: &InstanceId, token: &SecretString) -> Result<Answer, ClientError> {
        let request = self.request(Method::GET, &instance(id), Some(token));
        self.answer(self.send(request).await?).await
    }

    /// Lets an instance live for `ttl` seconds from now.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn extend(&self, id: &InstanceId, token: &SecretString, ttl: u64) -> Result<Answer, ClientError> {
        let request = self.request(Method::PATCH, &instance(id), Some(token)).json(&serde_json::json!({ "ttl": ttl }));
        self.answer(self.send(request).await?).await
    }

    /// Ends an instance.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn remove(&self, id: &InstanceId, token: &SecretString) -> Result<Removed, ClientError> {
        let response = self.send(self.request(Method::DELETE, &instance(id), Some(token))).await?;
        Ok(if response.status() == StatusCode::ACCEPTED { Removed::Stopping } else { Removed::Gone })
    }

    pub(super) fn request(&self, method: Method, path: &str, token: Option<&SecretString>) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.server));
        match token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// Sends the request and gives the response if it is a success.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if status.is_redirection() {
            let to = header(header::LOCATION).unwrap_or_else(|| "another address".to_owned());
            return Err(self.nonsense(&format!("it redirects to {to}")));
        }
        let retry_after = header(header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        // A proxy in front answers with a page of its own.
        let mut problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        if problem.detail.is_empty() && problem.title.is_empty() {
            problem.detail = format!("{} answered {status}", self.server);
        }
        problem.status = status.as_u16();
        problem.retry_after_s = problem.retry_after_s.or(retry_after);
        Err(ClientError::Refused(Box::new(problem)))
    }

    async fn answer(&self, response: Response) -> Result<Answer, ClientError> {
        let json = self.text(response).await?;
        let instance = serde_json::from_str(&json).map_err(|e| self.nonsense(&e.to_string()))?;
        Ok(Answer { instance, json: json.into() })
    }

    pub(super) async fn text(&self, response: Response) -> Result<String, ClientError> {
        response.text().await.map_err(|e| self.unreachable(&e))
    }

    /// The innermost cause is the one that says something, such as "connection refused".
    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
        ClientError::Unreachable { server: self.server.to_string(), why }
    }

    pub(super) fn nonsense(&self, why: &str) -> ClientError {
        ClientError::Nonsense { server: self.server.to_string(), why: why.to_owned() }
    }
}

/// The path of an instance. An id is hex, so it needs no escaping.
fn instance(id: &InstanceId) -> String {
    format!("/v1/instances/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_without_the_slash_at_its_end() {
        for (text, shown) in [
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("https://redis.example.org", "https://redis.example.org"),
            ("https://example.org/redis/", "https://example.org/redis"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_the_address_of_a_server_is_refused() {
        for text in ["", "localhost:8080", "redis://h", "http://", "http://user:pw@h"] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }
}
