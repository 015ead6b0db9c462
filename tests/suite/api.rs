//! What users write.

use serde_json::{Value, json};
use serin::api::{Canary, decode};

mod defaults;
mod round_trip;
mod schema;
mod support;
mod validation;

const GATEWAY_API: &str = "gatewayapi:v1";

/// A Canary that uses much of what is built; each case changes one thing of it.
fn canary() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": "test"},
        "spec": {
            "provider": "gatewayapi:v1",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "progressDeadlineSeconds": 60,
            "service": {
                "port": 80,
                "targetPort": "http",
                "portDiscovery": true,
                "hosts": ["app.example.com"],
                "gatewayRefs": [{"name": "gateway", "namespace": "ingress"}],
                "match": [{"uri": {"prefix": "/api"}}],
                "rewrite": {"uri": "/", "type": "ReplacePrefixMatch"},
                "timeout": "15s",
                "headers": {"request": {"add": {"x-a": "b"}}},
                "corsPolicy": {"allowOrigin": ["example.com"], "maxAge": "24h"},
                "apex": {"labels": {"team": "web"}},
                "unmanagedMetadata": {"annotations": ["a/b"]},
            },
            "analysis": {
                "interval": "1m",
                "threshold": 5,
                "maxWeight": 50,
                "stepWeight": 10,
                "stepWeightPromotion": 50,
                "primaryReadyThreshold": 100,
                "metrics": [
                    {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"},
                    {"name": "latency", "templateRef": {"name": "latency"}, "thresholdRange": {"max": 500}, "onError": "fail"},
                    {"name": "errors", "query": "errors", "threshold": 1},
                ],
                "alerts": [{"name": "team", "providerRef": {"name": "chat"}, "severity": "warn"}],
                "webhooks": [
                    {"name": "gate", "type": "confirm-rollout", "url": "http://gate.test/approve"},
                    {"name": "load", "url": "https://load.test:8443/", "timeout": "5s", "retries": 2, "metadata": {"cmd": "hey"}},
                ],
            },
        },
    })
}

/// The Canary with the value at a JSON pointer set; null takes the field away.
fn with(pointer: &str, value: &Value) -> Canary {
    let mut object = canary();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = object.pointer_mut(parent).expect("a parent");
    match (parent, value) {
        (Value::Array(list), _) => list.push(value.clone()),
        (Value::Object(fields), Value::Null) => {
            fields.remove(key);
        }
        (parent, _) => parent[key] = value.clone(),
    }
    decode(&object).expect("well formed")
}
