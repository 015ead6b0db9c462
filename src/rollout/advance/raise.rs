//! The target is scaled up and gets ready. No traffic yet.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::capacity::Capacity;
use super::super::known::Known;
use super::super::mark;
use super::super::observation::{Memory, Observation, Rehearsal, Workload};
use super::super::round::{self, Check, Progress, Tally};
use super::super::scaler;
use super::super::state::Block;
use super::super::weight::Side;
use super::homeward;
use super::revision::{Seen, seen};
use super::scaling;
use super::step::ROLLED_BACK;
use super::turn::{Turn, delta};
use super::{finish, promote, step, verdict, word};
use crate::api::{Canary, HookType};

/// What Kubernetes calls a pod that no node has room for (API reference, `PodCondition`).
const UNSCHEDULABLE: &str = "Unschedulable";

/// The reason of a run whose hooks have not answered yet.
const ASKING: &str = "AskingHooks";

/// The longest time between two tries of a hook (`spec/core.md` 4.2).
const BETWEEN_TRIES: Duration = Duration::from_secs(30);

/// Waits for the pods, rehearses the writes, runs `pre-rollout`, gives the first weight.
pub(super) fn raise(turn: &mut Turn<'_>) {
    match seen(&turn.block, turn.observation, &turn.memory, turn.now) {
        Seen::Unknown => {
            if turn.observation.target.is_absent() {
                return finish::begin_rollback(turn, "TargetNotFound", "the target was deleted during the run");
            }
        }
        Seen::Unsettled(at) => return turn.wake_at(at),
        Seen::Recoded => return,
        Seen::Rebased(fingerprint) => return turn.block.rebase(&fingerprint),
        Seen::Settled(fingerprint) if turn.block.running.as_ref() != Some(&fingerprint) => {
            return homeward::superseded(turn, fingerprint);
        }
        Seen::Settled(_) => {}
    }
    if !pods_ready(turn.canary, &turn.block, turn.observation, &turn.memory, turn.now) {
        return wait_for_pods(turn);
    }
    match &turn.memory.rehearsal {
        Some((run, Rehearsal::Accepted)) if *run == turn.block.run => {}
        Some((run, Rehearsal::Refused { what, words })) if *run == turn.block.run => {
            let message = format!("{what} would be refused: {words}");
            return stuck(turn, "WriteRefused", &message);
        }
        _ => {
            let deadline = turn.patience(ROLLED_BACK);
            turn.why(
                "Rehearsing",
                "each kind of write of this run is tried as a dry run before traffic moves",
            )
            .awaiting("the API server's answers")
            .until(deadline, ROLLED_BACK);
            return;
        }
    }
    if turn.block.words.paused.is_some() {
        return paused(turn);
    }
    if step::is_to_be_skipped(turn) || turn.block.plan.as_ref().is_none_or(|plan| !plan.judges()) {
        return promote::begin(turn, &Tally::default());
    }
    let Check::Due(due) = turn.check() else { return };
    let Progress::Done(tally) = round::progress(&due, turn.canary, turn.answers) else {
        // What the last answers came to stands until there are new ones.
        if !verdict::VERDICTS.contains(&turn.before.why.reason.as_str()) {
            let at = answered_at(turn);
            turn.why(ASKING, "pre-rollout hooks and gates are asked before the first weight")
                .awaiting("their answers")
                .until(at, "a hook that has not answered counts as failed");
        }
        return;
    };
    turn.end_round();
    judge(turn, &tally);
}

/// When the hooks that come before the first weight have answered at the latest, one after another: each try has its timeout, and half
/// a minute at most lies between two.
fn answered_at(turn: &Turn<'_>) -> DateTime<Utc> {
    let stated = turn.before.why.until.filter(|_| !turn.why_changes(ASKING));
    let asked = mark::hooks(turn.canary).iter().filter(|hook| {
        matches!(
            hook.type_(),
            HookType::Rollback | HookType::PreRollout | HookType::ConfirmTrafficIncrease
        )
    });
    let longest = asked.fold(Duration::ZERO, |sum, hook| {
        let tries = hook.retries().saturating_add(1);
        let all = (hook.timeout() + BETWEEN_TRIES).saturating_mul(tries);
        sum.saturating_add(all)
    });
    stated.unwrap_or_else(|| turn.now + delta(longest))
}

/// A person holds the run before its first weight. A `rollback` hook is asked all the same.
fn paused(turn: &mut Turn<'_>) {
    if let Check::Due(due) = turn.check()
        && let Progress::Done(tally) = round::progress(&due, turn.canary, turn.answers)
    {
        turn.end_round();
        if verdict::rolled_back_by_hook(turn, &tally) {
            return;
        }
    }
    word::pauses(turn);
}

fn judge(turn: &mut Turn<'_>, tally: &Tally) {
    if !tally.failures.is_empty() {
        verdict::keep_passed(turn, tally);
    }
    if verdict::rolled_back_by_hook(turn, tally) || verdict::failed(turn, tally) {
        return;
    }
    if let Some(refusal) = &tally.refused {
        return verdict::gate_refused(turn, tally, refusal);
    }
    let text = format!("Starting canary analysis for {}", turn.target_name());
    turn.event("analysis", "Analyse", &text);
    // Hooks that run once a run are not run again when the canary has to begin anew (rank 33 of `spec/users.md`).
    verdict::keep_passed(turn, tally);
    step::begin(turn);
}

