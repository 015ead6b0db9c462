//! What a Deployment says about itself, reduced to what decisions need.

use serde_json::Value;

use super::{ATTEMPT, RESTARTED, REVISION, fingerprint, primary::Identity, primary::recover, scale::replicas_of};
use crate::{
    object::{annotation, list, text},
    rollout::{Fingerprint, Rollout, Workload},
};

/// An object that is no Deployment of an API server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("deployment {name} has no {field}")]
pub struct WorkloadError {
    /// Its name.
    pub name: String,
    /// What is missing.
    pub field: &'static str,
}

/// Facts about the target. `ready_threshold` is the percentage of its pods that must be available.
pub fn target_facts(deployment: &Value, ready_threshold: u32) -> Result<Workload, WorkloadError> {
    let template = template(deployment)?;
    facts(deployment, ready_threshold, fingerprint(template))
}

/// The identity of what a primary runs, as far as its template and the target's (`like`) tell.
pub fn recovered(primary: &Value, like: Option<&Value>, identity: Identity<'_>) -> Result<Fingerprint, WorkloadError> {
    Ok(fingerprint(&recover(template(primary)?, like, identity)))
}

/// Facts about the primary. Its fingerprint is that of the revision it was made from: as written on it, else (Flagger made
/// it) as far as its template and the target's (`like`) tell.
pub fn primary_facts(
    primary: &Value,
    like: Option<&Value>,
    identity: Identity<'_>,
    ready_threshold: u32,
) -> Result<Workload, WorkloadError> {
    let revision = match annotation(primary, REVISION) {
        Some(written) => Fingerprint(written.to_owned()),
        None => recovered(primary, like, identity)?,
    };
    let mut facts = facts(primary, ready_threshold, revision)?;
    let annotations = primary.pointer("/spec/template/metadata/annotations");
    let mark = annotations.and_then(|annotations| annotations.get(RESTARTED));
    facts.restarted = mark.and_then(Value::as_str).map(str::to_owned);
    facts.attempt = annotation(primary, ATTEMPT)
        .and_then(|written| written.split_once('/'))
        .and_then(|(run, attempt)| Some((run.parse().ok()?, attempt.parse().ok()?)));
    Ok(facts)
}

fn template(deployment: &Value) -> Result<&Value, WorkloadError> {
    let found = deployment
        .pointer("/spec/template")
        .filter(|template| template.is_object());
    found.ok_or_else(|| missing(deployment, "spec.template"))
}

fn missing(deployment: &Value, field: &'static str) -> WorkloadError {
    WorkloadError {
        name: text(deployment, "/metadata/name").to_owned(),
        field,
    }
}

fn facts(deployment: &Value, ready_threshold: u32, revision: Fingerprint) -> Result<Workload, WorkloadError> {
    let uid = text(deployment, "/metadata/uid");
    if uid.is_empty() {
        return Err(missing(deployment, "metadata.uid"));
    }
    Ok(Workload {
        uid: uid.to_owned(),
        fingerprint: Some(revision),
        unpinned: None,
        recovered: None,
        attempt: None,
        restarted: None,
        owned: false,
        anchor: annotation(deployment, "deployment.kubernetes.io/revision").map(str::to_owned),
        generation: deployment.pointer("/metadata/generation").and_then(Value::as_u64),
        paused: deployment
            .pointer("/spec/paused")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        deleting: deployment
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|at| !at.is_null()),
        replicas: replicas_of(deployment),
        rollout: rollout(deployment, ready_threshold),
        worst_ready: worst_ready(deployment),
        trouble: trouble(deployment),
    })
}

/// How far its roll has come, in the order and the words of spec/core.md 2.10; no pods are not ready pods (W12).
fn rollout(deployment: &Value, ready_threshold: u32) -> Rollout {
    let name = text(deployment, "/metadata/name");
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let count = |pointer: &str| u32::try_from(number(pointer)).unwrap_or(u32::MAX);
    let observed = number("/status/observedGeneration") >= number("/metadata/generation");
    let replicas = replicas_of(deployment);
    let (existing, updated) = (count("/status/replicas"), count("/status/updatedReplicas"));
    let available = count("/status/availableReplicas");
    let deadline_exceeded = observed
        && condition(deployment, "Progressing").is_some_and(|it| text(it, "/reason") == "ProgressDeadlineExceeded");
    let need = need(updated, ready_threshold);
    let waiting = "waiting for rollout to finish";
    let message = if !observed {
        format!("{waiting}: observed deployment generation less than desired generation")
    } else if deadline_exceeded {
        format!("deployment \"{name}\" exceeded its progress deadline")
    } else if updated < replicas {
        format!("{waiting}: {updated} out of {replicas} new replicas have been updated")
    } else if existing > updated {
        format!("{waiting}: {} old replicas are pending termination", existing - updated)
    } else if updated > replicas {
        format!("{waiting}: {} replicas are pending termination", updated - replicas)
    } else if replicas == 0 {
        format!("{waiting}: deployment \"{name}\" has no replicas")
    } else if available < need {
        format!("{waiting}: {available} of {need} (readyThreshold {ready_threshold}%) updated replicas are available")
    } else {
        String::new()
    };
    Rollout {
        observed,
        complete: message.is_empty(),
        updated,
        available,
        deadline_exceeded,
        message,
    }
}

/// Available pods that the threshold asks for: rounded down as Flagger does, but at least one.
fn need(updated: u32, ready_threshold: u32) -> u32 {
    let share = u64::from(updated) * u64::from(ready_threshold.min(100)) / 100;
    u32::try_from(share).unwrap_or(u32::MAX).max(1)
}

/// Pods that stay ready in the worst moment of a roll, by the rules of the Deployment controller: a percentage of
/// `maxUnavailable` is rounded down, one of `maxSurge` up, and where both come to nothing one pod may be unavailable.
fn worst_ready(deployment: &Value) -> u32 {
    let replicas = replicas_of(deployment);
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return 0;
    }
    let bound = |field: &str| deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
    let unavailable = resolve(bound("maxUnavailable"), replicas, false);
    let surge = resolve(bound("maxSurge"), replicas, true);
    let unavailable = if unavailable == 0 && surge == 0 { 1 } else { unavailable };
    replicas.saturating_sub(unavailable)
}

/// A number or a percentage of `replicas`; 25% where unset, which is the API server's default.
fn resolve(bound: Option<&Value>, replicas: u32, round_up: bool) -> u32 {
    let percent = match bound {
        Some(Value::Number(number)) => {
            return number
                .as_u64()
                .map_or(0, |number| u32::try_from(number).unwrap_or(u32::MAX));
        }
        Some(Value::String(text)) => text
            .strip_suffix('%')
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0),
        _ => 25,
    };
    let hundredths = u64::from(replicas) * percent;
    let whole = if round_up {
        hundredths.div_ceil(100)
    } else {
        hundredths / 100
    };
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// What its conditions say is wrong.
fn trouble(deployment: &Value) -> Option<String> {
    let failing = |type_: &str, status: &str| condition(deployment, type_).filter(|it| text(it, "/status") == status);
    let found = failing("ReplicaFailure", "True").or_else(|| failing("Progressing", "False"))?;
    Some(format!("{}: {}", text(found, "/reason"), text(found, "/message")))
}

fn condition<'a>(deployment: &'a Value, type_: &str) -> Option<&'a Value> {
    list(deployment, "/status/conditions")
        .iter()
        .find(|it| text(it, "/type") == type_)
}
