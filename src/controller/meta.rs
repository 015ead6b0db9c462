//! Reading the metadata that every Kubernetes object has.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::object::text;

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

/// Whether it is being deleted.
pub fn deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|at| !at.is_null())
}

/// `metadata.creationTimestamp`.
pub fn created(object: &Value) -> Option<DateTime<Utc>> {
    text(object, "/metadata/creationTimestamp").parse().ok()
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

    #[test]
    fn versions_are_compared_as_numbers_where_they_are_numbers() {
        assert!(reached("10", "9") && reached("9", "9") && !reached("9", "10"));
        assert!(reached("abc", "abc") && !reached("abd", "abc"));
    }
}
