//! `advance`: the whole state machine. One call makes at most one transition; the controller writes it and calls again.

mod adopt;
mod ailing;
mod deed;
mod down;
mod finish;
mod gate;
mod hold;
mod homeward;
mod initialize;
mod leave;
mod line;
mod moving;
mod promote;
mod raise;
mod rest;
mod revision;
mod rotate;
mod scaling;
mod step;
mod turn;
mod turn_route;
mod unobserved;
mod verdict;
mod word;

use chrono::{DateTime, Utc};

use super::notice::Severity;
use super::observation::{Memory, Observation};
use super::question::Answers;
use super::state::{Block, Fingerprint, Stage};
use crate::api::Canary;
use turn::Turn;

pub(super) use down::is_due;
pub(super) use leave::{NOT_HANDED_BACK, TERMINATED};
pub(super) use moving::{is_renamed, keeps_primary, leftovers};
pub(super) use raise::{pods_ready, ready_for_traffic};
pub use revision::in_doubt;
pub(super) use revision::{overtaken, recoded_as, unreleased};
pub use rotate::may_roll;
pub(super) use turn::delta;

/// What one pass decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The block to write, when it says something else than the present one.
    pub block: Option<Block>,
    /// What to remember until the next pass.
    pub memory: Memory,
    /// When to look again although nothing changed.
    pub wake: Option<DateTime<Utc>>,
    /// The answers of the round were used and must be dropped.
    pub round_done: bool,
}

/// Decides what comes next for one canary.
///
/// `memory` is what [`super::remember`] returned for the same observation. Nothing is decided on what is not known.
pub fn advance(
    canary: &Canary,
    block: Option<&Block>,
    observation: &Observation,
    memory: &Memory,
    answers: &Answers,
    now: DateTime<Utc>,
) -> Decision {
    let Some(block) = block else {
        return Decision {
            block: adopt::first_block(canary, observation, now),
            memory: memory.clone(),
            wake: None,
            round_done: false,
        };
    };
    let mut turn = Turn::new(canary, block, observation, memory, answers, now);
    let held_until_now = matches!(block.why.reason.as_str(), "Suspended" | "TargetTaken");
    if observation.deleting {
        leave::leave(&mut turn);
    } else if canary.spec.suspend {
        if !word::hear(&mut turn, Some("spec.suspend is true")) {
            suspend(&mut turn);
        }
    } else if let Some(taken) = &observation.taken_by {
        let message = format!(
            "{} belongs to Canary {}; this one touches nothing",
            taken.what, taken.by
        );
        turn.why("TargetTaken", &message)
            .awaiting("the other Canary to go, or this one to name something else");
        turn.stalled_notice("TargetTaken", &message);
    } else {
        if held_until_now {
            resume(&mut turn);
        }
        stage(&mut turn);
    }
    turn.finish()
}

fn stage(turn: &mut Turn<'_>) {
    turn.block.follow_configs(turn.observation);
    if let Some(serving) = revision::replacing_the_lost(&turn.block, turn.observation) {
        return replace_lost(turn, serving);
    }
    // A target that changed under traffic is answered before anybody is listened to.
    if !(in_run(turn.block.stage) && revision::strayed(&turn.block, turn.observation)) && word::hear(turn, None) {
        return;
    }
    if gate::ran_out(turn) {
        return;
    }
    if in_run(turn.block.stage) && tell_refusal(turn) {
        return;
    }
    if is_renamed(&turn.block, turn.observation) && moving::ends_run(turn) {
        return;
    }
    rotate::follow(turn);
    take_stage(turn);
    if (turn.before.stage, turn.before.weight) == (turn.block.stage, turn.block.weight) {
        ailing::say(turn);
        turn_route::say_trouble(turn);
    }
}

fn take_stage(turn: &mut Turn<'_>) {
    match turn.block.stage {
        Stage::Initializing => initialize::initialize(turn),
        Stage::Resting | Stage::Waiting if turn.block.subject != turn.observation.subject => moving::begin(turn),
        Stage::Resting | Stage::Waiting => rest::rest(turn),
        Stage::Moving => moving::go_on(turn),
        Stage::Raising => raise::raise(turn),
        Stage::Stepping | Stage::WaitingPromotion => step::step(turn),
        Stage::Shielding => promote::shield(turn),
        Stage::Promoting => promote::promote(turn),
        Stage::Returning => promote::return_traffic(turn),
        Stage::Finalising => finish::finalise(turn),
        Stage::RollingBack => finish::roll_back(turn),
        Stage::Reverting => finish::revert(turn),
        Stage::Restarting => homeward::restart(turn),
        Stage::HoldOnCanary => hold::hold(turn),
        Stage::Restoring => hold::restore(turn),
        // The deletion mark cannot be taken back; a cache that does not show it yet will.
        Stage::Leaving => {}
    }
}

/// Stages in which the revision under test is tried.
const fn in_run(stage: Stage) -> bool {
    matches!(
        stage,
        Stage::Raising | Stage::Stepping | Stage::WaitingPromotion | Stage::Shielding
    )
}

/// Says once in a run that its spec turned bad. A run whose analysis nobody can read any more is rolled back; true then.
fn tell_refusal(turn: &mut Turn<'_>) -> bool {
    let Some(refusal) = turn.observation.refusals.first() else {
        return false;
    };
    let words = format!("{}: {}", refusal.field, refusal.message);
    if turn.observation.unreadable {
        finish::begin_rollback(turn, "MalformedSpec", &words);
        return true;
    }
    if turn.once("told/run/refused") {
        let text = format!("{words}; the run goes on as it was begun, and nothing new starts");
        turn.warning("refused", "Refuse", &text);
    }
    false
}

/// Without a last good revision nothing could be drawn any more, and no release could ever start or end.
fn replace_lost(turn: &mut Turn<'_>, serving: Fingerprint) {
    let text = format!(
        "The last good revision of {} was deleted; what the primary serves with counts as that from now on",
        turn.target_name()
    );
    turn.warning("revision-lost", "Store", &text)
        .alerts(Severity::Warn, &text);
    turn.block.promoted = Some(serving);
}

fn suspend(turn: &mut Turn<'_>) {
    if turn.why_changes("Suspended") {
        turn.event("suspended", "Suspend", "skipping canary run as object is suspended");
    }
    turn.why("Suspended", "spec.suspend is true: nothing is touched")
        .awaiting("spec.suspend to be false again");
}

/// Nothing was touched until now, so nothing has run out of time.
fn resume(turn: &mut Turn<'_>) {
    if !matches!(turn.block.stage, Stage::Resting | Stage::Waiting) {
        turn.block.since = turn.now;
    }
    if let Some(gate) = &mut turn.block.gate {
        gate.since = turn.now;
    }
    // What was answered before that tells nothing about now.
    turn.drop_round();
    let patience = turn.now + delta(turn.spec().progress_deadline());
    turn.why("Resumed", "goes on where it was held")
        .awaiting("what the stage waits for")
        .until(patience, "what the stage does when its patience is over");
}
