//! The embedded API server, seen through a plain `kube::Client`.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world must stop")]

mod cluster;
mod runtime;
mod script;

use std::{path::Path, time::Duration};

use chrono::{DateTime, Utc};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serin::{
    clock::Clock,
    sim::apiserver::{ApiServer, Options},
};

use self::script::Answer;

const ANSWERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/apiserver/answers.jsonl");

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

/// Makes a server ready for the script and plays it.
async fn conform(client: &Client) -> Vec<Answer> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let _ = api.delete("widgets.example.dev", &DeleteParams::default()).await;
    api.create(&PostParams::default(), &definition())
        .await
        .expect("the definition must be accepted");
    await_condition(api, "widgets.example.dev", conditions::is_crd_established())
        .await
        .expect("the definition must be established");
    tokio::time::sleep(Duration::from_secs(2)).await;
    script::play(client).await
}

/// The answers of kube-apiserver 1.36.3 are in `answers.jsonl`; this server must give the same ones.
#[tokio::test(start_paused = true)]
async fn every_answer_is_that_of_the_real_server() {
    let recorded = std::fs::read_to_string(Path::new(ANSWERS)).expect("answers.jsonl must be there");
    let want: Vec<Answer> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).expect("an answer a line"))
        .collect();
    let clock = Clock::virtual_at(start());
    let server = ApiServer::new(Options {
        clock,
        ..Options::default()
    });
    let got = conform(&server.client("admin")).await;
    let wrong: Vec<String> = want
        .iter()
        .zip(&got)
        .filter(|(want, got)| want != got)
        .map(|(want, got)| {
            let line = |answer: &Answer| serde_json::to_string(answer).expect("an answer must be JSON");
            format!("want {}\n got {}\n", line(want), line(got))
        })
        .collect();
    assert_eq!(
        want.len(),
        got.len(),
        "the recording and the script differ in length: record again"
    );
    assert!(
        wrong.is_empty(),
        "{} of {} answers differ:\n{}",
        wrong.len(),
        want.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
#[ignore = "needs a real API server of version 1.36: set KUBECONFIG, and the answers are recorded anew"]
async fn record_the_answers_of_a_real_server() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::infer().await.expect("KUBECONFIG must name a server");
    config.default_retry = false;
    let client = Client::try_from(config).expect("a client must be made");
    let answers = conform(&client).await;
    let lines: Vec<String> = answers
        .iter()
        .map(|answer| serde_json::to_string(answer).expect("an answer must be JSON"))
        .collect();
    std::fs::write(ANSWERS, lines.join("\n") + "\n").expect("answers.jsonl must be writable");
}
