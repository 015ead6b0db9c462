//! The first block of a canary. Exactly once the world writes the status: when a primary stands and we have no block of it.

use chrono::{DateTime, Utc};

use super::super::known::Known;
use super::super::observation::{Observation, Selects, Workload};
use super::super::state::{Block, Cookies, Fingerprint, Outcome, RunResult, Stage, VERSION, Why};
use super::super::steps;
use super::super::weight::Weight;
use super::super::word::Words;
use super::revision;
use crate::api::{Canary, Phase};

/// The block to begin with, or `None` while too little is known to begin.
///
/// A primary that stands already comes from Flagger, a restored backup or a Canary created anew (`design.md`, "Adoption"): the weight is
/// read from the route, the phase from Flagger's status. Nothing is scaled down on the strength of it in this pass.
pub(super) fn first_block(canary: &Canary, observation: &Observation, now: DateTime<Utc>) -> Option<Block> {
    let mut block = Block {
        version: VERSION,
        stage: Stage::Initializing,
        since: now,
        subject: observation.subject.clone(),
        former: None,
        scaler: None,
        run: 0,
        plan: None,
        weight: Weight::ZERO,
        matched: false,
        iterations: 0,
        cookies: Cookies::default(),
        observed_weight: None,
        promoted: None,
        last_promoted: None,
        running: None,
        last_failed: None,
        copied: None,
        pinned: observation.follows_configs == Some(true),
        untracked: observation.untracked.clone().unwrap_or_default(),
        baseline: None,
        capacity: 0,
        failed_checks: 0,
        unreachable_checks: 0,
        dataless_checks: 0,
        checks: 0,
        gates: std::collections::BTreeMap::new(),
        kept_until: None,
        live_configs: None,
        attempts: 0,
        queued: None,
        gate: None,
        words: Words::past(&observation.words),
        outcome: None,
        samples: Vec::new(),
        why: Why {
            reason: "Initializing".into(),
            message: format!("taking over Deployment {}", observation.subject.target),
            awaiting: None,
            until: None,
            then: None,
        },
        told: 0,
        notices: Vec::new(),
    };
    if observation.deleting || observation.taken_by.is_some() {
        return Some(block);
    }
    match (&observation.target, &observation.primary) {
        (_, Known::Unknown) | (Known::Unknown, _) => None,
        (Known::Present(target), Known::Present(primary)) => {
            // Weights, selectors and revisions decide what is adopted, so they must be known too.
            let unread = target.fingerprint.is_none() && observation.refusals.is_empty();
            if unread
                || matches!(observation.route, Known::Unknown)
                || matches!(observation.apex_service, Known::Unknown)
            {
                return None;
            }
            adopt(&mut block, canary, observation, target, primary);
            Some(block)
        }
        _ => Some(block),
    }
}

