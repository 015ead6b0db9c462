//! Replicas by JSON patch on the workload itself: a Scale object has no generation to hold a late writer off by.

use json_patch::Patch;
use serde_json::{Value, json};

use crate::object::{child, patch};

/// Takes the last pods away. Empty when there are none to take.
pub fn to_zero(live: &Value) -> Patch {
    to(live, 0)
}

/// Raises the workload to that many replicas; never lowers it. Empty when it has as many.
pub fn at_least(live: &Value, replicas: u32) -> Patch {
    to(live, replicas.max(replicas_of(live)))
}

/// `spec.replicas`, 1 where unset, as the API server has it.
pub(super) fn replicas_of(live: &Value) -> u32 {
    let stored = live.pointer("/spec/replicas").and_then(Value::as_u64);
    stored.map_or(1, |replicas| u32::try_from(replicas).unwrap_or(u32::MAX))
}

fn to(live: &Value, replicas: u32) -> Patch {
    if replicas_of(live) == replicas {
        return Patch(Vec::new());
    }
    let mut next = live.clone();
    child(&mut next, "spec").insert("replicas".to_owned(), json!(replicas));
    patch::at_generation(live, &next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: u32) -> Value {
        json!({"metadata": {"uid": "u1", "generation": 4}, "spec": {"replicas": replicas}})
    }

    fn applied(live: &Value, patch: &Patch) -> Value {
        let mut next = live.clone();
        json_patch::patch(&mut next, patch).unwrap();
        next
    }

    #[test]
    fn a_floor_raises_and_never_lowers() {
        let live = deployment(3);
        assert_eq!(applied(&live, &at_least(&live, 5))["spec"]["replicas"], 5);
        assert!(at_least(&live, 2).is_empty());
        assert!(at_least(&live, 3).is_empty());
    }

    #[test]
    fn an_unset_number_of_replicas_is_one() {
        let live = json!({"metadata": {"uid": "u1", "generation": 1}, "spec": {}});
        assert!(at_least(&live, 1).is_empty());
        assert_eq!(applied(&live, &to_zero(&live))["spec"]["replicas"], 0);
    }

    #[test]
    fn a_late_patch_fails_on_another_object_or_another_generation() {
        let live = deployment(3);
        let patch = to_zero(&live);
        for (key, value) in [("uid", json!("u2")), ("generation", json!(5))] {
            let mut moved = live.clone();
            moved["metadata"][key] = value;
            assert!(json_patch::patch(&mut moved, &patch).is_err(), "{key}");
        }
        assert!(to_zero(&deployment(0)).is_empty());
    }
}
