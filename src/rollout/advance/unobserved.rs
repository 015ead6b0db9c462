//! The target cannot be judged: its controller does not act on its last edit, or it cannot be read.

use chrono::{DateTime, Utc};

use super::super::known::Known;
use super::super::notice::Severity;
use super::down;
use super::turn::Turn;

/// Nothing before that time: what could not be read, or was not seen, for a moment is no news.
pub(super) fn say_late(turn: &mut Turn<'_>, at: DateTime<Utc>) {
    if turn.now >= at {
        say(turn, at);
    } else {
        turn.wake_at(at);
    }
}

/// Says so, and alerts a person once a stage when that has lasted until then.
pub(super) fn say(turn: &mut Turn<'_>, at: DateTime<Utc>) {
    let name = turn.target_name();
    let unread = [&turn.observation.target, &turn.observation.primary].contains(&&Known::Unknown);
    let message = if unread {
        format!("{name} and its primary cannot be read now")
    } else {
        format!("the Deployment controller has not seen the last edit of {name} yet")
    };
    if turn.now >= at && turn.once("told/target-not-observed") {
        turn.warning("target-not-observed", "Stall", &message)
            .alerts(Severity::Error, &message);
    }
    turn.why("TargetNotObserved", &message)
        .awaiting("the target's status")
        .until(at, down::ALERTED);
}
