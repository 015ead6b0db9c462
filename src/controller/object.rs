//! Reading what every Kubernetes object held as JSON has in common.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// A text at a JSON pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// `metadata.resourceVersion`.
pub fn version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion")
}

/// `metadata.generation`, if the kind has one.
pub fn generation(object: &Value) -> Option<i64> {
    object.pointer("/metadata/generation").and_then(Value::as_i64)
}

/// Whether it is being deleted.
pub fn deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// `metadata.creationTimestamp`.
pub fn created(object: &Value) -> Option<DateTime<Utc>> {
    text(object, "/metadata/creationTimestamp").parse().ok()
}

/// The owner that controls it, if any.
pub fn controller(object: &Value) -> Option<&Value> {
    owners(object).iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// The uid of the owner that controls it.
pub fn controller_uid(object: &Value) -> Option<&str> {
    controller(object).map(|owner| text(owner, "/uid"))
}

/// `metadata.ownerReferences`.
pub fn owners(object: &Value) -> &[Value] {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether version `a` of an object is not older than version `b`.
///
/// Kubernetes counts them up, but only equality is promised: what is no number is compared by equality.
pub fn reached(a: &str, b: &str) -> bool {
    match (a.parse::<u128>(), b.parse::<u128>()) {
        (Ok(a), Ok(b)) => a >= b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_compared_as_numbers_where_they_are_numbers() {
        assert!(reached("10", "9") && reached("9", "9") && !reached("9", "10"));
        assert!(reached("abc", "abc") && !reached("abd", "abc"));
    }

    #[test]
    fn the_controlling_owner_is_the_one_marked_so() {
        let object = json!({"metadata": {"ownerReferences": [{"uid": "a"}, {"uid": "b", "controller": true}]}});
        assert_eq!(controller_uid(&object), Some("b"));
        assert_eq!(controller_uid(&json!({})), None);
    }
}
