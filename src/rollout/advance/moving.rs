//! The spec names another target, Service or provider than those that stand. A run is ended through the old objects; then what stands
//! by the old names is handed back, as on deletion, and the new names are taken over, as a new Canary's.
//!
//! The old names stay in the block until nothing of the route depends on the sides any more; from there on the primary that serves
//! meanwhile is named by `former`, so that a process that dies anywhere between leaves its successor all that it needs.

use super::super::assertion::{Assertion, Leftover};
use super::super::handover::{Handover, handover, heir};
use super::super::notice::Severity;
use super::super::observation::Observation;
use super::super::state::{Block, RunResult, Stage, Subject};
use super::super::weight::Side;
use super::super::{known::Known, met::met};
use super::turn::Turn;
use super::{down, finish, hold, homeward, leave, rest, turn_route};

/// Whether the spec names other objects than those that stand, and may be followed.
pub fn is_renamed(block: &Block, observation: &Observation) -> bool {
    block.subject != observation.subject && observation.refusals.is_empty()
}

/// What is needed no more where the canary stands on its way.
pub fn leftovers(block: &Block, observation: &Observation) -> Vec<Leftover> {
    let (now, wanted) = (&block.subject, &observation.subject);
    let mut all = Vec::new();
    match (block.stage, &block.former) {
        (Stage::Moving, _) => {
            if now.apex != wanted.apex {
                all.extend([Side::Primary, Side::Canary].map(Leftover::Service));
            }
            if heir(block, observation) == Side::Canary {
                all.push(Leftover::Primary);
                all.extend(block.scaler.as_ref().map(|_| Leftover::Scaler));
            }
        }
        // Where the Service has changed as well, the old one may still be called, and only these pods are behind it.
        (Stage::Initializing, Some(former)) if former.target != now.target && former.apex == now.apex => {
            all.push(Leftover::FormerPrimary);
        }
        _ => {}
    }
    all
}

/// Whether the primary that serves is to go on as it is, by other names. Whatever it bears is what was promoted, also where that is
/// spelled otherwise by now.
pub fn keeps_primary(block: &Block) -> bool {
    let former = block.former.as_ref();
    former.is_some_and(|former| former.target == block.subject.target) && block.promoted.is_some()
}

/// Ends a run for the sake of the new names; true while it did. A stage that cannot be left half-way is finished first.
pub(super) fn ends_run(turn: &mut Turn<'_>) -> bool {
    match turn.block.stage {
        Stage::Raising | Stage::Stepping | Stage::WaitingPromotion | Stage::Shielding | Stage::Restarting => {
            turn.enter(Stage::Reverting);
            let text = format!(
                "Names changed! Ending the run of {} to move to {}",
                turn.target_name(),
                spelled(&turn.observation.subject)
            );
            turn.event("names-changed", "Move", &text);
            homeward::bring_home(turn);
            let message = "the spec names other objects; the run is ended first";
            down::say(turn, "NamesChanged", message, down::HOME_AND_DOWN);
            true
        }
        // The primary needs a revision that works before it can be relied on.
        Stage::HoldOnCanary if hold::last_good(&turn.block).is_some() => {
            turn.enter(Stage::Restoring);
            let text = format!(
                "Names changed! Restoring the last good revision of {} first",
                turn.target_name()
            );
            turn.event("restore", "Move", &text);
            let deadline = turn.deadline();
            turn.why(
                "NamesChanged",
                "the spec names other objects; the primary gets the last good revision back first",
            )
            .awaiting("the primary's pods")
            .until(deadline, hold::STAYS);
            true
        }
        _ => false,
    }
}

/// The outcome of a run that was ended for the sake of the new names.
pub(super) fn run_ended(turn: &mut Turn<'_>) {
    let message = "the names of target, service or provider were changed; the run was ended";
    turn.outcome(RunResult::Succeeded, "NamesChanged", message);
    turn.enter(Stage::Resting);
    finish::owe_post_rollout(turn);
    let text = format!("Run ended! Scaling down {}", turn.target_name());
    turn.event("ended", "Move", &text);
    turn.why("NamesChanged", message).awaiting("the hooks after the run");
}

/// At rest: sets out.
pub(super) fn begin(turn: &mut Turn<'_>) {
    if finish::post_rollout(turn, true) || rest::refused(turn) {
        return;
    }
    // What stands is read before it is left.
    if !matches!(turn.observation.primary, Known::Present(_) | Known::Absent) {
        return;
    }
    turn.enter(Stage::Moving);
    turn.block.running = None;
    if turn.block.promoted.is_none() {
        let primary = turn.observation.primary.present();
        turn.block.promoted = primary.and_then(|primary| primary.fingerprint.clone());
    }
    let text = format!(
        "Names changed! Moving {} from {} to {}",
        turn.canary_name(),
        spelled(&turn.block.subject),
        spelled(&turn.observation.subject)
    );
    turn.event("moving", "Move", &text).alerts(Severity::Info, &text);
    go_on(turn);
}

