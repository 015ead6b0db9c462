//! The primary did not come up with the new revision: traffic is held on the canary until one of both sides can be relied on.

use super::super::notice::Severity;
use super::super::observation::Workload;
use super::super::state::{Block, Fingerprint, Plan, RunResult, Stage};
use super::super::weight::{Side, Weight};
use super::promote::{go_home, primary_is_ready, promoting_words};
use super::revision::{self, Seen, seen};
use super::turn::Turn;
use super::{down, finish, homeward, moving, rest};
use crate::api::PromotionFailure;

/// What happens at the end of the patience with a primary that is to come back with the last good revision.
pub(super) const STAYS: &str = "a person is alerted; the rest of the traffic stays on the canary";

/// The primary does not come up with the new revision: the canary, which does run it, keeps the traffic (W3, rank 1).
pub(super) fn fail(turn: &mut Turn<'_>) {
    let state = primary_state(turn);
    if turn.block.outcome.is_none() {
        turn.outcome(RunResult::Failed, "PromotionFailed", &state);
        // The error of Flagger's readiness check brings this beginning along (spec/core.md 2.10).
        let (primary, target) = (turn.primary_name(), turn.target_name());
        let error = format!("{primary} not ready: {state}");
        let text = format!("Promotion of {target} failed, primary not ready: {error}");
        turn.warning("promotion-failed", "Hold", &text).alerts(
            Severity::Error,
            &format!("Promotion failed, primary not ready: {error}"),
        );
    }
    // Pods of a revision that nobody judged are no refuge.
    let canary_has_it = turn.capacity().canary_takes_all() && !revision::strayed(&turn.block, turn.observation);
    if canary_has_it && !turn.block.has_all() {
        let since = turn.block.since;
        turn.give_all();
        turn.block.since = since;
        if turn.block.stage != Stage::Promoting {
            // Not at rest before all traffic was seen on the canary.
            turn.block.stage = Stage::Promoting;
        }
    }
    hold_words(turn, &state);
    let settled = turn.drawn_since().is_some();
    if settled || !canary_has_it {
        turn.block.last_failed.clone_from(&turn.block.running);
        if restores_primary(turn) {
            return begin_restore(turn);
        }
        turn.enter(Stage::HoldOnCanary);
        finish::owe_post_rollout(turn);
        hold_words(turn, &state);
    }
}

fn primary_state(turn: &Turn<'_>) -> String {
    let primary = turn.observation.primary.present();
    primary.map_or_else(|| "it is gone".to_owned(), Workload::state)
}

fn hold_words(turn: &mut Turn<'_>, state: &str) {
    let (weight, deadline) = (turn.block.weight, turn.deadline());
    let then = match turn.spec().promotion_failure() {
        PromotionFailure::Hold => None,
        PromotionFailure::Retry => Some("the primary's pods are made anew"),
        PromotionFailure::RestorePrimary => {
            restores_primary(turn).then_some("the primary gets the last good revision back")
        }
    };
    let why = turn
        .why("PromotionFailed", &format!("the primary did not come up: {state}; {weight} percent of the traffic is on the canary, which runs the new revision"))
        .awaiting("the primary's pods, a new revision of the target, or its return to the last good one");
    if let Some(then) = then {
        why.until(deadline, then);
    }
}

/// Whether the spec wants the last good revision back rather than to wait for the primary. Where none is known there is nothing to go
/// back to.
fn restores_primary(turn: &Turn<'_>) -> bool {
    let wanted = turn.spec().promotion_failure() == PromotionFailure::RestorePrimary;
    wanted && last_good(&turn.block).is_some()
}

/// The revision that the primary can go back to. Where Flagger had begun the promotion, the one that does not come up may be all that
/// was found on the primary.
pub(super) fn last_good(block: &Block) -> Option<&Fingerprint> {
    let promoted = block.promoted.as_ref();
    promoted.filter(|promoted| Some(*promoted) != block.running.as_ref())
}

