//! The conformance script: operations that any Kubernetes API server must answer alike.
//!
//! [`play`] takes any server and one of the scripts beside this file. Answers are made comparable: uids, resourceVersions and times become `uid-1`, `rv-1` and
//! `<time>`, numbered in the order in which they are first seen, so that "the same object" and "no new version" still
//! show. Managers stand in the order of their names, not of their times, and the causes
//! of a refusal in that of their fields, since the real server reads maps in no order.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use regex::Regex;
use serde_json::Value;

/// What `NS` in a path stands for.
const NAMESPACE: &str = "namespaces/conformance";

/// How often it is looked whether something has come about, and how often at most.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: usize = 450;

/// By then a watch is under way.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// One operation, as a script writes it.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// What it shows; unique.
    #[serde(rename = "step")]
    name: String,
    get: Option<String>,
    post: Option<String>,
    put: Option<String>,
    delete: Option<String>,
    merge: Option<String>,
    json_patch: Option<String>,
    strategic: Option<String>,
    apply: Option<String>,
    #[serde(default)]
    body: Value,
    /// Seconds that pass before.
    #[serde(default)]
    after: u64,
    /// The operation is repeated until its answer is so; only that one counts.
    until: Option<Until>,
    /// Sent while this one, a watch, is under way. Its own answer does not count.
    meanwhile: Option<Box<Step>>,
    /// Instead of an operation: whatever was before is forgotten, and can neither be watched nor listed from now on.
    #[serde(default)]
    forget: bool,
}

/// What comes about by itself, a moment after it was caused.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Until {
    /// The answer has this code.
    Code(u16),
    /// The body has something at this JSON pointer.
    Present(String),
    /// It has nothing there.
    Absent(String),
}

impl Until {
    fn has_come(&self, code: u16, body: &Value) -> bool {
        match self {
            Self::Code(wanted) => code == *wanted,
            Self::Present(pointer) => body.pointer(pointer).is_some(),
            Self::Absent(pointer) => body.pointer(pointer).is_none(),
        }
    }
}

/// An answer, made comparable.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// The step's name.
    pub step: String,
    /// The HTTP code.
    pub code: u16,
    /// Texts of the `Warning` headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The body; the events of a watch are an array.
    pub body: Value,
}

/// Plays a script, a YAML list of steps, against a server, in order. `forget` makes the server forget its history.
pub async fn play(client: &Client, script: &str, forget: impl AsyncFn()) -> Vec<Answer> {
    let steps: Vec<Step> = serde_saphyr::from_str(script).expect("a script must be a list of steps");
    let (mut raw, mut masks, mut answers) = (BTreeMap::new(), Masks::new(), Vec::new());
    for step in steps {
        tokio::time::sleep(Duration::from_secs(step.after)).await;
        if step.forget {
            forget().await;
            continue;
        }
        let (code, warnings, body) = last(client, &step, &raw).await;
        answers.push(Answer {
            step: step.name.clone(),
            code,
            warnings,
            body: masks.apply(&body, ""),
        });
        raw.insert(step.name, body);
    }
    answers
}

/// The answer that counts: the only one, or the first that is as the step wants it, or the one at which patience ended.
async fn last(client: &Client, step: &Step, raw: &BTreeMap<String, Value>) -> (u16, Vec<String>, Value) {
    let mut answer = tokio::join!(send(client, step, raw), meanwhile(client, step, raw)).0;
    for _ in 0..LOOKS {
        let (code, _, body) = &answer;
        if step.until.as_ref().is_none_or(|until| until.has_come(*code, body)) {
            break;
        }
        tokio::time::sleep(LOOK).await;
        answer = send(client, step, raw).await;
    }
    answer
}

async fn meanwhile(client: &Client, step: &Step, raw: &BTreeMap<String, Value>) {
    if let Some(other) = &step.meanwhile {
        tokio::time::sleep(UNDER_WAY).await;
        let (code, ..) = send(client, other, raw).await;
        assert!((200..300).contains(&code), "{}: {code}", other.name);
    }
}

async fn send(client: &Client, step: &Step, raw: &BTreeMap<String, Value>) -> (u16, Vec<String>, Value) {
    let body = match &step.body {
        Value::Null => Vec::new(),
        body => fill(&body.to_string(), raw).into_bytes(),
    };
    let (method, media, path) = step.request();
    let request = Request::builder()
        .method(method)
        .uri(fill(&path.replace("NS", NAMESPACE), raw))
        .header("content-type", media)
        .header("accept", step.accept())
        .header("user-agent", "conformance")
        .body(Body::from(body))
        .expect("the step's request must be valid");
    let answer = client.send(request).await.expect("every step must get an answer");
    let code = answer.status().as_u16();
    let texts = answer
        .headers()
        .get_all("warning")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let warnings = texts.map(str::to_owned).collect();
    let bytes: Bytes = answer
        .into_body()
        .collect()
        .await
        .expect("the body must be readable")
        .to_bytes();
    let lines: Vec<Value> = serde_json::Deserializer::from_slice(&bytes)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    let body = match lines.as_slice() {
        [only] if !path.contains("watch=") => only.clone(),
        several => several.to_vec().into(),
    };
    (code, warnings, body)
}

impl Step {
    /// Method, media type of the body, and path.
    fn request(&self) -> (&'static str, &'static str, &str) {
        let json = "application/json";
        let ways = [
            ("GET", json, &self.get),
            ("POST", json, &self.post),
            ("PUT", json, &self.put),
            ("DELETE", json, &self.delete),
            ("PATCH", "application/merge-patch+json", &self.merge),
            ("PATCH", "application/json-patch+json", &self.json_patch),
            ("PATCH", "application/strategic-merge-patch+json", &self.strategic),
            ("PATCH", "application/apply-patch+yaml", &self.apply),
        ];
        let mut given = ways
            .into_iter()
            .filter_map(|(method, media, path)| Some((method, media, path.as_deref()?)));
        given.next().expect("each step must have a path")
    }