fn adopt(block: &mut Block, canary: &Canary, observation: &Observation, target: &Workload, primary: &Workload) {
    let phase = canary.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let weight = observation
        .route
        .present()
        .and_then(|route| route.weight)
        .unwrap_or(Weight::ZERO);
    let wanted = target.fingerprint.clone();
    block.promoted.clone_from(&primary.fingerprint);
    block.capacity = observation.primary_endpoints.unwrap_or(primary.replicas).max(1);
    block.baseline = revision::baseline(observation);
    block.scaler = super::scaling::standing(observation);
    let on_the_way = matches!(phase, Phase::Progressing | Phase::WaitingPromotion | Phase::Waiting);
    match phase {
        // A run that Serin must not go on with ends without a verdict; the revision waits at rest for the spec to be corrected.
        _ if on_the_way && !observation.refusals.is_empty() => settle(block, weight, phase),
        Phase::Progressing | Phase::WaitingPromotion | Phase::Waiting if weight > Weight::ZERO => {
            start(block, canary, wanted, weight, Stage::Stepping);
            count_on(block, canary);
        }
        Phase::Progressing | Phase::WaitingPromotion => {
            start(block, canary, wanted, weight, Stage::Raising);
            count_on(block, canary);
        }
        Phase::Promoting | Phase::Finalising => {
            // Flagger wrote the primary before it wrote the phase, so the primary has, or is to have, the target's template.
            start(block, canary, wanted, weight, Stage::Promoting);
        }
        Phase::Failed if weight == Weight::FULL => {
            start(block, canary, wanted, weight, Stage::HoldOnCanary);
            // Where the primary has the revision that did not come up, what it had before is not known.
            if block.promoted == block.running {
                block.promoted = None;
            }
            block.last_failed.clone_from(&block.running);
            ended(
                block,
                RunResult::Failed,
                "PromotionFailed",
                "Flagger left all traffic on the canary after a failed promotion",
            );
        }
        Phase::Failed => {
            block.stage = if weight == Weight::ZERO {
                Stage::Resting
            } else {
                Stage::RollingBack
            };
            block.weight = weight;
            block.last_failed = wanted.filter(|wanted| Some(wanted) != block.promoted.as_ref());
            ended(
                block,
                RunResult::Failed,
                "FailedBefore",
                "the last run had failed when Serin took over",
            );
        }
        Phase::Unset | Phase::Initializing
            if observation
                .apex_service
                .present()
                .is_none_or(|apex| apex.selects != Selects::Primary) =>
        {
            // An initialisation was cut short; it is done again from the target, which still serves.
            block.promoted = None;
        }
        _ => settle(block, weight, phase),
    }
    block.why.reason = "Adopted".into();
    block.why.message = format!("took over at phase {phase:?} with weight {weight}");
}

/// At rest, or on the way there.
fn settle(block: &mut Block, weight: Weight, phase: Phase) {
    block.stage = if weight == Weight::ZERO {
        Stage::Resting
    } else {
        Stage::Reverting
    };
    block.weight = weight;
    let result = if phase == Phase::Succeeded {
        RunResult::Succeeded
    } else {
        RunResult::Initialized
    };
    ended(block, result, "Adopted", "the primary stood when Serin took over");
}

fn start(block: &mut Block, canary: &Canary, running: Option<Fingerprint>, weight: Weight, stage: Stage) {
    block.run = 1;
    block.stage = stage;
    block.weight = weight;
    block.running = running;
    let plan = steps::plan(&canary.spec, &block.subject);
    block.matched = plan.matched && weight > Weight::ZERO;
    block.plan = Some(plan);
    if let Some(status) = &canary.status {
        block.failed_checks = u32::try_from(status.failed_checks).unwrap_or(0);
        block.cookies = Cookies {
            canary: named(status.session_affinity_cookie.as_deref()),
            primary: named(status.primary_session_affinity_cookie.as_deref()),
            previous: named(status.previous_session_affinity_cookie.as_deref()),
        };
    }
}

/// A cookie of Flagger's status. It writes one without a name where the spec names none (W15).
fn named(cookie: Option<&str>) -> Option<String> {
    let (name, value) = cookie?.split_once('=')?;
    (!name.is_empty() && !value.is_empty()).then(|| format!("{name}={value}"))
}

/// A run that counts by iterations goes on with the one that Flagger had come to. It is checked once more.
fn count_on(block: &mut Block, canary: &Canary) {
    let counted = canary.status.as_ref().map_or(0, |status| status.iterations);
    let Some(plan) = block.plan.as_ref().filter(|plan| plan.iterations > 0) else {
        return;
    };
    let cut_over = !plan.matched && block.weight == Weight::FULL;
    block.iterations = if cut_over {
        plan.iterations.saturating_add(1)
    } else {
        u32::try_from(counted).unwrap_or(0).min(plan.iterations)
    };
    if block.iterations > 0 {
        block.stage = Stage::Stepping;
    }
}

fn ended(block: &mut Block, result: RunResult, reason: &str, message: &str) {
    block.outcome = Some(Outcome {
        result,
        reason: reason.into(),
        message: message.into(),
    });
}