fn begin_restore(turn: &mut Turn<'_>) {
    turn.enter(Stage::Restoring);
    let text = format!("Restoring the last good revision of {}", turn.primary_name());
    turn.event("restore", "Restore", &text);
    restore_words(turn);
}

/// The pods that did not come up are made anew, each time that the patience with them has run out (`onFailure: retry`).
fn retry(turn: &mut Turn<'_>) {
    let wanted = turn.spec().promotion_failure() == PromotionFailure::Retry;
    if !wanted || !turn.past_deadline() || !turn.capacity().primary_rolls_safely() {
        return;
    }
    turn.block.attempts += 1;
    turn.block.since = turn.now;
    turn.memory.progress = None;
    let (primary, attempt) = (turn.primary_name(), turn.block.attempts);
    let text = format!("Retrying the promotion of {primary}, attempt {attempt}: its pods are made anew");
    turn.event(&format!("retry-{attempt}"), "Promote", &text);
    let state = primary_state(turn);
    hold_words(turn, &state);
}

/// Held on the canary: goes on by itself when the primary comes up, and makes way for a new revision.
pub(super) fn hold(turn: &mut Turn<'_>) {
    // Nothing waits for these hooks: their round is dropped when something happens.
    finish::post_rollout(turn, false);
    if turn.block.why.reason == "Resumed" {
        // What is waited for is what it was before the suspension.
        let state = primary_state(turn);
        hold_words(turn, &state);
    }
    leave_the_stray(turn);
    let wanted = seen(&turn.block, turn.observation, &turn.memory, turn.now);
    match wanted {
        Seen::Unsettled(at) => turn.wake_at(at),
        Seen::Settled(fingerprint) if turn.block.running.as_ref() != Some(&fingerprint) => {
            if last_good(&turn.block).is_none() {
                return replace(turn, fingerprint);
            }
            turn.enter(Stage::Restoring);
            let text = format!(
                "New revision detected! Restoring the last good revision of {} first",
                turn.target_name()
            );
            turn.event("restore", "Restore", &text);
            return restore_words(turn);
        }
        // Another encoding of the same revision: taken note of at rest, since the primary still bears the old one.
        Seen::Settled(_) | Seen::Unknown | Seen::Recoded | Seen::Rebased(_) => {}
    }
    if primary_is_ready(turn) {
        return resume(turn);
    }
    if restores_primary(turn) {
        return begin_restore(turn);
    }
    retry(turn);
    if turn.observation.canary_endpoints == Some(0) {
        homeward::bring_home(turn);
    } else {
        shelter(turn);
    }
}

/// Everything to the canary, where it does not have it: it lacked pods, or its template was another one for a moment. Pods of that one
/// are waited out as long as the primary carries what it has.
fn shelter(turn: &mut Turn<'_>) {
    let strayed = revision::strayed(&turn.block, turn.observation);
    if strayed || turn.block.has_all() || !turn.capacity().canary_takes_all() {
        return;
    }
    let rolled = turn.observation.target.is_present_and(|target| target.rollout.complete);
    if rolled || !turn.capacity().carries(Side::Primary, turn.block.weight) {
        turn.give_all();
        let state = primary_state(turn);
        hold_words(turn, &state);
    }
}

/// The target has another template, which nobody judged: off its pods at once, as far as the primary carries. Of its pods those count
/// that its return to the last good revision does not take.
fn leave_the_stray(turn: &mut Turn<'_>) {
    let Some(good) = last_good(&turn.block).cloned() else {
        return;
    };
    if !revision::strayed(&turn.block, turn.observation) {
        return;
    }
    let weight = turn.capacity().homeward_during_the_roll(Some(&good));
    if weight != turn.block.weight {
        let since = turn.block.since;
        turn.set_weight(weight);
        turn.block.since = since;
        restore_words(turn);
    }
}

