//! A kubelet: what becomes of a pod as it grows older, and how it ends.
//!
//! A pod's state is a function of its age and its script, so there is nothing to remember and nothing to get out of step.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodIP, PodStatus,
};

use super::{
    deployment::{Plan, value},
    script::{Life, Pace, Script},
    stamp::{moment, stamp},
    write::{Kind, Place, What, Write},
};

const BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(5);

/// What the kubelet sees of a pod's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    state: State,
    restarts: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting(&'static str),
    Running { ready: bool },
}

/// How a pod of this age looks, and the age at which that changes.
pub(super) fn look(life: Life, pace: Pace, age: Duration) -> (Look, Option<Duration>) {
    let fresh = |state| Look { state, restarts: 0 };
    if life == Life::ImagePullBackOff {
        let waiting = if age < pace.start {
            "ErrImagePull"
        } else {
            "ImagePullBackOff"
        };
        return (fresh(State::Waiting(waiting)), (age < pace.start).then_some(pace.start));
    }
    if age < pace.start {
        return (fresh(State::Waiting("ContainerCreating")), Some(pace.start));
    }
    let ready_at = match life {
        Life::ReadyAfter(delay) => delay.max(pace.start),
        _ => pace.ready.max(pace.start),
    };
    if life == Life::NeverReady {
        return (fresh(State::Running { ready: false }), None);
    }
    if age < ready_at {
        return (fresh(State::Running { ready: false }), Some(ready_at));
    }
    match life {
        Life::ReadyUntil(end) if age >= end => (fresh(State::Running { ready: false }), None),
        Life::ReadyUntil(end) => (fresh(State::Running { ready: true }), Some(end)),
        Life::CrashesAfter(run) => crashing(ready_at, run.max(Duration::from_millis(1)), age),
        _ => (fresh(State::Running { ready: true }), None),
    }
}

/// Runs for `run`, waits, runs again; the wait doubles.
fn crashing(first: Duration, run: Duration, age: Duration) -> (Look, Option<Duration>) {
    let (mut from, mut wait, mut restarts) = (first, BACK_OFF, 0);
    loop {
        let crash = from + run;
        if age < crash {
            return (
                Look {
                    state: State::Running { ready: true },
                    restarts,
                },
                Some(crash),
            );
        }
        restarts += 1;
        let again = crash + wait;
        if age < again {
            return (
                Look {
                    state: State::Waiting("CrashLoopBackOff"),
                    restarts,
                },
                Some(again),
            );
        }
        from = again;
        wait = (wait * 2).min(LONGEST_BACK_OFF);
    }
}

/// What the kubelet remembers of a pod.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// When it was first seen.
    born: DateTime<Utc>,
    /// When its deletion was.
    pub(super) leaving: Option<DateTime<Utc>>,
    /// Its address.
    address: String,
}

impl Seen {
    /// A pod that is new now, after `count` others: each has an address of its own.
    pub(super) fn new(now: DateTime<Utc>, count: usize) -> Self {
        let address = format!("10.{}.{}.{}", count / 64_516 % 256, count / 254 % 254, count % 254 + 1);
        Self {
            born: now,
            leaving: None,
            address,
        }
    }
}

/// Looks at one pod.
pub(super) fn plan(pod: &Pod, script: &Script, seen: &Seen, now: DateTime<Utc>) -> Plan {
    if let Some(since) = seen.leaving {
        return end(pod, script, since, now);
    }
    if is_finished(pod) {
        return Plan::default();
    }
    let born = seen.born;
    let age = (now - born).to_std().unwrap_or_default();
    let (look, next) = look(script.life_of(pod), script.pace, age);
    let status = drawn(pod, look, &seen.address, born, now);
    let differs = pod.status.as_ref() != Some(&status);
    let write = || {
        let body = value(&Pod {
            status: Some(status),
            ..pod.clone()
        });
        Write {
            on: on(pod),
            what: What::Status(body),
        }
    };
    Plan {
        writes: differs.then(write).into_iter().collect(),
        wake: next.and_then(|next| Some(born + TimeDelta::from_std(next).ok()?)),
    }
}

/// A pod that is being deleted serves until it stopped, then it vanishes.
fn end(pod: &Pod, script: &Script, since: DateTime<Utc>, now: DateTime<Utc>) -> Plan {
    let grace = u64::try_from(pod.metadata.deletion_grace_period_seconds.unwrap_or(0)).unwrap_or(0);
    let stop = script.pace.stop.min(Duration::from_secs(grace));
    let end = since + TimeDelta::from_std(stop).unwrap_or_default();
    if now < end {
        return Plan {
            writes: Vec::new(),
            wake: Some(end),
        };
    }
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    Plan {
        writes: vec![Write {
            on: on(pod),
            what: What::Delete { uid, grace: Some(0) },
        }],
        wake: None,
    }
}

