//! Requests to DigitalOcean's API: authenticated, bounded in time and size, with errors that say what is certain.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{ApiError, allowance::Allowance};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read; a full page of droplets has about one megabyte.
const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

/// Items of a page, the most that there may be.
const PER_PAGE: &str = "200";

/// Pages of a list that are read; ten times what an account usually may have.
const MOST_PAGES: usize = 100;

/// How often a list is read anew that changed while it was read.
const READINGS: usize = 3;

/// DigitalOcean's API for one account. The requests themselves stand in the files of their subjects.
pub struct Api {
    http: Client,
    base: Url,
    token: SecretString,
    allowance: Mutex<Option<Allowance>>,
}

impl Api {
    /// Prepares a client. Connects with the first request.
    ///
    /// # Errors
    /// When `url` is no address, or this machine's certificates cannot be read.
    pub fn new(url: &str, token: SecretString, call_timeout: Duration) -> Result<Self, String> {
        let base = Url::parse(url).map_err(|error| format!("{url} is no address of an API: {error}"))?;
        let mut builder = Client::builder()
            .user_agent(concat!("getaredis/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(call_timeout)
            // A redirected POST becomes a GET, and a redirected token goes to somebody else.
            .redirect(redirect::Policy::none());
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| format!("cannot prepare an HTTP client: {error}"))?;
        Ok(Self { http, base, token, allowance: Mutex::default() })
    }

    /// What was said last of how many requests are left.
    pub(super) fn allowance(&self) -> Option<Allowance> {
        *self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.answer(self.request(Method::GET, path)?).await
    }

    /// Has something made or done.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiError> {
        self.answer(self.request(Method::POST, path)?.json(body)).await
    }

    /// Has something done that is not answered but for a success.
    pub(super) async fn post_silently(&self, path: &str, body: &impl Serialize) -> Result<(), ApiError> {
        self.send(self.request(Method::POST, path)?.json(body)).await.map(drop)
    }

    /// Has something changed.
    pub(super) async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiError> {
        self.answer(self.request(Method::PUT, path)?.json(body)).await
    }

    /// Has something deleted; fine when it is not there.
    pub(super) async fn delete(&self, path: &str) -> Result<(), ApiError> {
        match self.send(self.request(Method::DELETE, path)?).await {
            Ok(_) | Err(ApiError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The whole list under `key`, page by page. A list that was changed meanwhile may have skipped an item, and is read
    /// again.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        key: &str,
    ) -> Result<Vec<T>, ApiError> {
        for _ in 0..READINGS {
            if let Some(items) = self.pages(path, query, key).await? {
                let items = items.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
                return items.map_err(|error| nonsense(&error.to_string()));
            }
        }
        Err(ApiError::Unknown(format!("{key} change faster than they can be read")))
    }

    /// The items of all pages; nothing if there were not as many all the time.
    async fn pages(&self, path: &str, query: &[(&str, &str)], key: &str) -> Result<Option<Vec<Value>>, ApiError> {
        let (mut items, mut first_total) = (Vec::new(), None);
        for page in 1..=MOST_PAGES {
            let page = page.to_string();
            let request = self.request(Method::GET, path)?.query(query);
            let request = request.query(&[("per_page", PER_PAGE), ("page", &page)]);
            let mut answer: Value = self.answer(request).await?;
            let Value::Array(more) = answer[key].take() else { return Err(nonsense(&format!("it has no {key}"))) };
            items.extend(more);
            let total = answer["meta"]["total"].as_u64();
            if *first_total.get_or_insert(total) != total {
                return Ok(None);
            }
            // The link itself is not followed: the token goes to nobody but the configured address.
            if answer["links"]["pages"]["next"].is_null() {
                let complete = total.is_none_or(|total| usize::try_from(total) == Ok(items.len()));
                return Ok(complete.then_some(items));
            }
        }
        Err(ApiError::Unknown(format!("{key} have more than {MOST_PAGES} pages")))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ApiError> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| ApiError::Refused { status: 400, message: error.to_string() })?;
        Ok(self.http.request(method, url).bearer_auth(self.token.expose_secret()))
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let body = self.send(request).await?;
        serde_json::from_slice(&body).map_err(|error| nonsense(&error.to_string()))
    }

    /// Sends it and gives the body of a success.
    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, ApiError> {
        let mut response = request.send().await.map_err(|error| ApiError::lost(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(said) = Allowance::said(&headers) {
            *self.allowance.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| ApiError::lost(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                return Err(nonsense("it is too long"));
            }
        }
        tracing::debug!(path = response.url().path(), status = status.as_u16(), "digitalocean.answered");
        if status.is_success() { Ok(body) } else { Err(ApiError::of(status, &headers, &body)) }
    }
}

/// Whatever it was about may have happened.
fn nonsense(why: &str) -> ApiError {
    ApiError::Unknown(format!("the answer makes no sense: {why}"))
}
