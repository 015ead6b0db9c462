//! What every Kubernetes object has in common, as plain JSON: where its values stand, who controls it, and how one state
//! of it becomes another.
//!
//! Objects stay `serde_json::Value` between the wire and the rules, so that fields nobody here knows survive. A leaf:
//! it imports no other module of Serin.

pub mod ownership;
pub mod patch;

use serde_json::{Map, Value};

/// Annotation that keeps the `spec` of an object that stood before the Canary came (Flagger's name, spec/core.md 3.1).
pub const ORIGINAL: &str = "flagger.kubernetes.io/original-configuration";
/// Annotation in which `kubectl apply` keeps what a person applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations on what Serin draws, so that Flux does not undo it: key and value.
pub const FLUX: [(&str, &str); 2] = [
    ("kustomize.toolkit.fluxcd.io/reconcile", "disabled"),
    ("helm.toolkit.fluxcd.io/driftDetection", "disabled"),
];

/// The text at a JSON pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The value of an annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// The object inside `parent` at `key`; made empty where there is none.
pub fn child<'a>(parent: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let entry = as_map(parent).entry(key).or_insert_with(|| Value::Object(Map::new()));
    as_map(entry)
}

/// The members of a value, which becomes an empty object where it is none.
///
/// # Panics
/// Never: the value is an object by then.
pub fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value
        .as_object_mut()
        .expect("the value must be an object: it was made one above")
}

/// The object at `metadata.<key>`; made empty where there is none.
pub fn metadata<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    child(object, "metadata");
    child(&mut object["metadata"], key)
}

/// Whether a value says nothing: null, or an empty list, object or text. The API server mostly stores none of these.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The `spec` that stood before the Canary came: as kept at adoption, else as `kubectl` applied it last.
pub fn original_spec(live: &Value) -> Option<Value> {
    let kept = annotation(live, ORIGINAL).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let applied = || {
        serde_json::from_str::<Value>(annotation(live, LAST_APPLIED)?)
            .ok()?
            .get("spec")
            .cloned()
    };
    kept.or_else(applied).filter(Value::is_object)
}
