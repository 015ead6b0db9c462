//! What a Deployment says about its roll, its troubles and its selector.

use super::*;

fn rolled(status: &Value) -> Value {
    let mut deployment = target();
    deployment["spec"]["replicas"] = 4.into();
    deployment["spec"]["strategy"] = json!({"type": "RollingUpdate"});
    deployment["status"] = status.clone();
    deployment
}

#[test]
fn a_roll_is_told_in_flaggers_words() {
    let done = json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "availableReplicas": 4});
    let with = |key: &str, value: u32| {
        let mut status = done.clone();
        status[key] = value.into();
        status
    };
    let late = json!({"observedGeneration": 3, "updatedReplicas": 4, "replicas": 4, "conditions":
        [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"}]});
    let wait = "waiting for rollout to finish: ";
    for (status, threshold, message) in [
        (done.clone(), 100, String::new()),
        (
            with("observedGeneration", 2),
            100,
            format!("{wait}observed deployment generation less than desired generation"),
        ),
        (
            with("updatedReplicas", 1),
            100,
            format!("{wait}1 out of 4 new replicas have been updated"),
        ),
        (
            with("replicas", 6),
            100,
            format!("{wait}2 old replicas are pending termination"),
        ),
        (
            with("availableReplicas", 3),
            100,
            format!("{wait}3 of 4 (readyThreshold 100%) updated replicas are available"),
        ),
        (with("availableReplicas", 2), 50, String::new()),
        (
            with("availableReplicas", 1),
            50,
            format!("{wait}1 of 2 (readyThreshold 50%) updated replicas are available"),
        ),
        (
            with("availableReplicas", 0),
            0,
            format!("{wait}0 of 1 (readyThreshold 0%) updated replicas are available"),
        ),
        (
            late,
            100,
            "deployment \"podinfo\" exceeded its progress deadline".to_owned(),
        ),
    ] {
        let rollout = target_facts(&rolled(&status), threshold).unwrap().rollout;
        assert_eq!(rollout.message, message);
        assert_eq!(rollout.complete, message.is_empty(), "{message}");
        assert_eq!(rollout.deadline_exceeded, message.ends_with("deadline"), "{message}");
    }
}

#[test]
fn core_089_no_replicas_are_not_a_finished_roll() {
    let mut deployment = rolled(&json!({"observedGeneration": 3}));
    deployment["spec"]["replicas"] = 0.into();
    let facts = target_facts(&deployment, 100).unwrap();
    assert!(!facts.rollout.complete);
    assert_eq!(facts.replicas, 0);
}

#[test]
fn the_worst_moment_of_a_roll_follows_the_deployment_controllers_rules() {
    let rolling = |surge: Value, unavailable: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    for (strategy, replicas, expected) in [
        (json!({"type": "Recreate"}), 4, 0),
        (json!({"type": "RollingUpdate"}), 4, 3),
        (rolling(json!("25%"), json!("25%")), 3, 3),
        (rolling(json!(1), json!(0)), 3, 3),
        (rolling(json!(0), json!(2)), 3, 1),
        (rolling(json!(0), json!("25%")), 3, 2),
        (rolling(json!("25%"), json!(5)), 3, 0),
        (rolling(json!("25%"), json!("25%")), 0, 0),
    ] {
        let mut deployment = rolled(&json!({}));
        deployment["spec"]["replicas"] = replicas.into();
        deployment["spec"]["strategy"] = strategy.clone();
        assert_eq!(
            target_facts(&deployment, 100).unwrap().worst_ready,
            expected,
            "{strategy} of {replicas}"
        );
    }
}

#[test]
fn trouble_is_what_the_conditions_say() {
    let condition = |type_: &str, status: &str| json!({"conditions": [{"type": type_, "status": status, "reason": "R", "message": "no quota"}]});
    for (status, expected) in [
        (condition("ReplicaFailure", "True"), Some("R: no quota".to_owned())),
        (condition("Progressing", "False"), Some("R: no quota".to_owned())),
        (condition("Progressing", "True"), None),
        (condition("Available", "False"), None),
    ] {
        assert_eq!(
            target_facts(&rolled(&status), 100).unwrap().trouble,
            expected,
            "{status}"
        );
    }
}

#[test]
fn the_target_tells_who_it_is() {
    let facts = target_facts(&target(), 100).unwrap();
    assert_eq!(facts.uid, "target-uid");
    assert_eq!(facts.anchor.as_deref(), Some("7"));
    assert_eq!(facts.fingerprint, Some(fingerprint(&template())));
    assert!(facts.paused);
    assert!(!facts.deleting);
    let nameless = json!({"metadata": {"name": "x"}, "spec": {"template": {}}});
    assert_eq!(
        target_facts(&nameless, 100).unwrap_err().to_string(),
        "deployment x has no metadata.uid"
    );
}
