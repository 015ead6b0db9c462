//! What a Deployment says of itself: counts, `Available`, and `Progressing` with its deadline.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::{
    deployment::{Leeway, Plan, desired, size, value},
    stamp::{moment, stamp},
    write::{Kind, Name, What, Write},
};

const DEADLINE_SECONDS: i32 = 600;

/// The status of a Deployment with these `ReplicaSets`, as a write where it differs, and when the deadline is due.
pub(super) fn judge(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    owned: &[Arc<ReplicaSet>],
    leeway: Leeway,
    now: DateTime<Utc>,
) -> Plan {
    let was = deployment.status.clone().unwrap_or_default();
    let mut is = counted(deployment, new, owned, &was);
    let wake = conditions(deployment, new, leeway, &was, &mut is, now);
    if is == was {
        return Plan {
            writes: Vec::new(),
            wake,
        };
    }
    let meta = &deployment.metadata;
    let on = Name::new(
        Kind::Deployment,
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    );
    let body = value(&Deployment {
        status: Some(is),
        ..deployment.clone()
    });
    Plan {
        writes: vec![Write {
            on,
            what: What::Status(body),
        }],
        wake,
    }
}

fn counted(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    owned: &[Arc<ReplicaSet>],
    was: &DeploymentStatus,
) -> DeploymentStatus {
    let sum = |of: fn(&ReplicaSet) -> i32| owned.iter().map(|set| of(set)).sum::<i32>();
    let available = sum(|set| status(set).2);
    let some = |count: i32| (count > 0).then_some(count);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sum(|set| status(set).0)),
        updated_replicas: some(new.map_or(0, |set| status(set).0)),
        ready_replicas: some(sum(|set| status(set).1)),
        available_replicas: some(available),
        unavailable_replicas: some(sum(size) - available),
        terminating_replicas: Some(sum(|set| {
            set.status
                .as_ref()
                .and_then(|status| status.terminating_replicas)
                .unwrap_or(0)
        })),
        conditions: was.conditions.clone(),
        collision_count: was.collision_count,
    }
}

/// Replicas, ready, available.
fn status(set: &ReplicaSet) -> (i32, i32, i32) {
    set.status.as_ref().map_or((0, 0, 0), |status| {
        (
            status.replicas,
            status.ready_replicas.unwrap_or(0),
            status.available_replicas.unwrap_or(0),
        )
    })
}

/// Sets both conditions and tells when the progress deadline ends.
fn conditions(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    leeway: Leeway,
    was: &DeploymentStatus,
    is: &mut DeploymentStatus,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let wanted = desired(deployment);
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let available = is.available_replicas.unwrap_or(0);
    let (state, reason, message) = if available >= wanted - leeway.unavailable {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set(is, "Available", state, reason, message, false, now);

    let spec = deployment.spec.as_ref();
    let paused = spec.and_then(|spec| spec.paused).unwrap_or(false);
    let progressing = find(was, "Progressing").cloned();
    let reason_was = progressing
        .as_ref()
        .and_then(|condition| condition.reason.as_deref())
        .unwrap_or_default();
    if paused {
        if reason_was != "ProgressDeadlineExceeded" {
            set(
                is,
                "Progressing",
                "Unknown",
                "DeploymentPaused",
                "Deployment is paused",
                false,
                now,
            );
        }
        return None;
    }
    let of_set = new.and_then(|set| set.metadata.name.clone());
    let subject = of_set.as_ref().map_or_else(
        || format!("Deployment \"{name}\""),
        |set| format!("ReplicaSet \"{set}\""),
    );
    let counts = |status: &DeploymentStatus| {
        (
            status.updated_replicas.unwrap_or(0),
            status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0),
            status.ready_replicas.unwrap_or(0),
            status.available_replicas.unwrap_or(0),
        )
    };
    let (before, after) = (counts(was), counts(is));
    let complete = new.is_some() && after.0 == wanted && after.1 == 0 && available == wanted;
    let moved = after.0 > before.0 || after.1 < before.1 || after.2 > before.2 || after.3 > before.3;
    let anew = was.observed_generation != is.observed_generation && new.is_none();
    let deadline = TimeDelta::seconds(
        spec.and_then(|spec| spec.progress_deadline_seconds)
            .unwrap_or(DEADLINE_SECONDS)
            .into(),
    );
    let due = progressing
        .as_ref()
        .and_then(|condition| condition.last_update_time.as_ref())
        .map(|at| moment(at) + deadline);
    let settled = reason_was == "NewReplicaSetAvailable" && after.1 == 0;

    if complete {
        let message = format!("{subject} has successfully progressed.");
        set(
            is,
            "Progressing",
            "True",
            "NewReplicaSetAvailable",
            &message,
            false,
            now,
        );
        return None;
    }
    if settled && !anew && of_set.is_some_and(|set| says(progressing.as_ref(), &set)) {
        return None;
    }
    if moved || anew || progressing.is_none() || matches!(reason_was, "DeploymentPaused" | "NewReplicaSetAvailable") {
        let reason = if moved {
            "ReplicaSetUpdated"
        } else {
            "NewReplicaSetCreated"
        };
        let message = if moved {
            format!("{subject} is progressing.")
        } else {
            format!("Created new replica set for {subject}")
        };
        set(is, "Progressing", "True", reason, &message, true, now);
        return Some(now + deadline);
    }
    if due.is_some_and(|due| due <= now) {
        let message = format!("{subject} has timed out progressing.");
        set(
            is,
            "Progressing",
            "False",
            "ProgressDeadlineExceeded",
            &message,
            false,
            now,
        );
        return None;
    }
    due
}

/// Whether a condition speaks of this `ReplicaSet`.
fn says(condition: Option<&DeploymentCondition>, set: &str) -> bool {
    condition
        .and_then(|condition| condition.message.as_deref())
        .is_some_and(|message| message.contains(&format!("\"{set}\"")))
}

fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == type_)
}

/// Sets a condition. The same status and reason leave it as it is, unless it is `renewed` by progress.
fn set(
    status: &mut DeploymentStatus,
    type_: &str,
    state: &str,
    reason: &str,
    message: &str,
    renewed: bool,
    now: DateTime<Utc>,
) {
    let has = find(status, type_);
    let same = has.is_some_and(|has| has.status == state && has.reason.as_deref() == Some(reason));
    if same && !renewed {
        return;
    }
    let since = has
        .filter(|has| has.status == state)
        .and_then(|has| has.last_transition_time.clone());
    let condition = DeploymentCondition {
        type_: type_.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(stamp(now)),
        last_transition_time: Some(since.unwrap_or_else(|| stamp(now))),
    };
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(condition);
}
