//! The custom resource definitions, made from the Rust types.
//!
//! The derive describes what the types hold; this file turns that into what Flagger's schema says, so that each object
//! that Flagger's API server accepts is accepted here too (design.md, "The CRD"): no bounds, no null, no defaults that
//! Flagger does not have. Rules over fields of Flagger would refuse edits of stored objects; the only ones are its own.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{AlertProvider, Canary, MetricTemplate};

/// One definition as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdFile {
    /// Name of the file, for example `canary.yaml`.
    pub name: &'static str,
    /// Its text.
    pub yaml: String,
}

/// The three definitions: Canary, `MetricTemplate`, `AlertProvider`.
pub fn crds() -> Vec<CustomResourceDefinition> {
    documents().into_iter().map(|(_, crd)| typed(crd)).collect()
}

/// The three definitions as the files that stand in `crds/`.
pub fn files() -> Vec<CrdFile> {
    documents()
        .into_iter()
        .map(|(name, crd)| CrdFile {
            name,
            yaml: to_yaml(&crd),
        })
        .collect()
}

/// The three definitions as one YAML stream.
pub fn yaml() -> String {
    files().iter().flat_map(|file| ["---\n", &file.yaml]).collect()
}

fn documents() -> [(&'static str, Value); 3] {
    [
        ("canary.yaml", canary(untyped(&Canary::crd()))),
        ("metrictemplate.yaml", common(untyped(&MetricTemplate::crd()))),
        ("alertprovider.yaml", common(untyped(&AlertProvider::crd()))),
    ]
}

fn untyped(crd: &CustomResourceDefinition) -> Value {
    serde_json::to_value(crd).expect("a derived CRD must be plain JSON")
}

fn typed(crd: Value) -> CustomResourceDefinition {
    serde_json::from_value(crd).expect("the reworked CRD must still be one")
}

fn to_yaml(crd: &Value) -> String {
    serde_saphyr::to_string(crd).expect("plain JSON must be YAML")
}

/// Kinds that the one type for references cannot tell apart by itself.
const KINDS: [(&str, &[&str]); 3] = [
    ("targetRef", &["DaemonSet", "Deployment", "Service"]),
    ("ingressRef", &["Ingress"]),
    ("routeRef", &["ApisixRoute"]),
];

fn canary(crd: Value) -> Value {
    let mut crd = common(crd);
    let schema = schema_of(&mut crd);
    for (field, kinds) in KINDS {
        set(schema, &["spec", field, "kind"], "enum", json!(kinds));
    }
    // An origin is matched in exactly one way; other texts may also be left unmatched.
    let exactly_one = json!([{"required": ["exact"]}, {"required": ["prefix"]}, {"required": ["regex"]}]);
    set(
        schema,
        &["spec", "service", "corsPolicy", "allowOrigins", "[]"],
        "oneOf",
        exactly_one,
    );
    // The derive cannot hold a rule inside a rule.
    let hash = json!({"oneOf": [
        {"required": ["httpHeaderName"]},
        {"required": ["httpCookie"]},
        {"required": ["useSourceIp"]},
        {"required": ["httpQueryParameterName"]}
    ]});
    let balancer = json!([
        {"required": ["simple"]},
        {"required": ["consistentHash"], "properties": {"consistentHash": hash}}
    ]);
    set(
        schema,
        &["spec", "service", "trafficPolicy", "loadBalancer"],
        "oneOf",
        balancer,
    );
    // What is absent in a status is zero for the reader, not for the server.
    for path in [
        ["phase"].as_slice(),
        &["failedChecks"],
        &["canaryWeight"],
        &["iterations"],
        &["conditions", "[]", "message"],
    ] {
        node(schema, &[&["status"], path].concat()).remove("default");
    }
    crd
}

/// What all three kinds need.
fn common(mut crd: Value) -> Value {
    let kind = crd["spec"]["names"]["kind"].as_str().map(|kind| format!("{kind}List"));
    crd["spec"]["names"]["listKind"] = json!(kind);
    crd["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    let schema = schema_of(&mut crd);
    plain(schema);
    // Flagger's schema does not demand a spec; an object without one is told so by the controller.
    if let Some(root) = schema.as_object_mut() {
        root.remove("required");
        root.remove("title");
    }
    crd
}

fn schema_of(crd: &mut Value) -> &mut Value {
    &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Sets one key of the node at a path of property names; `[]` stands for the items of a list.
fn set(schema: &mut Value, path: &[&str], key: &str, value: Value) {
    node(schema, path).insert(key.to_owned(), value);
}

fn node<'a>(schema: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let found = path.iter().fold(schema, |node, name| match *name {
        "[]" => &mut node["items"],
        name => &mut node["properties"][name],
    });
    found.as_object_mut().expect("a reworked path must be in the schema")
}

/// Reduces a derived schema to what Flagger's has: no null, no formats that only name a Rust type, the summary of the
/// documentation.
fn plain(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(plain),
        Value::Object(node) => {
            plain_node(node);
            node.values_mut().for_each(plain);
        }
        _ => {}
    }
}

fn plain_node(node: &mut Map<String, Value>) {
    node.remove("nullable");
    if let Some(Value::Array(allowed)) = node.get_mut("enum") {
        allowed.retain(|value| !value.is_null());
    }
    if node
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|f| !["int32", "date-time"].contains(&f))
    {
        node.remove("format");
    }
    for bound in ["minimum", "maximum"] {
        if let Some(number) = node.get_mut(bound) {
            *number = whole(number);
        }
    }
    if node
        .get("required")
        .is_some_and(|fields| fields.as_array().is_some_and(Vec::is_empty))
    {
        node.remove("required");
    }
    if let Some(Value::String(text)) = node.get_mut("description") {
        *text = summary(text);
    }
}

/// `1` instead of `1.0`.
fn whole(number: &Value) -> Value {
    #[allow(clippy::cast_possible_truncation)] // bounds are small and whole
    number.as_f64().map_or_else(
        || number.clone(),
        |n| if n.fract() == 0.0 { json!(n as i64) } else { json!(n) },
    )
}

/// The first paragraph, on one line, without Rust's brackets.
fn summary(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    first
        .replace(['[', ']'], "")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
