//! Says why the pods that a stage waits for do not come up.

use super::super::pods::awaited_pods;
use super::super::weight::Side;
use super::turn::{Turn, cut};

/// Once a stage as a warning, and in the words of what is awaited.
pub(super) fn say(turn: &mut Turn<'_>) {
    let (workload, name) = match awaited_pods(&turn.block, turn.observation) {
        Some(Side::Primary) => (&turn.observation.primary, turn.primary_name()),
        Some(Side::Canary) => (&turn.observation.target, turn.target_name()),
        None => return,
    };
    let Some(trouble) = workload.present().and_then(|workload| workload.trouble.clone()) else {
        return;
    };
    if turn.once("told/pods") {
        turn.warning("pods", "Wait", &format!("{name} does not come up: {trouble}"));
    }
    let message = &turn.block.why.message;
    if !message.contains(&trouble) {
        turn.block.why.message = cut(&format!("{message}; {name}: {trouble}"));
    }
}
