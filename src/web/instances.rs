//! `/v1/instances`: create, read, extend and delete.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path, Payload},
};
use getaredis_actors::{
    domain::{EndReason, IdempotencyKey, Instance, InstanceId, InstanceState},
    rate_limit::messages::Admit,
    reaper::messages::ExtendLease,
    scheduler::messages::{CreateError, CreateInstance, Created, DeleteInstance, Ending},
    supervision::ask,
};
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Web,
    body::{self, CreateBody, ExtendBody},
    problem::Problem,
    refusals::HungUp,
    request::idempotency_key,
    tokens::{ADMIT_WITHIN, Caller, bearer, caller, open},
    views::{answer, own_link},
};

/// What the brain may take beyond its own deadline to clean up and say so.
const CREATE_MARGIN: Duration = Duration::from_secs(5);

/// `POST /v1/instances`
pub(super) async fn create(web: Data<Web>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let key = idempotency_key(request.headers())?;
    let wish = body::read(&request, payload, web.settings.max_body_bytes).await?;
    let created = make(&web, &request, wish, key).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, own_link(&created.instance.id)));
    if created.replayed {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(answer(response, &created.instance, &web))
}

/// Has an instance made, and counts what became of it.
pub(super) async fn make(
    web: &Web,
    request: &HttpRequest,
    wish: CreateBody,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<Created, Problem> {
    let begun = Instant::now();
    let made = admit_and_make(web, request, wish, idempotency_key).await;
    match &made {
        Ok(created) if created.replayed => web.creates.count("replayed"),
        Ok(_) => web.creates.made(begun.elapsed()),
        Err(problem) => web.creates.count(problem.slug()),
    }
    made
}

/// Lets the creator in, or not, and has the instance made. Nobody is let in while the rate limit does not answer.
async fn admit_and_make(
    web: &Web,
    request: &HttpRequest,
    wish: CreateBody,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<Created, Problem> {
    let Caller { creator, address, .. } = caller(request, web).await?;
    ask(&web.doors.admit, Admit { creator: creator.clone(), address }, ADMIT_WITHIN)
        .await
        .map_err(|error| Problem::of_ask(error, "rate limit"))?
        .map_err(|refused| Problem::of_refused(&refused))?;
    let create = CreateInstance {
        creator,
        ttl: wish.ttl.map(|ttl| ttl.0),
        flavour: wish.flavour,
        label: wish.label,
        idempotency_key,
    };
    let answer = ask(&web.doors.create, create, web.settings.create_deadline + CREATE_MARGIN);
    let hung_up = async {
        match request.conn_data::<HungUp>() {
            Some(hung_up) => hung_up.wait().await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        answer = answer => answer
            .map_err(|error| Problem::of_ask(error, "scheduler"))?
            .map_err(|error| Problem::of_create(error, web.clock.now())),
        // The question is withdrawn by that: nobody keeps a place in the queue for an answer that nobody reads.
        () = hung_up => {
            let error = CreateError::GivenUp("the client closed the connection".to_owned());
            Err(Problem::of_create(error, web.clock.now()))
        }
    }
}

/// `GET /v1/instances/{id}`
pub(super) async fn show(web: Data<Web>, request: HttpRequest, id: Path<String>) -> Result<HttpResponse, Problem> {
    let instance = owned(&web, &request, &id).await?;
    Ok(answer(HttpResponse::Ok(), &instance, &web))
}

/// `PATCH /v1/instances/{id}`
pub(super) async fn extend(
    web: Data<Web>,
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let instance = owned(&web, &request, &id).await?;
    let ExtendBody { ttl } = body::read(&request, payload, web.settings.max_body_bytes).await?;
    let Some(ttl) = ttl else {
        return Err(Problem::invalid("ttl", "Say how long it shall live from now on, as in {\"ttl\": \"2h\"}."));
    };
    let instance = ask(&web.doors.extend, ExtendLease { id: instance.id, ttl: ttl.0 }, web.settings.call_deadline)
        .await
        .map_err(|error| Problem::of_ask(error, "reaper"))?
        .map_err(|error| Problem::of_extend(error, web.clock.now()))?;
    Ok(answer(HttpResponse::Ok(), &instance, &web))
}

/// `DELETE /v1/instances/{id}`
pub(super) async fn delete(web: Data<Web>, request: HttpRequest, id: Path<String>) -> Result<HttpResponse, Problem> {
    let instance = owned(&web, &request, &id).await?;
    let delete = DeleteInstance { id: instance.id, reason: EndReason::Deleted };
    let ending = ask(&web.doors.delete, delete, web.settings.call_deadline)
        .await
        .map_err(|error| Problem::of_ask(error, "scheduler"))?
        .map_err(Problem::of_end)?;
    Ok(match ending {
        Ending::Gone(_) => HttpResponse::NoContent().finish(),
        Ending::Pending { instance, why } => {
            tracing::warn!(instance = %instance.id, host = %instance.host, error = %why, "instance.removal_pending");
            HttpResponse::Accepted().json(json!({"id": instance.id, "state": instance.state.as_str()}))
        }
    })
}

/// The instance, if it is there, the request carries its management token, and it has not ended; in that order.
async fn owned(web: &Web, request: &HttpRequest, id: &str) -> Result<Instance, Problem> {
    let id = InstanceId::parse(id).map_err(|_| Problem::no_such_instance())?;
    let instance = web.stored(web.store.instance(&id)).await?.ok_or_else(Problem::no_such_instance)?;
    let digest = Sha256::digest(web.master_key.management_token(&id).expose_secret()).into();
    let detail = "Send this instance's management token as Authorization: Bearer gar_….";
    open(request, web, bearer(request.headers()), &digest, detail).await?;
    match instance.state {
        InstanceState::Ended(_) => Err(Problem::ended(&instance)),
        _ => Ok(instance),
    }
}
