//! At rest, or waiting for `confirm-rollout`: is there a revision to release, and may it start?

use super::super::known::Known;
use super::super::notice::Severity;
use super::super::round::{self, Check, GateRefusal, Progress, Tally};
use super::super::state::{Fingerprint, RunResult, Stage};
use super::revision::{self, Seen, seen, unreleased};
use super::turn::Turn;
use super::{down, finish, gate, line, scaling, verdict, word};
use crate::api::HookType;

/// Looks for a change, asks the gates, starts the run.
pub(super) fn rest(turn: &mut Turn<'_>) {
    scaling::take_name(turn);
    down::keep_time(turn);
    let waits = unreleased(&turn.block, turn.observation, &turn.memory, turn.now).is_some();
    if finish::post_rollout(turn, waits) {
        return;
    }
    let fingerprint = match seen(&turn.block, turn.observation, &turn.memory, turn.now) {
        Seen::Unknown => return unseen(turn),
        Seen::Unsettled(at) => return turn.wake_at(at),
        Seen::Recoded => return,
        Seen::Rebased(fingerprint) => return turn.block.rebase(&fingerprint),
        Seen::Settled(fingerprint) => fingerprint,
    };
    if turn.block.promoted.as_ref() == Some(&fingerprint) {
        returned(turn);
        refused(turn);
        return;
    }
    if turn.block.last_failed.as_ref() == Some(&fingerprint) {
        // The condition and the outcome tell already; a person or a new revision comes next.
        wait_no_longer(turn);
        down::not_needed(turn, false);
        return rested_why(turn);
    }
    if refused(turn) || lacks(turn) {
        return;
    }
    if line::is_queued(turn, &fingerprint) {
        let full = turn.block.words.full;
        start(turn, fingerprint, &Tally::default());
        if full && turn.block.stage == Stage::Raising {
            word::skip_all(turn);
        }
        return;
    }
    ask_about(turn, &fingerprint);
    let Check::Due(due) = turn.check() else { return };
    if let Progress::Done(tally) = round::progress(&due, turn.canary, turn.answers) {
        // A change of the stage wipes the slate, so the round ends before a start and after a refusal.
        if turn.block.stage == Stage::Waiting && tally.roll_back.is_some() {
            turn.end_round();
            verdict::rolled_back_by_hook(turn, &tally);
        } else if let Some(refusal) = &tally.refused {
            wait(turn, fingerprint, &tally, refusal);
            turn.end_round();
        } else {
            turn.end_round();
            start(turn, fingerprint, &tally);
        }
    }
}

/// A spec that must not be acted on, although there is a revision to release: nothing new starts.
pub(super) fn refused(turn: &mut Turn<'_>) -> bool {
    let Some(refusal) = turn.observation.refusals.first() else {
        return false;
    };
    let message = format!("{}: {}; no release starts", refusal.field, refusal.message);
    turn.stalled_notice("InvalidSpec", &message);
    turn.why("InvalidSpec", &message).awaiting("the field to be corrected");
    true
}

/// Something that the release needs does not exist. It is waited for: judged without it, the revision would be rolled back.
fn lacks(turn: &mut Turn<'_>) -> bool {
    let Some(lacking) = turn.observation.lacking.first() else {
        return false;
    };
    let message = format!("{}: {}; the release waits for it", lacking.field, lacking.message);
    turn.stalled_notice("ReferenceNotFound", &message);
    turn.why("ReferenceNotFound", &message)
        .awaiting("the object to be created, or the field to be corrected");
    true
}

/// What a gate said about another revision does not count for this one.
fn ask_about(turn: &mut Turn<'_>, fingerprint: &Fingerprint) {
    let waits_for_another = turn.block.stage == Stage::Waiting && turn.block.running.as_ref() != Some(fingerprint);
    if waits_for_another {
        turn.block.running = Some(fingerprint.clone());
        turn.block.gates.clear();
        turn.block.gate = None;
    }
    let before = turn.memory.asked_about.replace(fingerprint.clone());
    if waits_for_another || before.is_some_and(|before| before != *fingerprint) {
        turn.drop_round();
        turn.memory.last_check = None;
    }
}

/// There is nothing to ask about any more.
fn wait_no_longer(turn: &mut Turn<'_>) {
    if turn.memory.asked_about.take().is_some() {
        turn.drop_round();
    }
    turn.block.running = None;
    turn.block.queued = None;
    if turn.block.stage == Stage::Waiting {
        turn.enter(Stage::Resting);
    }
}

