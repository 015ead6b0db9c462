//! What the answers of a check come to: a failure, a rollback, a closed gate, or what passed.

use super::super::notice::Severity;
use super::super::round::{GateRefusal, Pass, Tally};
use super::super::state::{ClosedGate, GateState, Stage};
use super::turn::Turn;
use super::{finish, gate, word};
use crate::api::HookType;

/// What a check can say without moving the run on.
pub(super) const VERDICTS: [&str; 6] = [
    "CheckFailed",
    "MetricsUnavailable",
    "NoData",
    "CanaryTooSmall",
    "WaitingForPromotionApproval",
    "WaitingForTrafficApproval",
];

/// A `rollback` hook answered with success.
///
/// One that cannot be asked is told once a step: it would not be heard when it is needed.
pub(super) fn rolled_back_by_hook(turn: &mut Turn<'_>, tally: &Tally) -> bool {
    if !tally.silent.is_empty() && turn.once("told/rollback-hook") {
        for (place, text) in tally.silent.iter().enumerate() {
            turn.warning(&format!("rollback-hook-silent-{place}"), "Check", text);
        }
    }
    let Some(hook) = tally.roll_back.clone() else {
        return false;
    };
    turn.warning("rollback-hook", "RollBack", &format!("Rollback check {hook} passed"));
    let text = format!("Rolling back {} manual webhook invoked", turn.canary_name());
    turn.warning("rollback-manual", "RollBack", &text)
        .alerts(Severity::Warn, "Rolling back manual webhook invoked");
    let message = format!("rollback hook {hook} asked for it");
    if turn.block.stage == Stage::Waiting {
        word::end_wait(turn, "RollbackHook", &message);
    } else {
        finish::roll_traffic_back(turn, "RollbackHook", &message);
    }
    true
}

/// A failed check: one for the round, however many metrics or hooks are bad (`spec/analysis.md` 1.1).
pub(super) fn failed(turn: &mut Turn<'_>, tally: &Tally) -> bool {
    if tally.failures.is_empty() {
        return false;
    }
    turn.block.failed_checks = turn.block.failed_checks.saturating_add(1);
    turn.block.unreachable_checks = 0;
    let (count, threshold) = (turn.block.failed_checks, turn.spec().threshold());
    for (place, text) in tally.failures.iter().enumerate() {
        turn.warning(&format!("halt-{count}-{place}"), "Halt", text);
    }
    let words = tally.failures.join("; ");
    if count >= threshold {
        let text = format!(
            "Rolling back {} failed checks threshold reached {count}",
            turn.canary_name()
        );
        turn.warning("rollback-threshold", "RollBack", &text)
            .alerts(Severity::Error, &format!("Failed checks threshold reached {count}"));
        finish::roll_traffic_back(turn, "FailedChecks", &words);
    } else {
        let at = turn.interval_from_now();
        turn.why(
            "CheckFailed",
            &format!("{count} of at most {threshold} failed checks: {words}"),
        )
        .awaiting("the next check")
        .until(at, "one more failure counts");
    }
    true
}

/// The metrics server cannot be asked: no failed check, but not for ever (`design.md` 5, `onError: hold`).
pub(super) fn unreachable(turn: &mut Turn<'_>, tally: &Tally) -> bool {
    if tally.unreachable.is_empty() {
        turn.block.unreachable_checks = 0;
        return false;
    }
    turn.block.unreachable_checks = turn.block.unreachable_checks.saturating_add(1);
    let (count, threshold) = (turn.block.unreachable_checks, turn.spec().threshold());
    let words = tally.unreachable.join("; ");
    if count == 1 || count > threshold {
        turn.warning(&format!("unreachable-{count}"), "Halt", &words);
    }
    if count > threshold {
        let message = format!("Metrics unavailable for {count} checks: {words}");
        turn.alert_only("metrics-unavailable", "RollBack", Severity::Error, &message);
        finish::roll_traffic_back(turn, "MetricsUnavailable", &words);
    } else {
        let at = turn.interval_from_now();
        turn.why(
            "MetricsUnavailable",
            &format!("{count} of at most {threshold} checks without the metrics server: {words}"),
        )
        .awaiting("the metrics server")
        .until(at, "it is asked again");
    }
    true
}

