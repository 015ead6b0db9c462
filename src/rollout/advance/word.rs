//! A person's word is heard: once, by the write that acts on it. What it asks for is done if it makes sense now, and told if not.
//!
//! A word never goes past the pods: whatever a person says, a side gets no more than its ready pods carry.

use super::super::notice::Severity;
use super::super::round::Tally;
use super::super::state::{GateState, RunResult, Stage};
use super::super::weight::Weight;
use super::super::word::{Heard, Said, Verb, Word};
use super::deed::{Deed, cannot_tell_yet, decide};
use super::turn::Turn;
use super::{finish, promote, rest, step};

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
    if held.is_none() && cannot_tell_yet(turn, &word) {
        return false;
    }
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
    let (place, by) = (turn.place(), said_by(turn, Verb::Pause));
    turn.why("Paused", &format!("a person holds the run at {place}{by}"))
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
        Deed::Begin => {
            turn.block.words.paused = None;
            let text = format!("Starting canary analysis for {}", turn.target_name());
            turn.event("analysis", "Analyse", &text);
            step::begin(turn);
        }
        Deed::Iterate(number) => {
            turn.block.words.paused = None;
            begin_stepping(turn);
            step::iterate(turn, number);
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
            let text = format!("Canary is paused at {}{}", turn.place(), by(word, said));
            turn.alert_only("paused", "Pause", Severity::Warn, &text);
            pauses(turn);
            return false;
        }
        Deed::Resume => {
            if let (Some(paused), Some(gate)) = (turn.block.words.paused.take(), &mut turn.block.gate) {
                gate.since += turn.now - paused;
            }
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
        plan.call_off();
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
    turn.ask_now();
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

/// Ends the run, or the wait for one, as failed: the revision is not tried again before another one, or a retry. At rest it waits for
/// a slot.
pub(super) fn refuse_revision(turn: &mut Turn<'_>, reason: &str, message: &str) {
    let text = format!("Rolling back {} {message}", turn.canary_name());
    turn.warning("rollback", "RollBack", &text)
        .alerts(Severity::Warn, &format!("Rolled back: {message}"));
    if matches!(turn.block.stage, Stage::Waiting | Stage::Resting) {
        end_wait(turn, reason, message);
    } else {
        finish::roll_traffic_back(turn, reason, message);
    }
}

/// The revision that waits is not released.
pub(super) fn end_wait(turn: &mut Turn<'_>, reason: &str, message: &str) {
    let in_line = turn.block.in_line().cloned();
    turn.block.last_failed = turn.block.running.take().or(in_line);
    turn.memory.asked_about = None;
    turn.drop_round();
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
