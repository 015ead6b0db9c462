//! The canary has its share of the traffic; it is checked at each interval and goes on, waits or goes back.

use super::super::observation::Workload;
use super::super::round::{self, Check, Progress, Tally};
use super::super::scaler;
use super::super::state::Stage;
use super::super::steps::Next;
use super::super::weight::{Side, Weight};
use super::turn::Turn;
use super::verdict::{VERDICTS, failed, gate_refused, rolled_back_by_hook, tell_passed, unreachable, without_data};
use super::{finish, gate, homeward, promote, raise, revision, word};

/// What happens at the end of a patience before promotion.
pub(super) const ROLLED_BACK: &str = "the run is rolled back";

/// The reason of a run whose canary lacks pods for the next weight.
const TOO_SMALL: &str = "CanaryTooSmall";

/// One pass at a weight.
pub(super) fn step(turn: &mut Turn<'_>) {
    if revision::strayed(&turn.block, turn.observation) {
        return homeward::leave_for_new_revision(turn);
    }
    if turn.observation.target.is_absent() {
        return finish::begin_rollback(turn, "TargetNotFound", "the target was deleted during the run");
    }
    if turn.observation.canary_endpoints == Some(0) && turn.capacity().primary_ready().is_some_and(|ready| ready > 0) {
        return homeward::canary_died(turn);
    }
    if turn.block.scaler.is_some() && has_become_large_enough(turn) {
        // A scaler may take the pods away again before the next check is due.
        turn.ask_now();
    }
    let short = is_short(turn);
    if is_to_be_skipped(turn) && !short && turn.block.words.paused.is_none() {
        // Whoever sets `skipAnalysis`, or says promote-full, in the middle of a run wants it promoted now (T19 of `spec/core.md` 2.3).
        return promote::begin(turn, &Tally::default());
    }
    if short {
        turn.memory.short_in = Some(turn.memory.checks);
    }
    if turn.drawn_since().is_none() {
        forget_answers(turn);
        if never_stands(turn) {
            return;
        }
        return if short {
            wait_for_pods(turn);
        } else {
            wait_for_route(turn);
        };
    }
    let Check::Due(due) = turn.check() else {
        if never_stands(turn) {
            return;
        }
        return if short {
            wait_for_pods(turn);
        } else {
            dwell(turn);
        };
    };
    match round::progress(&due, turn.canary, turn.answers) {
        Progress::Ask(_) if short => wait_for_pods(turn),
        Progress::Ask(_) => {
            // The answers come by themselves. What is shown stays what it was: the check is part of the step.
        }
        Progress::Done(tally) => {
            // What a scaler takes away and gives back within a check says nothing about the revision.
            let scaled = turn.block.scaler.is_some();
            let disturbed = short || (!scaled && turn.memory.short_in == Some(turn.memory.checks));
            turn.end_round();
            judge(turn, &tally, disturbed);
        }
    }
}

/// A rival that undoes the route again and again, each time before an interval is over, would keep the step from ever being checked.
/// The run is rolled back when that has gone on for twice the patience with a route; true then.
fn never_stands(turn: &mut Turn<'_>) -> bool {
    let patience = super::delta(turn.spec().progress_deadline());
    let from = [Some(turn.block.since), turn.memory.acting_since, turn.memory.last_check]
        .into_iter()
        .flatten()
        .max();
    let Some(from) = from else { return false };
    let keeps_beginning_anew = turn.drawn_since().is_none_or(|drawn| drawn > from + patience);
    let at = from + super::delta(turn.spec().interval()) + patience * 2;
    if turn.now < at {
        turn.wake_at(at);
        return false;
    }
    if keeps_beginning_anew {
        let weight = turn.block.weight;
        let message = format!("the route did not stand at weight {weight} for one interval");
        finish::begin_rollback(turn, "RouteNotDrawn", &message);
    }
    keeps_beginning_anew
}

/// Whether the analysis was called off. The plan has no steps from then on, which also says so at the end.
pub(super) fn is_to_be_skipped(turn: &mut Turn<'_>) -> bool {
    let skips = turn.spec().skips_analysis() || turn.block.words.full;
    if let Some(plan) = turn.block.plan.as_mut().filter(|plan| skips && plan.judges()) {
        plan.call_off();
    }
    skips
}

/// Whether the canary has fewer ready pods than its share needs. It is checked all the same, since the pods that are left may be as bad
/// as those that are gone, but the step does not pass before they are back.
fn is_short(turn: &Turn<'_>) -> bool {
    let needed = turn.capacity().need_of(Side::Canary, &turn.block.traffic());
    let needed = scaler::expected(turn.spec(), &turn.block, turn.observation, needed);
    turn.observation.canary_endpoints.is_none_or(|ready| ready < needed)
}

