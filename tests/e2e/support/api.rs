//! A client of the HTTP interface that believes nothing: every answer is read against the contract.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SOON, eventually, secrets::Secrets};

/// Longer than the server may take for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// No lease that is to be short is tried that is longer.
const LONGEST_BRIEF_S: u64 = 300;

/// One visitor.
#[derive(Clone)]
pub struct Api {
    base: String,
    http: reqwest::Client,
    forwarded_for: Option<String>,
    secrets: Secrets,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

/// An instance as it is answered; unknown or missing members are a failure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    pub id: String,
    pub state: String,
    pub flavour: String,
    pub label: Option<String>,
    pub host: String,
    pub port: u16,
    pub username: String,
    pub password: String,
    pub redis_url: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub expires_in_s: u64,
    pub max_expires_at: Timestamp,
    /// There only while its host is silent.
    pub unreachable_since: Option<Timestamp>,
    pub limits: HashMap<String, u64>,
    pub isolated: bool,
    pub management_token: String,
    pub links: HashMap<String, String>,
}

/// How much room there is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    pub slots_total: u32,
    pub slots_used: u32,
    pub slots_free: u32,
    pub hosts: u32,
    pub hosts_up: u32,
    pub accepting: bool,
    pub reason: Option<String>,
    pub instances_started_total: u64,
    pub instances_running: u32,
    pub isolated: bool,
    pub defaults: HashMap<String, u64>,
}

/// What all visitors share: each new one would read the machine's certificates, which takes a while.
pub fn http() -> reqwest::Client {
    static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
        // Fails only when it was done before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            // A connection that is kept would meet a server that was killed meanwhile.
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    });
    HTTP.clone()
}

impl Api {
    pub fn new(base: String, secrets: Secrets) -> Self {
        Self { base, http: http(), forwarded_for: None, secrets }
    }

