//! What the operator is told: by the console's snapshot and interface, the command line, the metrics, the autoscaler's
//! grounds and the log.

use std::{collections::BTreeSet, fs, time::Duration};

use getaredis_actors::domain::scaling::Decision;
use reqwest::Method;
use serde_json::Value;

use crate::{
    eventually,
    feed::Feed,
    world::{OPERATOR, SERVER, World},
};

/// Time for a change to be noticed: a probe that hangs, and a key that runs out, on a busy machine.
pub(crate) const NOTICED: Duration = Duration::from_secs(45);

impl World {
    /// The hosts as the operator's page shows them.
    pub(crate) async fn hosts(&self) -> Vec<Value> {
        let snapshot = Feed::open(SERVER, OPERATOR).await.snapshot().await;
        snapshot["hosts"].as_array().unwrap().clone()
    }

    /// Waits until the operator's page, interface, command line and metrics show this host in this state, for the same
    /// reason; what is shown of it.
    pub(crate) async fn shows(&self, host: &str, state: &str) -> Value {
        eventually(&format!("{host} is shown as {state}"), NOTICED, async || {
            let hosts = self.hosts().await;
            let shown = hosts.iter().find(|shown| shown["name"] == host);
            let counted = self.metric(&format!(r#"getaredis_hosts{{state="{state}"}}"#)).await;
            match shown {
                Some(shown) if shown["state"] == state && counted.is_some_and(|count| count >= 1.0) => {
                    self.tells_the_same_everywhere(host, shown).await.map(|()| shown.clone())
                }
                _ => Err(format!("{hosts:?}, counted {counted:?}")),
            }
        })
        .await
    }

    /// Whether the interface and the command line say of a host what the page shows.
    async fn tells_the_same_everywhere(&self, host: &str, shown: &Value) -> Result<(), String> {
        let listed = self.listed(host).await.ok_or("it is not listed")?;
        let typed = self.runs(&["hosts", "ls"]);
        let words = [&shown["state"], &shown["reason"]].map(|word| word.as_str().unwrap_or_default());
        let row = typed.lines().find(|row| row.starts_with(host)).unwrap_or_default();
        let same = ["state", "reason"].iter().all(|member| listed[member] == shown[member]);
        if same && words.iter().all(|word| row.contains(word)) {
            Ok(())
        } else {
            Err(format!("{shown}; {listed}; {typed}"))
        }
    }

    /// What `GET /v1/admin/hosts` says of a host.
    pub(crate) async fn listed(&self, host: &str) -> Option<Value> {
        let hosts = self.operator_sees("hosts").await;
        hosts["hosts"].as_array()?.iter().find(|listed| listed["name"] == host).cloned()
    }

    /// Waits until what the host says of itself is told to the operator like this.
    pub(crate) async fn tells_vitals(&self, host: &str, what: &str, is: impl Fn(&Value) -> bool) {
        eventually(&format!("the operator is told of {host}: {what}"), NOTICED, async || {
            let listed = self.listed(host).await.unwrap_or_default();
            if is(&listed["vitals"]) { Ok(()) } else { Err(listed.to_string()) }
        })
        .await;
    }

    /// A number of the metrics, by its name with labels.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.api().request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Waits until the autoscaler's latest decision is explained with these words.
    pub(crate) async fn explains(&self, words: &str) {
        eventually(&format!("the autoscaler says {words:?}"), NOTICED, async || {
            let latest = self.scaling_log();
            let explanation = latest.lines().last().map(explanation).unwrap_or_default();
            if explanation.iter().any(|line| line.contains(words)) { Ok(()) } else { Err(format!("{explanation:#?}")) }
        })
        .await;
    }

    /// All that the autoscaler's decisions were explained with, line by line.
    pub(crate) fn explanations(&self) -> BTreeSet<String> {
        self.scaling_log().lines().flat_map(explanation).collect()
    }

    /// Every decision that the autoscaler has written down.
    fn scaling_log(&self) -> String {
        let mut log = fs::read_to_string(self.home().join("getaredis-scaling.jsonl")).unwrap_or_default();
        // The last line may be half written.
        log.truncate(log.rfind('\n').unwrap_or_default());
        log
    }

    /// Waits until the pool is shown with this droplet in this stage.
    pub(crate) async fn shows_droplet(&self, name: &str, stage: &str) {
        eventually(&format!("{name} is shown as {stage}"), NOTICED, async || {
            let pool = self.operator_sees("scaling").await;
            let shown = pool["droplets"].as_array().unwrap().iter().find(|droplet| droplet["name"] == name);
            let typed = self.runs(&["scaling", "status"]);
            let row = typed.lines().find(|row| row.starts_with(name)).unwrap_or_default();
            let same = shown.is_some_and(|droplet| droplet["stage"] == stage) && row.contains(stage);
            if same { Ok(()) } else { Err(format!("{shown:?}; {typed}")) }
        })
        .await;
    }

    /// Waits until the log has one of these events of this host.
    pub(crate) async fn logs(&self, events: &[&str], host: &str) {
        eventually(&format!("{events:?} of {host} is in the log"), NOTICED, async || {
            let log = self.log();
            let of_it = |line: &&str| line.contains(host) && events.iter().any(|event| line.contains(event));
            log.lines().find(of_it).map(drop).ok_or_else(|| "it is not".to_owned())
        })
        .await;
    }
}

/// The grounds of a decision.
fn explanation(line: &str) -> Vec<String> {
    serde_json::from_str::<Decision>(line).unwrap().plan.explanation
}