/// Whether the pods are there for which the next weight had to wait.
fn has_become_large_enough(turn: &Turn<'_>) -> bool {
    let Next::Weight(next) = turn.block.next() else {
        return false;
    };
    turn.before.why.reason == TOO_SMALL && turn.capacity().bears(Side::Canary, &turn.block.traffic_at(next))
}

/// What was answered before the step was disturbed says nothing about what comes after.
fn forget_answers(turn: &mut Turn<'_>) {
    if turn.answers.round.is_some() {
        turn.drop_round();
    }
}

/// What comes of a check. One that was disturbed, since the canary lacked pods meanwhile, may fail but not pass.
fn judge(turn: &mut Turn<'_>, tally: &Tally, disturbed: bool) {
    if !tally.samples.is_empty() {
        turn.block.samples.clone_from(&tally.samples);
    }
    if rolled_back_by_hook(turn, tally) || failed(turn, tally) || unreachable(turn, tally) {
        return;
    }
    if is_short(turn) {
        return short_of_pods(turn);
    }
    if disturbed {
        return dwell(turn);
    }
    if word::pauses(turn) || without_data(turn, tally) {
        return;
    }
    if let Some(refusal) = &tally.refused {
        return gate_refused(turn, tally, refusal);
    }
    turn.block.gate = None;
    match turn.block.next() {
        Next::Iteration(number) => {
            tell_passed(turn, tally);
            iterate(turn, number);
        }
        Next::Weight(next) if turn.capacity().bears(Side::Canary, &turn.block.traffic_at(next)) => {
            tell_passed(turn, tally);
            if turn.block.stage != Stage::Stepping {
                turn.enter(Stage::Stepping);
            }
            give(turn, next);
        }
        Next::Weight(next) => too_small(turn, next),
        Next::Promotion => promote::begin(turn, tally),
    }
}

/// Everything before the first step was passed: the canary is tried from now on, with a first share, with copies of requests, or without
/// any of the clients' traffic.
pub(super) fn begin(turn: &mut Turn<'_>) {
    let Some(plan) = turn.block.plan.clone() else { return };
    turn.enter(Stage::Stepping);
    let first = plan.after(Weight::ZERO).filter(|_| !plan.begins_without_weight());
    turn.set_weight(first.unwrap_or(Weight::ZERO));
    if plan.iterations > 0 {
        iterate(turn, 1);
    } else {
        advanced(turn);
    }
}

/// One more check at the same traffic.
pub(super) fn iterate(turn: &mut Turn<'_>, number: u32) {
    turn.set_iteration(number);
    turn.forget_gates();
    let planned = turn.block.plan.as_ref().map_or(number, |plan| plan.iterations);
    let text = format!("Advance {} canary iteration {number}/{planned}", turn.canary_name());
    turn.event(&format!("iteration-{number}"), "Advance", &text);
    step_words(turn);
}

/// The canary has not the pods that the next weight needs, for example because its scaler does not allow them.
fn too_small(turn: &mut Turn<'_>, next: Weight) {
    let needed = turn.capacity().need_of(Side::Canary, &turn.block.traffic_at(next));
    let ready = turn.observation.canary_endpoints.unwrap_or(0);
    let limit = scaler::limit(turn.spec(), &turn.block, turn.observation, needed);
    let message = format!("weight {next} needs {needed} ready pods of the canary, {ready} are ready{limit}");
    let deadline = turn.patience(ROLLED_BACK);
    if turn.now >= deadline {
        return finish::begin_rollback(turn, "ProgressDeadlineExceeded", &message);
    }
    turn.why(TOO_SMALL, &message)
        .awaiting("more ready pods of the canary")
        .until(deadline, ROLLED_BACK);
}

/// Gives the canary its next weight. Behind the iterations of Blue/Green that is everything.
pub(super) fn give(turn: &mut Turn<'_>, weight: Weight) {
    let cut_over = turn.block.plan.as_ref().filter(|plan| plan.iterations > 0);
    let said = cut_over.map(|plan| (plan.iterations.saturating_add(1), plan.mirror.is_some()));
    turn.set_weight(weight);
    turn.forget_gates();
    let Some((number, mirrored)) = said else {
        return advanced(turn);
    };
    turn.set_iteration(number);
    let text = if mirrored {
        "Stop traffic mirroring and route all traffic to canary"
    } else {
        "Routing all traffic to canary"
    };
    turn.event("cut-over", "Advance", text);
    step_words(turn);
}

fn advanced(turn: &mut Turn<'_>) {
    let weight = turn.block.weight;
    let text = format!("Advance {} canary weight {weight}", turn.canary_name());
    turn.event(&format!("advance-{weight}"), "Advance", &text);
    step_words(turn);
}

