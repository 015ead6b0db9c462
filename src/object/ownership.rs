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

/// Whether the object is the owner's, or will be once it is re-owned.
pub fn is_ours(object: &Value, owner: &OwnerReference) -> bool {
    controls(&owner.uid, object) || is_inherited(object, owner)
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

/// The patch that owns an object that nobody controls, too, as after a backup was restored without owners.
pub fn adopt(live: &Value, owner: &OwnerReference) -> Patch {
    if controller(live).is_some() {
        return claim(live, owner);
    }
    let mut references = list(live, "/metadata/ownerReferences").to_vec();
    references.push(reference(owner));
    let mut next = live.clone();
    next["metadata"]["ownerReferences"] = references.into();
    patch::at_version(live, &next)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "flagger.app/v1beta1".to_owned(),
            kind: "Canary".to_owned(),
            name: "podinfo".to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    fn owned(references: &Value) -> Value {
        json!({"metadata": {"name": "podinfo", "resourceVersion": "1", "ownerReferences": references}})
    }

    fn applied(live: &Value, patch: &Patch) -> Value {
        let mut next = live.clone();
        json_patch::patch(&mut next, patch).unwrap();
        next
    }

    #[test]
    fn an_owner_that_does_not_control_is_not_the_controller() {
        let mut beside = reference(&canary("a"));
        beside["controller"] = false.into();
        assert!(!controls("a", &owned(&json!([beside]))));
        assert!(controls("a", &owned(&json!([beside, reference(&canary("a"))]))));
        assert!(!controls("a", &json!({})));
    }

    #[test]
    fn an_object_of_an_earlier_canary_of_that_name_is_claimed_and_no_other() {
        let earlier = owned(&json!([reference(&canary("earlier"))]));
        assert_eq!(
            applied(&earlier, &claim(&earlier, &canary("now"))),
            owned(&json!([reference(&canary("now"))]))
        );
        let mut foreign = reference(&canary("x"));
        foreign["name"] = "another".into();
        assert!(claim(&owned(&json!([foreign])), &canary("now")).is_empty());
        assert!(claim(&owned(&json!([reference(&canary("now"))])), &canary("now")).is_empty());
        assert!(is_a_canarys(&earlier));
    }

    #[test]
    fn a_released_object_keeps_its_other_owners() {
        let other = json!({"kind": "Helm", "uid": "h"});
        let live = owned(&json!([other, reference(&canary("a"))]));
        assert_eq!(applied(&live, &release("a", &live)), owned(&json!([other])));
        let alone = owned(&json!([reference(&canary("a"))]));
        assert_eq!(
            applied(&alone, &release("a", &alone))["metadata"].get("ownerReferences"),
            None
        );
        assert!(release("b", &alone).is_empty());
    }
}
