//! Promotion as a transaction: traffic leaves the healthy side only when the other side carries it.

use super::super::notice::{Alert, Severity};
use super::super::round::Tally;
use super::super::state::{RunResult, Stage};
use super::super::weight::{Side, Weight};
use super::homeward;
use super::revision::{self, Seen, seen};
use super::step;
use super::turn::Turn;

/// All checks passed at the last weight, or there is nothing to check.
pub(super) fn begin(turn: &mut Turn<'_>, tally: &Tally) {
    step::tell_passed(turn, tally);
    if turn.block.weight == Weight::FULL || turn.capacity().primary_rolls_safely() {
        return copy(turn);
    }
    // Its own roll would leave the primary with too few pods for its share (Recreate, or a generous maxUnavailable).
    turn.enter(Stage::Shielding);
    take_all(turn);
    shield_words(turn);
}

/// The canary takes all traffic before the primary is rolled.
pub(super) fn shield(turn: &mut Turn<'_>) {
    if revision::strayed(&turn.block, turn.observation) {
        return homeward::leave_for_new_revision(turn);
    }
    if turn.observation.canary_endpoints == Some(0) && turn.capacity().primary_ready().is_some_and(|ready| ready > 0) {
        return homeward::canary_died(turn);
    }
    take_all(turn);
    let since = turn.drawn_since();
    if turn.block.weight == Weight::FULL && turn.settled(since) {
        return copy(turn);
    }
    if turn.past_deadline() {
        return super::finish::begin_rollback(
            turn,
            "ProgressDeadlineExceeded",
            "the canary could not take all traffic for the primary's roll",
        );
    }
    shield_words(turn);
}

fn take_all(turn: &mut Turn<'_>) {
    if turn.block.weight < Weight::FULL && turn.capacity().carries(Side::Canary, Weight::FULL) {
        let since = turn.block.since;
        turn.set_weight(Weight::FULL);
        turn.block.since = since;
        turn.event("shield", "Shield", "Routing all traffic to canary");
    }
}

fn shield_words(turn: &mut Turn<'_>) {
    let deadline = turn.deadline();
    let needed = turn.capacity().need(Side::Canary, Weight::FULL);
    turn.why("Shielding", &format!("the primary's roll would leave it too few pods; the canary takes all traffic first ({needed} ready pods needed)"))
        .awaiting("all traffic on the canary")
        .until(deadline, "the run is rolled back");
}

/// The primary gets the revision under test.
fn copy(turn: &mut Turn<'_>) {
    turn.enter(Stage::Promoting);
    let target = turn.target_name();
    let (name, namespace) = target.split_once('.').unwrap_or((&target, ""));
    let text = format!("Copying {target} template spec to {name}-primary.{namespace}");
    turn.event("copy", "Promote", &text);
    promoting_words(turn);
}

fn promoting_words(turn: &mut Turn<'_>) {
    let deadline = turn.deadline();
    let state = turn
        .observation
        .primary
        .present()
        .map(|primary| primary.rollout.message.clone())
        .filter(|message| !message.is_empty())
        .map_or_else(String::new, |message| format!(": {message}"));
    turn.why("Promoting", &format!("the primary rolls to the new revision{state}"))
        .awaiting("the primary's pods")
        .until(deadline, "traffic is held on the canary and a person is alerted");
}

/// The primary rolls. Its pods, not its object, say when traffic may come home.
pub(super) fn promote(turn: &mut Turn<'_>) {
    if revision::strayed(&turn.block, turn.observation) {
        // The canary's pods are no longer what was judged: off them as far as the primary carries, while its roll goes on.
        let weight = turn.capacity().homeward(false);
        if weight < turn.block.weight {
            let since = turn.block.since;
            turn.set_weight(weight);
            turn.block.since = since;
        }
    } else if turn.observation.canary_endpoints == Some(0)
        && turn.capacity().primary_ready().is_some_and(|ready| ready > 0)
    {
        turn.set_weight(Weight::ZERO);
    }
    if primary_is_ready(turn) {
        turn.block.outcome = None;
        return go_home(turn);
    }
    let stalled = turn
        .observation
        .primary
        .is_present_and(|primary| primary.rollout.deadline_exceeded && primary.fingerprint == turn.block.running);
    if turn.past_deadline() || stalled {
        return fail(turn);
    }
    if turn.observation.primary.is_absent() {
        turn.why(
            "PrimaryLost",
            "the primary is gone; it is rebuilt from the stored revision",
        )
        .awaiting("the primary's pods");
    } else {
        promoting_words(turn);
    }
}

