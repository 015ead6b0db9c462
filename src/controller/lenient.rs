//! Reading a malformed Canary as far as leaving it, or ending its run, needs it.
//!
//! A Canary that is being deleted must not hang because of a field that has nothing to do with its deletion
//! (`spec/core.md` 7.3 W11), and without a hand-back the garbage collector would take the primary from under the traffic.

use serde_json::{Map, Value};

use super::{meta, status};
use crate::api::{Canary, CanarySpec, decode};
use crate::rollout::Stage;

/// What of `spec` the way out needs.
const NEEDED: [&str; 5] = [
    "targetRef",
    "service",
    "provider",
    "revertOnDeletion",
    "progressDeadlineSeconds",
];
/// What of it is enough, at worst.
const LEAST: [&str; 2] = ["targetRef", "provider"];

/// The Canary without what cannot be read, if it is being deleted.
pub fn leaving(raw: &Value) -> Option<Canary> {
    if meta::deleting(raw) { reduced(raw) } else { None }
}

/// The Canary with the last spec that could be read, or without what cannot be, if a run is on: traffic on an unproven revision is
/// not left to itself because of a typo.
pub fn running(raw: &Value, last: Option<&CanarySpec>) -> Option<Canary> {
    let block = status::block(raw).ok().flatten()?;
    if !is_running(block.stage) {
        return None;
    }
    let Some(last) = last else { return reduced(raw) };
    let mut whole = raw.clone();
    whole["spec"] = serde_json::to_value(last).ok()?;
    decode::decode(&whole).ok()
}

/// Whether a run is on.
pub const fn is_running(stage: Stage) -> bool {
    !matches!(stage, Stage::Initializing | Stage::Resting | Stage::Waiting)
}

fn reduced(raw: &Value) -> Option<Canary> {
    [NEEDED.as_slice(), LEAST.as_slice()].into_iter().find_map(|kept| {
        let mut reduced = raw.clone();
        let spec = raw.get("spec")?.as_object()?;
        let fields = spec.iter().filter(|(field, _)| kept.contains(&field.as_str()));
        reduced["spec"] = Value::Object(
            fields
                .map(|(field, value)| (field.clone(), value.clone()))
                .collect::<Map<_, _>>(),
        );
        decode::decode(&reduced).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn malformed() -> Value {
        json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "podinfo"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                "service": {"port": 80}, "analysis": {"stepWeight": 12.5},
            },
        })
    }

    #[test]
    fn a_canary_that_goes_is_read_without_its_malformed_part() {
        let mut raw = malformed();
        raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let canary = leaving(&raw).unwrap();
        assert_eq!(canary.spec.service_port(), Some(80));
        assert_eq!(canary.spec.analysis, None);
    }

    #[test]
    fn one_that_stays_is_not() {
        assert!(leaving(&malformed()).is_none());
    }
}