    /// The same, behind a proxy that says where the visitor comes from.
    pub fn forwarded_for(&self, address: &str) -> Self {
        Self { forwarded_for: Some(address.to_owned()), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.forwarded_for {
            Some(address) => request.header("x-forwarded-for", address),
            None => request,
        }
    }

    /// Sends it, if the server is there.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = Answer { status, headers, body };
        for secret in ["password", "management_token"] {
            if let Some(secret) = answer.body[secret].as_str() {
                self.secrets.keep(secret);
            }
        }
        Ok(answer)
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Asks for an instance.
    pub async fn post(&self, wish: Value) -> Answer {
        self.try_post(wish).await.unwrap()
    }

    /// Asks for an instance, of a server that may not be there.
    pub async fn try_post(&self, wish: Value) -> Result<Answer, reqwest::Error> {
        self.try_send(self.request(Method::POST, "/v1/instances").json(&wish)).await
    }

    /// Asks for an instance with an idempotency key, of a server that may not be there.
    pub async fn try_post_with_key(&self, key: &str) -> Result<Answer, reqwest::Error> {
        self.try_send(self.request(Method::POST, "/v1/instances").header("idempotency-key", key)).await
    }

    /// The same, for so many seconds.
    pub async fn try_post_with_key_for(&self, key: &str, seconds: u64) -> Result<Answer, reqwest::Error> {
        let request = self.request(Method::POST, "/v1/instances").header("idempotency-key", key);
        self.try_send(request.json(&json!({"ttl": seconds}))).await
    }

    pub async fn post_with_key(&self, key: &str) -> Answer {
        self.try_post_with_key(key).await.unwrap()
    }

    /// Asks for an instance and gets it.
    pub async fn create(&self) -> Instance {
        self.post(json!({})).await.created()
    }

    /// The same, for so many seconds.
    pub async fn create_for(&self, seconds: u64) -> Instance {
        self.post(json!({"ttl": seconds})).await.created()
    }

    /// One whose lease is short, with so many seconds of it left at least: a create takes as long as the machine is busy.
    pub async fn create_brief(&self, left_s: u64) -> Instance {
        let mut ttl = left_s + 2;
        loop {
            let answer = self.post(json!({"ttl": ttl})).await;
            // Its time may be over before it runs.
            if answer.status == 201 {
                let instance = answer.created();
                if instance.expires_in_s >= left_s {
                    return instance;
                }
                self.delete(&instance).await;
            }
            ttl *= 2;
            assert!(ttl < LONGEST_BRIEF_S, "creates take for ever");
        }
    }

    pub async fn show(&self, instance: &Instance) -> Answer {
        self.try_show(instance).await.unwrap()
    }

    /// Looks at it, on a server that may not be there.
    pub async fn try_show(&self, instance: &Instance) -> Result<Answer, reqwest::Error> {
        self.try_send(self.own(Method::GET, instance)).await
    }

    pub async fn extend(&self, instance: &Instance, ttl: Value) -> Answer {
        self.try_extend(instance, ttl).await.unwrap()
    }

    /// Extends, on a server that may not be there.
    pub async fn try_extend(&self, instance: &Instance, ttl: Value) -> Result<Answer, reqwest::Error> {
        self.try_send(self.own(Method::PATCH, instance).json(&json!({"ttl": ttl}))).await
    }

    pub async fn delete(&self, instance: &Instance) -> Answer {
        self.try_delete(instance).await.unwrap()
    }

    /// Deletes, on a server that may not be there.
    pub async fn try_delete(&self, instance: &Instance) -> Result<Answer, reqwest::Error> {
        self.try_send(self.own(Method::DELETE, instance)).await
    }

    /// Waits until an instance has ended; what is answered for it then.
    pub async fn until_ended(&self, instance: &Instance) -> Answer {
        eventually("the instance has ended", SOON, async || {
            let answer = self.show(instance).await;
            if answer.status == 410 { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
    }

    fn own(&self, method: Method, instance: &Instance) -> RequestBuilder {
        self.request(method, &instance.links["self"]).bearer_auth(&instance.management_token)
    }

    pub async fn capacity(&self) -> Capacity {
        let answer = self.get("/v1/capacity").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_value(answer.body).unwrap()
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The instance of a 201.
    pub fn created(self) -> Instance {
        assert_eq!(self.status, 201, "{self:?}");
        let location = self.header("location").map(str::to_owned);
        let instance = self.instance();
        assert_eq!(location.as_deref(), Some(instance.links["self"].as_str()));
        instance
    }

    /// The instance in it, running as far as anybody knows.
    pub fn instance(self) -> Instance {
        let instance: Instance = serde_json::from_value(self.body.clone()).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        let Instance { id, host, port, username, password, .. } = &instance;
        let state = if instance.unreachable_since.is_some() { "unreachable" } else { "running" };
        assert_eq!(instance.state, state);
        assert_eq!(instance.redis_url, format!("redis://{username}:{password}@{host}:{port}/0"));
        assert_eq!(instance.links["self"], format!("/v1/instances/{id}"));
        assert_eq!(instance.links["page"], format!("/i/{id}"));
        assert!(instance.management_token.starts_with("gar_"));
        assert!(instance.created_at <= instance.expires_at && instance.expires_at <= instance.max_expires_at);
        instance
    }

    /// What kind of problem it is, after checking that it is a whole one with this status.
    pub fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        for words in ["title", "detail"] {
            assert!(self.body[words].as_str().is_some_and(|words| !words.is_empty()), "{self:?}");
        }
        self.body["type"].as_str().and_then(|kind| kind.strip_prefix("/problems/")).unwrap()
    }

    /// After how many seconds to try again.
    pub fn retry_after(&self) -> u64 {
        let seconds = self.header("retry-after").unwrap_or_else(|| panic!("no Retry-After: {self:?}")).parse().unwrap();
        assert_eq!(self.body["retry_after_s"], seconds, "{self:?}");
        seconds
    }
}
