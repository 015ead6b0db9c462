//! The identity of a pod template: sha-256 over its canonical JSON (`design.md`, "Fingerprint").
//!
//! Canonical: members sorted by key, no space between them, numbers as stored. Two things that mean the same are made
//! the same, because API servers differ in which of them they store: a member that is null is left out (older servers
//! write `creationTimestamp: null`), and so are empty `metadata.labels` and `metadata.annotations`. Empty objects
//! elsewhere stay: `emptyDir: {}` is a volume.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{object::is_empty, rollout::Fingerprint};

/// The version of the recipe, in front of every fingerprint.
const VERSION: &str = "v1:";

/// The fingerprint of a pod template as it is stored in a workload's `spec.template`.
pub fn fingerprint(template: &Value) -> Fingerprint {
    let digest = sha256_hex(canonical(template).as_bytes());
    Fingerprint(format!("{VERSION}{digest}"))
}

/// The part of a fingerprint that names an object: the first ten digits after the version.
pub(super) fn short(fingerprint: &Fingerprint) -> &str {
    let digits = fingerprint
        .0
        .split_once(':')
        .map_or(fingerprint.0.as_str(), |(_, digits)| digits);
    digits.get(..10).unwrap_or(digits)
}

/// Sha-256 in lower-case hex.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a String must succeed");
            hex
        })
}

pub(super) fn canonical(template: &Value) -> String {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["labels", "annotations"] {
            if metadata.get(key).is_some_and(is_empty) {
                metadata.remove(key);
            }
        }
    }
    let mut text = String::new();
    write(&template, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(_, member)| !member.is_null()).collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(member, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_known_template_has_a_known_fingerprint() {
        // Computed with another tool: printf '{"spec":{"containers":[{"name":"a"}]}}' | sha256sum
        assert_eq!(
            fingerprint(&json!({"spec": {"containers": [{"name": "a"}]}})).0,
            "v1:4109b0b0fdfc6095edd125f6e654e311946d3d80f46c1b2646af44e441776ac1"
        );
    }

    #[test]
    fn key_order_nulls_and_empty_metadata_do_not_count() {
        let plain = serde_json::from_str(r#"{"metadata":{"labels":{"a":"1"}},"spec":{"b":1,"a":2}}"#).unwrap();
        let other = serde_json::from_str(
            r#"{"spec":{"a":2,"b":1},"metadata":{"creationTimestamp":null,"annotations":{},"labels":{"a":"1"}}}"#,
        );
        assert_eq!(fingerprint(&plain), fingerprint(&other.unwrap()));
    }

    #[test]
    fn an_empty_volume_counts_and_so_does_every_value() {
        let base = json!({"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}});
        let without = json!({"spec": {"volumes": [{"name": "tmp"}]}});
        let renamed = json!({"spec": {"volumes": [{"name": "tnp", "emptyDir": {}}]}});
        assert_ne!(fingerprint(&base), fingerprint(&without));
        assert_ne!(fingerprint(&base), fingerprint(&renamed));
    }
}
