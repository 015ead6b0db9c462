//! JSON patches (RFC 6902) from what stands in the cluster to what shall stand there, with their precondition.
//!
//! A patch names single values, so that whatever else changes in the object at the same time survives. Inside a list
//! an element with a name is tested by it before a value in it changes: a list that was reordered refuses the patch.

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf,
};
use serde_json::Value;

/// Where elements of lists have their names: most at `name`, the destinations of an Istio route at the host they lead to.
const NAMES: [&[&str]; 2] = [&["name"], &["destination", "host"]];

/// The patch from `live` to `next` that only holds for the `resourceVersion` that was seen (a late one gets 409).
///
/// For routes and Services. Empty when nothing differs.
pub fn at_version(live: &Value, next: &Value) -> Patch {
    let mut operations = differences(live, next);
    if let (false, Some(version)) = (operations.is_empty(), live.pointer("/metadata/resourceVersion")) {
        operations.insert(0, replace(at(&["metadata", "resourceVersion"]), version));
    }
    Patch(operations)
}

/// The patch from `live` to `next` that only holds for this object (`uid`) at this `generation` (else 422).
///
/// For workloads, whose `resourceVersion` moves many times during one roll. Empty when nothing differs.
pub fn at_generation(live: &Value, next: &Value) -> Patch {
    let differences = differences(live, next);
    if differences.is_empty() {
        return Patch(differences);
    }
    let guards = ["uid", "generation"].into_iter().filter_map(|key| {
        let value = live.pointer(&format!("/metadata/{key}"))?;
        Some(test(at(&["metadata", key]), value))
    });
    Patch(guards.chain(differences).collect())
}

fn differences(live: &Value, next: &Value) -> Vec<PatchOperation> {
    let mut operations = Vec::new();
    walk(&PointerBuf::new(), live, next, &mut operations);
    operations
}

fn walk(path: &PointerBuf, live: &Value, next: &Value, operations: &mut Vec<PatchOperation>) {
    match (live, next) {
        _ if live == next => {}
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                let path = path.with_trailing_token(key.as_str());
                operations.push(PatchOperation::Remove(RemoveOperation { path }));
            }
            for (key, value) in new {
                let path = path.with_trailing_token(key.as_str());
                match old.get(key) {
                    Some(before) => walk(&path, before, value, operations),
                    None => operations.push(PatchOperation::Add(AddOperation {
                        path,
                        value: value.clone(),
                    })),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if same_elements(old, new) => {
            for (index, (before, after)) in old.iter().zip(new).enumerate() {
                let path = path.with_trailing_token(index);
                if let (true, Some((place, name))) = (before != after, name_of(before)) {
                    let mut path = path.clone();
                    for token in place {
                        path.push_back(*token);
                    }
                    operations.push(test(path, name));
                }
                walk(&path, before, after, operations);
            }
        }
        _ => operations.push(replace(path.clone(), next)),
    }
}

/// Whether two lists hold the same elements by place and name, so that values inside them may be changed one by one.
fn same_elements(old: &[Value], new: &[Value]) -> bool {
    old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(before, after)| before.is_object() && after.is_object() && name_of(before) == name_of(after))
}

/// What an element of a list is called, and where in it that stands.
fn name_of(element: &Value) -> Option<(&'static [&'static str], &Value)> {
    NAMES.iter().find_map(|place| {
        let name = place.iter().try_fold(element, |value, token| value.get(token))?;
        Some((*place, name))
    })
}

fn at(tokens: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(tokens.iter().copied())
}

fn test(path: PointerBuf, value: &Value) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path,
        value: value.clone(),
    })
}

fn replace(path: PointerBuf, value: &Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation {
        path,
        value: value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(primary: u8, canary: u8) -> Value {
        json!({
            "metadata": {"uid": "u", "generation": 3, "resourceVersion": "9", "annotations": {"a/b~c": "1"}},
            "spec": {"backends": [{"name": "p", "weight": primary}, {"name": "c", "weight": canary}], "hosts": ["a", "b"]},
        })
    }

    fn text(patch: &Patch) -> Value {
        serde_json::to_value(patch).unwrap()
    }

    #[test]
    fn a_changed_value_is_one_operation_behind_its_guards() {
        let patch = at_version(&route(100, 0), &route(100, 10));
        assert_eq!(
            text(&patch),
            json!([
                {"op": "replace", "path": "/metadata/resourceVersion", "value": "9"},
                {"op": "test", "path": "/spec/backends/1/name", "value": "c"},
                {"op": "replace", "path": "/spec/backends/1/weight", "value": 10},
            ])
        );
        let patch = at_generation(&route(100, 0), &route(90, 0));
        assert_eq!(
            text(&patch)[0],
            json!({"op": "test", "path": "/metadata/uid", "value": "u"})
        );
        assert_eq!(
            text(&patch)[1],
            json!({"op": "test", "path": "/metadata/generation", "value": 3})
        );
    }

    #[test]
    fn nothing_to_do_is_no_operation_at_all() {
        assert!(at_version(&route(1, 2), &route(1, 2)).is_empty());
        assert!(at_generation(&route(1, 2), &route(1, 2)).is_empty());
    }

    #[test]
    fn whatever_the_difference_the_patch_leads_there() {
        let mut cases = Vec::new();
        for (pointer, value) in [
            ("/spec/hosts", json!(["a"])),
            ("/spec/hosts", json!(["b", "a"])),
            ("/spec/backends/0", json!({"name": "other", "weight": 1})),
            ("/spec/backends", json!(null)),
            ("/metadata/annotations", json!({"x/y": "2"})),
            ("/spec", json!({"new": {"deep": []}})),
        ] {
            let mut next = route(100, 0);
            *next.pointer_mut(pointer).unwrap() = value;
            cases.push(next);
        }
        let live = route(100, 0);
        for next in cases {
            let mut patched = live.clone();
            json_patch::patch(&mut patched, &at_version(&live, &next)).unwrap();
            assert_eq!(patched, next);
        }
    }
}