/// A metric has no number: no failed check, but not for ever either (`onNoData: hold`). It is said once a step.
pub(super) fn without_data(turn: &mut Turn<'_>, tally: &Tally) -> bool {
    if tally.held.is_empty() {
        turn.block.dataless_checks = 0;
        return false;
    }
    turn.block.dataless_checks = turn.block.dataless_checks.saturating_add(1);
    let (count, threshold) = (turn.block.dataless_checks, turn.spec().threshold());
    let words = tally.held.join("; ");
    if count > threshold {
        let message = format!("no data in {count} checks in a row: {words}");
        finish::begin_rollback(turn, "NoData", &message);
        return true;
    }
    if turn.once("told/no-data") {
        turn.warning("no-data", "Halt", &words)
            .alerts(Severity::Warn, &format!("Canary is waiting for data: {words}"));
    }
    let at = turn.interval_from_now();
    turn.why(
        "NoData",
        &format!("{count} of at most {threshold} checks without data: {words}"),
    )
    .awaiting("a number from the metric")
    .until(at, "it is read again");
    true
}

/// A gate is closed: said once with its alert, then asked at each interval.
///
/// Gates before it that opened stay open for this step, and are told now.
pub(super) fn gate_refused(turn: &mut Turn<'_>, tally: &Tally, refusal: &GateRefusal) {
    let mark = refusal.mark.clone();
    let news = turn.block.gates.get(&mark) != Some(&GateState::Refused);
    let (what, message) = match refusal.kind {
        HookType::ConfirmPromotion => ("promotion approval", "Canary promotion is waiting for approval."),
        _ => (
            "traffic increase approval",
            "Canary traffic increase is waiting for approval.",
        ),
    };
    if refusal.kind == HookType::ConfirmPromotion && turn.block.stage == Stage::Stepping {
        let last = turn.memory.last_check;
        turn.enter(Stage::WaitingPromotion);
        turn.memory.last_check = last;
    }
    keep_passed(turn, tally);
    turn.block.gates.insert(mark.clone(), GateState::Refused);
    keeps_back(turn, &mark);
    if news {
        let text = format!(
            "Halt {} advancement waiting for {what} {}",
            turn.canary_name(),
            refusal.name
        );
        let place = format!("gate-{}", turn.block.weight);
        let remaining = gate::remaining(turn);
        let notice = turn.warning(&place, "Wait", &text);
        if !refusal.muted {
            notice.alerts(Severity::Warn, &format!("{message}{remaining}"));
        }
    }
    let asked = turn.interval_from_now();
    let (at, then) = gate::next(turn, asked);
    let reason = if refusal.kind == HookType::ConfirmPromotion {
        "WaitingForPromotionApproval"
    } else {
        "WaitingForTrafficApproval"
    };
    turn.why(
        reason,
        &format!("{} keeps the run at {}: {}", refusal.name, turn.place(), refusal.text),
    )
    .awaiting(&mark)
    .until(at, then);
}

/// Takes note of the gate that keeps the release back, and since when it has.
pub(super) fn keeps_back(turn: &mut Turn<'_>, mark: &str) {
    turn.memory.refused_at = Some(turn.now);
    let before = turn.block.gate.take().filter(|gate| gate.mark == mark);
    let since = before.map_or(turn.now, |gate| gate.since);
    turn.block.gate = Some(ClosedGate {
        mark: mark.to_owned(),
        since,
    });
}

/// Gates and hooks that passed before another one did not: they are told, and not asked again.
pub(super) fn keep_passed(turn: &mut Turn<'_>, tally: &Tally) {
    tell_passed(turn, tally);
    for pass in &tally.passed {
        turn.block.gates.insert(pass.mark.clone(), GateState::Passed);
    }
}

/// The events of gates and hooks that passed, in order (`spec/core.md` 2.17).
pub(super) fn tell_passed(turn: &mut Turn<'_>, tally: &Tally) {
    let weight = turn.block.weight;
    for Pass { kind, name, .. } in &tally.passed {
        let word = match kind {
            HookType::PreRollout => "Pre-rollout",
            HookType::ConfirmTrafficIncrease => "Confirm-traffic-increase",
            HookType::ConfirmPromotion => "Confirm-promotion",
            HookType::ConfirmRollout => "Confirm-rollout",
            HookType::PostRollout => "Post-rollout",
            HookType::Rollout | HookType::Rollback | HookType::Event => continue,
        };
        turn.event(
            &format!("{kind}-{weight}"),
            "Confirm",
            &format!("{word} check {name} passed"),
        );
    }
}
