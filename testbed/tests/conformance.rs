//! Every answer of the imitated API against DigitalOcean's own description of it.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use getaredis_testbed::api::{Api, Nothing, Settings};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const TOKEN: &str = "a-token";

/// The longest that the imitation may take to do what it promised.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the imitation leaves out: nobody here brings an image of their own.
const LEFT_OUT: [(&str, &str); 1] = [("post", "/v2/images")];

/// DigitalOcean's description.
struct Spec {
    document: Value,
    used: Mutex<BTreeSet<(String, String)>>,
}

impl Spec {
    fn read() -> Self {
        let mut document: Value = serde_json::from_str(include_str!("../spec/do-droplets.json")).unwrap();
        allow_nulls(&mut document);
        Self { document, used: Mutex::default() }
    }

    /// Fails unless the answer is one that is described; what is not described at all is let through.
    fn check(&self, method: &str, path: &str, status: u16, body: &Value) {
        let method = method.to_lowercase();
        let Some(template) = self.template(&method, path) else {
            return assert!(path.starts_with("/v2/firewalls"), "{method} {path} is not described");
        };
        let responses = &self.document["paths"][&template][&method]["responses"];
        let response = responses.get(status.to_string()).unwrap_or(&responses["default"]);
        let response = match response["$ref"].as_str() {
            Some(pointer) => self.document.pointer(pointer.trim_start_matches('#')).unwrap(),
            None => response,
        };
        assert!(status >= 400 || responses.get(status.to_string()).is_some(), "{method} {path}: {status}");
        let schema = &response["content"]["application/json"]["schema"];
        if schema.is_null() {
            assert!(body.is_null(), "{method} {path} has a body: {body}");
        } else {
            let schema = json!({ "allOf": [schema], "components": self.document["components"] });
            let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft4).build(&schema).unwrap();
            let wrong: Vec<_> = validator.iter_errors(body).map(|e| format!("{}: {e}", e.instance_path)).collect();
            assert!(wrong.is_empty(), "{method} {path} {status}: {wrong:#?} in {body:#}");
        }
        self.used.lock().unwrap().insert((method, template));
    }

    /// The described path that this one is an example of; one without parameters before one with.
    fn template(&self, method: &str, path: &str) -> Option<String> {
        let path: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
        let fits = |template: &str| {
            let template: Vec<&str> = template.split('/').collect();
            template.len() == path.len() && template.iter().zip(&path).all(|(t, p)| t.starts_with('{') || t == p)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let with_method = paths.iter().filter(|(template, item)| item.get(method).is_some() && fits(template));
        with_method.map(|(template, _)| template.clone()).min_by_key(|template| template.matches('{').count())
    }

    fn described(&self) -> BTreeSet<(String, String)> {
        let paths: BTreeMap<String, BTreeMap<String, Value>> =
            serde_json::from_value(self.document["paths"].clone()).unwrap();
        let methods = ["get", "post", "put", "delete"];
        let all = paths.into_iter().flat_map(|(path, item)| item.into_keys().map(move |m| (m, path.clone())));
        all.filter(|(method, _)| methods.contains(&method.as_str())).collect()
    }
}

/// OpenAPI 3.0 says `nullable: true` where JSON Schema lists the type.
fn allow_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true))
                && let Some(kind) = fields.get("type").cloned()
            {
                fields.insert("type".to_owned(), json!([kind, "null"]));
            }
            fields.values_mut().for_each(allow_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(allow_nulls),
        _ => {}
    }
}

struct Checked {
    api: Api,
    http: Client,
    spec: Spec,
}

impl Checked {
    fn start() -> Self {
        let api = Api::start(TOKEN, Settings::default(), Arc::new(Nothing)).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { api, http: Client::builder().no_proxy().build().unwrap(), spec: Spec::read() }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_as(TOKEN, method, path, body).await
    }

