//! Small definitions of the routes that the embedded cluster serves: `HTTPProxy`, `HTTPRoute`, `Gateway`, and Istio's.
//!
//! They have the fields that a progressive release touches, with the defaults, the required fields and the list rules of
//! the published definitions (Contour 1.33, Gateway API 1.3), so that what is written reads back as it would there. Parts
//! that only pass through are open: they keep whatever they are given.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::istio_crds::istio_definitions;

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// All route definitions, for [`super::ApiServer::apply_crd`].
pub fn route_definitions() -> Vec<CustomResourceDefinition> {
    let definitions = [
        definition("projectcontour.io", &["v1"], "HTTPProxy", "httpproxies", &http_proxy()),
        definition(
            GATEWAY_GROUP,
            &["v1", "v1beta1"],
            "HTTPRoute",
            "httproutes",
            &http_route(),
        ),
        definition(GATEWAY_GROUP, &["v1", "v1beta1"], "Gateway", "gateways", &gateway()),
    ];
    definitions
        .into_iter()
        .filter_map(|definition| serde_json::from_value(definition).ok())
        .chain(istio_definitions())
        .collect()
}

/// A namespaced kind with a status subresource; the first version is stored.
pub(super) fn definition(group: &str, versions: &[&str], kind: &str, plural: &str, schema: &Value) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(index, name)| {
            json!({
                "name": name, "served": true, "storage": index == 0,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema},
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List"),
            },
            "versions": versions,
        },
    })
}

// === The words of a schema ===

pub(super) fn object(fields: &Value) -> Value {
    json!({"type": "object", "properties": fields})
}

pub(super) fn needing(required: &[&str], fields: &Value) -> Value {
    json!({"type": "object", "properties": fields, "required": required})
}

pub(super) fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