/// Hands back what stands by the old names. The order of the writes is `render`'s; this waits, says what for, and ends it.
pub(super) fn go_on(turn: &mut Turn<'_>) {
    leave::watch_the_clock(turn);
    let past = turn.past_deadline();
    let state = handover(turn.canary, &turn.block, turn.observation, &turn.memory, turn.now);
    let tidy = met(
        &Assertion::Discarded(leftovers(&turn.block, turn.observation)),
        &turn.block,
        turn.observation,
        &turn.memory,
    );
    let arrives = match state {
        Handover::Done => tidy || past,
        Handover::Nothing | Handover::Kept | Handover::Abandoned { .. } => true,
        _ => false,
    };
    if arrives {
        if !rest::refused(turn) {
            arrive(turn, state);
        }
        return;
    }
    let deadline = turn.deadline();
    let message = match state {
        Handover::Done => "what is needed no more is taken away".to_owned(),
        state => leave::words(turn, state),
    };
    let trouble = turn
        .observation
        .obstacle
        .as_ref()
        .and_then(|_| turn_route::trouble(turn.observation));
    let (reason, message) = trouble.unwrap_or(("Moving", message));
    if past && turn.once("told/move-deadline") {
        turn.warning("move-deadline", "Move", &message)
            .alerts(Severity::Error, &message);
    }
    turn.why(reason, &message)
        .awaiting("what stands by the old names to be handed back")
        .until(
            deadline,
            "a person is alerted, and it goes on without waiting for the data plane",
        );
}

/// Everything by the old names is handed back, or has been waited for long enough: the new ones are taken over.
fn arrive(turn: &mut Turn<'_>, state: Handover) {
    let old = turn.block.subject.clone();
    let stands_alone = heir(&turn.block, turn.observation) == Side::Canary && state == Handover::Done;
    if state == Handover::Kept {
        let message = format!(
            "{} could not be handed back in time; it stays as it is",
            spelled(&turn.block.subject)
        );
        turn.warning("not-handed-back", "Move", &message)
            .alerts(Severity::Error, &message);
    }
    if !stands_alone && old.target != turn.observation.subject.target && old.apex != turn.observation.subject.apex {
        let message = format!(
            "{} keeps serving Service {}; both go with the Canary, or by hand when nobody calls them any more",
            turn.primary_name(),
            old.apex
        );
        turn.warning("stays", "Move", &message).alerts(Severity::Warn, &message);
    }
    let primary = turn.observation.primary.present().map(|primary| primary.replicas);
    let size = turn.capacity().primary_ready().filter(|ready| *ready > 0).or(primary);
    turn.block.capacity = size.unwrap_or(turn.block.capacity).max(1);
    turn.block.former = (!stands_alone).then_some(old);
    take_names(turn);
    turn.enter(Stage::Initializing);
    let message = format!("taking over {}", spelled(&turn.block.subject));
    turn.why("Initializing", &message)
        .awaiting("the primary, the Services and the route by the new names");
}

/// The names of the spec become those of the block. The last good revision of a primary that serves meanwhile is kept, to be good
/// again if the names return.
pub(super) fn take_names(turn: &mut Turn<'_>) {
    let wanted = turn.observation.subject.clone();
    let block = &mut turn.block;
    let former = block.former.as_ref().map(|former| former.target.as_str());
    let (now, next) = (Some(block.subject.target.as_str()), Some(wanted.target.as_str()));
    if former.is_none() {
        block.promoted = None;
    } else if now != next {
        if former == now {
            block.last_promoted = block.promoted.take();
        } else if former == next {
            block.promoted = block.last_promoted.take();
        } else {
            block.promoted = None;
        }
    }
    block.subject = wanted;
}

/// Waits until the primary that served meanwhile is gone; true while it stands.
pub(super) fn former_stands(turn: &mut Turn<'_>) -> bool {
    let leftovers = leftovers(&turn.block, turn.observation);
    let gone = met(
        &Assertion::Discarded(leftovers),
        &turn.block,
        turn.observation,
        &turn.memory,
    );
    let Some(former) = turn.block.former.as_ref().filter(|_| !gone) else {
        return false;
    };
    let message = format!(
        "Deployment {}-primary served until now and is needed no more",
        former.target
    );
    if turn.past_deadline() {
        let message = format!("{message}; it could not be deleted, and stays");
        turn.warning("stays", "Move", &message).alerts(Severity::Warn, &message);
        return false;
    }
    let deadline = turn.deadline();
    turn.why("DiscardingFormer", &message)
        .awaiting("the Deployment to be gone")
        .until(deadline, "it stays, and that is said");
    true
}

/// The end of a move: the canary is at rest by its new names.
pub(super) fn arrived(turn: &mut Turn<'_>) {
    let keeps = keeps_primary(&turn.block);
    let Some(former) = turn.block.former.take() else { return };
    let text = format!(
        "Moved {} from {} to {}",
        turn.canary_name(),
        spelled(&former),
        spelled(&turn.block.subject)
    );
    turn.event("moved", "Move", &text).alerts(Severity::Info, &text);
    if !keeps {
        turn.block.last_promoted = None;
        turn.block.last_failed = None;
    }
}

fn spelled(subject: &Subject) -> String {
    format!(
        "target {}, service {}, provider {}",
        subject.target, subject.apex, subject.provider
    )
}
