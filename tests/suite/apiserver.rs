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
use serde_json::{Value, json};
use serin::{
    clock::Clock,
    sim::apiserver::{ApiServer, Options, route_definitions},
};

use self::script::Answer;
use super::routing::istio::fixtures;

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

/// The answers of the real server.
pub fn recorded(recording: &str) -> Vec<Answer> {
    let lines = std::fs::read_to_string(format!("{HERE}/{recording}")).expect("the recording must be there");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("an answer a line"))
        .collect()
}

/// What differs between a recording and answers, both sides in full.
fn differences(recording: &str, got: &[Answer]) -> Vec<String> {
    let want = recorded(recording);
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

/// The texts of durations whose fate under Istio's own rule is recorded: the embedded server has no such rules.
pub const DURATIONS: [&str; 14] = [
    "1ms", "10s", "1.5s", "1h1m", "0s", "0", "0.5ms", "1000us", "999us", "-1s", "+5s", "1d", "10", "tomorrow",
];

/// How the step is named that sends a duration.
pub fn duration_step(text: &str) -> String {
    format!("a duration of {text}")
}

/// The script about Istio's kinds, then all that Serin draws of them, strictly, and then `durations`.
fn about_istio(durations: &[&str]) -> String {
    let mut script = include_str!("apiserver/istio.yaml").to_owned();
    let mut add = |step: &str, object: &Value| {
        let (version, kind) = (&object["apiVersion"], object["kind"].as_str().unwrap().to_lowercase());
        let path = format!(
            "/apis/{}/NS/{kind}s?fieldValidation=Strict&dryRun=All",
            version.as_str().unwrap()
        );
        let step = json!([{"step": step, "post": path, "body": object}]);
        script.push_str(&serde_saphyr::to_string(&step).unwrap());
    };
    for fixture in fixtures() {
        for mut object in fixture.draws {
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            add(
                &format!("{}: {} {}", fixture.name, object["kind"], object["metadata"]["name"]),
                &object,
            );
        }
    }
    for text in durations {
        let spec = json!({"hosts": ["a"], "http": [{"timeout": text}]});
        let (version, kind) = ("networking.istio.io/v1beta1", "VirtualService");
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "timed"}, "spec": spec});
        add(&duration_step(text), &object);
    }
    script
}

/// `istio.jsonl` holds its answers with the definitions that Istio 1.31 publishes: of the script, of every object that
/// Serin draws in `routing/istio`, and about durations.
#[tokio::test(start_paused = true)]
async fn istios_kinds_answer_as_with_their_published_definitions() {
    let server = ApiServer::new(Options {
        clock: Clock::virtual_at(start()),
        ..Options::default()
    });
    for definition in route_definitions() {
        server.apply_crd(&definition);
    }
    let mut got = script::play(&server.client("admin"), &about_istio(&[])).await;
    let recorded = recorded("istio.jsonl");
    got.extend_from_slice(&recorded[got.len().min(recorded.len())..]);
    let wrong = differences("istio.jsonl", &got);
    assert!(
        wrong.is_empty(),
        "{} of {} answers differ:\n{}",
        wrong.len(),
        got.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_object_that_is_drawn_for_istio_was_accepted_strictly_by_the_real_server() {
    let answers = recorded("istio.jsonl");
    for fixture in fixtures() {
        let about = format!("{}: ", fixture.name);
        let of_it: Vec<_> = answers
            .iter()
            .filter(|answer| answer.step.starts_with(&about))
            .collect();
        assert_eq!(of_it.len(), 3, "{about}");
        for (answer, drawn) in of_it.into_iter().zip(fixture.draws) {
            assert_eq!((answer.code, answer.warnings.len()), (201, 0), "{}", answer.step);
            assert_eq!(
                answer.body["spec"], drawn["spec"],
                "{}: nothing pruned, nothing defaulted",
                answer.step
            );
        }
    }
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

#[tokio::test]
#[ignore = "needs a fresh kube-apiserver 1.36 with the definitions of Istio; set KUBECONFIG"]
async fn record_the_answers_about_istio_of_a_real_server() {
    record(
        "istio.jsonl",
        &script::play(&real_server().await, &about_istio(&DURATIONS)).await,
    );
}
