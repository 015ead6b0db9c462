//! Reading `status.serin`, and the whole document of a status write.

use chrono::{DateTime, SubsecRound as _, Utc};
use serde_json::{Map, Value, json};

use super::projection::plain;
use crate::api::{Canary, CanaryStatus, Phase, condition};
use crate::object::{list, text};
use crate::rollout::{self, Block, VERSION};

/// A block that this version must not touch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A newer Serin wrote it.
    #[error("status.serin has version {0}, this Serin writes {VERSION}: a newer one must go on with this Canary")]
    Newer(u64),
    /// It does not have the form that its version promises.
    #[error("status.serin cannot be read ({0}): it is left as it is; remove it to have the Canary adopted anew")]
    Unreadable(String),
}

impl BlockError {
    /// The reason in conditions.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Newer(_) => NEWER,
            Self::Unreadable(_) => UNREADABLE,
        }
    }
}

const NEWER: &str = "StatusIsNewer";
const UNREADABLE: &str = "StatusUnreadable";
/// The reason in conditions of an object that could not be decoded. The core says `InvalidSpec` of one that could.
pub const INVALID: &str = "MalformedSpec";
/// The reason in conditions while another controller writes the status.
pub const RIVAL: &str = "RivalController";

/// Fields of ours that stand only while there is something to say in them.
const FLEETING: [&str; 4] = [
    "trackedConfigs",
    "sessionAffinityCookie",
    "primarySessionAffinityCookie",
    "previousSessionAffinityCookie",
];

/// The block of a Canary, if it has one.
pub fn block(canary: &Value) -> Result<Option<Block>, BlockError> {
    let Some(serin) = canary.pointer("/status/serin").filter(|serin| !serin.is_null()) else {
        return Ok(None);
    };
    let version = serin.get("version").and_then(Value::as_u64);
    if let Some(version) = version.filter(|version| *version > u64::from(VERSION)) {
        return Err(BlockError::Newer(version));
    }
    serde_path_to_error::deserialize(serin)
        .map(Some)
        .map_err(|error| BlockError::Unreadable(error.to_string()))
}

/// The Canary with this status, for a PUT that holds for the resourceVersion it was read with. Keys that we do not know stay.
pub fn document(canary: &Value, status: &CanaryStatus) -> Value {
    let mut next = plain(canary);
    if let Some(status) = next.get_mut("status").and_then(Value::as_object_mut) {
        for field in FLEETING {
            status.remove(field);
        }
    }
    let said = serde_json::to_value(status).unwrap_or_default();
    merge(&mut next, said);
    next
}

/// Since when the Canary is in its public phase, as far as its status tells a process that has just begun. The condition `Promoted`
/// moves with the start of a run, the block with each stage and weight.
pub fn in_phase_since(canary: &Canary, block: &Block) -> DateTime<Utc> {
    let promoted = canary
        .status
        .as_ref()
        .and_then(|status| status.condition(condition::PROMOTED))
        .and_then(|promoted| promoted.last_transition_time);
    match promoted {
        Some(at) if rollout::phase(block) == Phase::Progressing => at.min(block.since),
        _ => block.since,
    }
}

/// The Canary with conditions that say why nothing is done about it, everything else of the status as it is, and what health
/// scripts need of a status where there is none. `None` when they say so already about this generation.
pub fn on_hold(canary: &Value, reason: &str, message: &str, now: DateTime<Utc>) -> Option<Value> {
    let conditions = list(canary, "/status/conditions");
    let stands = |type_: &str| conditions.iter().find(|it| it["type"] == type_);
    let generation = canary.pointer("/metadata/generation");
    let says = stands(condition::STALLED).is_some_and(|it| {
        it["status"] == "True"
            && it["reason"] == reason
            && it["message"] == message
            && it.get("observedGeneration") == generation
    });
    if says {
        return None;
    }
    let at = now.trunc_subsecs(0);
    let new = |type_: &str, status: &str| {
        let old = stands(type_).filter(|old| old["status"] == status);
        let since = old
            .and_then(|old| old.get("lastTransitionTime").cloned())
            .unwrap_or_else(|| json!(at));
        let mut condition = json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": at, "lastTransitionTime": since,
        });
        observed(&mut condition, generation);
        condition
    };
    // `Promoted` is always the first: dashboards read it by its place.
    let promoted = stands(condition::PROMOTED)
        .cloned()
        .unwrap_or_else(|| new(condition::PROMOTED, "Unknown"));
    let mut next = vec![
        promoted,
        new(condition::READY, "False"),
        new(condition::RECONCILING, "False"),
        new(condition::STALLED, "True"),
    ];
    let ours = [
        condition::PROMOTED,
        condition::READY,
        condition::RECONCILING,
        condition::STALLED,
    ];
    next.extend(
        conditions
            .iter()
            .filter(|it| !ours.contains(&text(it, "/type")))
            .cloned(),
    );
    let mut document = plain(canary);
    let mut status = json!({"conditions": next});
    observed(&mut status, generation);
    // Argo CD's health script joins the phase to a text and compares the weight, unguarded (spec/analysis.md 7.3).
    for (field, first) in [
        ("phase", json!(Phase::Initializing.as_str())),
        ("canaryWeight", json!(0)),
        ("failedChecks", json!(0)),
        ("iterations", json!(0)),
    ] {
        if canary.get("status").and_then(|status| status.get(field)).is_none() {
            status[field] = first;
        }
    }
    merge(&mut document, status);
    Some(document)
}

