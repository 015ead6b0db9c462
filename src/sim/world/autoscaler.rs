//! The controller of `HorizontalPodAutoscalers`, as far as a release depends on it.
//!
//! Written from the documented behaviour of `autoscaling/v2`: a look every fifteen seconds; nothing at all for a workload at zero, nor
//! for one that two scalers claim; at once within the bounds; up by at most twice the size or four; down only to the highest of what was
//! asked for within the stabilization window. What the metrics ask for says the script.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus},
};
use serde_json::{Value, json};

use super::{
    deployment::{Plan, value},
    write::{Kind, Place, What, Write},
};

/// The time between two looks (`--horizontal-pod-autoscaler-sync-period`).
pub(super) const SYNC: TimeDelta = TimeDelta::seconds(15);
/// How long a higher wish keeps a workload from shrinking, where the scaler does not say.
const STABILIZATION: i64 = 300;

/// What the metrics asked for, and when.
pub(super) type Wishes = Vec<(DateTime<Utc>, i32)>;

/// Looks at one scaler and its workload. `rivals`: another scaler claims the same workload.
pub(super) fn plan(
    scaler: &HorizontalPodAutoscaler,
    deployment: Option<&Deployment>,
    rivals: bool,
    demand: Option<i32>,
    wishes: &mut Wishes,
    now: DateTime<Utc>,
) -> Plan {
    let wake = Some(now + SYNC);
    let current = deployment.map(size);
    let (desired, active, reason) = match current {
        None => (0, "False", "FailedGetScale"),
        Some(current) if rivals => (current, "False", "AmbiguousSelector"),
        Some(0) => (0, "False", "ScalingDisabled"),
        Some(current) => (
            desired(scaler, current, demand, wishes, now),
            "True",
            "ValidMetricFound",
        ),
    };
    let mut writes = Vec::new();
    if let Some(deployment) = deployment.filter(|_| current != Some(desired)) {
        let version = deployment.metadata.resource_version.clone();
        let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
        let name = deployment.metadata.name.clone().unwrap_or_default();
        writes.push(Write {
            on: Place::new(Kind::Deployment, &namespace, &name),
            what: What::Merge(json!({ "metadata": { "resourceVersion": version }, "spec": { "replicas": desired } })),
        });
    }
    writes.extend(status(scaler, current.unwrap_or(0), desired, (active, reason)));
    Plan { writes, wake }
}

fn size(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// The name of the Deployment that it scales.
pub(super) fn target(scaler: &HorizontalPodAutoscaler) -> Option<&str> {
    let target = &scaler.spec.scale_target_ref;
    (target.kind == "Deployment").then_some(target.name.as_str())
}

fn desired(
    scaler: &HorizontalPodAutoscaler,
    current: i32,
    demand: Option<i32>,
    wishes: &mut Wishes,
    now: DateTime<Utc>,
) -> i32 {
    let spec = &scaler.spec;
    let min = spec.min_replicas.unwrap_or(1);
    if current > spec.max_replicas {
        return spec.max_replicas;
    }
    if current < min {
        return min;
    }
    let wish = demand.unwrap_or(current);
    let window = spec
        .behavior
        .as_ref()
        .and_then(|behavior| behavior.scale_down.as_ref()?.stabilization_window_seconds);
    let window = TimeDelta::seconds(window.map_or(STABILIZATION, i64::from));
    wishes.retain(|(at, _)| now - *at < window);
    wishes.push((now, wish));
    let stable = wishes.iter().map(|(_, wish)| *wish).max().unwrap_or(wish);
    let upwards = (current * 2).max(4);
    stable.min(upwards).clamp(min, spec.max_replicas)
}

fn status(scaler: &HorizontalPodAutoscaler, current: i32, desired: i32, active: (&str, &str)) -> Option<Write> {
    let before = scaler.status.as_ref();
    let condition = before.and_then(|status| status.conditions.as_ref()?.first());
    let says = condition.map(|condition| {
        (
            condition.status.as_str(),
            condition.reason.as_deref().unwrap_or_default(),
        )
    });
    let same = before.is_some_and(|status| {
        status.current_replicas == Some(current) && status.desired_replicas == desired && says == Some(active)
    });
    if same {
        return None;
    }
    let status: HorizontalPodAutoscalerStatus = serde_json::from_value(json!({
        "currentReplicas": current,
        "desiredReplicas": desired,
        "conditions": [{ "type": "ScalingActive", "status": active.0, "reason": active.1, "message": "" }],
    }))
    .unwrap_or_default();
    let body: Value = value(&HorizontalPodAutoscaler {
        status: Some(status),
        ..scaler.clone()
    });
    let meta = &scaler.metadata;
    let (namespace, name) = (meta.namespace.as_deref()?, meta.name.as_deref()?);
    Some(Write {
        on: Place::new(Kind::Autoscaler, namespace, name),
        what: What::Status(body),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaler(min: i32, max: i32) -> HorizontalPodAutoscaler {
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "app" });
        let spec = json!({ "scaleTargetRef": target, "minReplicas": min, "maxReplicas": max });
        serde_json::from_value(json!({ "metadata": { "name": "app", "namespace": "test" }, "spec": spec }))
            .expect("must be a scaler")
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("must be a time")
    }

    fn scaled(scaler: &HorizontalPodAutoscaler, replicas: i32, rivals: bool, demand: i32, wishes: &mut Wishes) -> i64 {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": { "name": "app", "namespace": "test" },
            "spec": { "replicas": replicas, "selector": {}, "template": {} },
        }))
        .expect("must be a Deployment");
        let plan = plan(scaler, Some(&deployment), rivals, Some(demand), wishes, at(0));
        let resized = plan.writes.iter().find_map(|write| match &write.what {
            What::Merge(body) => body["spec"]["replicas"].as_i64(),
            _ => None,
        });
        resized.unwrap_or_else(|| i64::from(replicas))
    }

    #[test]
    fn a_workload_at_zero_and_one_that_two_claim_are_left_alone() {
        assert_eq!(scaled(&scaler(2, 9), 0, false, 5, &mut Wishes::new()), 0);
        assert_eq!(scaled(&scaler(2, 9), 3, true, 5, &mut Wishes::new()), 3);
    }

    #[test]
    fn bounds_hold_at_once_and_a_workload_shrinks_to_the_highest_wish_of_the_window() {
        assert_eq!(scaled(&scaler(4, 9), 1, false, 1, &mut Wishes::new()), 4);
        assert_eq!(scaled(&scaler(1, 2), 5, false, 5, &mut Wishes::new()), 2);
        let mut wishes = Wishes::new();
        assert_eq!(scaled(&scaler(1, 9), 3, false, 5, &mut wishes), 5);
        assert_eq!(scaled(&scaler(1, 9), 5, false, 1, &mut wishes), 5, "for five minutes");
        assert_eq!(scaled(&scaler(1, 9), 5, false, 1, &mut Wishes::new()), 1);
        assert_eq!(
            scaled(&scaler(1, 90), 2, false, 50, &mut Wishes::new()),
            4,
            "step by step"
        );
    }
}
