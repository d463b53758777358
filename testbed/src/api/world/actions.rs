//! Actions: what was asked of a droplet, and how far it is.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Effect, Refusal, Reply, Request, World, now, page::page};
use crate::api::machines::Power;

/// An action.
#[derive(Debug)]
pub(super) struct Action {
    id: u64,
    kind: String,
    status: &'static str,
    droplet: u64,
    region: String,
    started_at: Timestamp,
    completed_at: Option<Timestamp>,
    /// The image that a snapshot becomes.
    image: Option<u64>,
}

impl World {
    pub(super) fn list_actions(&self, request: &Request<'_>, droplet: Option<u64>) -> Result<Reply, Refusal> {
        if let Some(droplet) = droplet {
            self.droplet(droplet)?;
        }
        // The latest first, as the real one has it.
        let all = self.actions.values().rev().filter(|action| droplet.is_none_or(|droplet| action.droplet == droplet));
        Ok(page(request, "actions", all.map(|action| self.action_json(action)).collect()))
    }

    pub(super) fn show_action(&self, id: u64, droplet: Option<u64>) -> Result<Reply, Refusal> {
        let action = self.actions.get(&id).filter(|action| droplet.is_none_or(|droplet| action.droplet == droplet));
        Ok(Reply::ok(json!({ "action": self.action_json(action.ok_or_else(Refusal::not_found)?) })))
    }

    pub(super) fn act(&mut self, request: &Request<'_>, droplet: u64) -> Result<Reply, Refusal> {
        let action = self.order_action(request, droplet)?;
        Ok(Reply::new(201, json!({ "action": action })))
    }

    pub(super) fn act_by_tag(&mut self, request: &Request<'_>) -> Result<Reply, Refusal> {
        let Some(tag) = request.query("tag_name") else {
            return Err(Refusal::bad_request("tag_name is required"));
        };
        let droplets = self.tagged(tag);
        let actions: Result<Vec<Value>, Refusal> =
            droplets.into_iter().map(|droplet| self.order_action(request, droplet)).collect();
        Ok(Reply::new(201, json!({ "actions": actions? })))
    }

    fn order_action(&mut self, request: &Request<'_>, droplet: u64) -> Result<Value, Refusal> {
        #[derive(Deserialize)]
        struct New {
            #[serde(rename = "type")]
            kind: String,
            name: Option<String>,
        }
        let New { kind, name } = request.json()?;
        let (region, disk) = {
            let droplet = self.droplet(droplet)?;
            if droplet.is_locked() || self.is_busy(droplet.id) {
                return Err(Refusal::unprocessable("Droplet already has a pending event."));
            }
            (droplet.region.clone(), droplet.disk)
        };
        let power = match kind.as_str() {
            "snapshot" => {
                let image = self.begin_snapshot(droplet, name.unwrap_or_else(|| "snapshot".to_owned()), &region, disk);
                let action = self.begin(&kind, droplet, &region, Some(image));
                self.effects.push(Effect::Snapshot { action, droplet, image });
                return Ok(self.actions.get(&action).map_or(Value::Null, |action| self.action_json(action)));
            }
            "reboot" => Power::Reboot,
            "power_cycle" => Power::Cycle,
            "shutdown" => Power::Shutdown,
            "power_off" => Power::Off,
            "power_on" => Power::On,
            other => return Err(Refusal::unprocessable(format!("{other} is not a valid action type"))),
        };
        let action = self.begin(&kind, droplet, &region, None);
        self.effects.push(Effect::Power { action, droplet, power });
        Ok(self.actions.get(&action).map_or(Value::Null, |action| self.action_json(action)))
    }

    /// Writes down that something begins.
    pub(super) fn begin(&mut self, kind: &str, droplet: u64, region: &str, image: Option<u64>) -> u64 {
        let action = Action {
            id: self.id(),
            kind: kind.to_owned(),
            status: "in-progress",
            droplet,
            region: region.to_owned(),
            started_at: now(),
            completed_at: None,
            image,
        };
        let id = action.id;
        self.actions.insert(id, action);
        id
    }

    /// An action ended well or not.
    pub(in crate::api) fn done(&mut self, action: u64, well: bool) {
        let Some(action) = self.actions.get_mut(&action) else { return };
        action.status = if well { "completed" } else { "errored" };
        action.completed_at = Some(now());
        let (kind, droplet, image) = (action.kind.clone(), action.droplet, action.image);
        if let Some(image) = image {
            self.snapshot_made(image, well);
        }
        match kind.as_str() {
            "shutdown" | "power_off" if well => self.set_running(droplet, false),
            "power_on" | "power_cycle" | "reboot" if well => self.set_running(droplet, true),
            _ => {}
        }
    }

    fn is_busy(&self, droplet: u64) -> bool {
        self.actions.values().any(|action| action.droplet == droplet && action.status == "in-progress")
    }

    fn action_json(&self, action: &Action) -> Value {
        json!({
            "id": action.id, "status": action.status, "type": action.kind, "started_at": action.started_at,
            "completed_at": action.completed_at, "resource_id": action.droplet, "resource_type": "droplet",
            "region": self.catalogue.region(&action.region), "region_slug": action.region,
        })
    }
}
