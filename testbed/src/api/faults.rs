//! What goes wrong at the API, as a script: the next so many requests of a kind are slow, refused or lost, before or
//! after they have had their effect.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Whether the request still has its effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// It has none.
    #[default]
    Before,
    /// It has; only its answer is not the one it should be.
    After,
}

/// One line of the script. As JSON, what is left out has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this method; none means any.
    #[serde(default)]
    pub method: Option<String>,
    /// What the path begins with.
    pub path: String,
    /// How many requests it strikes; once.
    #[serde(default = "once")]
    pub times: u32,
    /// How many requests it lets pass before that.
    #[serde(default)]
    pub skip: u32,
    /// Whether they have their effect.
    #[serde(default)]
    pub when: When,
    /// The status that is answered; none leaves the answer as it is.
    #[serde(default)]
    pub status: Option<u16>,
    /// The message in that answer.
    #[serde(default)]
    pub message: Option<String>,
    /// Seconds in its `retry-after`.
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// The connection is cut instead of an answer.
    #[serde(default)]
    pub drop: bool,
    /// Milliseconds before anything else happens.
    #[serde(default)]
    pub delay_ms: u64,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// Strikes the next request of this method to a path that begins so; what it does is set by the others.
    #[must_use]
    pub fn on(method: &str, path: &str) -> Self {
        Self {
            method: Some(method.to_owned()),
            path: path.to_owned(),
            times: 1,
            skip: 0,
            when: When::Before,
            status: None,
            message: None,
            retry_after: None,
            drop: false,
            delay_ms: 0,
        }
    }

    /// Strikes so many requests.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// Answers this status, without the effect.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// With this message.
    #[must_use]
    pub fn message(self, message: &str) -> Self {
        Self { message: Some(message.to_owned()), ..self }
    }

    /// Cuts the connection, without the effect.
    #[must_use]
    pub fn drop_answer(self) -> Self {
        Self { drop: true, ..self }
    }

    /// The request has its effect all the same.
    #[must_use]
    pub fn after_effect(self) -> Self {
        Self { when: When::After, ..self }
    }

    /// Waits first.
    #[must_use]
    pub fn delay_ms(self, delay_ms: u64) -> Self {
        Self { delay_ms, ..self }
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|m| m.eq_ignore_ascii_case(method)) && path.starts_with(&self.path)
    }
}

/// The script.
#[derive(Debug, Default)]
pub(super) struct Script(Mutex<Vec<Fault>>);

impl Script {
    pub(super) fn add(&self, fault: Fault) {
        self.lines(|lines| lines.push(fault));
    }

    pub(super) fn clear(&self) {
        self.lines(Vec::clear);
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Vec<Fault> {
        self.lines(|lines| lines.clone())
    }

    /// What strikes this request; used up by it.
    pub(super) fn strike(&self, method: &str, path: &str) -> Option<Fault> {
        self.lines(|lines| {
            let at = lines.iter().position(|fault| fault.matches(method, path))?;
            let fault = &mut lines[at];
            if fault.skip > 0 {
                fault.skip -= 1;
                return None;
            }
            fault.times = fault.times.saturating_sub(1);
            let struck = fault.clone();
            if fault.times == 0 {
                lines.remove(at);
            }
            Some(struck)
        })
    }

    fn lines<T>(&self, with: impl FnOnce(&mut Vec<Fault>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_used_up_by_the_requests_that_it_matches() {
        let script = Script::default();
        script.add(Fault { skip: 1, ..Fault::on("POST", "/v2/droplets").status(503).times(2) });
        let struck = |method, path| script.strike(method, path).is_some();
        assert!(!struck("GET", "/v2/droplets") && !struck("POST", "/v2/droplets"));
        assert!(struck("POST", "/v2/droplets") && struck("post", "/v2/droplets/1/actions"));
        assert!(!struck("POST", "/v2/droplets"));
        assert!(script.left().is_empty());
    }

    #[test]
    fn a_line_is_written_as_json_with_what_matters_only() {
        let fault: Fault =
            serde_json::from_str(r#"{"method":"POST","path":"/v2/droplets","when":"after","drop":true}"#).unwrap();
        assert_eq!(fault, Fault::on("POST", "/v2/droplets").drop_answer().after_effect());
        assert!(serde_json::from_str::<Fault>(r#"{"path":"/","tines":2}"#).is_err());
    }
}