fn drawn(pod: &Pod, look: Look, address: &str, born: DateTime<Utc>, now: DateTime<Utc>) -> PodStatus {
    let ready = look.state == State::Running { ready: true };
    let started = !matches!(
        look.state,
        State::Waiting("ContainerCreating" | "ErrImagePull" | "ImagePullBackOff")
    );
    let was = pod.status.clone().unwrap_or_default();
    let generation = pod.metadata.generation;
    let condition = |type_: &str, holds: bool| {
        let state = if holds { "True" } else { "False" };
        let had = was
            .conditions
            .iter()
            .flatten()
            .find(|had| had.type_ == type_ && had.status == state);
        PodCondition {
            type_: type_.to_owned(),
            status: state.to_owned(),
            reason: (!holds).then(|| "ContainersNotReady".to_owned()),
            last_transition_time: had.map_or_else(|| Some(stamp(now)), |had| had.last_transition_time.clone()),
            observed_generation: generation,
            ..PodCondition::default()
        }
    };
    PodStatus {
        phase: Some(if started { "Running" } else { "Pending" }.to_owned()),
        pod_ip: started.then(|| address.to_owned()),
        pod_ips: started.then(|| vec![PodIP { ip: address.to_owned() }]),
        host_ip: Some("192.0.2.1".to_owned()),
        start_time: Some(stamp(born)),
        observed_generation: generation,
        conditions: Some(vec![
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ]),
        container_statuses: Some(containers(pod, look, born)),
        // Kept as the API server sets it.
        qos_class: was.qos_class,
        ..PodStatus::default()
    }
}

fn containers(pod: &Pod, look: Look, born: DateTime<Utc>) -> Vec<ContainerStatus> {
    let (ready, state) = match look.state {
        State::Running { ready } => {
            let running = ContainerStateRunning {
                started_at: Some(stamp(born)),
            };
            (
                ready,
                ContainerState {
                    running: Some(running),
                    ..ContainerState::default()
                },
            )
        }
        State::Waiting(reason) => {
            let waiting = ContainerStateWaiting {
                reason: Some(reason.to_owned()),
                message: None,
            };
            (
                false,
                ContainerState {
                    waiting: Some(waiting),
                    ..ContainerState::default()
                },
            )
        }
    };
    let of = |container: &k8s_openapi::api::core::v1::Container| ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: container.image.clone().unwrap_or_default(),
        ready,
        started: Some(state.running.is_some()),
        restart_count: look.restarts,
        state: Some(state.clone()),
        ..ContainerStatus::default()
    };
    pod.spec.iter().flat_map(|spec| &spec.containers).map(of).collect()
}

/// Whether its condition `Ready` is true.
pub(super) fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// Since when it has been ready.
pub(super) fn ready_since(pod: &Pod) -> Option<DateTime<Utc>> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    ready.last_transition_time.as_ref().map(moment)
}

/// Whether it ran to an end of its own.
pub(super) fn is_finished(pod: &Pod) -> bool {
    matches!(
        pod.status.as_ref().and_then(|status| status.phase.as_deref()),
        Some("Failed" | "Succeeded")
    )
}

fn on(pod: &Pod) -> Place {
    let meta = &pod.metadata;
    Place::new(
        Kind::Pod,
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_function_of_its_age() {
        let pace = Pace {
            start: Duration::from_secs(1),
            ready: Duration::from_secs(3),
            ..Pace::default()
        };
        let run = Duration::from_secs(4);
        for (life, age, state, restarts, next) in [
            (
                Life::ReadyAfter(Duration::from_secs(5)),
                0,
                State::Waiting("ContainerCreating"),
                0,
                Some(1),
            ),
            (
                Life::ReadyAfter(Duration::from_secs(5)),
                1,
                State::Running { ready: false },
                0,
                Some(5),
            ),
            (
                Life::ReadyAfter(Duration::from_secs(5)),
                5,
                State::Running { ready: true },
                0,
                None,
            ),
            (Life::NeverReady, 900, State::Running { ready: false }, 0, None),
            (
                Life::ReadyUntil(Duration::from_secs(9)),
                8,
                State::Running { ready: true },
                0,
                Some(9),
            ),
            (
                Life::ReadyUntil(Duration::from_secs(9)),
                9,
                State::Running { ready: false },
                0,
                None,
            ),
            (Life::ImagePullBackOff, 0, State::Waiting("ErrImagePull"), 0, Some(1)),
            (Life::ImagePullBackOff, 60, State::Waiting("ImagePullBackOff"), 0, None),
            (Life::CrashesAfter(run), 6, State::Running { ready: true }, 0, Some(7)),
            (
                Life::CrashesAfter(run),
                7,
                State::Waiting("CrashLoopBackOff"),
                1,
                Some(17),
            ),
            (Life::CrashesAfter(run), 17, State::Running { ready: true }, 1, Some(21)),
            (
                Life::CrashesAfter(run),
                22,
                State::Waiting("CrashLoopBackOff"),
                2,
                Some(41),
            ),
        ] {
            let seen = look(life, pace, Duration::from_secs(age));
            assert_eq!(
                seen,
                (Look { state, restarts }, next.map(Duration::from_secs)),
                "{life:?} at {age} s"
            );
        }
    }
}
