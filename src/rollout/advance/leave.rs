//! The Canary is being deleted: the target gets everything back, without a dropped request (`design.md`, "Leaving").

use super::super::state::Stage;
use super::super::weight::{Side, Weight};
use super::homeward;
use super::turn::Turn;

/// Hands back. The order of the writes is `render`'s; the finalizer is the last of them and ends the object.
pub(super) fn leave(turn: &mut Turn<'_>) {
    if turn.block.stage != Stage::Leaving {
        turn.enter(Stage::Leaving);
        turn.block.plan = None;
        let text = format!("Terminating canary {}", turn.canary_name());
        turn.event("terminating", "Leave", &text);
    }
    homeward::bring_home(turn);
    // Looks again when the patience ends: after the deadline the hand-back goes on whatever is missing.
    let past = turn.past_deadline();
    let deadline = turn.deadline();
    let (needed, ready) = (
        turn.capacity().need(Side::Canary, Weight::FULL),
        turn.observation.canary_endpoints.unwrap_or(0),
    );
    let message = if past {
        "the deadline has passed; the Canary is released as things are".to_owned()
    } else {
        format!("the target takes over from the primary: {ready} of {needed} pods ready")
    };
    turn.why("Terminating", &message)
        .awaiting("the target's pods, then its traffic")
        .until(deadline, "the Canary is released in any case");
    for since in [
        turn.memory.apex_seen.map(|(_, since)| since),
        turn.memory.handed_back_seen,
    ] {
        turn.settled(since);
    }
}