/// Whether the primary runs the revision under test and carries what comes to it next.
fn primary_is_ready(turn: &Turn<'_>) -> bool {
    let next = turn
        .block
        .plan
        .as_ref()
        .map_or(Weight::ZERO, |plan| plan.homeward(turn.block.weight));
    turn.observation
        .primary
        .is_present_and(|primary| primary.rollout.complete && primary.fingerprint == turn.block.running)
        && turn.capacity().carries(Side::Primary, next)
}

/// Sends the next part of the traffic home.
fn go_home(turn: &mut Turn<'_>) {
    let next = turn
        .block
        .plan
        .as_ref()
        .map_or(Weight::ZERO, |plan| plan.homeward(turn.block.weight));
    let home = next == Weight::ZERO;
    let by_steps = turn
        .block
        .plan
        .as_ref()
        .is_some_and(|plan| plan.promotion_step.is_some());
    if turn.block.stage != Stage::Returning || home {
        turn.enter(if home { Stage::Finalising } else { Stage::Returning });
    }
    turn.set_weight(next);
    let text = if by_steps {
        format!("Advance {} primary weight {}", turn.canary_name(), next.primary())
    } else {
        "Routing all traffic to primary".to_owned()
    };
    turn.event(&format!("home-{}", next.primary()), "Promote", &text);
    let at = turn.now + super::delta(turn.spec().interval());
    if home {
        turn.why("Finalising", "all traffic goes to the primary")
            .awaiting("traffic on the primary, then the target at zero replicas");
    } else {
        turn.why(
            "Returning",
            &format!("{} percent of the traffic is back on the primary", next.primary()),
        )
        .awaiting("the next step home")
        .until(at, "more traffic returns");
    }
}

/// Traffic goes home step by step; each step stands for an interval.
pub(super) fn return_traffic(turn: &mut Turn<'_>) {
    if !primary_is_ready(turn) {
        let stalled = turn
            .observation
            .primary
            .is_present_and(|primary| primary.rollout.deadline_exceeded);
        if turn.past_deadline() || stalled {
            return fail(turn);
        }
        let deadline = turn.deadline();
        turn.why("WaitingForPrimary", "the primary does not carry the next step")
            .awaiting("the primary's pods")
            .until(deadline, "traffic is held on the canary");
        return;
    }
    let in_a_hurry = revision::strayed(&turn.block, turn.observation) || turn.observation.canary_endpoints == Some(0);
    if in_a_hurry {
        let weight = turn.capacity().homeward(false);
        if weight == Weight::ZERO {
            turn.enter(Stage::Finalising);
            turn.set_weight(weight);
            turn.event("home-100", "Promote", "Routing all traffic to primary");
            turn.why("Finalising", "all traffic goes to the primary")
                .awaiting("traffic on the primary");
            return;
        }
    }
    match turn.next_check() {
        Some(at) if turn.now >= at => go_home(turn),
        Some(at) => turn.wake_at(at),
        None => {}
    }
}

/// The primary lost all its pods after traffic had come home, and the canary still has its own: they serve while it recovers.
pub(super) fn take_back(turn: &mut Turn<'_>) {
    turn.enter(Stage::Promoting);
    turn.set_weight(Weight::FULL);
    turn.warning(
        "take-back",
        "Hold",
        "No pod of the primary is ready! Routing all traffic to canary",
    );
    promoting_words(turn);
}

