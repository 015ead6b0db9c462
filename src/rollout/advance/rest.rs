//! At rest, or waiting for `confirm-rollout`: is there a revision to release, and may it start?

use super::super::notice::{Alert, Severity};
use super::super::round::{self, GateRefusal, Progress, Tally};
use super::super::state::{GateState, RunResult, Stage};
use super::super::steps;
use super::revision::{Seen, seen};
use super::turn::Turn;
use crate::api::HookType;

/// Looks for a change, asks the gates, starts the run.
pub(super) fn rest(turn: &mut Turn<'_>) {
    let fingerprint = match seen(&turn.block, turn.observation, &turn.memory, turn.now) {
        Seen::Unknown => return unseen(turn),
        Seen::Unsettled(at) => return turn.wake_at(at),
        Seen::Rebased(fingerprint) => return turn.block.rebase(&fingerprint),
        Seen::Settled(fingerprint) => fingerprint,
    };
    if turn.block.promoted.as_ref() == Some(&fingerprint) {
        return returned(turn);
    }
    if turn.block.last_failed.as_ref() == Some(&fingerprint) {
        // The condition and the outcome tell already; a person or a new revision comes next.
        if turn.block.stage == Stage::Waiting {
            turn.enter(Stage::Resting);
        }
        return rested_why(turn);
    }
    if !turn.observation.refusals.is_empty() {
        let refusal = &turn.observation.refusals[0];
        let message = format!("{}: {}; a new revision waits", refusal.field, refusal.message);
        turn.stalled_notice("InvalidSpec", &message);
        turn.why("InvalidSpec", &message).awaiting("the field to be corrected");
        return;
    }
    let Some(due) = round::due(turn.canary, &turn.block, turn.observation, &turn.memory, turn.now) else {
        let next = turn
            .memory
            .last_check
            .map(|last| last + super::delta(turn.spec().interval()));
        if let Some(at) = next {
            turn.wake_at(at);
        }
        return;
    };
    if let Progress::Done(tally) = round::progress(&due, turn.canary, turn.answers) {
        // A change of the stage wipes the slate, so the round ends before a start and after a refusal.
        if let Some(refusal) = &tally.refused {
            wait(turn, &tally, refusal);
            turn.end_round();
        } else {
            turn.end_round();
            start(turn, fingerprint, &tally);
        }
    }
}

/// The target cannot be judged. At rest that is worth a word only when it is gone.
fn unseen(turn: &mut Turn<'_>) {
    if turn.observation.target.is_absent() {
        let message = format!(
            "deployment {} get query error: not found; the primary keeps serving",
            turn.target_name()
        );
        turn.stalled_notice("TargetNotFound", &message);
        turn.why("TargetNotFound", &message)
            .awaiting("the Deployment to be created again, or the Canary to be deleted");
    }
}

/// The target is, or is again, what the primary runs: nothing to release, and a failure is history (rank 27 of `spec/users.md`).
fn returned(turn: &mut Turn<'_>) {
    let failed = turn
        .block
        .outcome
        .as_ref()
        .is_some_and(|outcome| outcome.result == RunResult::Failed);
    if turn.block.stage == Stage::Waiting {
        turn.enter(Stage::Resting);
    }
    turn.block.last_failed = None;
    turn.block.running = None;
    if failed {
        turn.outcome(
            RunResult::Succeeded,
            "Reverted",
            "the target was returned to the promoted revision",
        );
    }
    rested_why(turn);
}

fn rested_why(turn: &mut Turn<'_>) {
    let (reason, message) = turn.block.outcome.as_ref().map_or_else(
        || ("Resting".to_owned(), String::new()),
        |outcome| (outcome.reason.clone(), outcome.message.clone()),
    );
    let primary_gone = turn.observation.primary.is_absent();
    if primary_gone {
        turn.why(
            "PrimaryLost",
            "the primary is gone; it is rebuilt from the stored revision",
        )
        .awaiting("the primary's pods");
    } else {
        turn.why(&reason, &message);
    }
}

/// A gate keeps the revision back. Said once, with an alert, in the words of Flagger.
fn wait(turn: &mut Turn<'_>, tally: &Tally, refusal: &GateRefusal) {
    let first = turn.block.stage != Stage::Waiting;
    if first {
        turn.enter(Stage::Waiting);
        let text = format!(
            "Halt {} advancement waiting for approval {}",
            turn.canary_name(),
            refusal.name
        );
        let place = format!("waiting-{}-{}", refusal.name, turn.now.timestamp());
        let notice = turn.warning(&place, "Wait", &text);
        if !refusal.muted {
            notice.alert = Some(Alert {
                severity: Severity::Warn,
                message: "Canary is waiting for approval.".into(),
                with_fields: false,
            });
        }
    }
    for (kind, name) in &tally.passed {
        turn.block.gates.insert(round::mark(*kind, name), GateState::Passed);
    }
    let next = turn.now + super::delta(turn.spec().interval());
    turn.why(
        "WaitingForApproval",
        &format!("{} keeps the revision back: {}", refusal.name, refusal.text),
    )
    .awaiting(&format!("{} {}", HookType::ConfirmRollout, refusal.name))
    .until(next, "it is asked again");
}

/// A run begins: its number, its revision, its plan and the primary's size are fixed here.
fn start(turn: &mut Turn<'_>, fingerprint: super::super::state::Fingerprint, tally: &Tally) {
    turn.block.run += 1;
    turn.block.running = Some(fingerprint);
    turn.block.plan = Some(steps::plan(turn.spec()));
    turn.block.failed_checks = 0;
    turn.block.unreachable_checks = 0;
    turn.block.samples.clear();
    let replicas = turn.observation.primary.present().map_or(0, |primary| primary.replicas);
    turn.block.capacity = turn
        .capacity()
        .primary_ready()
        .filter(|ready| *ready > 0)
        .unwrap_or(replicas)
        .max(1);
    for (kind, name) in &tally.passed {
        debug_assert_eq!(*kind, HookType::ConfirmRollout);
        turn.event(
            &format!("confirm-rollout-{name}"),
            "Confirm",
            &format!("Confirm-rollout check {name} passed"),
        );
    }
    turn.block.outcome = None;
    turn.enter(Stage::Raising);
    let text = format!("New revision detected! Scaling up {}", turn.target_name());
    let notice = turn.event("start", "Start", &text);
    notice.alert = Some(Alert {
        severity: Severity::Info,
        message: "New revision detected, progressing canary analysis.".into(),
        with_fields: true,
    });
    super::raise::awaiting_pods(turn);
}
