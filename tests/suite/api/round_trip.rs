//! Objects read and written again, and the status that scripts read.

use serde_json::json;
use serin::api::{Canary, CanaryStatus, Condition, ConditionStatus, Phase, condition, decode};

use super::canary;

#[test]
fn a_canary_survives_reading_and_writing() {
    let object = canary();
    let read: Canary = decode(&object).expect("well formed");
    assert_eq!(serde_json::to_value(&read).expect("plain"), object);
}

#[test]
fn a_status_always_has_what_scripts_read() {
    let status = CanaryStatus {
        conditions: vec![Condition {
            type_: condition::PROMOTED.into(),
            status: ConditionStatus::True,
            reason: "Initialized".into(),
            message: String::new(),
            last_update_time: None,
            last_transition_time: None,
            observed_generation: None,
        }],
        ..Default::default()
    };
    let expected = json!({
        "phase": "",
        "failedChecks": 0,
        "canaryWeight": 0,
        "iterations": 0,
        "conditions": [{"type": "Promoted", "status": "True", "reason": "Initialized", "message": ""}],
    });
    assert_eq!(serde_json::to_value(&status).expect("plain"), expected);
}

#[test]
fn a_status_that_flagger_wrote_is_read() {
    let mut object = canary();
    object["status"] = json!({
        "phase": "WaitingPromotion",
        "failedChecks": 1,
        "canaryWeight": 0,
        "iterations": -1,
        "lastAppliedSpec": "5978589476",
        "lastTransitionTime": "2026-11-21T14:31:00Z",
        "trackedConfigs": {},
        "conditions": [{
            "type": "Promoted", "status": "Unknown", "reason": "WaitingPromotion", "message": "Waiting for approval.",
            "lastUpdateTime": "2026-11-21T14:31:00Z", "lastTransitionTime": null,
        }],
    });
    let status = decode::<Canary>(&object)
        .expect("well formed")
        .status
        .expect("a status");
    assert_eq!((status.phase, status.iterations), (Phase::WaitingPromotion, -1));
    assert_eq!(status.tracked_configs, Some(std::collections::BTreeMap::new()));
    assert_eq!(
        status.condition("Promoted").map(|c| c.message.as_str()),
        Some("Waiting for approval.")
    );
}
