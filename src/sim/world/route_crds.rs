//! The definitions of the route kinds for the embedded API server: what Serin reads and writes of them, with the defaults
//! that the real ones have; everything else in them is kept as it is.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::sim::apiserver::istio_definitions;

/// `HTTPProxy` of `projectcontour.io/v1`, `HTTPRoute` of `gateway.networking.k8s.io/v1`, and Istio's kinds.
pub fn route_crds() -> Vec<CustomResourceDefinition> {
    [http_proxy(), http_route()]
        .into_iter()
        .filter_map(|crd| serde_json::from_value(crd).ok())
        .chain(istio_definitions())
        .collect()
}

fn crd(group: &str, version: &str, kind: &str, plural: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            // The API server asks this of everything in a group of Kubernetes' own.
            "annotations": { "api-approved.kubernetes.io": "unapproved, embedded" },
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase() },
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": { "spec": spec, "status": open() },
                } },
            }],
        },
    })
}

/// An object whose unknown fields are kept.
fn open() -> Value {
    json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn open_with(properties: &Value) -> Value {
    let mut schema = open();
    schema["properties"] = properties.clone();
    schema
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn text(default: &str) -> Value {
    json!({ "type": "string", "default": default })
}

fn http_proxy() -> Value {
    let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
    let weight = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    let mut service = open_with(&json!({ "name": { "type": "string" }, "port": port, "weight": weight }));
    service["required"] = json!(["name", "port"]);
    let route = open_with(&json!({ "conditions": list(&open()), "services": list(&service) }));
    crd(
        "projectcontour.io",
        "v1",
        "HTTPProxy",
        "httpproxies",
        &open_with(&json!({ "routes": list(&route) })),
    )
}

fn http_route() -> Value {
    let mut backend = open_with(&json!({
        "group": text(""),
        "kind": text("Service"),
        "name": { "type": "string" },
        "weight": { "type": "integer", "format": "int32", "minimum": 0, "maximum": 1_000_000, "default": 1 },
    }));
    backend["required"] = json!(["name"]);
    let mut parent = open_with(&json!({
        "group": text("gateway.networking.k8s.io"),
        "kind": text("Gateway"),
        "name": { "type": "string" },
    }));
    parent["required"] = json!(["name"]);
    let path = json!({
        "type": "object",
        "properties": { "type": text("PathPrefix"), "value": text("/") },
        "default": { "type": "PathPrefix", "value": "/" },
    });
    let mut matches = list(&open_with(&json!({ "path": path })));
    matches["default"] = json!([{ "path": { "type": "PathPrefix", "value": "/" } }]);
    let rule = open_with(&json!({ "matches": matches, "backendRefs": list(&backend), "filters": list(&open()) }));
    let mut rules = list(&rule);
    rules["default"] = json!([{ "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }] }]);
    let spec = open_with(&json!({ "parentRefs": list(&parent), "rules": rules }));
    crd("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", &spec)
}
