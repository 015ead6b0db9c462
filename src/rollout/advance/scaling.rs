//! Whose copy of a scaler the primary has.

use chrono::{DateTime, Utc};

use super::super::assertion::Assertion;
use super::super::met::met;
use super::super::observation::Observation;
use super::super::scaler::{self, Follow};
use super::super::state::Block;
use super::step::ROLLED_BACK;
use super::turn::Turn;

/// The scaler whose copy stands already when a canary is adopted.
pub(super) fn standing(observation: &Observation) -> Option<String> {
    let scaler = observation.scaler.as_ref()?;
    let owned = scaler.copy.is_present_and(|copy| copy.owned);
    owned.then(|| scaler.name.clone())
}

/// Outside of a run the scaler that the spec names takes the place of the one before, whose copy goes first (`render`).
pub(super) fn take_name(turn: &mut Turn<'_>) {
    let wanted = scaler::wanted(turn.spec());
    if turn.block.scaler.as_deref() == wanted || !turn.observation.refusals.is_empty() {
        return;
    }
    let gone = turn
        .observation
        .scaler
        .as_ref()
        .is_none_or(|scaler| scaler.copy.is_absent() || scaler.copy.is_present_and(|copy| !copy.owned));
    if turn.block.scaler.is_none() || gone {
        turn.block.scaler = wanted.map(str::to_owned);
    }
}

/// Whether the copy holds the primary's size, so that the canary may be given a share.
pub fn holds_the_primary(block: &Block, observation: &Observation) -> bool {
    block.scaler.is_none()
        || observation
            .scaler
            .as_ref()
            .is_none_or(|scaler| scaler.stands(block.capacity, Follow::Recorded))
}

/// What is missing while it does not.
pub(super) fn lacks(turn: &Turn<'_>) -> String {
    let name = turn.block.scaler.as_deref().unwrap_or_default();
    let least = turn.block.capacity;
    format!("HorizontalPodAutoscaler {name}-primary is to leave the primary at least {least} replicas")
}

/// The words for waiting on that.
pub(super) fn awaited(turn: &mut Turn<'_>, deadline: DateTime<Utc>) {
    let message = lacks(turn);
    turn.why("RaisingFloor", &message)
        .awaiting("the write to be accepted")
        .until(deadline, ROLLED_BACK);
}

/// Whether the copy has taken over what a promotion brings.
pub(super) fn is_promoted(turn: &Turn<'_>) -> bool {
    let assertion = Assertion::PrimaryScaler {
        floor: turn.block.capacity,
        follow: Follow::Now,
    };
    turn.block.scaler.is_none() || met(&assertion, &turn.block, turn.observation, &turn.memory)
}
