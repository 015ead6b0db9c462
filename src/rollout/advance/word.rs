//! A person's word is heard: once, by the write that acts on it. What it asks for is done if it makes sense now, and told if not.
//!
//! A word never goes past the pods: whatever a person says, a side gets no more than its ready pods carry.

use super::super::notice::Severity;
use super::super::round::Tally;
use super::super::state::{Fingerprint, GateState, RunResult, Stage};
use super::super::weight::{Side, Weight};
use super::super::word::{Heard, Said, Verb, Word};
use super::homeward::short;
use super::turn::Turn;
use super::{finish, promote, raise, rest, step};

/// What a word comes to.
enum Deed {
    /// The revision that waits begins its run.
    Start { full: bool },
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

/// Hears the next word, if there is one. True when the pass is over with it.
///
/// `held`: why no word can be followed now.
pub(super) fn hear(turn: &mut Turn<'_>, held: Option<&str>) -> bool {
    let observation = turn.observation;
    let Some(said) = turn.block.words.news(&observation.words).first().copied() else {
        return false;
    };
    let word = match Word::parse(said) {
        Ok(word) => word,
        Err(error) => {
            refuse(turn, said, None, &error.to_string());
            return true;
        }
    };
    let decided = held.map_or_else(|| decide(turn, &word), |held| Err(held.to_owned()));
    match decided {
        Ok(deed) => {
            follow(turn, said, &word);
            perform(turn, deed, &word, said)
        }
        Err(why) => {
            refuse(turn, said, Some(&word), &why);
            true
        }
    }
}

/// Keeps a paused run where it is, with the words for it. True while it is paused.
pub(super) fn pauses(turn: &mut Turn<'_>) -> bool {
    if turn.block.words.paused.is_none() {
        return false;
    }
    let weight = turn.block.weight;
    let by = said_by(turn, Verb::Pause);
    turn.why("Paused", &format!("a person holds the run at weight {weight}{by}"))
        .awaiting("a person: resume, promote, goto or abort");
    let at = turn.interval_from_now();
    turn.wake_at(at);
    true
}

/// Who said the last followed word of this verb, and why, for a sentence.
fn said_by(turn: &Turn<'_>, verb: Verb) -> String {
    let last = turn.block.words.history.iter().rev();
    last.filter(|heard| heard.verb == verb && heard.refused.is_none())
        .map(|heard| attribution(heard.by.as_deref(), heard.reason.as_deref()))
        .next()
        .unwrap_or_default()
}

fn attribution(by: Option<&str>, reason: Option<&str>) -> String {
    let by = by.map(|by| format!(" ({by})")).unwrap_or_default();
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{by}{reason}")
}

// === what to do ===

/// What the word comes to now, or why it cannot be followed.
fn decide(turn: &Turn<'_>, word: &Word) -> Result<Deed, String> {
    let stage = turn.block.stage;
    bound(turn, word)?;
    match word.verb {
        Verb::Abort => match stage {
            Stage::Waiting
            | Stage::Raising
            | Stage::Stepping
            | Stage::WaitingPromotion
            | Stage::Shielding
            | Stage::Restarting => Ok(Deed::End("Aborted")),
            _ => Err(too_late(stage)),
        },
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

/// A word counts for the revision that it names alone.
fn bound(turn: &Turn<'_>, word: &Word) -> Result<(), String> {
    let block = &turn.block;
    let (about, what) = match block.stage {
        Stage::Resting => (block.last_failed.as_ref(), "failed last"),
        Stage::Waiting => (block.running.as_ref(), "waits"),
        _ => (block.running.as_ref(), "is being released"),
    };
    match about {
        None => Err("no revision is being released, and none has failed".into()),
        Some(about) if word.is_about(about) => Ok(()),
        Some(about) => Err(format!(
            "it is about revision {}, and {} {what}",
            word.revision(),
            short(about)
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
    match block.plan.as_ref().and_then(|plan| plan.after(block.weight)) {
        Some(weight) => carried(turn, weight).map(|()| Deed::Give(weight)),
        None if block.stage == Stage::Raising => Err("the promotion comes next by itself".into()),
        None => carried(turn, block.weight).map(|()| Deed::Promote),
    }
}

fn going(turn: &Turn<'_>, weight: Weight) -> Result<Deed, String> {
    match turn.block.stage {
        Stage::Raising => raised(turn)?,
        Stage::Stepping | Stage::WaitingPromotion => {}
        stage => return Err(too_late(stage)),
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
    if turn.capacity().carries(side, weight) {
        return Ok(());
    }
    let needed = turn.capacity().need(side, weight);
    let ready = ready.map_or_else(|| "an unknown number".into(), |ready| ready.to_string());
    Err(format!(
        "weight {weight} needs {needed} ready pods of the {whose}, {ready} are ready"
    ))
}

// === doing it ===

/// Does it. True when the pass is over with it, false when its stage goes on from there.
fn perform(turn: &mut Turn<'_>, deed: Deed, word: &Word, said: &Said) -> bool {
    match deed {
        Deed::Start { full } => {
            let Some(revision) = turn.block.running.clone() else {
                return true;
            };
            rest::start(turn, revision, &Tally::default());
            if full && turn.block.stage == Stage::Raising {
                skip_all(turn);
            }
            // Without a slot it is remembered until there is one.
            turn.block.words.full = full;
        }
        Deed::Give(weight) => {
            turn.block.words.paused = None;
            begin_stepping(turn);
            step::give(turn, weight);
        }
        Deed::Promote => {
            turn.block.words.paused = None;
            promote::begin(turn, &Tally::default());
        }
        Deed::SkipAll => {
            turn.block.words.paused = None;
            skip_all(turn);
            turn.why("PromoteFull", "the rest of the plan is left out")
                .awaiting("the canary's pods");
            return false;
        }
        Deed::End(reason) => end(turn, reason, word, said),
        Deed::Pause => {
            turn.block.words.paused = Some(turn.now);
            let text = format!("Canary is paused at weight {}{}", turn.block.weight, by(word, said));
            turn.alert_only("paused", "Pause", Severity::Warn, &text);
            pauses(turn);
            return false;
        }
        Deed::Resume => {
            turn.block.words.paused = None;
            turn.why("Resumed", "a person ended the pause")
                .awaiting("the next check");
            return false;
        }
        Deed::Retry => {
            turn.block.last_failed = None;
            return false;
        }
        Deed::Open(mark) => {
            open(turn, &mark);
            return false;
        }
        Deed::Go(Weight::ZERO) => {
            // Without traffic there is nothing to check: the pods stay, and the first step comes when a person says so.
            turn.enter(Stage::Raising);
            turn.set_weight(Weight::ZERO);
            turn.block.words.paused = Some(turn.now);
            tell_weight(turn, Weight::ZERO);
            pauses(turn);
        }
        Deed::Go(weight) => {
            begin_stepping(turn);
            turn.set_weight(weight);
            turn.forget_gates();
            tell_weight(turn, weight);
            step::dwell(turn);
        }
    }
    true
}

pub(super) fn skip_all(turn: &mut Turn<'_>) {
    turn.block.words.full = true;
    if let Some(plan) = turn.block.plan.as_mut() {
        plan.steps.clear();
    }
}

fn begin_stepping(turn: &mut Turn<'_>) {
    if turn.block.stage == Stage::Raising {
        let text = format!("Starting canary analysis for {}", turn.target_name());
        turn.event("analysis", "Analyse", &text);
    }
    if turn.block.stage != Stage::Stepping {
        turn.enter(Stage::Stepping);
    }
}

fn tell_weight(turn: &mut Turn<'_>, weight: Weight) {
    let text = format!("Set {} canary weight {weight}", turn.canary_name());
    turn.event(&format!("goto-{weight}"), "Goto", &text);
}

/// The gate counts as passed for this step, and what is left of the check is asked at once.
pub(super) fn open(turn: &mut Turn<'_>, mark: &str) {
    turn.block.gates.insert(mark.to_owned(), GateState::Passed);
    turn.block.gate = None;
    turn.drop_round();
    turn.memory.last_check = None;
    turn.why("Approved", &format!("{mark} counts as passed"))
        .awaiting("the rest of the check");
}

fn end(turn: &mut Turn<'_>, reason: &str, word: &Word, said: &Said) {
    let message = match reason {
        "Rejected" => format!("a person rejected the revision{}", by(word, said)),
        _ => format!("a person aborted the release{}", by(word, said)),
    };
    refuse_revision(turn, reason, &message);
}

/// Ends the run, or the wait for one, as failed: the revision is not tried again before another one, or a retry.
pub(super) fn refuse_revision(turn: &mut Turn<'_>, reason: &str, message: &str) {
    let text = format!("Rolling back {} {message}", turn.canary_name());
    turn.warning("rollback", "RollBack", &text)
        .alerts(Severity::Warn, &format!("Rolled back: {message}"));
    if turn.block.stage == Stage::Waiting {
        end_wait(turn, reason, message);
    } else {
        finish::roll_traffic_back(turn, reason, message);
    }
}

/// The revision that waits is not released.
pub(super) fn end_wait(turn: &mut Turn<'_>, reason: &str, message: &str) {
    turn.block.last_failed = turn.block.running.take();
    turn.memory.asked_about = None;
    turn.outcome(RunResult::Failed, reason, message);
    turn.enter(Stage::Resting);
    turn.why(reason, message)
        .awaiting("a new revision of the target, or its return to the promoted one");
}

// === telling ===

fn by(word: &Word, said: &Said) -> String {
    attribution(said.by.as_deref(), word.reason.as_deref())
}

fn follow(turn: &mut Turn<'_>, said: &Said, word: &Word) {
    let verb = word.verb.as_str();
    let weight = if word.verb == Verb::Goto {
        format!(" {}", word.weight)
    } else {
        String::new()
    };
    let text = format!(
        "A person said {verb}{weight} to {}{}",
        turn.canary_name(),
        by(word, said)
    );
    turn.event(&format!("word-{verb}"), "Word", &text);
    note(turn, said, Some(word), None);
}

fn refuse(turn: &mut Turn<'_>, said: &Said, word: Option<&Word>, why: &str) {
    let verb = said.verb.as_str();
    let text = format!(
        "{} of {} is not followed: {why}",
        said.verb.annotation(),
        turn.canary_name()
    );
    turn.warning(&format!("word-{verb}"), "Word", &text);
    note(turn, said, word, Some(why));
}

fn note(turn: &mut Turn<'_>, said: &Said, word: Option<&Word>, refused: Option<&str>) {
    let heard = Heard {
        verb: said.verb,
        revision: word.map(|word| word.revision().to_owned()).unwrap_or_default(),
        at: turn.now,
        by: said.by.clone(),
        reason: word.and_then(|word| word.reason.clone()),
        weight: word.filter(|word| word.verb == Verb::Goto).map(|word| word.weight),
        refused: refused.map(str::to_owned),
    };
    turn.block.words.note(said, heard);
}