/// The primary came up after all.
fn resume(turn: &mut Turn<'_>) {
    turn.block.outcome = None;
    turn.block.last_failed = None;
    let text = format!(
        "Primary of {} is ready! Going on with the promotion",
        turn.target_name()
    );
    turn.event("resume", "Promote", &text);
    go_home(turn);
}

/// A new revision came while traffic is held on the canary, and no good one is known to go back to (a promotion that failed under
/// Flagger): the canary serves the new one already, so the primary gets it too.
fn replace(turn: &mut Turn<'_>, fingerprint: Fingerprint) {
    if rest::refused(turn) {
        return;
    }
    turn.block.run += 1;
    turn.block.running = Some(fingerprint);
    turn.block.plan = Some(Plan::default());
    turn.block.failed_checks = 0;
    turn.block.last_failed = None;
    turn.block.promoted = None;
    turn.block.outcome = None;
    turn.enter(Stage::Promoting);
    let text = format!(
        "New revision detected! No good revision of {} is known to go back to, promoting it",
        turn.target_name()
    );
    turn.warning("replace", "Promote", &text);
    promoting_words(turn);
}

/// The primary gets the last good revision back, so that there is a healthy side to start from.
pub(super) fn restore(turn: &mut Turn<'_>) {
    let up = |turn: &Turn<'_>, revision: &Option<Fingerprint>| {
        let primary = &turn.observation.primary;
        primary.is_present_and(|primary| primary.rollout.complete && primary.fingerprint == *revision)
            && turn.capacity().carries(Side::Primary, Weight::ZERO)
    };
    // Nothing but the failure of the promotion is a reason to go back.
    let run_is_over = !revision::strayed(&turn.block, turn.observation)
        && !moving::is_renamed(&turn.block, turn.observation)
        && turn.observation.target.present().is_some();
    if run_is_over && primary_is_ready(turn) {
        // A late write of the good revision is none that is wanted any more.
        turn.block.copied.clone_from(&turn.block.promoted);
        return resume(turn);
    }
    if up(turn, &turn.block.running) {
        // It came up with the revision that was judged before the good one could be put back: that one is promoted.
        turn.block.last_promoted = std::mem::replace(&mut turn.block.promoted, turn.block.running.clone());
        turn.block.copied.clone_from(&turn.block.last_promoted);
        turn.block.last_failed = None;
    }
    if up(turn, &turn.block.promoted) && run_is_over {
        turn.event("restored", "Restore", "Routing all traffic to primary");
        let (reason, message) = turn.outcome_words();
        return finish::roll_traffic_back(turn, &reason, &message);
    }
    if up(turn, &turn.block.promoted) {
        turn.enter(Stage::Restarting);
        turn.block.outcome = None;
        homeward::bring_home(turn);
        turn.event("restored", "Restore", "Routing all traffic to primary");
        let message = "the primary runs a good revision again; traffic goes back to it";
        down::say(turn, "Restarting", message, "traffic on the primary");
        return;
    }
    if turn.observation.canary_endpoints == Some(0) {
        homeward::bring_home(turn);
    } else {
        leave_the_stray(turn);
    }
    if turn.past_deadline() && turn.once("told/restore-deadline") {
        let message = format!(
            "The primary of {} does not come up with the last good revision either; {} percent of the traffic stays on the canary",
            turn.target_name(),
            turn.block.weight
        );
        turn.warning("restore-deadline", "Restore", &message)
            .alerts(Severity::Error, &message);
    }
    restore_words(turn);
}

fn restore_words(turn: &mut Turn<'_>) {
    let (deadline, weight) = (turn.deadline(), turn.block.weight);
    let message = if revision::strayed(&turn.block, turn.observation) {
        format!(
            "a new revision came while traffic was held on the canary; the primary carries {} percent and gets the last good revision back first",
            weight.primary()
        )
    } else {
        "the primary did not come up with the new revision; it gets the last good one back, then the traffic".to_owned()
    };
    turn.why("Restoring", &message)
        .awaiting("the primary's pods")
        .until(deadline, STAYS);
}
