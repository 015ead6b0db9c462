//! `ask`: the questions that are due, given the answers so far.

use chrono::{DateTime, Utc};

use super::advance;
use super::mark::OWED;
use super::observation::{Memory, Observation};
use super::question::{Answers, Round};
use super::round::{self, Check, Progress};
use super::state::{Block, Stage};
use crate::api::Canary;

/// The next questions of the check that is due, if one is and something in it has no answer yet.
///
/// A conflict or a repeated pass asks for the same round by the same name, so that the jobs in flight are not started again.
pub fn ask(
    canary: &Canary,
    block: Option<&Block>,
    observation: &Observation,
    memory: &Memory,
    answers: &Answers,
    now: DateTime<Utc>,
) -> Option<Round> {
    let block = block?;
    if observation.deleting
        || canary.spec.suspend
        || observation.taken_by.is_some()
        || (advance::is_renamed(block, observation) && !ends(block))
    {
        return None;
    }
    let Check::Due(due) = round::check(canary, block, observation, memory, now) else {
        return None;
    };
    match round::progress(&due, canary, answers) {
        Progress::Ask(questions) => Some(Round { id: due.id, questions }),
        Progress::Done(_) => None,
    }
}

/// A run that has ended through the old objects, when the spec names others, still calls the hooks that come after it.
fn ends(block: &Block) -> bool {
    block.stage == Stage::Resting && block.gates.contains_key(OWED)
}
