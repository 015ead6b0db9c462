//! The invariants of `design.md` 2 as questions about one write of the controller.

use k8s_openapi::api::apps::v1::Deployment;
use serde::Deserialize as _;
use serde_json::Value;

use super::view::{Objects, Release, Written, block, copies, most, splits};
use crate::rollout::{Affinity, Block, Side, Stage, Weight};
use crate::workload::RESTARTED;

/// What a side may still get: the highest weight that its route has now or that the data plane may still act on.
pub(super) type InFlight = [u64; 2];

const fn index(side: Side) -> usize {
    match side {
        Side::Primary => 0,
        Side::Canary => 1,
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Primary => Side::Canary,
        Side::Canary => Side::Primary,
    }
}

/// Invariants 1 and 2 for a route: rules sum to their whole, carry the status's weight, and no side gets more than its
/// ready pods carry.
pub(super) fn route(written: &Written<'_>, objects: &impl Objects, release: &Release) -> Vec<String> {
    let mut wrong = Vec::new();
    let after = written.after.map(|route| splits(route, release)).unwrap_or_default();
    for (primary, canary) in &after {
        if primary + canary != 100 {
            wrong.push(format!("1: a rule sums to {primary} + {canary} instead of 100"));
        }
    }
    if after.is_empty() {
        return wrong;
    }
    let (primary, canary) = written.after.map_or((0, 0), |route| most(route, release));
    if let Some(block) = &release.block {
        wrong.extend(status_first(&after, block));
        let copied = written.after.is_some_and(|route| copies(route, release));
        if copied != block.traffic().mirror.is_some() {
            wrong.push(format!(
                "status first: requests are copied to the canary: {copied}, and the status says otherwise"
            ));
        }
    }
    let split = |route: &&Value| !splits(route, release).is_empty();
    let before = written.before.filter(split).map(|route| most(route, release));
    let apex = objects.named("v1", "Service", &release.namespace, &release.apex);
    let (was_primary, was_canary) = before.unwrap_or_else(|| match release.apex_side(objects, apex) {
        Some(Side::Primary) => (100, 0),
        Some(Side::Canary) => (0, 100),
        None => (0, 0),
    });
    for (side, was, is, others) in [
        (Side::Primary, was_primary, primary, was_canary),
        (Side::Canary, was_canary, canary, was_primary),
    ] {
        if is > was {
            wrong.extend(raise(written, objects, release, side, is, others));
        }
    }
    wrong
}

/// Some rule has the weight of the status, and the others say what it allows beside that: what does not match, and who shows a cookie,
/// has a side for itself.
fn status_first(rules: &[(u64, u64)], block: &Block) -> Option<String> {
    let traffic = block.traffic();
    let weight = u64::from(traffic.weight.percent());
    let shared = (100_u64.saturating_sub(weight), weight);
    let kept = matches!(traffic.affinity, Some(Affinity::Kept { .. }));
    let apart = |rule: &(u64, u64)| match rule {
        (100, 0) => traffic.matched || traffic.affinity.is_some(),
        (0, 100) => kept,
        _ => false,
    };
    let strange = rules.iter().find(|rule| **rule != shared && !apart(rule));
    let strange = strange.or_else(|| rules.first().filter(|_| !rules.contains(&shared)));
    strange.map(|(_, canary)| {
        format!(
            "status first: the route gives the canary {canary}, the status says {}",
            block.weight
        )
    })
}

/// Invariant 2: may this side's weight be raised to `weight` while the other one has `others`?
fn raise(
    written: &Written<'_>,
    objects: &impl Objects,
    release: &Release,
    side: Side,
    weight: u64,
    others: u64,
) -> Option<String> {
    let (ready, need) = (release.ready(objects, side), release.need(side, weight));
    let others_ready = release.ready(objects, other(side));
    let world_broke_it = others_ready < release.need(other(side), others) && ready > others_ready;
    let homeward = side == Side::Primary || is_in(release, &[Stage::Leaving]);
    let overdue = homeward && release.is_past_deadline(written.at);
    let deserted = side == Side::Primary && others_ready == 0 && ready > 0;
    if ready >= need || world_broke_it || overdue || deserted {
        return None;
    }
    Some(format!(
        "2: {side:?} is raised to {weight} with {ready} ready pods of the {need} it needs"
    ))
}

fn is_in(release: &Release, stages: &[Stage]) -> bool {
    release
        .block
        .as_ref()
        .is_some_and(|block| stages.contains(&block.stage))
}

/// A primary's template without the mark of what it was rolled for (`configTracking[].mode: liveRestart`).
fn unmarked(primary: &Value) -> Value {
    let mut template = primary["spec"]["template"].clone();
    let annotations = template
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.remove(RESTARTED);
    }
    template
}