/// The primary does not come up with the new revision: the canary, which does run it, keeps the traffic (W3, rank 1).
pub(super) fn fail(turn: &mut Turn<'_>) {
    let state = turn.observation.primary.present().map_or_else(
        || "it is gone".to_owned(),
        |primary| {
            let trouble = primary
                .trouble
                .as_ref()
                .map(|trouble| format!(" ({trouble})"))
                .unwrap_or_default();
            format!("{}{trouble}", primary.rollout.message)
        },
    );
    if turn.block.outcome.is_none() {
        turn.outcome(RunResult::Failed, "PromotionFailed", &state);
        let text = format!("Promotion of {} failed, primary not ready: {state}", turn.target_name());
        let notice = turn.warning("promotion-failed", "Hold", &text);
        let message = super::turn::cut(&format!("Promotion failed, primary not ready: {state}"));
        notice.alert = Some(Alert {
            severity: Severity::Error,
            message,
            with_fields: false,
        });
    }
    let canary_has_it = turn.capacity().carries(Side::Canary, Weight::FULL);
    if canary_has_it && turn.block.weight < Weight::FULL {
        let since = turn.block.since;
        turn.set_weight(Weight::FULL);
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
        turn.enter(Stage::HoldOnCanary);
        hold_words(turn, &state);
    }
}

fn hold_words(turn: &mut Turn<'_>, state: &str) {
    let weight = turn.block.weight;
    turn.why("PromotionFailed", &format!("the primary did not come up: {state}; {weight} percent of the traffic is on the canary, which runs the new revision"))
        .awaiting("the primary's pods, a new revision of the target, or its return to the last good one");
}

/// Held on the canary: goes on by itself when the primary comes up, and makes way for a new revision.
pub(super) fn hold(turn: &mut Turn<'_>) {
    let wanted = seen(&turn.block, turn.observation, &turn.memory, turn.now);
    match wanted {
        Seen::Unsettled(at) => turn.wake_at(at),
        Seen::Rebased(fingerprint) => return turn.block.rebase(&fingerprint),
        Seen::Settled(fingerprint) if turn.block.running.as_ref() != Some(&fingerprint) => {
            turn.enter(Stage::Restoring);
            let text = format!(
                "New revision detected! Restoring the last good revision of {} first",
                turn.target_name()
            );
            turn.event("restore", "Restore", &text);
            return restore_words(turn);
        }
        Seen::Settled(_) | Seen::Unknown => {}
    }
    if primary_is_ready(turn) {
        turn.block.outcome = None;
        turn.block.last_failed = None;
        let text = format!(
            "Primary of {} is ready! Going on with the promotion",
            turn.target_name()
        );
        turn.event("resume", "Promote", &text);
        return go_home(turn);
    }
    if turn.observation.canary_endpoints == Some(0) {
        homeward::bring_home(turn);
    } else if turn.block.weight < Weight::FULL && turn.capacity().carries(Side::Canary, Weight::FULL) {
        turn.set_weight(Weight::FULL);
    }
}

/// The primary gets the last good revision back, so that there is a healthy side to start from.
pub(super) fn restore(turn: &mut Turn<'_>) {
    let restored = turn
        .observation
        .primary
        .is_present_and(|primary| primary.rollout.complete && primary.fingerprint == turn.block.promoted)
        && turn.capacity().carries(Side::Primary, Weight::ZERO);
    if restored {
        turn.enter(Stage::Restarting);
        turn.block.outcome = None;
        homeward::bring_home(turn);
        turn.event("restored", "Restore", "Routing all traffic to primary");
        turn.why(
            "Restarting",
            "the primary runs the last good revision again; traffic goes back to it",
        )
        .awaiting("traffic on the primary");
        return;
    }
    if turn.observation.canary_endpoints == Some(0) {
        homeward::bring_home(turn);
    }
    if turn.past_deadline() && turn.once("told/restore-deadline") {
        let message = format!(
            "The primary of {} does not come up with the last good revision either; traffic stays on the canary",
            turn.target_name()
        );
        let notice = turn.warning("restore-deadline", "Restore", &message);
        notice.alert = Some(Alert {
            severity: Severity::Error,
            message: message.clone(),
            with_fields: false,
        });
    }
    restore_words(turn);
}

fn restore_words(turn: &mut Turn<'_>) {
    let deadline = turn.deadline();
    turn.why(
        "Restoring",
        "a new revision came while traffic is held on the canary; the primary gets the last good revision back first",
    )
    .awaiting("the primary's pods")
    .until(deadline, "a person is alerted; traffic stays on the canary");
}
