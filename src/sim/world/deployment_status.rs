//! What a Deployment says of itself: counts, `Available`, and `Progressing` with its deadline.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::{
    deployment::{Plan, size, value},
    leeway::{Leeway, desired},
    stamp::{moment, stamp},
    write::{Kind, Place, What, Write},
};

const DEADLINE_SECONDS: i32 = 600;
const PROGRESSING: &str = "Progressing";
/// The reason of a roll that is complete.
const DONE: &str = "NewReplicaSetAvailable";
/// The reason of a roll that got nowhere for too long.
const EXCEEDED: &str = "ProgressDeadlineExceeded";

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
    judge_available(deployment, leeway, &mut is, now);
    let wake = judge_progress(deployment, new, &was, &mut is, now);
    if is == was {
        return Plan {
            writes: Vec::new(),
            wake,
        };
    }
    let meta = &deployment.metadata;
    let on = Place::new(
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

/// Whether enough pods are available.
fn judge_available(deployment: &Deployment, leeway: Leeway, is: &mut DeploymentStatus, now: DateTime<Utc>) {
    let verdict = if is.available_replicas.unwrap_or(0) >= desired(deployment) - leeway.unavailable {
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
    set(is, "Available", verdict, false, now);
}

/// Whether the roll gets on. Returns when its deadline ends.
fn judge_progress(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    was: &DeploymentStatus,
    is: &mut DeploymentStatus,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let spec = deployment.spec.as_ref();
    let said = find(was, PROGRESSING).cloned();
    let reason = said
        .as_ref()
        .and_then(|said| said.reason.as_deref())
        .unwrap_or_default();
    if spec.and_then(|spec| spec.paused).unwrap_or(false) {
        if reason != EXCEEDED {
            set(
                is,
                PROGRESSING,
                ("Unknown", "DeploymentPaused", "Deployment is paused"),
                false,
                now,
            );
        }
        return None;
    }
    let set_name = new.and_then(|set| set.metadata.name.clone());
    let subject = set_name.as_ref().map_or_else(
        || {
            format!(
                "Deployment \"{}\"",
                deployment.metadata.name.as_deref().unwrap_or_default()
            )
        },
        |set| format!("ReplicaSet \"{set}\""),
    );
    let (before, after) = (Counts::of(was), Counts::of(is));
    let wanted = desired(deployment);
    if new.is_some() && after.updated == wanted && after.old == 0 && after.available == wanted {
        let message = format!("{subject} has successfully progressed.");
        set(is, PROGRESSING, ("True", DONE, &message), false, now);
        return None;
    }
    let is_new = was.observed_generation != is.observed_generation && new.is_none();
    // A roll that was done once is not judged again when its pods come and go.
    if reason == DONE && after.old == 0 && !is_new && set_name.is_some_and(|set| speaks_of(said.as_ref(), &set)) {
        return None;
    }
    let patience = spec
        .and_then(|spec| spec.progress_deadline_seconds)
        .unwrap_or(DEADLINE_SECONDS);
    let patience = TimeDelta::seconds(patience.into());
    let moved = after.is_past(before);
    if moved || is_new || said.is_none() || matches!(reason, "DeploymentPaused" | DONE) {
        let (reason, message) = if moved {
            ("ReplicaSetUpdated", format!("{subject} is progressing."))
        } else {
            ("NewReplicaSetCreated", format!("Created new replica set for {subject}"))
        };
        set(is, PROGRESSING, ("True", reason, &message), true, now);
        return Some(now + patience);
    }
    let due = said
        .as_ref()
        .and_then(|said| said.last_update_time.as_ref())
        .map(|at| moment(at) + patience)?;
    if due > now {
        return Some(due);
    }
    let message = format!("{subject} has timed out progressing.");
    set(is, PROGRESSING, ("False", EXCEEDED, &message), false, now);
    None
}

/// The numbers that tell whether a roll gets on.
#[derive(Clone, Copy)]
struct Counts {
    updated: i32,
    old: i32,
    ready: i32,
    available: i32,
}

impl Counts {
    fn of(status: &DeploymentStatus) -> Self {
        let updated = status.updated_replicas.unwrap_or(0);
        Self {
            updated,
            old: status.replicas.unwrap_or(0) - updated,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
        }
    }

    /// Whether any of them got better.
    const fn is_past(self, before: Self) -> bool {
        self.updated > before.updated
            || self.old < before.old
            || self.ready > before.ready
            || self.available > before.available
    }
}

/// Whether a condition speaks of this `ReplicaSet`.
fn speaks_of(condition: Option<&DeploymentCondition>, set: &str) -> bool {
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

/// Sets a condition to this status, reason and message. The same status and reason leave it as it is, unless it is
/// `renewed` by progress.
fn set(
    status: &mut DeploymentStatus,
    type_: &str,
    (state, reason, message): (&str, &str, &str),
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