    fn accept(&self) -> &'static str {
        match self.name.as_str() {
            name if name.starts_with("list metadata only") => {
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
            }
            name if name.contains("metadata only") => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            _ => "application/json",
        }
    }
}

/// Puts values of earlier answers in: `{uid:step}`, `{rv:step}`, `{continue:step}`.
fn fill(text: &str, raw: &BTreeMap<String, Value>) -> String {
    let pattern = Regex::new(r"\{(uid|rv|continue):([^}]*)\}").expect("the pattern must be valid");
    let value = |found: &regex::Captures<'_>| {
        let field = if &found[1] == "rv" {
            "resourceVersion"
        } else {
            &found[1]
        };
        let answer = raw.get(&found[2]).expect("only earlier steps can be named");
        answer["metadata"][field]
            .as_str()
            .expect("the named answer must have the value")
            .to_owned()
    };
    pattern.replace_all(text, value).into_owned()
}

/// Replaces what no two servers share.
struct Masks {
    uid: Regex,
    /// What to look for and what to put there.
    words: Vec<(Regex, &'static str)>,
    uids: BTreeMap<String, String>,
    versions: BTreeMap<String, String>,
}

impl Masks {
    fn new() -> Self {
        let regex = |pattern: &str| Regex::new(pattern).expect("the pattern must be valid");
        Self {
            uid: regex("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
            words: vec![
                (regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
                (regex(r"10\.\d+\.\d+\.\d+"), "<address>"),
                (regex(r"current: \d+"), "current: <revision>"),
                (regex(r"version: \d+ \(\d+\)$"), "version: <revision> (<revision>)"),
                (regex(r"in record \(\d+\)"), "in record (<revision>)"),
                (
                    regex(r#"(Invalid|Unsupported) value: ("\{.*\}"|"map\[.*\]"|[\[{].*[\]}]): "#),
                    "$1 value: <object>: ",
                ),
                (regex(r"is invalid: \[.*\]$"), "is invalid: <causes>"),
                (regex("(Bad_|gen-)[a-z0-9]{5}"), "$1<random>"),
            ],
            uids: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    fn apply(&mut self, value: &Value, key: &str) -> Value {
        match value {
            Value::String(text) if key == "resourceVersion" => {
                let next = format!("rv-{}", self.versions.len() + 1);
                self.versions.entry(text.clone()).or_insert(next).clone().into()
            }
            Value::String(_) if key == "continue" => "<continue>".into(),
            Value::String(text) => self.text(text).into(),
            Value::Array(items) if key == "managedFields" => {
                let mut sorted = items.clone();
                sorted.sort_by_key(|entry| {
                    (
                        entry["manager"].to_string(),
                        entry["operation"].to_string(),
                        entry["subresource"].to_string(),
                    )
                });
                sorted.iter().map(|item| self.apply(item, "")).collect()
            }
            Value::Array(items) => {
                let mut masked: Vec<Value> = items.iter().map(|item| self.apply(item, "")).collect();
                // The real server says some bookmarks twice.
                masked.dedup_by(|next, event| next == event && event["type"] == "BOOKMARK");
                masked.into()
            }
            Value::Object(fields)
                if fields
                    .get("causes")
                    .and_then(Value::as_array)
                    .is_some_and(|causes| causes.len() > 1) =>
            {
                let mut sorted = fields.clone();
                if let Some(causes) = sorted.get_mut("causes").and_then(Value::as_array_mut) {
                    causes.sort_by_key(|cause| (cause["field"].to_string(), cause["message"].to_string()));
                }
                self.fields(&sorted)
            }
            Value::Object(fields) => self.fields(fields),
            other => other.clone(),
        }
    }

    fn fields(&mut self, fields: &serde_json::Map<String, Value>) -> Value {
        if fields.get("type").is_some_and(|kind| kind == "BOOKMARK") {
            return self.bookmark(fields);
        }
        let list = fields.contains_key("items");
        let masked = fields.iter().map(|(name, value)| {
            let masked = if list && name == "metadata" {
                self.list_metadata(value)
            } else {
                self.apply(value, name)
            };
            (self.text(name), masked)
        });
        masked.collect::<serde_json::Map<_, _>>().into()
    }

    /// How far a watch has come is a matter of the server.
    fn bookmark(&mut self, event: &serde_json::Map<String, Value>) -> Value {
        let mut object = event["object"].clone();
        object["metadata"]["resourceVersion"] = "<bookmark>".into();
        serde_json::json!({"type": "BOOKMARK", "object": self.apply(&object, "object")})
    }

    /// The revision of a list is that of the whole server.
    fn list_metadata(&mut self, metadata: &Value) -> Value {
        let mut masked = metadata.clone();
        masked["resourceVersion"] = "<list>".into();
        self.apply(&masked, "")
    }

    fn text(&mut self, text: &str) -> String {
        let uids = &mut self.uids;
        let text = self.uid.replace_all(text, |found: &regex::Captures<'_>| {
            let next = format!("uid-{}", uids.len() + 1);
            uids.entry(found[0].to_owned()).or_insert(next).clone()
        });
        self.words.iter().fold(text.into_owned(), |text, (pattern, word)| {
            pattern.replace_all(&text, *word).into_owned()
        })
    }
}
