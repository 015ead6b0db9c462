//! Promotion as a transaction: traffic leaves the healthy side only when the other side carries it.

use chrono::{DateTime, Utc};

use super::super::round::Tally;
use super::super::state::Stage;
use super::super::weight::{Side, Weight};
use super::hold::fail;
use super::turn::Turn;
use super::{down, homeward, revision, rotate, verdict};
use crate::api::Phase;

/// What happens at the end of the patience with a primary.
const HELD: &str = "traffic is held on the canary and a person is alerted";
/// The phase that event hooks are told with the way home, also with its last part.
const PROMOTING: &str = Phase::Promoting.as_str();

/// All checks passed at the last weight, or there is nothing to check.
pub(super) fn begin(turn: &mut Turn<'_>, tally: &Tally) {
    verdict::tell_passed(turn, tally);
    if turn.block.has_all() || turn.capacity().primary_rolls_safely() {
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
    let carried = turn.capacity().canary_takes_all();
    if turn.block.has_all() && turn.settled(since) && carried {
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
    if !turn.block.has_all() && turn.capacity().canary_takes_all() {
        let since = turn.block.since;
        turn.give_all();
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
    // Event hooks are told the phase that is over with it (cases 24 and 25 of spec/core.md 8).
    let text = format!(
        "Copying {} template spec to {}",
        turn.target_name(),
        turn.primary_name()
    );
    turn.event("copy", "Promote", &text);
    turn.enter(Stage::Promoting);
    turn.block.copied.clone_from(&turn.block.running);
    rotate::caught_up(turn);
    warn_of_gaps(turn);
    promoting_words(turn);
}

/// Without a route the primary rolls under all the traffic, as any Deployment does. A strategy that takes many of its pods is told.
fn warn_of_gaps(turn: &mut Turn<'_>) {
    let needed = turn.capacity().need(Side::Primary, Weight::ZERO);
    let Some(primary) = turn
        .observation
        .primary
        .present()
        .filter(|_| !turn.block.subject.has_route())
    else {
        return;
    };
    let kept = primary.worst_ready;
    if kept < needed {
        let text = format!(
            "{} rolls under all traffic and keeps {kept} of {needed} pods ready; provider kubernetes cannot lead traffic elsewhere",
            turn.primary_name()
        );
        turn.warning("rolls-under-traffic", "Promote", &text);
    }
}

pub(super) fn promoting_words(turn: &mut Turn<'_>) {
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
        .until(deadline, HELD);
}

/// The primary rolls. Its pods, not its object, say when traffic may come home.
pub(super) fn promote(turn: &mut Turn<'_>) {
    let strayed = revision::strayed(&turn.block, turn.observation);
    let dead = turn.observation.canary_endpoints == Some(0)
        && turn.capacity().primary_ready().is_some_and(|ready| ready > 0)
        && turn.block.weight > Weight::ZERO;
    if !is_written(turn) {
        // As long as the primary still has what it had, the promotion can be called off.
        if strayed {
            return homeward::leave_for_new_revision(turn);
        }
        if dead {
            return homeward::canary_died(turn);
        }
        let both = turn.observation.primary.present().is_some() && turn.observation.target.present().is_some();
        if both && !turn.capacity().primary_rolls_safely() {
            turn.enter(Stage::Shielding);
            take_all(turn);
            return shield_words(turn);
        }
    }
    let since = turn.block.since;
    if dead {
        turn.set_weight(Weight::ZERO);
    } else if strayed {
        // The canary's pods are no longer what was judged: off them as far as the primary carries, while its roll goes on.
        let weight = turn.capacity().homeward_during_the_roll(turn.block.running.as_ref());
        turn.set_weight(weight);
    }
    turn.block.since = since;
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
        let deadline = turn.deadline();
        turn.why(
            "PrimaryLost",
            "the primary is gone; it is rebuilt from the stored revision",
        )
        .awaiting("the primary's pods")
        .until(deadline, HELD);
    } else {
        promoting_words(turn);
    }
}

/// Whether the promotion has reached the primary, or made it.
fn is_written(turn: &Turn<'_>) -> bool {
    let primary = turn.observation.primary.present();
    primary.is_none_or(|primary| primary.fingerprint == turn.block.running)
}

/// Whether the primary runs the revision under test and carries what comes to it next.
pub(super) fn primary_is_ready(turn: &Turn<'_>) -> bool {
    let next = turn
        .block
        .plan
        .as_ref()
        .map_or(Weight::ZERO, |plan| plan.homeward(turn.block.weight));
    turn.observation
        .primary
        .is_present_and(|primary| primary.rollout.complete && primary.fingerprint == turn.block.running)
        && turn.capacity().bears(Side::Primary, &turn.block.traffic_at(next))
}

/// Sends the next part of the traffic home.
pub(super) fn go_home(turn: &mut Turn<'_>) {
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
    if turn.block.subject.has_route() {
        // The phase `Finalising` comes behind it (cases 8 and 25 of spec/core.md 8).
        let text = if by_steps {
            format!("Advance {} primary weight {}", turn.canary_name(), next.primary())
        } else {
            "Routing all traffic to primary".to_owned()
        };
        turn.event(&format!("home-{}", next.primary()), "Promote", &text).phase = PROMOTING.into();
    }
    if home {
        finalising_words(turn);
    } else {
        returning_words(turn, None);
    }
}

/// Traffic goes home step by step; each step stands for an interval.
pub(super) fn return_traffic(turn: &mut Turn<'_>) {
    let in_a_hurry = revision::strayed(&turn.block, turn.observation) || turn.observation.canary_endpoints == Some(0);
    if in_a_hurry {
        let weight = turn.capacity().homeward(false);
        if weight == Weight::ZERO {
            turn.enter(Stage::Finalising);
            turn.set_weight(weight);
            let text = "Routing all traffic to primary";
            turn.event("home-100", "Promote", text).phase = PROMOTING.into();
            return finalising_words(turn);
        }
    }
    if !primary_is_ready(turn) {
        let stalled = turn
            .observation
            .primary
            .is_present_and(|primary| primary.rollout.deadline_exceeded);
        let deadline = turn.patience(HELD);
        if turn.now >= deadline || stalled {
            return fail(turn);
        }
        turn.why("WaitingForPrimary", "the primary does not carry the next step")
            .awaiting("the primary's pods")
            .until(deadline, HELD);
        return;
    }
    match turn.next_check() {
        Some(at) if turn.now >= at => go_home(turn),
        at => returning_words(turn, at),
    }
}

fn finalising_words(turn: &mut Turn<'_>) {
    down::say(
        turn,
        "Finalising",
        "all traffic goes to the primary",
        down::HOME_AND_DOWN,
    );
}

fn returning_words(turn: &mut Turn<'_>, next: Option<DateTime<Utc>>) {
    let at = next.unwrap_or_else(|| turn.interval_from_now());
    let home = turn.block.weight.primary();
    turn.why(
        "Returning",
        &format!("{home} percent of the traffic is back on the primary"),
    )
    .awaiting("the next step home")
    .until(at, "more traffic returns");
}

/// The primary lost all its pods after traffic had come home, and the canary still has its own: they serve while it recovers.
pub(super) fn take_back(turn: &mut Turn<'_>) {
    turn.enter(Stage::Promoting);
    turn.give_all();
    turn.warning(
        "take-back",
        "Hold",
        "No pod of the primary is ready! Routing all traffic to canary",
    );
    promoting_words(turn);
}
