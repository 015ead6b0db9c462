//! The public face of a block: Flagger's phases, numbers and condition, and kstatus' conditions beside them.

use chrono::{DateTime, SubsecRound, Utc};

use super::slots::QUEUED;
use super::state::{Block, RunResult, Stage};
use super::weight::Weight;
use crate::api::{Canary, CanaryStatus, Condition, ConditionStatus, Phase, condition};

/// The Canary's name.
pub fn name(canary: &Canary) -> &str {
    canary.metadata.name.as_deref().unwrap_or_default()
}

/// The Canary's namespace.
pub fn namespace(canary: &Canary) -> &str {
    canary.metadata.namespace.as_deref().unwrap_or_default()
}

/// Flagger's phase for a stage.
pub fn phase(block: &Block) -> Phase {
    match block.stage {
        Stage::Initializing | Stage::Moving => Phase::Initializing,
        Stage::Resting => match block.outcome.as_ref().map(|outcome| outcome.result) {
            None | Some(RunResult::Initialized) => Phase::Initialized,
            Some(RunResult::Succeeded) => Phase::Succeeded,
            Some(RunResult::Failed) => Phase::Failed,
        },
        Stage::Waiting => Phase::Waiting,
        Stage::Raising
        | Stage::Stepping
        | Stage::Shielding
        | Stage::RollingBack
        | Stage::Reverting
        | Stage::Restarting
        | Stage::Restoring => Phase::Progressing,
        Stage::WaitingPromotion => Phase::WaitingPromotion,
        Stage::Promoting | Stage::Returning => Phase::Promoting,
        Stage::Finalising => Phase::Finalising,
        Stage::HoldOnCanary => Phase::Failed,
        Stage::Leaving => Phase::Terminating,
    }
}

/// The whole status for a block (`spec/core.md` 1.4). What Flagger wrote and we do not know is kept.
pub fn publish(canary: &Canary, block: &Block, now: DateTime<Utc>) -> CanaryStatus {
    let before = canary.status.clone().unwrap_or_default();
    let (phase, cookies) = (phase(block), &block.cookies);
    let applied = block
        .running
        .as_ref()
        .or_else(|| block.in_line())
        .or(block.last_failed.as_ref())
        .or(block.promoted.as_ref());
    CanaryStatus {
        phase,
        failed_checks: i64::from(block.failed_checks),
        canary_weight: i64::from(block.weight.percent()),
        iterations: iterations(block, phase),
        session_affinity_cookie: cookies.canary.clone().filter(|_| block.weight > Weight::ZERO),
        primary_session_affinity_cookie: cookies.primary.clone(),
        previous_session_affinity_cookie: cookies.previous.clone(),
        last_applied_spec: applied
            .map(ToString::to_string)
            .or_else(|| before.last_applied_spec.clone()),
        last_promoted_spec: block
            .promoted
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| before.last_promoted_spec.clone()),
        last_transition_time: Some(now.trunc_subsecs(0)),
        conditions: conditions(canary, block, phase, &before, now),
        observed_generation: canary.metadata.generation,
        serin: serde_json::to_value(block).ok(),
        ..before
    }
}

/// The counter of a run by iterations, which Flagger keeps until the traffic is home.
fn iterations(block: &Block, phase: Phase) -> i64 {
    let counts = matches!(phase, Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting);
    if counts { block.iterations.into() } else { 0 }
}

fn conditions(
    canary: &Canary,
    block: &Block,
    phase: Phase,
    before: &CanaryStatus,
    now: DateTime<Utc>,
) -> Vec<Condition> {
    let stalled = stalled(block, phase);
    let lost = matches!(block.why.reason.as_str(), "PrimaryLost" | "PrimaryOvertaken");
    let unfinished = lost || block.why.reason == QUEUED;
    let busy = (unfinished || !matches!(block.stage, Stage::Resting | Stage::HoldOnCanary)) && !stalled;
    let ready = matches!(phase, Phase::Initialized | Phase::Succeeded) && !stalled && !unfinished;
    let why = &block.why;
    let (promoted, text) = if block.stage == Stage::Resting && why.reason == QUEUED {
        // The phase is still that of the last release, and whoever waits for this condition waits for the new one.
        (
            ConditionStatus::Unknown,
            "New revision detected, waiting for its turn.".into(),
        )
    } else {
        promoted(canary, phase)
    };
    let flag = |on| {
        if on {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        }
    };
    let ours = [
        (condition::PROMOTED, promoted, phase.as_str(), text.as_str()),
        (condition::READY, flag(ready), why.reason.as_str(), why.message.as_str()),
        (
            condition::RECONCILING,
            flag(busy),
            why.reason.as_str(),
            why.message.as_str(),
        ),
        (
            condition::STALLED,
            flag(stalled),
            why.reason.as_str(),
            why.message.as_str(),
        ),
    ];
    let mut conditions: Vec<Condition> = ours
        .into_iter()
        .map(|(type_, status, reason, message)| {
            let old = before.condition(type_);
            let same = old.is_some_and(|old| old.status == status);
            let at = now.trunc_subsecs(0);
            Condition {
                type_: type_.into(),
                status,
                reason: if reason.is_empty() {
                    "Unset".into()
                } else {
                    reason.into()
                },
                message: message.into(),
                last_update_time: Some(at),
                last_transition_time: old
                    .filter(|_| same)
                    .and_then(|old| old.last_transition_time)
                    .or(Some(at)),
                observed_generation: canary.metadata.generation,
            }
        })
        .collect();
    // Conditions of others stand behind ours.
    conditions.extend(
        before
            .conditions
            .iter()
            .filter(|old| !ours.iter().any(|(type_, ..)| *type_ == old.type_))
            .cloned(),
    );
    conditions
}

/// Whether only a person, a new revision or a change of the cluster helps.
fn stalled(block: &Block, phase: Phase) -> bool {
    phase == Phase::Failed || needs_help(block)
}

/// Whether what is in the way goes only by a person's hand.
pub(super) fn needs_help(block: &Block) -> bool {
    matches!(
        block.why.reason.as_str(),
        "TargetTaken" | "InvalidSpec" | "TargetNotFound" | "Forbidden" | "KindNotServed" | "PrimaryNotReady"
    )
}

/// Flagger's condition for a phase (`spec/core.md` 1.4, "Conditions").
fn promoted(canary: &Canary, phase: Phase) -> (ConditionStatus, String) {
    let kind = &canary.spec.target_ref.kind;
    match phase {
        Phase::Initialized => (ConditionStatus::True, format!("{kind} initialization completed.")),
        Phase::Waiting | Phase::WaitingPromotion => (ConditionStatus::Unknown, "Waiting for approval.".into()),
        Phase::Progressing => (
            ConditionStatus::Unknown,
            "New revision detected, progressing canary analysis.".into(),
        ),
        Phase::Promoting => (
            ConditionStatus::Unknown,
            "Canary analysis completed, starting primary rolling update.".into(),
        ),
        Phase::Finalising => (
            ConditionStatus::Unknown,
            "Canary analysis completed, routing all traffic to primary.".into(),
        ),
        Phase::Succeeded => (
            ConditionStatus::True,
            "Canary analysis completed successfully, promotion finished.".into(),
        ),
        Phase::Failed => (
            ConditionStatus::False,
            format!("Canary analysis failed, {kind} scaled to zero."),
        ),
        Phase::Unset | Phase::Initializing | Phase::Terminating | Phase::Terminated => (
            ConditionStatus::Unknown,
            format!("New {kind} detected, starting initialization."),
        ),
    }
}
