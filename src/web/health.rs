//! `/livez` and `/readyz`: whether to restart this process, and whether to send it visitors.
//!
//! Everybody may ask, so a check that fails says so in plain words and never repeats an address or an error.

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use getaredis_actors::{
    discovery::messages::{DescribeDirectory, DirectoryView},
    domain::Health,
    scheduler::messages::{DescribeFleet, FleetView},
    supervision::{AskError, Status, ask},
};
use serde::Serialize;
use serde_json::json;

use super::{Web, capacity::FLEET_WITHIN};

/// The pulse beats once a second; after this long without one no watchdog runs any more and only a restart helps.
const LONGEST_PULSE_AGE: Duration = Duration::from_secs(10);
/// Discovery answers from memory.
const DIRECTORY_WITHIN: Duration = Duration::from_secs(2);
/// The actors without which nothing can be created. Without any other one what there is runs on for a while.
const VITAL: [&str; 2] = ["scheduler", "rate_limit"];

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    ok: bool,
    detail: String,
    /// Whether visitors cannot be served without it.
    #[serde(skip)]
    vital: bool,
}

impl Check {
    fn new(name: impl Into<String>, vital: bool, problem: Option<String>) -> Self {
        Self { name: name.into(), ok: problem.is_none(), detail: problem.unwrap_or_default(), vital }
    }
}

/// `GET /livez`: asks no actor and no database, because a restart of this process would cure neither.
pub(super) async fn live(web: Data<Web>) -> HttpResponse {
    if (web.vitals.pulse_age)() > LONGEST_PULSE_AGE {
        HttpResponse::ServiceUnavailable().json(json!({"status": "stalled"}))
    } else {
        HttpResponse::Ok().json(json!({"status": "ok"}))
    }
}

/// `GET /readyz`: `unavailable` when a visitor's create could not work here now; `degraded` when it would, but
/// something needs looking after. A fleet that is full is neither.
pub(super) async fn ready(web: Data<Web>) -> HttpResponse {
    let (store, fleet, directory) = futures_util::join!(
        web.stored(web.store.ping()),
        ask(&web.doors.fleet, DescribeFleet, FLEET_WITHIN),
        ask(&web.doors.directory, DescribeDirectory, DIRECTORY_WITHIN),
    );
    let actors = (web.vitals.actors)();
    // Hosts are counted below and not named: their actors bear their names.
    let mut checks: Vec<Check> = actors
        .into_iter()
        .filter(|actor| !actor.name.starts_with("host"))
        .map(|actor| {
            let vital = VITAL.contains(&actor.name.as_str());
            let problem = (actor.status != Status::Up).then(|| actor.status.to_string().replace('_', " "));
            Check::new(actor.name, vital, problem)
        })
        .collect();
    checks.push(Check::new(
        "store",
        true,
        store.err().map(|_| "the database does not answer, or takes no writes".to_owned()),
    ));
    checks.push(hosts(fleet.as_ref()));
    checks.push(announcements(directory.as_ref()));
    let pulse = (web.vitals.pulse_age)() > LONGEST_PULSE_AGE;
    checks.push(Check::new("pulse", true, pulse.then(|| "the actors' thread is stalled".to_owned())));
    let closing = web.sessions.closing();
    checks.push(Check::new("serving", true, closing.then(|| "the server is shutting down".to_owned())));

    let failed = || checks.iter().filter(|check| !check.ok);
    let (code, status) = match (failed().count(), failed().any(|check| check.vital)) {
        (0, _) => (StatusCode::OK, "ok"),
        (_, false) => (StatusCode::OK, "degraded"),
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    HttpResponse::build(code).json(json!({"status": status, "checks": checks}))
}

fn hosts(fleet: Result<&FleetView, &AskError>) -> Check {
    let fleet = match fleet {
        Ok(fleet) => fleet,
        Err(error) => return Check::new("hosts", true, Some(format!("the scheduler cannot say: {error}"))),
    };
    let up = fleet.hosts.iter().filter(|host| host.state == Health::Up).count();
    let all = fleet.hosts.len();
    if !fleet.ready {
        Check::new("hosts", true, Some("the scheduler is still taking stock".to_owned()))
    } else if up == 0 {
        // Who is sent elsewhere wakes nothing: a create has to come for a host to be ordered, or to be tried again.
        let may_be_served = fleet.growing || fleet.hosts.iter().any(|host| host.state == Health::Failing);
        let why = fleet.refusal.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        Check::new("hosts", !may_be_served, Some(format!("none of {all} is up{why}")))
    } else {
        Check::new("hosts", false, (up < all).then(|| format!("{up} of {all} are up")))
    }
}

/// What runs, runs on without the directory: only new hosts are not seen.
fn announcements(directory: Result<&DirectoryView, &AskError>) -> Check {
    let problem = match directory {
        Err(error) => Some(format!("discovery cannot say: {error}")),
        Ok(view) if view.unreachable.is_some() => Some("the directory of hosts does not answer".to_owned()),
        Ok(view) if !view.read_once => Some("the directory of hosts was not read yet".to_owned()),
        Ok(view) if !view.malformed.is_empty() => {
            Some(format!("{} entries of the directory are left out, wholly or in part", view.malformed.len()))
        }
        Ok(_) => None,
    };
    Check::new("directory", false, problem)
}