fn keyed(key: &str, items: &Value) -> Value {
    json!({"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
}

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

fn text_or(default: &str) -> Value {
    json!({"type": "string", "default": default})
}

pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}

fn between(least: i64, most: i64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

/// Whatever is given is kept.
pub(super) fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn or(mut schema: Value, default: Value) -> Value {
    schema["default"] = default;
    schema
}

/// The conditions that Kubernetes kinds share.
fn conditions() -> Value {
    let required = ["type", "status", "reason", "message", "lastTransitionTime"];
    let condition = needing(
        &required,
        &json!({
            "type": text(), "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": text(), "message": text(),
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        }),
    );
    keyed("type", &condition)
}

// === Contour ===

fn http_proxy() -> Value {
    let service = needing(
        &["name", "port"],
        &json!({
            "name": text(), "port": between(1, 65_535), "healthPort": between(1, 65_535),
            "weight": {"type": "integer", "format": "int64", "minimum": 0}, "mirror": flag(),
            "protocol": {"type": "string", "enum": ["h2", "h2c", "tls"]},
            "requestHeadersPolicy": open(), "responseHeadersPolicy": open(), "slowStartPolicy": open(),
            "validation": upstream_validation(), "cookieRewritePolicies": list(&open()),
        }),
    );
    let condition = object(&json!({
        "prefix": text(), "exact": text(), "regex": text(), "header": open(), "queryParameter": open(),
    }));
    let retries = object(&json!({
        "count": {"type": "integer", "format": "int64", "minimum": -1, "default": 1}, "perTryTimeout": text(),
        "retriableStatusCodes": list(&json!({"type": "integer"})), "retryOn": list(&text()),
    }));
    let timeouts = object(&json!({"response": text(), "idle": text(), "idleConnection": text()}));
    let route = object(&json!({
        "conditions": list(&condition), "services": list(&service.clone()), "retryPolicy": retries,
        "timeoutPolicy": timeouts, "enableWebsockets": flag(), "permitInsecure": flag(),
        "pathRewritePolicy": open(), "requestHeadersPolicy": open(), "responseHeadersPolicy": open(),
        "cookieRewritePolicies": list(&open()), "loadBalancerPolicy": open(), "healthCheckPolicy": open(),
        "rateLimitPolicy": open(), "authPolicy": open(), "requestRedirectPolicy": open(),
        "directResponsePolicy": open(), "internalRedirectPolicy": open(), "jwtVerificationPolicy": open(),
        "ipAllowPolicy": list(&open()), "ipDenyPolicy": list(&open()),
    }));
    let include = needing(
        &["name"],
        &json!({"name": text(), "namespace": text(), "conditions": list(&open())}),
    );
    let status = or(
        object(&json!({
            "currentStatus": text(), "description": text(), "conditions": keyed("type", &open_condition()),
            "loadBalancer": open(),
        })),
        json!({"currentStatus": "NotReconciled", "description": "Waiting for controller"}),
    );
    needing(
        &["metadata", "spec"],
        &json!({
            "metadata": {"type": "object"},
            "spec": object(&json!({
                "ingressClassName": text(), "virtualhost": open(), "includes": list(&include),
                "routes": list(&route), "tcpproxy": open(),
            })),
            "status": status,
        }),
    )
}

/// Published with a rule between two of its fields.
fn upstream_validation() -> Value {
    let mut validation = open();
    validation["x-kubernetes-validations"] = json!([{
        "rule": "!has(self.subjectNames) || self.subjectNames[0] == self.subjectName",
        "message": "the first of subjectNames must be subjectName",
    }]);
    validation
}

/// Contour's conditions carry lists of errors and warnings besides the usual fields.
fn open_condition() -> Value {
    let mut condition = conditions()["items"].take();
    condition["properties"]["errors"] = list(&open());
    condition["properties"]["warnings"] = list(&open());
    condition
}

// === Gateway API ===

fn parent_reference() -> Value {
    needing(
        &["name"],
        &json!({
            "group": text_or(GATEWAY_GROUP), "kind": text_or("Gateway"), "namespace": text(), "name": text(),
            "sectionName": text(), "port": between(1, 65_535),
        }),
    )
}

fn http_route() -> Value {
    let backend = needing(
        &["name"],
        &json!({
            "group": text_or(""), "kind": text_or("Service"), "name": text(), "namespace": text(),
            "port": between(1, 65_535), "filters": list(&filter()),
            "weight": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 1_000_000, "default": 1},
        }),
    );
    let everything = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
    let rule = object(&json!({
        "name": text(), "backendRefs": list(&backend), "filters": list(&filter()),
        "matches": or(list(&http_match()), everything.clone()),
        "timeouts": object(&json!({"request": text(), "backendRequest": text()})),
        "retry": object(&json!({"attempts": {"type": "integer"}, "backoff": text(), "codes": list(&json!({"type": "integer"}))})),
        "sessionPersistence": open(),
    }));
    let parent = needing(
        &["parentRef", "controllerName"],
        &json!({"parentRef": parent_reference(), "controllerName": text(), "conditions": conditions()}),
    );
    needing(
        &["spec"],
        &json!({
            "spec": object(&json!({
                "parentRefs": list(&parent_reference()), "hostnames": list(&text()),
                "rules": or(list(&rule), json!([{"matches": everything}])),
            })),
            "status": needing(&["parents"], &json!({"parents": list(&parent)})),
        }),
    )
}

fn http_match() -> Value {
    let named = |extra: Value| {
        let mut schema = needing(&["name", "value"], &json!({"name": text(), "value": text()}));
        schema["properties"]["type"] = extra;
        keyed("name", &schema)
    };
    let path = or(
        object(&json!({"type": text_or("PathPrefix"), "value": text_or("/")})),
        json!({"type": "PathPrefix", "value": "/"}),
    );
    object(&json!({
        "path": path, "headers": named(text_or("Exact")), "queryParams": named(text_or("Exact")), "method": text(),
    }))
}

fn filter() -> Value {
    let mut filter = open();
    filter["properties"] = json!({"type": text()});
    filter["required"] = json!(["type"]);
    filter
}

fn gateway() -> Value {
    let same = || json!({"namespaces": {"from": "Same"}});
    let listener = needing(
        &["name", "port", "protocol"],
        &json!({
            "name": text(), "hostname": text(), "port": between(1, 65_535), "protocol": text(), "tls": open(),
            "allowedRoutes": or(open(), same()),
        }),
    );
    let waiting = |kind: &str| {
        json!({
            "type": kind, "status": "Unknown", "reason": "Pending", "message": "Waiting for controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    let status = object(&json!({
        "conditions": conditions(), "addresses": list(&open()),
        "listeners": keyed("name", &needing(&["name"], &json!({
            "name": text(), "attachedRoutes": {"type": "integer"}, "supportedKinds": list(&open()),
            "conditions": conditions(),
        }))),
    }));
    needing(
        &["spec"],
        &json!({
            "spec": needing(&["gatewayClassName", "listeners"], &json!({
                "gatewayClassName": text(), "listeners": keyed("name", &listener), "addresses": list(&open()),
                "infrastructure": open(),
            })),
            "status": or(status, json!({"conditions": [waiting("Accepted"), waiting("Programmed")]})),
        }),
    )
}
