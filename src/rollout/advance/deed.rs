//! What a person's word comes to at this moment, or why it cannot be followed.

use super::super::state::{Fingerprint, Stage};
use super::super::steps::Next;
use super::super::weight::{Side, Weight};
use super::super::word::{Verb, Word};
use super::raise;
use super::turn::Turn;

/// What a word comes to.
pub(super) enum Deed {
    /// The revision that waits begins its run.
    Start { full: bool },
    /// The canary is tried for the first time.
    Begin,
    /// One more check at the same traffic: the number of this iteration.
    Iterate(u32),
    /// The canary gets the next weight of the plan.
    Give(Weight),
    /// The revision is promoted.
    Promote,
    /// The rest of the plan is left out.
    SkipAll,
    /// The run is rolled back, or the revision that waits is refused.
    End(&'static str),
    /// The run is held.
    Pause,
    /// It goes on.
    Resume,
    /// The failed revision counts as a new one.
    Retry,
    /// The gate counts as passed.
    Open(String),
    /// The canary gets this weight.
    Go(Weight),
}

/// What the word comes to now, or why it cannot be followed.
pub(super) fn decide(turn: &Turn<'_>, word: &Word) -> Result<Deed, String> {
    let stage = turn.block.stage;
    let in_line = stage == Stage::Resting && turn.block.in_line().is_some();
    bound(turn, word)?;
    match word.verb {
        Verb::Abort => match stage {
            Stage::Waiting
            | Stage::Raising
            | Stage::Stepping
            | Stage::WaitingPromotion
            | Stage::Shielding
            | Stage::Restarting => Ok(Deed::End("Aborted")),
            Stage::Resting if in_line => leaves_the_line(turn),
            _ => Err(too_late(stage)),
        },
        _ if in_line => Err(
            "it begins by itself when there is a slot: abort it, or return the target to the promoted revision".into(),
        ),
        Verb::Reject => gate(turn).map(|_| Deed::End("Rejected")),
        Verb::Approve => gate(turn).map(Deed::Open),
        Verb::Pause if !pausable(stage) => Err(too_late(stage)),
        Verb::Pause if turn.block.words.paused.is_some() => Err("the run is paused already".into()),
        Verb::Pause => Ok(Deed::Pause),
        Verb::Resume if turn.block.words.paused.is_none() => Err("nothing is paused".into()),
        Verb::Resume => Ok(Deed::Resume),
        Verb::Retry => retry(turn),
        Verb::Goto => going(turn, word.weight),
        Verb::Promote => next(turn),
        Verb::PromoteFull if stage == Stage::Waiting => startable(turn).map(|()| Deed::Start { full: true }),
        Verb::PromoteFull if pausable(stage) => Ok(Deed::SkipAll),
        Verb::PromoteFull => Err(too_late(stage)),
    }
}

/// Whether the word has to wait: what it needs may stand, and a process that has just begun has not seen it yet. Refused it would be lost
/// to nobody's fault but the process's end.
pub(super) fn cannot_tell_yet(turn: &Turn<'_>, word: &Word) -> bool {
    let needs_sight = turn.block.stage == Stage::Raising && matches!(word.verb, Verb::Promote | Verb::Goto);
    let unrehearsed = !matches!(&turn.memory.rehearsal, Some((run, _)) if *run == turn.block.run);
    let ready = || raise::pods_ready(turn.canary, &turn.block, turn.observation, &turn.memory, turn.now);
    needs_sight && (turn.drawn_since().is_none() || (unrehearsed && ready()))
}

/// A word counts for the revision that it names alone.
fn bound(turn: &Turn<'_>, word: &Word) -> Result<(), String> {
    let block = &turn.block;
    let what = match block.stage {
        Stage::Resting if block.in_line().is_some() => "waits for a slot",
        Stage::Resting => "failed last",
        Stage::Waiting => "waits",
        _ => "is being released",
    };
    match block.spoken_of() {
        None => Err("no revision is being released, and none has failed".into()),
        Some(about) if word.is_about(about) => Ok(()),
        Some(about) => Err(format!(
            "it is about revision {}, and {} {what}",
            word.revision(),
            about.short()
        )),
    }
}

/// Stages in which a run can be held: the canary's side of it is not over.
const fn pausable(stage: Stage) -> bool {
    matches!(stage, Stage::Raising | Stage::Stepping | Stage::WaitingPromotion)
}

/// Why nothing of a run can be changed any more, or yet.
fn too_late(stage: Stage) -> String {
    match stage {
        Stage::Initializing => "the application is being taken over",
        Stage::Resting => "the release has ended",
        Stage::Waiting => "no traffic moves before the revision is approved: approve, reject or abort it",
        Stage::Raising | Stage::Stepping | Stage::WaitingPromotion => "the run has not come that far",
        Stage::Shielding | Stage::Promoting | Stage::Returning | Stage::Finalising => {
            "the primary is getting this revision; to go back, return the target to the last good one"
        }
        Stage::RollingBack | Stage::Reverting | Stage::Restarting => "traffic is on its way back to the primary",
        Stage::HoldOnCanary | Stage::Restoring => {
            "the promotion has failed; it goes on when the primary's pods are ready, and ends with another revision"
        }
        Stage::Moving => "the Canary is moving to other names",
        Stage::Leaving => "the Canary is being deleted",
    }
    .into()
}

/// The gate that is awaited.
fn gate(turn: &Turn<'_>) -> Result<String, String> {
    let closed = turn.block.gate.as_ref().map(|gate| gate.mark.clone());
    closed.ok_or_else(|| "no gate is awaited".into())
}

fn has(turn: &Turn<'_>, revision: Option<&Fingerprint>) -> bool {
    let target = &turn.observation.target;
    revision.is_some() && target.is_present_and(|target| target.fingerprint.as_ref() == revision)
}

/// The revision that waits for a slot is given up.
fn leaves_the_line(turn: &Turn<'_>) -> Result<Deed, String> {
    let target = &turn.observation.target;
    let now = target.present().and_then(|target| target.fingerprint.as_ref());
    if now.is_some() && now != turn.block.in_line() {
        return Err("the target has another revision by now".into());
    }
    Ok(Deed::End("Aborted"))
}

/// Whether the revision that waits may begin its run.
fn startable(turn: &Turn<'_>) -> Result<(), String> {
    if let Some(refusal) = turn.observation.refusals.first() {
        return Err(format!("{}: {}", refusal.field, refusal.message));
    }
    if !has(turn, turn.block.running.as_ref()) {
        return Err("the target has another revision by now".into());
    }
    Ok(())
}

fn retry(turn: &Turn<'_>) -> Result<Deed, String> {
    match turn.block.stage {
        Stage::Resting if has(turn, turn.block.last_failed.as_ref()) => Ok(Deed::Retry),
        Stage::Resting => Err("the target has another revision by now".into()),
        stage => Err(too_late(stage)),
    }
}

/// What comes after the present step.
fn next(turn: &Turn<'_>) -> Result<Deed, String> {
    let block = &turn.block;
    match block.stage {
        Stage::Waiting => return startable(turn).map(|()| Deed::Start { full: false }),
        Stage::Raising => raised(turn)?,
        Stage::Stepping | Stage::WaitingPromotion => {}
        stage => return Err(too_late(stage)),
    }
    let begins = block.stage == Stage::Raising;
    match block.next() {
        Next::Promotion if begins => Err("the promotion comes next by itself".into()),
        _ if begins => Ok(Deed::Begin),
        Next::Iteration(number) => Ok(Deed::Iterate(number)),
        Next::Weight(weight) => carried(turn, weight).map(|()| Deed::Give(weight)),
        Next::Promotion => carried(turn, block.weight).map(|()| Deed::Promote),
    }
}

fn going(turn: &Turn<'_>, weight: Weight) -> Result<Deed, String> {
    match turn.block.stage {
        Stage::Raising => raised(turn)?,
        Stage::Stepping | Stage::WaitingPromotion => {}
        stage => return Err(too_late(stage)),
    }
    if turn.block.plan.as_ref().is_some_and(|plan| plan.iterations > 0) {
        return Err("the run counts iterations, not weights".into());
    }
    if weight == turn.block.weight {
        return Err(format!("the weight is {weight} already"));
    }
    carried(turn, weight).map(|()| Deed::Go(weight))
}

/// Whether the canary's pods are ready for their first traffic.
fn raised(turn: &Turn<'_>) -> Result<(), String> {
    let ready = raise::ready_for_traffic(turn.canary, &turn.block, turn.observation, &turn.memory, turn.now);
    if ready {
        Ok(())
    } else {
        Err(format!(
            "the canary is not ready for traffic: {}",
            turn.block.why.message
        ))
    }
}

/// Whether the pods carry the weight that their side would be raised to.
fn carried(turn: &Turn<'_>, weight: Weight) -> Result<(), String> {
    let (side, ready, whose) = if weight < turn.block.weight {
        (Side::Primary, turn.observation.primary_endpoints, "primary")
    } else {
        (Side::Canary, turn.observation.canary_endpoints, "canary")
    };
    let traffic = turn.block.traffic_at(weight);
    if turn.capacity().bears(side, &traffic) {
        return Ok(());
    }
    let needed = turn.capacity().need_of(side, &traffic);
    let ready = ready.map_or_else(|| "an unknown number".into(), |ready| ready.to_string());
    Err(format!(
        "weight {weight} needs {needed} ready pods of the {whose}, {ready} are ready"
    ))
}
