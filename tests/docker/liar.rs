//! Things that only look like an engine: each call ends in time, with an error of the right kind.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use getaredis::adapters::docker::DockerRuntimes;
use getaredis_actors::ports::{Runtime, RuntimeError, Runtimes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use crate::{
    contract::{self, new_id},
    harness::{Deployment, host, settings},
    ports::free_port,
};

/// Answers every request with the same bytes and then says nothing more.
async fn says(answer: &'static [u8]) -> SocketAddr {
    serves(move |_| answer.to_vec()).await
}

/// Answers every request by its first line.
async fn serves(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let answer = Arc::new(answer);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut request = [0; 16 * 1024];
                while let Ok(length @ 1..) = stream.read(&mut request).await {
                    let text = String::from_utf8_lossy(&request[..length]);
                    if stream.write_all(&answer(text.lines().next().unwrap_or_default())).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn runtime(deployment: &Deployment, address: SocketAddr) -> Arc<dyn Runtime> {
    let mut settings = settings(&deployment.id);
    settings.call_timeout = Duration::from_millis(400);
    settings.start_timeout = Duration::from_millis(400);
    DockerRuntimes::new(settings).unwrap().open(&host(&format!("tcp://{address}"))).unwrap()
}

/// What every method makes of it.
async fn errors(answer: &'static [u8]) -> Vec<RuntimeError> {
    let deployment = Deployment::new();
    let runtime = runtime(&deployment, says(answer).await);
    let (spec, id) = (contract::spec(), new_id());
    let calls = async {
        vec![
            runtime.start(&spec).await.err(),
            runtime.remove(&id).await.err(),
            runtime.inventory().await.err(),
            runtime.probe().await.err(),
            runtime.exits().next().await.and_then(Result::err),
        ]
    };
    let ended = timeout(Duration::from_secs(10), calls).await.expect("a call hangs");
    ended.into_iter().map(|error| error.expect("a call succeeded")).collect()
}

fn all_unreachable(errors: &[RuntimeError]) {
    assert!(errors.iter().all(|e| matches!(e, RuntimeError::Unreachable(_))), "{errors:?}");
}

#[tokio::test]
async fn an_engine_that_fails_at_everything_refuses_in_its_own_words() {
    let errors =
        errors(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 24\r\n\r\n{\"message\":\"disk full!\"}").await;
    for error in &errors {
        assert!(matches!(error, RuntimeError::Refused(why) if why == "disk full!"), "{errors:?}");
    }
}

#[tokio::test]
async fn a_gateway_without_its_engine_is_unreachable() {
    all_unreachable(&errors(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await);
}

#[tokio::test]
async fn an_engine_that_says_nothing_is_unreachable() {
    all_unreachable(&errors(b"").await[..4]);
}

#[tokio::test]
async fn an_engine_that_stalls_in_the_middle_of_its_answer_is_unreachable() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n[{";
    let deployment = Deployment::new();
    let runtime = runtime(&deployment, says(answer).await);
    let spec = contract::spec();
    let calls =
        async { (runtime.start(&spec).await.err(), runtime.inventory().await.err(), runtime.probe().await.err()) };
    let (start, inventory, probe) = timeout(Duration::from_secs(10), calls).await.expect("a call hangs");
    all_unreachable(&[start.unwrap(), inventory.unwrap(), probe.unwrap()]);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_no_answer() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"what\":\"ever\"}";
    let deployment = Deployment::new();
    let runtime = runtime(&deployment, says(answer).await);
    let start = runtime.start(&contract::spec()).await.unwrap_err();
    let inventory = runtime.inventory().await.unwrap_err();
    assert!(matches!(inventory, RuntimeError::Unreachable(_)), "{inventory}");
    assert!(matches!(start, RuntimeError::Unreachable(_) | RuntimeError::Refused(_)), "{start}");
    all_unreachable(&errors(b"SSH-2.0-OpenSSH_9.2\r\n").await);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let free = ([127, 0, 0, 1], free_port()).into();
    let deployment = Deployment::new();
    let error = runtime(&deployment, free).probe().await.unwrap_err();
    let why = "the container engine does not answer: tcp connect error: Connection refused (os error 111)";
    assert!(matches!(&error, RuntimeError::Unreachable(_)) && error.to_string() == why, "{error}");
}

fn with_status(status: &str, body: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    (head + body).into_bytes()
}

#[tokio::test]
async fn a_network_that_another_server_made_in_the_same_moment_is_used() {
    let deployment = Deployment::new();
    let name = format!("getaredis-{}", deployment.id);
    let network = format!(r#"[{{"Name":"{name}","Id":"n1","Labels":{{"getaredis.deployment":"{}"}}}}]"#, deployment.id);
    let made_elsewhere = Arc::new(AtomicBool::new(false));
    let refused = Arc::clone(&made_elsewhere);
    // As newer engines do: they hold no two networks of one name.
    let engine = serves(move |line| match line {
        line if line.starts_with("POST /networks/create") => {
            refused.store(true, Ordering::SeqCst);
            with_status("409 Conflict", &format!(r#"{{"message":"network with name {name} already exists"}}"#))
        }
        line if line.starts_with("GET /networks") && refused.load(Ordering::SeqCst) => with_status("200 OK", &network),
        line if line.starts_with("GET /networks") => with_status("200 OK", "[]"),
        line if line.contains("/_ping") => with_status("200 OK", "OK"),
        _ => with_status("200 OK", "{}"),
    })
    .await;
    runtime(&deployment, engine).probe().await.unwrap();
    assert!(made_elsewhere.load(Ordering::SeqCst));
}
