//! The `ReplicaSet` controller: as many pods as asked for, and their count in the status.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetStatus},
        core::v1::{Pod, PodSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    deployment::{Plan, owner, size, value},
    pod::{is_finished, is_ready, ready_since},
    write::{Kind, Place, What, Write},
};

/// The node that all pods of the embedded cluster run on.
pub(super) const NODE: &str = "node-1";

/// Looks at one `ReplicaSet` with its `pods`. `suffix` names a new pod; it gives another text each time.
pub(super) fn plan(
    set: &ReplicaSet,
    pods: &[Arc<Pod>],
    suffix: &mut dyn FnMut() -> String,
    now: DateTime<Utc>,
) -> Plan {
    if set.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let terminating = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_some();
    let mut active: Vec<_> = pods
        .iter()
        .filter(|pod| !terminating(pod) && !is_finished(pod))
        .cloned()
        .collect();
    let leaving = pods.iter().filter(|pod| terminating(pod) && !is_finished(pod)).count();
    let wanted = usize::try_from(size(set)).unwrap_or(0);
    let missing = wanted.saturating_sub(active.len());
    let extra = active.len().saturating_sub(wanted);
    let mut writes: Vec<_> = (0..missing).map(|_| born(set, &suffix())).collect();
    active.sort_by_key(|pod| {
        (
            is_ready(pod),
            std::cmp::Reverse(pod.metadata.creation_timestamp.clone().map(|at| at.0)),
        )
    });
    writes.extend(active.iter().take(extra).map(deleted));
    let (status, wake) = counted(set, &active, leaving, now);
    if set.status.as_ref() != Some(&status) {
        let body = value(&ReplicaSet {
            status: Some(status),
            ..set.clone()
        });
        writes.push(Write {
            on: on(Kind::ReplicaSet, &set.metadata),
            what: What::Status(body),
        });
    }
    Plan { writes, wake }
}

fn counted(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    leaving: usize,
    now: DateTime<Utc>,
) -> (ReplicaSetStatus, Option<DateTime<Utc>>) {
    let least = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let due: Vec<_> = active
        .iter()
        .filter_map(|pod| ready_since(pod))
        .map(|since| since + TimeDelta::seconds(least.into()))
        .collect();
    let ready = active.iter().filter(|pod| is_ready(pod)).count();
    let available = if least == 0 {
        ready
    } else {
        due.iter().filter(|due| **due <= now).count()
    };
    let wake = due
        .iter()
        .filter(|due| **due > now)
        .min()
        .copied()
        .filter(|_| least > 0);
    let labels = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.as_ref())
        .and_then(|template| template.metadata.as_ref());
    let labels = labels.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let labelled = |pod: &&Arc<Pod>| {
        let has = pod.metadata.labels.as_ref();
        labels
            .iter()
            .all(|(key, value)| has.and_then(|has| has.get(key)) == Some(value))
    };
    let some = |count: usize| (count > 0).then(|| number(count));
    let status = ReplicaSetStatus {
        replicas: number(active.len()),
        ready_replicas: some(ready),
        available_replicas: some(available),
        fully_labeled_replicas: some(active.iter().filter(labelled).count()),
        terminating_replicas: Some(number(leaving)),
        observed_generation: set.metadata.generation,
        conditions: None,
    };
    (status, wake)
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A new pod. It is bound to its node at once: the scheduler's part is played here.
fn born(set: &ReplicaSet, suffix: &str) -> Write {
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.clone())
        .unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let pod = Pod {
        metadata: ObjectMeta {
            name: Some(format!("{}-{suffix}", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta
                .annotations
                .filter(|annotations: &BTreeMap<_, _>| !annotations.is_empty()),
            owner_references: Some(vec![owner("apps/v1", "ReplicaSet", &set.metadata)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.map(|spec| PodSpec {
            node_name: Some(NODE.to_owned()),
            ..spec
        }),
        status: None,
    };
    Write {
        on: on(Kind::Pod, &pod.metadata),
        what: What::Create(value(&pod)),
    }
}

fn deleted(pod: &Arc<Pod>) -> Write {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    Write {
        on: on(Kind::Pod, &pod.metadata),
        what: What::Delete { uid, grace: None },
    }
}

fn on(kind: Kind, meta: &ObjectMeta) -> Place {
    Place::new(
        kind,
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}
