//! Traffic leaves the canary because the revision under it changed, or its pods are gone.

use super::super::notice::Severity;
use super::super::observation::Workload;
use super::super::state::{Fingerprint, Stage};
use super::super::weight::Weight;
use super::revision::{Seen, seen};
use super::turn::Turn;
use super::{down, finish, line, rest, unobserved};

/// Why a run ends without a verdict.
pub(super) const REVERTED: &str = "the target returned to the promoted revision during the run";

/// The target's template changed under traffic: it leaves at once, before anything else is looked at.
pub(super) fn leave_for_new_revision(turn: &mut Turn<'_>) {
    let wanted = turn
        .observation
        .target
        .present()
        .and_then(|target| target.fingerprint.clone());
    let back = wanted.is_some() && wanted == turn.block.promoted;
    turn.enter(if back { Stage::Reverting } else { Stage::Restarting });
    bring_home(turn);
    if back {
        turn.event(
            "revert",
            "Revert",
            &format!(
                "Target {} returned to the promoted revision! Ending the run",
                turn.target_name()
            ),
        );
        down::say(turn, "Reverting", REVERTED, down::HOME_AND_DOWN);
    } else {
        restart_words(turn);
    }
}

/// All pods of the canary are gone while it has traffic: home with it, one failed check, and from the start.
pub(super) fn canary_died(turn: &mut Turn<'_>) {
    turn.block.failed_checks = turn.block.failed_checks.saturating_add(1);
    let (count, threshold) = (turn.block.failed_checks, turn.spec().threshold());
    let weight = turn.block.weight;
    let trouble = turn
        .observation
        .target
        .present()
        .map(Workload::troubled)
        .unwrap_or_default();
    let message = format!("no pod of {} is ready at weight {weight}{trouble}", turn.target_name());
    turn.warning(
        &format!("no-pods-{count}"),
        "Halt",
        &format!("Halt {} advancement {message}", turn.canary_name()),
    );
    if count >= threshold {
        return finish::begin_rollback(turn, "NoReadyPods", &message);
    }
    turn.enter(Stage::Restarting);
    bring_home(turn);
    down::say(
        turn,
        "NoReadyPods",
        &message,
        "traffic on the primary, then the canary's pods",
    );
}

/// Waits until traffic is home, then begins with what the target is by then.
pub(super) fn restart(turn: &mut Turn<'_>) {
    bring_home(turn);
    if turn.block.weight != Weight::ZERO || turn.drawn_since().is_none() {
        if turn.why_changes("NoReadyPods") {
            restart_words(turn);
        }
        return;
    }
    if turn.observation.target.is_absent() {
        return finish::begin_rollback(turn, "TargetNotFound", "the target was deleted during the run");
    }
    match seen(&turn.block, turn.observation, &turn.memory, turn.now) {
        Seen::Unknown => {
            let at = down::alerted_at(turn);
            unobserved::say_late(turn, at);
        }
        Seen::Recoded => {}
        Seen::Unsettled(at) => turn.wake_at(at),
        Seen::Rebased(fingerprint) => turn.block.rebase(&fingerprint),
        Seen::Settled(fingerprint) if turn.block.promoted.as_ref() == Some(&fingerprint) => {
            turn.enter(Stage::Reverting);
            down::say(turn, "Reverting", REVERTED, down::HOME_AND_DOWN);
        }
        Seen::Settled(fingerprint) if turn.block.running.as_ref() == Some(&fingerprint) => {
            turn.enter(Stage::Raising);
            super::raise::awaiting_pods(turn);
        }
        Seen::Settled(fingerprint) => begin_anew(turn, fingerprint),
    }
}

/// A newer revision came before the old one had traffic.
pub(super) fn superseded(turn: &mut Turn<'_>, fingerprint: Fingerprint) {
    if turn.block.promoted.as_ref() == Some(&fingerprint) {
        turn.enter(Stage::Reverting);
        turn.event(
            "revert",
            "Revert",
            &format!(
                "Target {} returned to the promoted revision! Ending the run",
                turn.target_name()
            ),
        );
        down::say(turn, "Reverting", REVERTED, down::HOME_AND_DOWN);
    } else {
        begin_anew(turn, fingerprint);
    }
}

/// The run of the newer revision. Gates before the start are not asked again, as with Flagger (T17 of `spec/core.md` 2.3).
fn begin_anew(turn: &mut Turn<'_>, fingerprint: Fingerprint) {
    if rest::refused(turn) || line::full(turn, Some(&fingerprint)) {
        return;
    }
    let old = turn.begin_run(fingerprint);
    turn.block.outcome = None;
    turn.block.gates.clear();
    if let Some(ready) = turn.capacity().primary_ready().filter(|ready| *ready > 0) {
        turn.block.capacity = ready;
    }
    turn.enter(Stage::Raising);
    let text = format!("New revision detected! Restarting analysis for {}", turn.target_name());
    turn.event("restart", "Restart", &text);
    super::raise::awaiting_pods(turn);
    if let Some(old) = old {
        turn.block.why.message =
            super::turn::cut(&format!("{}; it supersedes {}", turn.block.why.message, old.short()));
    }
}

/// Moves as much traffic home as may go now.
pub(super) fn bring_home(turn: &mut Turn<'_>) {
    let past = turn.block.weight > Weight::ZERO && turn.past_deadline();
    let weight = turn.capacity().homeward(past);
    if weight != turn.block.weight {
        let since = turn.block.since;
        turn.set_weight(weight);
        // The deadline of the way home runs from its beginning.
        turn.block.since = since;
    }
    if past && weight > Weight::ZERO && turn.once("told/nowhere-to-go") {
        let message = format!(
            "{weight} percent of the traffic cannot leave the canary of {}: the primary has no ready pod",
            turn.target_name()
        );
        turn.warning("nowhere-to-go", "Halt", &message)
            .alerts(Severity::Error, &message);
    }
}

fn restart_words(turn: &mut Turn<'_>) {
    let weight = turn.block.weight;
    let message = if weight == Weight::ZERO {
        "the target changed under traffic; all of it goes back to the primary".to_owned()
    } else {
        format!(
            "the target changed under traffic; the primary carries {} percent so far",
            weight.primary()
        )
    };
    down::say(turn, "Restarting", &message, "traffic on the primary");
}
