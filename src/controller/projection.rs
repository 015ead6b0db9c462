//! What the caches keep of an object: what passes read, and nothing else. This is what keeps the process small.

use serde_json::{Map, Value, json};

use super::resource::Resource;
use crate::object::{list, text};
use crate::rollout::{Fingerprint, Said, Verb};
use crate::workload::configs::{self, ConfigKind, ConfigRef};
use crate::workload::store;

/// The field manager of all our writes.
pub const MANAGER: &str = "serin";
/// What the field manager of a person at a terminal begins with.
const PERSON: &str = "kubectl";

/// Where a projected Canary says which other controller wrote its status.
const RIVAL: &str = "rival";
/// Where it says who set the annotations that are a person's word.
const SPEAKERS: &str = "speakers";

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
        Resource::CANARY => keep_rival(keep_speakers(whole, &managed), &managed),
        Resource::ENDPOINT_SLICE => slice(&whole),
        Resource::SERVICE | Resource::SCALER => without(whole, "status"),
        Resource::REVISION => revision(&whole),
        Resource::CONFIG_MAP | Resource::SECRET => config(&whole),
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
            RIVAL.into(),
            json!({"manager": entry["manager"], "time": entry["time"]}),
        );
    }
    canary
}

/// Who set each annotation that is a person's word, and when.
fn keep_speakers(mut canary: Value, managed: &Value) -> Value {
    let entries = managed.as_array().into_iter().flatten();
    let mut speakers = Map::new();
    for entry in entries.filter(|entry| text(entry, "/subresource").is_empty()) {
        let Some(owned) = entry.pointer("/fieldsV1/f:metadata/f:annotations") else {
            continue;
        };
        for verb in Verb::ALL {
            let before = speakers.get(verb.as_str()).map_or("", |before| text(before, "/time"));
            if owned.get(format!("f:{}", verb.annotation())).is_some() && text(entry, "/time") >= before {
                let speaker = json!({"manager": entry["manager"], "time": entry["time"]});
                speakers.insert(verb.as_str().into(), speaker);
            }
        }
    }
    if let Some(fields) = canary.as_object_mut().filter(|_| !speakers.is_empty()) {
        fields.insert(SPEAKERS.into(), speakers.into());
    }
    canary
}

/// What persons say by annotations. Read from a projected Canary.
pub fn words(canary: &Value) -> Vec<Said> {
    let annotations = canary.pointer("/metadata/annotations");
    let said = |verb: Verb| {
        let value = annotations?.get(verb.annotation())?.as_str()?.to_owned();
        let speaker = canary.get(SPEAKERS).and_then(|speakers| speakers.get(verb.as_str()));
        Some(Said {
            verb,
            value,
            by: speaker.map(|speaker| text(speaker, "/manager").to_owned()),
            at: speaker.and_then(|speaker| text(speaker, "/time").parse().ok()),
        })
    };
    Verb::ALL.into_iter().filter_map(said).collect()
}

/// A Canary as the API server knows it: without what its projection added.
pub fn plain(canary: &Value) -> Value {
    let mut plain = canary.clone();
    if let Some(fields) = plain.as_object_mut() {
        fields.remove(RIVAL);
        fields.remove(SPEAKERS);
    }
    plain
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

/// A configuration without what it says: secret values are in no cache.
fn config(whole: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion"] {
        if let Some(value) = whole.pointer(&format!("/metadata/{field}")) {
            metadata.insert(field.into(), value.clone());
        }
    }
    json!({ "apiVersion": whole["apiVersion"], "kind": whole["kind"], "metadata": metadata })
}

/// A revision without its content: whether that is whole was found out on arrival.
fn revision(whole: &Value) -> Value {
    let stored = store::read(whole).filter(|stored| stored.intact);
    let copies = stored.iter().flat_map(|stored| configs::copies(&stored.template));
    json!({
        "apiVersion": whole["apiVersion"],
        "kind": whole["kind"],
        "metadata": whole["metadata"],
        "copies": copies.map(|copy| json!([copy.kind.as_str(), copy.name])).collect::<Vec<_>>(),
        "intact": stored.as_ref().map(|stored| &stored.fingerprint.0),
    })
}

/// Whether a projected revision is whole and one of these.
pub fn is_kept(revision: &Value, keep: &[Fingerprint]) -> bool {
    intact(revision).is_some_and(|fingerprint| keep.contains(&fingerprint))
}

/// The copies of configurations that a projected revision needs.
pub fn copies(revision: &Value) -> Vec<ConfigRef> {
    let copy = |copy: &Value| {
        let kind = match copy.get(0)?.as_str()? {
            "Secret" => ConfigKind::Secret,
            _ => ConfigKind::ConfigMap,
        };
        let name = copy.get(1)?.as_str()?.to_owned();
        Some(ConfigRef { kind, name })
    };
    list(revision, "/copies").iter().filter_map(copy).collect()
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
    fn of_a_word_it_is_kept_who_set_it_last() {
        let set = |manager: &str, time: &str, verb: &str| {
            let owned = json!({"f:metadata": {"f:annotations": {(format!("f:serin.dev/{verb}")): {}}}});
            json!({"manager": manager, "time": time, "fieldsV1": owned})
        };
        let whole = json!({"metadata": {
            "annotations": {"serin.dev/abort": "0123456789#1", "serin.dev/else": "x", "serin.dev/pause": "y"},
            "managedFields": [
                set("serin-cli", "2026-01-03T00:00:00Z", "abort"),
                set("flux", "2026-01-02T00:00:00Z", "abort"),
                set("kubectl", "2026-01-04T00:00:00Z", "resume"),
            ],
        }});
        let kept = project(Resource::CANARY, whole.clone());
        let words = words(&kept);
        let heard: Vec<_> = words.iter().map(|said| (said.verb, said.by.as_deref())).collect();
        assert_eq!(heard, [(Verb::Abort, Some("serin-cli")), (Verb::Pause, None)]);
        assert!(words[0].at.is_some());
        assert_eq!(
            plain(&kept)["metadata"]["annotations"],
            whole["metadata"]["annotations"]
        );
        assert_eq!(plain(&kept).get(SPEAKERS), None);
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