/// The target cannot be judged. At rest that is worth a word only when it is gone, or when Serin may not see it.
fn unseen(turn: &mut Turn<'_>) {
    let (reason, message, awaited) = match &turn.observation.target {
        Known::Absent => (
            "TargetNotFound",
            format!(
                "deployment {} get query error: not found; the primary keeps serving",
                turn.target_name()
            ),
            "the Deployment to be created again, or the Canary to be deleted",
        ),
        Known::Forbidden { verb, resource } => (
            "Forbidden",
            format!("Serin may not {verb} {resource} in this namespace; its role must allow it"),
            "the right to be granted",
        ),
        Known::NoKind { kind } => (
            "KindNotServed",
            format!("the API server does not serve {kind}"),
            "the kind to be served",
        ),
        Known::Present(_) => {
            // What it needs beside its template is missing, or may not be read.
            refused(turn);
            return;
        }
        Known::Unknown => return,
    };
    turn.stalled_notice(reason, &message);
    turn.why(reason, &message).awaiting(awaited);
}

/// The target is, or is again, what the primary runs: nothing to release, and a failure is history (rank 27 of `spec/users.md`).
fn returned(turn: &mut Turn<'_>) {
    let failed = turn
        .block
        .outcome
        .as_ref()
        .is_some_and(|outcome| outcome.result == RunResult::Failed);
    wait_no_longer(turn);
    down::not_needed(turn, true);
    turn.block.last_failed = None;
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
    } else if revision::overtaken(&turn.block, turn.observation) {
        // Serving pods are not taken all at once for it: a primary that is recreated keeps what it has until the next release.
        let (then, awaited) = if turn.capacity().primary_returns_safely() {
            ("it gets the promoted one back", "the primary's pods")
        } else {
            (
                "its strategy would take all pods that serve, so it stays",
                "a new revision of the target",
            )
        };
        let message = format!(
            "a late write gave the primary of {} a revision whose promotion had been called off; {then}",
            turn.target_name()
        );
        turn.stalled_notice("PrimaryOvertaken", &message);
        turn.why("PrimaryOvertaken", &message).awaiting(awaited);
    } else {
        let kept_until = turn.block.kept_until.filter(|until| turn.now < *until);
        let why = turn.why(&reason, &message);
        if let Some(at) = kept_until {
            why.awaiting(down::NEXT).until(at, down::THEN);
        }
    }
}

/// A gate keeps the revision back. Said once, with an alert, in the words of Flagger.
fn wait(turn: &mut Turn<'_>, fingerprint: Fingerprint, tally: &Tally, refusal: &GateRefusal) {
    let first = turn.block.stage != Stage::Waiting;
    if first {
        turn.enter(Stage::Waiting);
        turn.block.running = Some(fingerprint);
    }
    verdict::keeps_back(turn, &refusal.mark);
    if first {
        let text = format!(
            "Halt {} advancement waiting for approval {}",
            turn.canary_name(),
            refusal.name
        );
        let remaining = gate::remaining(turn);
        let notice = turn.warning("waiting", "Wait", &text);
        if !refusal.muted {
            notice.alerts(Severity::Warn, &format!("Canary is waiting for approval.{remaining}"));
        }
    }
    verdict::keep_passed(turn, tally);
    let asked = turn.interval_from_now();
    let (at, then) = gate::next(turn, asked);
    turn.why(
        "WaitingForApproval",
        &format!("{} keeps the revision back: {}", refusal.name, refusal.text),
    )
    .awaiting(&format!("{} {}", HookType::ConfirmRollout, refusal.name))
    .until(at, then);
}

/// A run begins, if there is a slot for it: its number, its revision, its plan and the primary's size are fixed here.
pub(super) fn start(turn: &mut Turn<'_>, fingerprint: Fingerprint, tally: &Tally) {
    if line::full(turn, Some(&fingerprint)) {
        return verdict::tell_passed(turn, tally);
    }
    turn.begin_run(fingerprint);
    let replicas = turn.observation.primary.present().map(|primary| primary.replicas);
    // A primary that is gone is rebuilt at the size that it had.
    let size = turn.capacity().primary_ready().filter(|ready| *ready > 0).or(replicas);
    turn.block.capacity = size.unwrap_or(turn.block.capacity).max(1);
    verdict::tell_passed(turn, tally);
    turn.block.outcome = None;
    turn.enter(Stage::Raising);
    let text = format!("New revision detected! Scaling up {}", turn.target_name());
    turn.event("start", "Start", &text)
        .alerts_with_fields(Severity::Info, "New revision detected, progressing canary analysis.");
    super::raise::awaiting_pods(turn);
}