    async fn call_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.api.url());
        let mut request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        self.spec.check(method, path, status, &body);
        (status, body)
    }

    async fn expect(&self, status: u16, method: &str, path: &str, body: Option<Value>) -> Value {
        let (found, answer) = self.call(method, path, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        self.expect(200, "GET", path, None).await
    }

    async fn until(&self, path: &str, pointer: &str, wanted: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if answer.pointer(pointer).and_then(Value::as_str) == Some(wanted) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} never said {wanted}: {answer}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn order(extra: Value) -> Value {
    let mut order = json!({ "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-13-x64", "tags": ["env:test"] });
    order.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    order
}

#[tokio::test]
async fn every_answer_is_one_that_digitalocean_describes() {
    let c = Checked::start();
    c.get("/v2/account").await;
    let key = json!({ "name": "me", "public_key": "ssh-ed25519 AAAA me@example.com" });
    let key = c.expect(201, "POST", "/v2/account/keys", Some(key)).await["ssh_key"].clone();
    c.get("/v2/account/keys").await;
    c.get("/v2/sizes").await;
    c.get("/v2/regions").await;

    let new = order(json!({ "name": "one", "ssh_keys": [key["id"], key["fingerprint"]], "user_data": "#!/bin/sh" }));
    let made = c.expect(202, "POST", "/v2/droplets", Some(new)).await;
    assert_eq!(made["droplet"]["status"], "new");
    assert_eq!(made["droplet"]["networks"], json!({ "v4": [], "v6": [] }));
    let id = &made["droplet"]["id"];
    let action = &made["links"]["actions"][0]["id"];
    c.until(&format!("/v2/actions/{action}"), "/action/status", "completed").await;
    let active = c.until(&format!("/v2/droplets/{id}"), "/droplet/status", "active").await;
    assert_eq!(active["droplet"]["networks"]["v4"].as_array().map(Vec::len), Some(2));
    let names = json!({ "names": ["two", "three"] });
    let several = c.expect(202, "POST", "/v2/droplets", Some(order(names))).await;
    assert_eq!(several["droplets"].as_array().map(Vec::len), Some(2));
    c.get("/v2/droplets?tag_name=env:test&per_page=2").await;
    c.get("/v2/actions?per_page=1&page=2").await;
    c.get(&format!("/v2/droplets/{id}/actions")).await;
    c.get(&format!("/v2/droplets/{id}/actions/{action}")).await;

    let of_droplet = format!("/v2/droplets/{id}/actions");
    let off = c.expect(201, "POST", &of_droplet, Some(json!({ "type": "power_off" }))).await;
    c.until(&format!("/v2/actions/{}", off["action"]["id"]), "/action/status", "completed").await;
    c.until(&format!("/v2/droplets/{id}"), "/droplet/status", "off").await;
    let snapshot = Some(json!({ "type": "snapshot", "name": "baked" }));
    let snapshot = c.expect(201, "POST", &of_droplet, snapshot).await;
    c.until(&format!("/v2/actions/{}", snapshot["action"]["id"]), "/action/status", "completed").await;
    let snapshots = c.get("/v2/snapshots?resource_type=droplet").await;
    let image = snapshots["snapshots"][0]["id"].as_str().unwrap().to_owned();
    let images = c.get("/v2/images?private=true").await;
    assert_eq!(images["images"][0]["id"].to_string(), image);
    c.get("/v2/images").await;
    c.get(&format!("/v2/images/{image}")).await;
    c.get("/v2/images/debian-13-x64").await;
    c.expect(200, "PUT", &format!("/v2/images/{image}"), Some(json!({ "name": "better" }))).await;
    let from_it = order(json!({ "name": "four", "image": image.parse::<u64>().unwrap() }));
    c.expect(202, "POST", "/v2/droplets", Some(from_it)).await;
    c.expect(204, "DELETE", &format!("/v2/images/{image}"), None).await;

    c.expect(201, "POST", "/v2/tags", Some(json!({ "name": "more" }))).await;
    let resources = json!({ "resources": [{ "resource_id": id.to_string(), "resource_type": "droplet" }] });
    c.expect(204, "POST", "/v2/tags/more/resources", Some(resources.clone())).await;
    assert_eq!(c.get("/v2/tags/more").await["tag"]["resources"]["droplets"]["count"], 1);
    c.expect(204, "DELETE", "/v2/tags/more/resources", Some(resources)).await;
    c.get("/v2/tags").await;
    c.expect(204, "DELETE", "/v2/tags/more", None).await;
    c.get("/v2/vpcs").await;
    let vpc = json!({ "name": "mine", "region": "fra1", "ip_range": "10.120.0.0/20" });
    c.expect(201, "POST", "/v2/vpcs", Some(vpc)).await;

    let by_tag = "/v2/droplets/actions?tag_name=env:test";
    for name in ["two", "three", "four"] {
        c.until(&format!("/v2/droplets?name={name}"), "/droplets/0/status", "active").await;
    }
    c.expect(201, "POST", by_tag, Some(json!({ "type": "reboot" }))).await;
    c.expect(204, "DELETE", &format!("/v2/droplets/{id}"), None).await;
    c.expect(204, "DELETE", "/v2/droplets?tag_name=env:test", None).await;
    assert!(c.api.droplets().is_empty());

    let mut left = c.spec.described();
    left.retain(|operation| !c.spec.used.lock().unwrap().contains(operation));
    let left_out = LEFT_OUT.map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(left, BTreeSet::from(left_out));
}

#[tokio::test]
async fn every_refusal_is_one_that_digitalocean_describes() {
    let c = Checked::start();
    let (status, body) = c.call_as("wrong", "GET", "/v2/account", None).await;
    assert_eq!((status, &body["id"]), (401, &json!("unauthorized")));
    for path in ["/v2/droplets/1", "/v2/actions/1", "/v2/images/no-such", "/v2/tags/none"] {
        let body = c.expect(404, "GET", path, None).await;
        assert_eq!(body["id"], "not_found");
    }
    c.expect(404, "DELETE", "/v2/droplets/1", None).await;
    for (wrong, message) in [
        (json!({ "name": "a", "size": "huge" }), "invalid size"),
        (json!({ "name": "a", "region": "mars1" }), "invalid region"),
        (json!({ "name": "a", "image": "beos" }), "invalid image"),
        (json!({ "name": "a", "ssh_keys": ["12:34"] }), "invalid key"),
        (json!({ "name": "a", "vpc_uuid": "none" }), "VPC"),
        (json!({ "name": "a_b" }), "hostname characters"),
        (json!({ "name": "a", "user_data": "x".repeat(64 * 1024 + 1) }), "64 KiB"),
        (json!({ "names": (0..11).map(|n| format!("n{n}")).collect::<Vec<_>>() }), "1 to 10"),
        (json!({}), "blank"),
    ] {
        let body = c.expect(422, "POST", "/v2/droplets", Some(order(wrong))).await;
        assert!(body["message"].as_str().unwrap().contains(message), "{body}");
    }
    assert!(c.api.droplets().is_empty());
}

#[tokio::test]
async fn a_region_a_size_and_an_account_can_run_out() {
    let c = Checked::start();
    c.api.set_open("fra1", false);
    c.api.set_in_stock("ams3", "s-1vcpu-1gb", false);
    c.api.limit_droplets(1);
    c.api.plant("other", &[]);
    for (region, message) in [
        ("fra1", "Region is not available"),
        ("ams3", "Size is not available in this region."),
        ("lon1", "creating this/these droplet(s) will exceed your droplet limit"),
    ] {
        let order = order(json!({ "name": "a", "region": region }));
        assert_eq!(c.expect(422, "POST", "/v2/droplets", Some(order)).await["message"], message);
    }
    let (sizes, regions) = (c.get("/v2/sizes").await, c.get("/v2/regions").await);
    let size = sizes["sizes"].as_array().unwrap().iter().find(|size| size["slug"] == "s-1vcpu-1gb").unwrap();
    assert!(!size["regions"].as_array().unwrap().contains(&json!("ams3")));
    let region = regions["regions"].as_array().unwrap().iter().find(|region| region["slug"] == "fra1").unwrap();
    assert_eq!(region["available"], false);
}

#[tokio::test]
async fn the_limit_of_requests_is_enforced_and_said_with_every_answer() {
    let c = Checked::start();
    c.api.limit_rates(getaredis_testbed::api::RateLimits { per_hour: 5000, per_minute: 3 });
    let ask = || c.http.get(format!("{}/v2/account", c.api.url())).bearer_auth(TOKEN).send();
    for left in [4999, 4998, 4997] {
        let response = ask().await.unwrap();
        assert_eq!(response.headers()["ratelimit-remaining"], left.to_string().as_str());
        assert_eq!(response.headers()["ratelimit-limit"], "5000");
    }
    let refused = ask().await.unwrap();
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(refused.headers().contains_key("ratelimit-reset"));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["id"], "too_many_requests");
    c.spec.check("GET", "/v2/account", 429, &body);
}
