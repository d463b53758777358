//! What operators see of hosts and the pool, and do to them: `/v1/admin/hosts…` and `/v1/admin/scaling…`.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use getaredis_actors::{
    autoscaler::messages::{DescribeScaling, PauseScaling, ResumeScaling, ScalingStatus},
    domain::{Cordon, HostName},
    scheduler::messages::{DescribeFleet, OrderCordon},
    supervision::{AskError, ask},
};
use serde_json::json;

use super::{Web, admin::admit, problem::Problem, tokens::bearer};

/// Scheduler and autoscaler answer these from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// An order is written first, which the brain gives five seconds.
const WRITTEN_WITHIN: Duration = Duration::from_secs(6);

/// How long the pass that a pause or its end causes is waited for. It goes on for as long as the provider takes, but the
/// switch itself holds at once.
const PASS_WITHIN: Duration = Duration::from_secs(5);

/// `GET /v1/admin/hosts`
pub(super) async fn hosts(web: Data<Web>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    admit(&request, &web, bearer(request.headers())).await?;
    let fleet = ask(&web.doors.fleet, DescribeFleet, ANSWER_WITHIN).await;
    let fleet = fleet.map_err(|error| Problem::of_ask(error, "scheduler"))?;
    Ok(HttpResponse::Ok().json(json!({
        "hosts": fleet.hosts,
        "ready": fleet.ready,
        "refusal": fleet.refusal,
        "waiting": fleet.waiting,
        "waiting_elsewhere": fleet.waiting_elsewhere,
    })))
}

/// `POST /v1/admin/hosts/{name}/{cordon,drain,uncordon}`
pub(super) async fn cordon(
    web: Data<Web>,
    request: HttpRequest,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    admit(&request, &web, bearer(request.headers())).await?;
    let (name, deed) = path.into_inner();
    let cordon = match deed.as_str() {
        "cordon" => Some(Cordon::Cordoned),
        "drain" => Some(Cordon::Draining),
        // The route knows no other word.
        _ => None,
    };
    let name = HostName::parse(&name).map_err(|_| Problem::no_such_host())?;
    let order = OrderCordon { name: name.clone(), cordon };
    let answer = ask(&web.doors.cordon, order, WRITTEN_WITHIN).await;
    let host = answer.map_err(|error| Problem::of_ask(error, "scheduler"))?.map_err(Problem::of_cordon)?;
    tracing::warn!(host = %name, deed, "host.cordon_changed_by_operator");
    Ok(HttpResponse::Ok().json(host))
}

/// `GET /v1/admin/scaling`
pub(super) async fn scaling(web: Data<Web>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    admit(&request, &web, bearer(request.headers())).await?;
    Ok(HttpResponse::Ok().json(pool(&web).await?))
}

/// `POST /v1/admin/scaling/pause`
pub(super) async fn pause(web: Data<Web>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    admit(&request, &web, bearer(request.headers())).await?;
    pool(&web).await?;
    switched(&web, ask(&web.doors.pause_scaling, PauseScaling, PASS_WITHIN).await).await
}

/// `POST /v1/admin/scaling/resume`
pub(super) async fn resume(web: Data<Web>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    admit(&request, &web, bearer(request.headers())).await?;
    pool(&web).await?;
    switched(&web, ask(&web.doors.resume_scaling, ResumeScaling, PASS_WITHIN).await).await
}

/// How the pool is, if there is one.
async fn pool(web: &Web) -> Result<ScalingStatus, Problem> {
    let status = ask(&web.doors.scaling, DescribeScaling, ANSWER_WITHIN).await;
    let status = status.map_err(|error| Problem::of_ask(error, "autoscaler"))?;
    if status.enabled { Ok(status) } else { Err(Problem::no_provider()) }
}

/// 200 after a pass, and 202 where that is still to come: the switch holds already.
async fn switched(web: &Web, answer: Result<ScalingStatus, AskError>) -> Result<HttpResponse, Problem> {
    let (code, status) = match answer {
        Ok(status) => (StatusCode::OK, status),
        Err(AskError::Timeout) => (StatusCode::ACCEPTED, pool(web).await?),
        Err(error) => return Err(Problem::of_ask(error, "autoscaler")),
    };
    Ok(HttpResponse::build(code).json(status))
}
