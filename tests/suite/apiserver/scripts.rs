//! The conformance scripts: what each needs, how it is played on the embedded server, and where the answers of the real one stand.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::{conditions, wait::await_condition};
use serde_json::{Value, json};
use serin::clock::Clock;
use serin::sim::apiserver::{ApiServer, Options, route_definitions};

use super::script::{self, Answer};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/apiserver");

/// What Serin draws of Istio's kinds, a file for each Canary.
const DRAWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/routing/istio");

/// The texts of durations whose fate under Istio's own rule is recorded: the embedded server has no such rules.
pub const DURATIONS: [&str; 14] = [
    "1ms", "10s", "1.5s", "1h1m", "0s", "0", "0.5ms", "1000us", "999us", "-1s", "+5s", "1d", "10", "tomorrow",
];

/// When the embedded server's time begins.
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid")
}

/// A script. Each wants a server that nobody has used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Requests and their answers, with no controller beside the server.
    Requests,
    /// What happens by itself: garbage collection, the end of a namespace, bookmarks, a history that is forgotten.
    ByItself,
    /// `HTTPProxy` and `HTTPRoute`, under the definitions that Contour 1.33 and the Gateway API 1.3 publish.
    Routes,
    /// Istio's kinds, under the definitions that Istio 1.31 publishes: a script, every object that Serin draws, strictly, and durations.
    Istio,
}

impl Script {
    /// What it and its recording are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::ByItself => "by-itself",
            Self::Routes => "routes",
            Self::Istio => "istio",
        }
    }

    /// Its steps, as YAML.
    fn steps(self) -> String {
        match self {
            Self::Requests => include_str!("requests.yaml").to_owned(),
            Self::ByItself => include_str!("by-itself.yaml").to_owned(),
            Self::Routes => include_str!("routes.yaml").to_owned(),
            Self::Istio => about_istio(),
        }
    }

    /// Whether the embedded server is held to the answer of a step.
    pub fn binds(self, step: &str) -> bool {
        self != Self::Istio || !DURATIONS.iter().any(|text| duration_step(text) == step)
    }

    /// Plays it against any server, whose history `forget` ends.
    pub async fn play(self, client: &Client, forget: impl AsyncFn()) -> Vec<Answer> {
        if matches!(self, Self::Requests | Self::ByItself) {
            serve_widgets(client).await;
        }
        script::play(client, &self.steps(), forget).await
    }

    /// Plays it against an embedded server. Under a paused clock that takes no time.
    pub async fn play_embedded(self) -> Vec<Answer> {
        let server = ApiServer::new(Options {
            clock: Clock::virtual_at(start()),
            ..Options::default()
        });
        if matches!(self, Self::Routes | Self::Istio) {
            for definition in route_definitions() {
                server.apply_crd(&definition);
            }
        }
        self.play(&server.client("admin"), async || server.compact()).await
    }

    /// Where the answers of the real server stand, a line each.
    pub fn recording(self) -> PathBuf {
        PathBuf::from(format!("{HERE}/{}.jsonl", self.name()))
    }

    /// The answers of the real server, as they were recorded.
    pub fn recorded(self) -> Vec<Answer> {
        let lines = std::fs::read_to_string(self.recording()).expect("the recording must be there");
        let answer = |line| serde_json::from_str(line).expect("each line must be an answer");
        lines.lines().map(answer).collect()
    }
}

/// How the step is named that sends a duration.
pub fn duration_step(text: &str) -> String {
    format!("a duration of {text}")
}

/// What differs between the answers to the same steps, field by field.
pub fn differences<'a>(want: impl IntoIterator<Item = &'a Answer>, got: &[Answer]) -> Vec<String> {
    let mut all = Vec::new();
    let mut got = got.iter();
    for want in want {
        let Some(got) = got.find(|got| got.step == want.step) else {
            all.push(format!("{}: no answer", want.step));
            continue;
        };
        let whole = |answer: &Answer| serde_json::to_value(answer).expect("an answer must be JSON");
        differ(&whole(want), &whole(got), &want.step, &mut all);
    }
    all
}

/// Goes down where both have something to go down to.
fn differ(want: &Value, got: &Value, path: &str, all: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(wants), Value::Object(gots)) => {
            for (key, want) in wants {
                differ(
                    want,
                    gots.get(key).unwrap_or(&Value::Null),
                    &format!("{path} /{key}"),
                    all,
                );
            }
            for (key, got) in gots.iter().filter(|(key, _)| !wants.contains_key(*key)) {
                all.push(format!("{path} /{key}: want nothing, got {got}"));
            }
        }
        (Value::Array(wants), Value::Array(gots)) if wants.len() == gots.len() => {
            for (place, (want, got)) in wants.iter().zip(gots).enumerate() {
                differ(want, got, &format!("{path} /{place}"), all);
            }
        }
        _ if want == got => {}
        _ => all.push(format!("{path}: want {want}, got {got}")),
    }
}

/// Serves the custom resource of the scripts.
async fn serve_widgets(client: &Client) {
    let definition: CustomResourceDefinition =
        serde_saphyr::from_str(include_str!("widget.yaml")).expect("widget.yaml must be a definition");
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.create(&PostParams::default(), &definition)
        .await
        .expect("the definition must be accepted");
    await_condition(api, "widgets.example.dev", conditions::is_crd_established())
        .await
        .expect("the definition must be established");
    // A real server serves a new resource a moment after it says so.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// The script about Istio's kinds, then all that Serin draws of them, strictly, and then the durations.
fn about_istio() -> String {
    let mut script = include_str!("istio.yaml").to_owned();
    let mut add = |step: &str, object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]).to_lowercase());
        let path = format!("/apis/{version}/NS/{kind}s?fieldValidation=Strict&dryRun=All");
        let step = json!([{"step": step, "post": path, "body": object}]);
        script.push_str(&serde_saphyr::to_string(&step).expect("a step must be YAML"));
    };
    for (name, objects) in drawn() {
        for mut object in objects {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("namespace");
            }
            let step = format!("{name}: {} {}", object["kind"], object["metadata"]["name"]);
            add(&step, &object);
        }
    }
    for text in DURATIONS {
        let spec = json!({"hosts": ["a"], "http": [{"timeout": text}]});
        let (version, kind) = ("networking.istio.io/v1beta1", "VirtualService");
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "timed"}, "spec": spec});
        add(&duration_step(text), &object);
    }
    script
}

/// What is drawn for each Canary of the folder, in the order of the files' names.
fn drawn() -> Vec<(String, Vec<Value>)> {
    #[derive(serde::Deserialize)]
    struct Canary {
        draws: Vec<Value>,
    }
    let files = std::fs::read_dir(DRAWN).expect("the folder must be there");
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("the file must be readable");
        let canary: Canary = serde_saphyr::from_str(&text).expect("the file must say what is drawn");
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        (name, canary.draws)
    };
    paths.iter().map(read).collect()
}