/// Says for which generation a part of the status holds: without it kstatus waits for ever.
fn observed(part: &mut Value, generation: Option<&Value>) {
    if let Some(generation) = generation {
        part["observedGeneration"] = generation.clone();
    }
}

/// Whether the conditions still say that nothing is done, for one of the reasons of this file.
pub fn is_on_hold(canary: &Value) -> bool {
    let stalled = list(canary, "/status/conditions")
        .iter()
        .find(|it| it["type"] == condition::STALLED);
    stalled
        .is_some_and(|it| it["status"] == "True" && [NEWER, UNREADABLE, INVALID, RIVAL].contains(&text(it, "/reason")))
}

fn merge(document: &mut Value, said: Value) {
    let Some(fields) = document.as_object_mut() else { return };
    let status = fields.entry("status").or_insert_with(|| Value::Object(Map::new()));
    if let (Value::Object(said), Some(status)) = (said, status.as_object_mut()) {
        status.extend(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    #[test]
    fn a_newer_or_unreadable_block_is_an_error_and_none_is_none() {
        assert_eq!(block(&json!({"status": {}})), Ok(None));
        assert_eq!(
            block(&json!({"status": {"serin": {"version": 99}}})),
            Err(BlockError::Newer(99))
        );
        assert!(matches!(
            block(&json!({"status": {"serin": {"version": 1}}})),
            Err(BlockError::Unreadable(_))
        ));
    }

    #[test]
    fn a_hold_keeps_the_rest_of_the_status_and_is_said_once() {
        let canary = json!({"metadata": {"resourceVersion": "7"}, "rival": {}, "status": {
            "phase": "Progressing", "canaryWeight": 20, "serin": {"version": 9},
            "conditions": [{"type": "Promoted", "status": "Unknown"}, {"type": "Theirs", "status": "True"}]}});
        let held = on_hold(
            &canary,
            INVALID,
            "spec.analysis.stepWeight: 12.5 is no whole number",
            now(),
        )
        .unwrap();
        assert_eq!(held["status"]["phase"], "Progressing");
        assert_eq!(held["status"]["serin"], json!({"version": 9}));
        assert_eq!(held["metadata"]["resourceVersion"], "7");
        assert_eq!(held.get("rival"), None);
        let types: Vec<_> = list(&held, "/status/conditions")
            .iter()
            .map(|it| text(it, "/type"))
            .collect();
        assert_eq!(types, ["Promoted", "Ready", "Reconciling", "Stalled", "Theirs"]);
        assert!(is_on_hold(&held));
        assert_eq!(
            on_hold(
                &held,
                INVALID,
                "spec.analysis.stepWeight: 12.5 is no whole number",
                now()
            ),
            None
        );
    }

    #[test]
    fn a_hold_of_a_new_canary_has_what_health_scripts_read() {
        let canary = json!({"metadata": {"generation": 3}});
        let held = on_hold(&canary, INVALID, "spec.service.port: no port", now()).unwrap();
        let status = &held["status"];
        assert_eq!(
            (&status["phase"], &status["canaryWeight"], &status["observedGeneration"]),
            (&json!("Initializing"), &json!(0), &json!(3))
        );
        for condition in list(&held, "/status/conditions") {
            assert_eq!(condition["observedGeneration"], 3, "{condition}");
        }
        let mut edited = held;
        assert_eq!(on_hold(&edited, INVALID, "spec.service.port: no port", now()), None);
        edited["metadata"]["generation"] = json!(4);
        let again = on_hold(&edited, INVALID, "spec.service.port: no port", now()).unwrap();
        assert_eq!(again["status"]["observedGeneration"], 4);
    }

    #[test]
    fn what_the_core_says_of_a_refused_spec_is_no_hold() {
        let refused = json!({"status": {"conditions": [
            {"type": condition::STALLED, "status": "True", "reason": "InvalidSpec"},
        ]}});
        assert!(!is_on_hold(&refused), "it would be written again at every pass");
    }

    #[test]
    fn a_status_write_keeps_what_we_do_not_know() {
        let canary = json!({"status": {"theirs": 1, "phase": "Initializing"}});
        let status = CanaryStatus {
            phase: crate::api::Phase::Failed,
            ..CanaryStatus::default()
        };
        let written = document(&canary, &status);
        assert_eq!(
            (&written["status"]["theirs"], &written["status"]["phase"]),
            (&json!(1), &json!("Failed"))
        );
    }
}
