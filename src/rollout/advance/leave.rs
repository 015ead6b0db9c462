//! The Canary is being deleted: the target gets everything back, without a dropped request (`design.md`, "Leaving").

use super::super::announcement::parted;
use super::super::assertion::Destination;
use super::super::handover::{self, Handover, LAST_TRIES, handover, heir};
use super::super::notice::Severity;
use super::super::scaler;
use super::super::state::Stage;
use super::super::weight::{Side, Weight};
use super::turn::Turn;
use super::{homeward, turn_route};

/// The mark of the last word; `render` takes the finalizer away only behind it.
pub const TERMINATED: &str = "told/terminated";

/// The mark of a hand-back that was given up.
pub const NOT_HANDED_BACK: &str = "told/not-handed-back";

/// Hands back. The order of the writes is `render`'s; the finalizer is the last of them and ends the object.
pub(super) fn leave(turn: &mut Turn<'_>) {
    if turn.block.stage != Stage::Leaving {
        turn.enter(Stage::Leaving);
        turn.block.plan = None;
        let text = format!("Terminating canary {}", turn.canary_name());
        turn.event("terminating", "Leave", &text);
        warn_of_another_revision(turn);
    }
    if turn.observation.taken_by.is_none() {
        homeward::bring_home(turn);
    }
    watch_the_clock(turn);
    let deadline = handover::deadline(turn.canary, &turn.block, &turn.memory);
    let state = handover(turn.canary, &turn.block, turn.observation, &turn.memory, turn.now);
    let message = words(turn, state);
    let trouble = turn
        .observation
        .obstacle
        .as_ref()
        .and_then(|_| turn_route::trouble(turn.observation));
    let (reason, message) = trouble.unwrap_or(("Terminating", message));
    if reason != "Terminating" {
        turn_route::tell_once(turn, reason, &message);
    }
    turn.why(reason, &message)
        .awaiting("the target's pods, then its traffic")
        .until(deadline, "the Canary is released in any case");
    let unfinished = matches!(state, Handover::Kept | Handover::Abandoned { .. });
    if unfinished && turn.once(NOT_HANDED_BACK) {
        turn.warning("not-handed-back", "Leave", &message)
            .alerts(Severity::Error, &message);
    }
    let over = unfinished || matches!(state, Handover::Done | Handover::Nothing);
    if over && turn.once(TERMINATED) {
        let text = format!("Terminated canary {}", turn.canary_name());
        turn.event("terminated", "Leave", &text);
    }
}

/// Looks again when a settle time ends, and when the patience does: after the deadline the hand-back goes on whatever is missing.
pub(super) fn watch_the_clock(turn: &mut Turn<'_>) {
    let deadline = handover::deadline(turn.canary, &turn.block, &turn.memory);
    for tries in 0..=2 {
        turn.wake_at(deadline + LAST_TRIES * tries);
    }
    for since in [
        turn.memory.apex_seen.map(|(_, since)| since),
        turn.memory.apex_announced_seen,
        parted(&turn.memory, Destination::Apex),
        turn.memory.handed_back_seen,
    ] {
        turn.settled(since);
        turn.let_go(since);
    }
}

/// What is being done, in a sentence.
pub(super) fn words(turn: &Turn<'_>, state: Handover) -> String {
    let (needed, ready) = (
        turn.capacity().need(Side::Canary, Weight::FULL),
        turn.observation.canary_endpoints.unwrap_or(0),
    );
    match state {
        Handover::Nothing => "there is nothing to hand back; the Canary is released".to_owned(),
        Handover::Unknown => "the target, its Service or its route cannot be read now".to_owned(),
        Handover::Raising => {
            let limit = scaler::limit(turn.spec(), &turn.block, turn.observation, needed);
            format!("the target takes over from the primary: {ready} of {needed} pods ready{limit}")
        }
        Handover::SwitchingApex => match heir(&turn.block, turn.observation) {
            Side::Canary => "the apex Service is pointed at the target's pods".to_owned(),
            Side::Primary => "the apex Service is pointed at the primary's pods".to_owned(),
        },
        Handover::Announcing => {
            "the route names the apex Service; the data plane is given time to load its pods".to_owned()
        }
        Handover::Parting => {
            "the route leads to the apex Service; the data plane is given time to let go of the sides".to_owned()
        }
        Handover::HandingBack => "the route is pointed at the apex Service alone".to_owned(),
        Handover::Kept => format!(
            "the target did not come up ({ready} of {needed} pods ready); the primary keeps the traffic and stays with its Services, owned by nobody"
        ),
        Handover::Abandoned { .. } => "the deadline has passed; the Canary is released as things are".to_owned(),
        Handover::Done => "the target has everything back; the Canary is released".to_owned(),
    }
}

/// The target is handed all traffic with the template that it has, which may be one that was never promoted.
fn warn_of_another_revision(turn: &mut Turn<'_>) {
    let wanted = turn
        .observation
        .target
        .present()
        .and_then(|target| target.fingerprint.as_ref());
    let promoted = turn.block.promoted.as_ref();
    if turn.observation.taken_by.is_some() || promoted.is_none() || wanted.is_none() || wanted == promoted {
        return;
    }
    let text = format!(
        "{} is handed all traffic with a revision that was not promoted; return it to the good one to keep that",
        turn.target_name()
    );
    turn.warning("unpromoted", "Leave", &text).alerts(Severity::Warn, &text);
}
