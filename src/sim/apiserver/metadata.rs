//! Reading and writing `metadata` of an object that is plain JSON.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

/// A text in `metadata`, empty when absent.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// `metadata` as a map; made when it is absent or not a map.
pub(super) fn of(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    object["metadata"]
        .as_object_mut()
        .expect("metadata must be a map, it was just made one")
}

/// Takes over fields of `metadata` from another object, absence included.
pub(super) fn keep(object: &mut Value, from: &Value, fields: &[&str]) {
    for field in fields {
        match from["metadata"].get(*field) {
            Some(value) => of(object).insert((*field).to_owned(), value.clone()),
            None => of(object).remove(*field),
        };
    }
}

pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

pub(super) fn is_terminating(object: &Value) -> bool {
    object["metadata"]
        .get("deletionTimestamp")
        .is_some_and(|time| !time.is_null())
}

pub(super) fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

/// Time as Kubernetes writes it in metadata: whole seconds.
pub(super) fn seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The value at a dotted path.
pub(super) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .filter(|step| !step.is_empty())
        .try_fold(object, |value, step| value.get(step))
}

/// Sets the value at a dotted path, making the maps on the way.
pub(super) fn set(object: &mut Value, path: &str, value: Value) {
    let mut slot = object;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        slot = &mut slot[step];
    }
    *slot = value;
}