/// Whether the last check said something that stands until the next one.
fn verdict_stands(turn: &mut Turn<'_>) -> bool {
    let stands = VERDICTS.contains(&turn.block.why.reason.as_str()) && turn.memory.last_check.is_some();
    let next = turn.next_check().filter(|_| stands);
    if let Some(next) = next {
        turn.wake_at(next);
    }
    next.is_some()
}

/// The words of a step that goes as planned. What the last check said stands until the next one.
pub(super) fn dwell(turn: &mut Turn<'_>) {
    if !verdict_stands(turn) && !word::pauses(turn) {
        step_words(turn);
    }
}

fn step_words(turn: &mut Turn<'_>) {
    let counted = turn.block.plan.as_ref().is_some_and(|plan| plan.iterations > 0);
    let then = match turn.block.next() {
        Next::Iteration(number) => format!("iteration {number} if the check passes"),
        Next::Weight(_) if counted => "all traffic goes to the canary if the check passes".to_owned(),
        Next::Weight(next) => format!("weight {next} if the check passes"),
        Next::Promotion => "the revision is promoted if the check passes".to_owned(),
    };
    let at = turn.next_check().unwrap_or_else(|| turn.interval_from_now());
    let (place, failed, threshold) = (turn.place(), turn.block.failed_checks, turn.spec().threshold());
    if let Some(mark) = turn.block.gate.as_ref().map(|gate| gate.mark.clone()) {
        let reason = if turn.block.stage == Stage::WaitingPromotion {
            "WaitingForPromotionApproval"
        } else {
            "WaitingForTrafficApproval"
        };
        let (at, then) = gate::next(turn, at);
        turn.why(reason, &format!("{mark} keeps the run at {place}"))
            .awaiting(&mark)
            .until(at, then);
    } else {
        turn.why(
            "Analysing",
            &format!("{place}; {failed} of at most {threshold} failed checks"),
        )
        .awaiting("the next check")
        .until(at, &then);
    }
}

fn wait_for_pods(turn: &mut Turn<'_>) {
    // The words of a failure stand for an interval. There are few of them, so they do not hold the deadline up for long.
    let failure = matches!(turn.block.why.reason.as_str(), "CheckFailed" | "MetricsUnavailable");
    if !(failure && verdict_stands(turn)) {
        short_of_pods(turn);
    }
}

fn short_of_pods(turn: &mut Turn<'_>) {
    let (place, needed) = (
        turn.place(),
        turn.capacity().need_of(Side::Canary, &turn.block.traffic()),
    );
    let deadline = turn.patience(ROLLED_BACK);
    let Some(ready) = turn.observation.canary_endpoints else {
        let message = "the canary's ready pods cannot be counted now";
        if turn.now >= deadline {
            return finish::begin_rollback(turn, "EndpointsUnknown", message);
        }
        turn.why("EndpointsUnknown", message)
            .awaiting("the EndpointSlices")
            .until(deadline, ROLLED_BACK);
        return;
    };
    let trouble = turn
        .observation
        .target
        .present()
        .map(Workload::troubled)
        .unwrap_or_default();
    let limit = scaler::limit(turn.spec(), &turn.block, turn.observation, needed);
    let message = format!("{place} needs {needed} ready pods of the canary, {ready} are ready{trouble}{limit}");
    if turn.now >= deadline {
        return finish::begin_rollback(turn, "ProgressDeadlineExceeded", &message);
    }
    turn.why(raise::waiting(turn.observation), &message)
        .awaiting("the canary's pods")
        .until(deadline, ROLLED_BACK);
}

fn wait_for_route(turn: &mut Turn<'_>) {
    let (reason, message) = super::turn_route::describe(turn.observation, &turn.traffic());
    let from = turn.memory.undrawn_since.unwrap_or(turn.now).max(turn.block.since);
    let deadline = from + super::delta(turn.spec().progress_deadline());
    if turn.now >= deadline {
        return finish::begin_rollback(turn, "RouteNotDrawn", &message);
    }
    // A route that follows within an interval is no state worth a write, nor an alert.
    let at = from + super::delta(turn.spec().interval());
    let slow = matches!(reason, "DrawingRoute" | "RoutePending" | "RouteUnknown");
    if slow && turn.now < at.min(deadline) {
        return turn.wake_at(at.min(deadline));
    }
    if !slow {
        super::turn_route::tell_once(turn, reason, &message);
    }
    turn.why(reason, &message)
        .awaiting("the route to stand as written")
        .until(deadline, ROLLED_BACK);
    turn.wake_at(deadline);
}
