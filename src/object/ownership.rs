//! Who controls an object: the owner reference with `controller: true`, compared by uid.
//!
//! Flagger compares the Canary's name only (spec/core.md 7.3 W32), so that a Canary that was deleted and made again
//! takes objects for its own that the garbage collector is about to remove.

use json_patch::Patch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::{as_map, list, patch, text};

/// Whether the object with this uid controls `object`.
pub fn controls(uid: &str, object: &Value) -> bool {
    controller(object).is_some_and(|owner| text(owner, "/uid") == uid)
}

/// The owner reference that controls the object.
pub fn controller(object: &Value) -> Option<&Value> {
    list(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// Whether a Canary, of whatever name or uid, controls the object.
pub fn is_a_canarys(object: &Value) -> bool {
    controller(object).is_some_and(|owner| text(owner, "/kind") == "Canary")
}

/// Whether the object was made by an earlier Canary of the same name: ours, once it is re-owned.
pub fn is_inherited(object: &Value, owner: &OwnerReference) -> bool {
    controller(object).is_some_and(|it| {
        text(it, "/kind") == owner.kind && text(it, "/name") == owner.name && text(it, "/uid") != owner.uid
    })
}

/// The owner reference as it stands in an object.
pub fn reference(owner: &OwnerReference) -> Value {
    json!({
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The object, controlled by `owner` where an earlier Canary of the same name controlled it.
pub fn claimed(live: &Value, owner: &OwnerReference) -> Value {
    let mut next = live.clone();
    if is_inherited(live, owner) {
        let references = list(live, "/metadata/ownerReferences").iter().map(|it| {
            if it.get("controller").and_then(Value::as_bool) == Some(true) {
                reference(owner)
            } else {
                it.clone()
            }
        });
        next["metadata"]["ownerReferences"] = references.collect();
    }
    next
}

/// The patch that re-owns an object of an earlier Canary of the same name. Empty when there is nothing to do.
pub fn claim(live: &Value, owner: &OwnerReference) -> Patch {
    patch::at_version(live, &claimed(live, owner))
}

/// The patch that takes the owner with this uid off the object, so that the garbage collector leaves it. Empty when it
/// is no owner.
pub fn release(uid: &str, live: &Value) -> Patch {
    let owners = list(live, "/metadata/ownerReferences");
    let kept: Vec<Value> = owners
        .iter()
        .filter(|owner| text(owner, "/uid") != uid)
        .cloned()
        .collect();
    if kept.len() == owners.len() {
        return Patch(Vec::new());
    }
    let mut next = live.clone();
    if kept.is_empty() {
        as_map(&mut next["metadata"]).remove("ownerReferences");
    } else {
        next["metadata"]["ownerReferences"] = Value::Array(kept);
    }
    patch::at_version(live, &next)
}
