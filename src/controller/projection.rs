//! What the caches keep of an object: what passes read, and nothing else. This is what keeps the process small.

use serde_json::{Map, Value, json};

use super::resource::Resource;
use crate::object::text;
use crate::rollout::Fingerprint;
use crate::workload::store;

/// The field manager of all our writes.
pub const MANAGER: &str = "serin";
/// What the field manager of a person at a terminal begins with.
const PERSON: &str = "kubectl";

/// Reduces an object as the API server sent it. `apiVersion` and `kind` are filled in: lists leave them out.
pub fn project(resource: Resource, mut whole: Value) -> Value {
    let managed = whole
        .pointer_mut("/metadata/managedFields")
        .map(Value::take)
        .unwrap_or_default();
    if let Some(metadata) = whole.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("apiVersion".into(), resource.api_version().into());
        fields.insert("kind".into(), resource.kind.into());
    }
    match resource {
        Resource::CANARY => keep_rival(whole, &managed),
        Resource::ENDPOINT_SLICE => slice(&whole),
        Resource::SERVICE => without(whole, "status"),
        Resource::REVISION => revision(&whole),
        _ => whole,
    }
}

/// The latest write of the status by another controller: the manager's name, and when. Read from a projected Canary.
pub fn rival(canary: &Value) -> Option<(&str, chrono::DateTime<chrono::Utc>)> {
    let at = text(canary, "/rival/time").parse().ok()?;
    Some((text(canary, "/rival/manager"), at))
}

/// Whether a field manager may be a controller beside us. A person who patches a status does it once.
fn is_a_controller(manager: &str) -> bool {
    manager != MANAGER && !manager.starts_with(PERSON)
}

fn keep_rival(mut canary: Value, managed: &Value) -> Value {
    let latest = managed
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| text(entry, "/subresource") == "status" && is_a_controller(text(entry, "/manager")))
        .max_by_key(|entry| text(entry, "/time").to_owned());
    if let (Some(entry), Some(fields)) = (latest, canary.as_object_mut()) {
        fields.insert(
            "rival".into(),
            json!({"manager": entry["manager"], "time": entry["time"]}),
        );
    }
    canary
}

/// A slice without addresses, zones and hints: whose pods are ready is all that is asked of it.
fn slice(whole: &Value) -> Value {
    let endpoint = |endpoint: &Value| {
        let mut kept = Map::new();
        for field in ["conditions", "targetRef"] {
            if let Some(value) = endpoint.get(field) {
                kept.insert(field.into(), value.clone());
            }
        }
        Value::Object(kept)
    };
    let endpoints = whole.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let mut metadata = Map::new();
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "labels",
        "deletionTimestamp",
    ] {
        if let Some(value) = whole.pointer(&format!("/metadata/{field}")) {
            metadata.insert(field.into(), value.clone());
        }
    }
    json!({
        "apiVersion": whole["apiVersion"],
        "kind": whole["kind"],
        "metadata": metadata,
        "endpoints": endpoints.map(endpoint).collect::<Vec<_>>(),
    })
}

/// A revision without its content: whether that is whole was found out on arrival.
fn revision(whole: &Value) -> Value {
    let stored = store::read(whole).filter(|stored| stored.intact);
    json!({
        "apiVersion": whole["apiVersion"],
        "kind": whole["kind"],
        "metadata": whole["metadata"],
        "intact": stored.map(|stored| stored.fingerprint.0),
    })
}

/// The fingerprint of a projected revision, if its content is whole.
pub fn intact(revision: &Value) -> Option<Fingerprint> {
    revision
        .get("intact")?
        .as_str()
        .map(|text| Fingerprint(text.to_owned()))
}

fn without(mut whole: Value, field: &str) -> Value {
    if let Some(fields) = whole.as_object_mut() {
        fields.remove(field);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_dropped_and_of_a_canary_only_the_last_rival_is_kept() {
        let whole = json!({"metadata": {"name": "podinfo", "managedFields": [
            {"manager": "serin", "subresource": "status", "time": "2026-01-03T00:00:00Z"},
            {"manager": "flagger", "subresource": "status", "time": "2026-01-02T00:00:00Z"},
            {"manager": "kubectl", "time": "2026-01-04T00:00:00Z"},
        ]}});
        let kept = project(Resource::CANARY, whole.clone());
        assert_eq!(rival(&kept).map(|(manager, _)| manager), Some("flagger"));
        assert_eq!(kept.pointer("/metadata/managedFields"), None);
        assert_eq!(rival(&project(Resource::SERVICE, whole)), None);
    }

    #[test]
    fn of_a_slice_the_readiness_of_its_pods_is_kept() {
        let kept = project(
            Resource::ENDPOINT_SLICE,
            json!({"metadata": {"name": "a", "uid": "u", "annotations": {"x": "y"}}, "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"uid": "p"}, "zone": "z"}]}),
        );
        assert_eq!(
            kept["endpoints"],
            json!([{"conditions": {"ready": true}, "targetRef": {"uid": "p"}}])
        );
        assert_eq!(kept["metadata"], json!({"name": "a", "uid": "u"}));
    }
}
