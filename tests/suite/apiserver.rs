//! The embedded API server, seen through a plain `kube::Client`.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world must stop")]

mod cluster;
mod runtime;
mod script;

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config,
    api::PostParams,
    runtime::{conditions, wait::await_condition},
};
use serin::{
    clock::Clock,
    sim::apiserver::{ApiServer, Options, route_definitions},
};

use self::script::Answer;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/apiserver");

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid")
}

/// A server on tokio's clock whose watches are up to five seconds late.
fn server() -> ApiServer {
    let clock = Clock::virtual_at(start());
    ApiServer::new(Options {
        seed: 1,
        watch_delay: Duration::ZERO..=Duration::from_secs(5),
        clock,
    })
}

/// The custom resource of the script.
fn definition() -> CustomResourceDefinition {
    serde_saphyr::from_str(include_str!("apiserver/widget.yaml")).expect("widget.yaml must be a definition")
}

/// Serves the custom resource of the script, and plays it.
async fn conform(client: &Client) -> Vec<Answer> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.create(&PostParams::default(), &definition())
        .await
        .expect("the definition must be accepted");
    await_condition(api, "widgets.example.dev", conditions::is_crd_established())
        .await
        .expect("the definition must be established");
    // A real server serves a new resource a moment after it says so.
    tokio::time::sleep(Duration::from_secs(2)).await;
    script::play(client, include_str!("apiserver/steps.yaml")).await
}

/// What differs between a recording and answers, both sides in full.
fn differences(recording: &str, got: &[Answer]) -> Vec<String> {
    let recorded = std::fs::read_to_string(format!("{HERE}/{recording}")).expect("the recording must be there");
    let want: Vec<Answer> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).expect("an answer a line"))
        .collect();
    assert_eq!(
        want.len(),
        got.len(),
        "{recording} and its script differ in length: record again"
    );
    let line = |answer: &Answer| serde_json::to_string(answer).expect("an answer must be JSON");
    want.iter()
        .zip(got)
        .filter(|(want, got)| want != got)
        .map(|(want, got)| format!("want {}\n got {}\n", line(want), line(got)))
        .collect()
}

fn record(recording: &str, answers: &[Answer]) {
    let lines: Vec<String> = answers
        .iter()
        .map(|answer| serde_json::to_string(answer).expect("an answer must be JSON"))
        .collect();
    std::fs::write(format!("{HERE}/{recording}"), lines.join("\n") + "\n").expect("the recording must be writable");
}

async fn real_server() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::infer().await.expect("KUBECONFIG must name a server");
    config.default_retry = false;
    Client::try_from(config).expect("a client must be made")
}

/// `answers.jsonl` holds the answers of kube-apiserver 1.36.3; this server must give the same ones.
#[tokio::test(start_paused = true)]
async fn every_answer_is_that_of_the_real_server() {
    let server = ApiServer::new(Options {
        clock: Clock::virtual_at(start()),
        ..Options::default()
    });
    let got = conform(&server.client("admin")).await;
    let wrong = differences("answers.jsonl", &got);
    assert!(
        wrong.is_empty(),
        "{} of {} answers differ:\n{}",
        wrong.len(),
        got.len(),
        wrong.join("\n")
    );
}

/// `routes.jsonl` holds its answers with the definitions that Contour 1.33 and the Gateway API 1.3 publish.
#[tokio::test(start_paused = true)]
async fn routes_answer_as_with_their_published_definitions() {
    let server = ApiServer::new(Options {
        clock: Clock::virtual_at(start()),
        ..Options::default()
    });
    for definition in route_definitions() {
        server.apply_crd(&definition);
    }
    let got = script::play(&server.client("admin"), include_str!("apiserver/routes.yaml")).await;
    let wrong = differences("routes.jsonl", &got);
    assert!(
        wrong.is_empty(),
        "{} of {} answers differ:\n{}",
        wrong.len(),
        got.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
#[ignore = "needs a fresh kube-apiserver 1.36 without controllers: set KUBECONFIG, and the answers are recorded anew"]
async fn record_the_answers_of_a_real_server() {
    record("answers.jsonl", &conform(&real_server().await).await);
}

#[tokio::test]
#[ignore = "needs a fresh kube-apiserver 1.36 with the definitions of Contour and the Gateway API; set KUBECONFIG"]
async fn record_the_answers_about_routes_of_a_real_server() {
    record(
        "routes.jsonl",
        &script::play(&real_server().await, include_str!("apiserver/routes.yaml")).await,
    );
}