/// Invariants 2 and 3 for a side's Deployment: pods are taken, or rolled, only where the rest carry the side's weight.
pub(super) fn workload(
    written: &Written<'_>,
    objects: &impl Objects,
    release: &Release,
    side: Side,
    in_flight: InFlight,
) -> Vec<String> {
    let Some(before) = written.before else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    let apex = objects.named("v1", "Service", &release.namespace, &release.apex);
    let called = if release.apex_side(objects, apex) == Some(side) {
        100
    } else {
        0
    };
    let weight = in_flight[index(side)].max(called);
    let need = release.need(side, weight);
    let ready = release.ready(objects, side);
    let (was, is) = (replicas(before), written.after.map_or(0, replicas));
    let left = ready.min(is);
    let deserted = side == Side::Canary && ready == 0;
    if is < was && left < need && !deserted && !release.is_past_deadline(written.at) {
        wrong.push(format!("2: {side:?} goes from {was} to {is} replicas with weight {weight}: {left} ready pods are left of the {need} it needs"));
    }
    let Some(after) = written.after else { return wrong };
    if side == Side::Primary && before["spec"]["template"] != after["spec"]["template"] {
        // A promotion that was called off, and arrived late, is undone in any stage.
        let undone = release
            .block
            .as_ref()
            .is_some_and(|block| block.copied.is_some() && block.copied != block.promoted);
        // One that is rolled for what it reads live runs what it ran.
        let rolled = unmarked(before) == unmarked(after);
        if !undone && !rolled && !is_in(release, &[Stage::Promoting, Stage::Restoring, Stage::Initializing]) {
            let stage = release.block.as_ref().map(|block| block.stage);
            wrong.push(format!("3: the primary's template is written in stage {stage:?}"));
        }
        let weight = in_flight[index(side)];
        let (worst, need) = (worst_ready(after), release.need(side, weight));
        if worst < need {
            wrong.push(format!(
                "3: the primary rolls at weight {weight}: {worst} pods stay ready of the {need} it needs"
            ));
        }
    }
    wrong
}

fn replicas(deployment: &Value) -> u64 {
    deployment["spec"]["replicas"].as_u64().unwrap_or(1)
}

/// The pods that a Deployment keeps in the worst moment of a roll.
fn worst_ready(deployment: &Value) -> u64 {
    let Ok(deployment) = Deployment::deserialize(deployment) else {
        return 0;
    };
    if super::super::leeway::is_recreate(&deployment) {
        return 0;
    }
    let wanted = super::super::leeway::desired(&deployment);
    u64::try_from(wanted - super::super::leeway::leeway(&deployment).unavailable).unwrap_or(0)
}

/// Invariant 2 for Services: clients are sent to a side only when it has ready pods; a side in use keeps its Service.
pub(super) fn service(
    written: &Written<'_>,
    objects: &impl Objects,
    release: &Release,
    in_flight: InFlight,
) -> Vec<String> {
    if written.name == release.apex {
        let (was, is) = (
            release.apex_side(objects, written.before),
            release.apex_side(objects, written.after),
        );
        let Some(side) = is.filter(|_| was != is && written.before.is_some()) else {
            return Vec::new();
        };
        let others = if was.is_some() { 100 } else { 0 };
        return raise(written, objects, release, side, 100, others)
            .into_iter()
            .collect();
    }
    let of = |side: &Side| release.service(*side) == written.name;
    let Some(side) = [Side::Primary, Side::Canary].into_iter().find(of) else {
        return Vec::new();
    };
    let weight = in_flight[index(side)];
    if written.after.is_none() && weight > 0 {
        return vec![format!("2: the Service of {side:?} is deleted at weight {weight}")];
    }
    Vec::new()
}

/// Invariants 1 and 3 for the status: the weight follows the plan upwards, and nothing runs before both revisions are
/// in the store.
pub(super) fn status(written: &Written<'_>, objects: &impl Objects, release: &Release) -> Vec<String> {
    let Some(after) = &release.block else { return Vec::new() };
    let Some(before) = written.before.and_then(block) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    let widened = before.matched && !after.matched && after.weight > Weight::ZERO;
    if after.weight > before.weight || widened {
        let next = before
            .plan
            .as_ref()
            .and_then(|plan| plan.steps.iter().find(|step| **step > before.weight).copied());
        let by_plan = after.stage == Stage::Stepping && next == Some(after.weight) && !widened;
        let shields = after.weight == Weight::FULL
            && matches!(after.stage, Stage::Shielding | Stage::Promoting | Stage::HoldOnCanary);
        let by_a_person = after.words.followed_since(&before.words).is_some();
        if !by_plan && !shields && !by_a_person {
            wrong.push(format!(
                "1: the weight goes from {} to {} in stage {:?}; the plan's next step is {next:?}",
                before.weight, after.weight, after.stage
            ));
        }
    }
    if after.run == before.run && after.iterations > before.iterations.saturating_add(1) {
        wrong.push(format!(
            "4: iteration {} comes after {}",
            after.iterations, before.iterations
        ));
    }
    let judged = [
        Stage::Stepping,
        Stage::Shielding,
        Stage::Promoting,
        Stage::WaitingPromotion,
    ];
    if judged.contains(&after.stage) && before.stage != after.stage {
        for revision in [&after.promoted, &after.running].into_iter().flatten() {
            if !release.is_stored(objects, &revision.0) {
                wrong.push(format!(
                    "3: {:?} is entered and revision {revision} is not in the store",
                    after.stage
                ));
            }
        }
    }
    if after.run < before.run {
        wrong.push(format!("5: the run's number goes from {} to {}", before.run, after.run));
    }
    wrong
}

/// Invariant 10: no value of a Secret in anything but a Secret.
pub(super) fn secrets(written: &Written<'_>, values: &[String]) -> Vec<String> {
    let Some(after) = written.after.filter(|_| written.kind != "Secret" && !values.is_empty()) else {
        return Vec::new();
    };
    let text = after.to_string();
    let told = values.iter().any(|value| text.contains(value.as_str()));
    told.then(|| "10: the value of a Secret stands in it".to_owned())
        .into_iter()
        .collect()
}
