//! The account itself and the keys that may log in to its droplets.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Refusal, Reply, Request, World, page::page};

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    id: u64,
    name: String,
    pub(super) public_key: String,
    fingerprint: String,
}

impl Key {
    fn json(&self) -> Value {
        json!({ "id": self.id, "name": self.name, "public_key": self.public_key, "fingerprint": self.fingerprint })
    }

    fn is_called(&self, key: &str) -> bool {
        self.fingerprint == key || self.id.to_string() == key
    }
}

impl World {
    pub(super) fn account(&self) -> Reply {
        Reply::ok(json!({ "account": {
            "droplet_limit": self.settings.droplet_limit, "floating_ip_limit": 5, "email": "sammy@example.com",
            "name": "Sammy the Shark", "uuid": "b6fc48dbf6d9906cace5f3c78dc9851e757381ef", "email_verified": true,
            "status": "active", "status_message": "",
            "team": { "uuid": "5df3e3004a17e242b7c20ca6c9fc25b701a47ece", "name": "My Team" },
        }}))
    }

    pub(super) fn list_keys(&self, request: &Request<'_>) -> Reply {
        page(request, "ssh_keys", self.keys.values().map(Key::json).collect())
    }

    pub(super) fn add_key(&mut self, request: &Request<'_>) -> Result<Reply, Refusal> {
        #[derive(Deserialize)]
        struct New {
            name: String,
            public_key: String,
        }
        let new: New = request.json()?;
        if self.keys.values().any(|key| key.public_key == new.public_key) {
            return Err(Refusal::unprocessable("SSH Key is already in use on your account"));
        }
        let id = self.id();
        // As long as a real one; nobody compares it with the key.
        let bytes = Uuid::new_v4().into_bytes();
        let fingerprint = bytes.map(|byte| format!("{byte:02x}")).join(":");
        let key = Key { id, name: new.name, public_key: new.public_key, fingerprint };
        let reply = Reply::new(201, json!({ "ssh_key": key.json() }));
        self.keys.insert(id, key);
        Ok(reply)
    }

    pub(super) fn show_key(&self, key: &str) -> Result<Reply, Refusal> {
        let key = self.key(key).ok_or_else(Refusal::not_found)?;
        Ok(Reply::ok(json!({ "ssh_key": key.json() })))
    }

    pub(super) fn remove_key(&mut self, key: &str) -> Result<Reply, Refusal> {
        let id = self.key(key).ok_or_else(Refusal::not_found)?.id;
        self.keys.remove(&id);
        Ok(Reply::no_content())
    }

    /// The key of this id or fingerprint.
    pub(super) fn key(&self, key: &str) -> Option<&Key> {
        self.keys.values().find(|k| k.is_called(key))
    }
}