/// Whether the first questions may be asked: the pods are ready and the writes were rehearsed.
pub fn ready_for_traffic(
    canary: &Canary,
    block: &Block,
    observation: &Observation,
    memory: &Memory,
    now: DateTime<Utc>,
) -> bool {
    let rehearsed = matches!(&memory.rehearsal, Some((run, Rehearsal::Accepted)) if *run == block.run);
    rehearsed && pods_ready(canary, block, observation, memory, now)
}

/// Whether the target's pods are of the revision under test, rolled out, and enough for the first weight.
pub fn pods_ready(
    canary: &Canary,
    block: &Block,
    observation: &Observation,
    memory: &Memory,
    now: DateTime<Utc>,
) -> bool {
    let capacity = Capacity::new(&canary.spec, block, observation, memory, now);
    observation
        .target
        .is_present_and(|target| target.rollout.complete && target.fingerprint == block.running)
        && block.trials().iter().all(|first| capacity.bears(Side::Canary, first))
        && observation.canary_service.is_present_and(|service| service.drawn)
        && memory.drawn_since(&block.traffic()).is_some()
        && scaling::holds_the_primary(block, observation)
}

/// The words for waiting on the target's pods, which are also those of a run's first moment.
pub(super) fn awaiting_pods(turn: &mut Turn<'_>) {
    let deadline = turn.patience(ROLLED_BACK);
    let state = turn
        .observation
        .target
        .present()
        .map_or_else(|| "not readable now".to_owned(), Workload::state);
    let ready = turn
        .observation
        .canary_endpoints
        .map_or_else(|| "an unknown number of".to_owned(), |ready| ready.to_string());
    let trials = turn.block.trials();
    let needed = trials.iter().map(|first| turn.capacity().need_of(Side::Canary, first));
    let limit = scaler::limit(turn.spec(), &turn.block, turn.observation, needed.max().unwrap_or(0));
    let message = format!(
        "{}: {state}; {ready} ready pods behind its Service{limit}",
        turn.target_name()
    );
    turn.why(waiting(turn.observation), &message)
        .awaiting("the canary's pods")
        .until(deadline, ROLLED_BACK);
}

/// The reason of a run that waits for the canary's pods. Those that no node has room for need a person, or a larger cluster.
pub(super) fn waiting(observation: &Observation) -> &'static str {
    let target = observation.target.present();
    let trouble = target.and_then(|target| target.trouble.as_deref()).unwrap_or_default();
    if trouble.contains(UNSCHEDULABLE) {
        UNSCHEDULABLE
    } else {
        "WaitingForCanary"
    }
}

fn wait_for_pods(turn: &mut Turn<'_>) {
    let failed = turn
        .observation
        .target
        .is_present_and(|target| target.rollout.deadline_exceeded && target.fingerprint == turn.block.running);
    let deadline = turn.patience(ROLLED_BACK);
    if turn.now >= deadline || failed {
        let pods_are_up = turn.observation.target.is_present_and(|target| target.rollout.complete);
        let state = if pods_are_up && !scaling::holds_the_primary(&turn.block, turn.observation) {
            scaling::lacks(turn)
        } else if pods_are_up {
            super::turn_route::describe(turn.observation, &turn.traffic()).1
        } else {
            turn.observation.target.present().map_or_else(
                || "the target cannot be read".to_owned(),
                |target| {
                    let trouble = target
                        .trouble
                        .as_ref()
                        .map(|trouble| format!(": {trouble}"))
                        .unwrap_or_default();
                    format!(
                        "canary deployment {} not ready: {}{trouble}",
                        turn.target_name(),
                        target.rollout.message
                    )
                },
            )
        };
        return finish::begin_rollback(turn, "ProgressDeadlineExceeded", &state);
    }
    let target_up = turn.observation.target.is_present_and(|target| target.rollout.complete);
    let route_missing = turn.drawn_since().is_none();
    if target_up && !scaling::holds_the_primary(&turn.block, turn.observation) {
        return scaling::awaited(turn, deadline);
    }
    if target_up && route_missing && !matches!(turn.observation.route, Known::Unknown) {
        let (reason, message) = super::turn_route::describe(turn.observation, &turn.traffic());
        turn.why(reason, &message)
            .awaiting("the route to be accepted")
            .until(deadline, ROLLED_BACK);
    } else {
        awaiting_pods(turn);
    }
}

/// Something only the cluster's owners can mend is in the way; the stage's deadline bounds it.
fn stuck(turn: &mut Turn<'_>, reason: &str, message: &str) {
    let deadline = turn.patience(ROLLED_BACK);
    if turn.now >= deadline {
        return finish::begin_rollback(turn, reason, message);
    }
    turn.stalled_notice(reason, message);
    turn.why(reason, message)
        .awaiting("the write to be allowed; it is tried again")
        .until(deadline, ROLLED_BACK);
}
