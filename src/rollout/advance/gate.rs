//! A gate that nobody opens: after its `gateTimeout` the release is held with an alert, rolled back, or goes on.

use chrono::{DateTime, Utc};

use super::super::mark;
use super::super::notice::Severity;
use super::super::state::Stage;
use super::turn::{Turn, delta};
use super::word;
use crate::api::{OnTimeout, Webhook};

/// Until when a closed gate is waited for, and what then; `None`: for ever.
fn patience(turn: &Turn<'_>) -> Option<(DateTime<Utc>, OnTimeout)> {
    let hook = closed(turn)?;
    let since = turn.block.gate.as_ref()?.since;
    Some((since + delta(hook.gate_timeout()?), hook.on_timeout.unwrap_or_default()))
}

/// The hook of the gate that is closed.
fn closed<'a>(turn: &Turn<'a>) -> Option<&'a Webhook> {
    let gate = turn.block.gate.as_ref()?;
    let hooks = mark::hooks(turn.canary);
    let index = (0..hooks.len()).find(|index| mark::mark(turn.canary, *index) == gate.mark)?;
    hooks.get(index)
}

/// What comes next for a closed gate that is asked again at `asked`: the words for `why`. Both times are looked at.
pub(super) fn next(turn: &mut Turn<'_>, asked: DateTime<Utc>) -> (DateTime<Utc>, &'static str) {
    turn.wake_at(asked);
    match patience(turn) {
        Some((at, OnTimeout::Rollback)) => (at, "the release is rolled back"),
        Some((at, OnTimeout::Approve)) => (at, "it counts as passed"),
        Some((at, OnTimeout::Hold)) if at > turn.now => (at, "a person is alerted"),
        Some(_) | None => (asked, "it is asked again"),
    }
}

/// The same as the end of an alert's text: how long the gate is waited for.
pub(super) fn remaining(turn: &Turn<'_>) -> String {
    let Some((at, then)) = patience(turn) else {
        return String::new();
    };
    let then = match then {
        OnTimeout::Rollback => "then the release is rolled back",
        OnTimeout::Approve => "then it counts as passed",
        OnTimeout::Hold => "then an alert follows",
    };
    format!(
        " It is waited for until {}, {then}.",
        at.format("%Y-%m-%d %H:%M:%S UTC")
    )
}

/// Does what was wanted when the patience is over and the gate, asked once more then, is still closed. True when the pass is over with
/// it.
///
/// A person who holds the release holds this too.
pub(super) fn ran_out(turn: &mut Turn<'_>) -> bool {
    let asks = matches!(
        turn.block.stage,
        Stage::Waiting | Stage::Raising | Stage::Stepping | Stage::WaitingPromotion
    );
    if !asks || turn.block.words.paused.is_some() {
        return false;
    }
    let (Some((at, then)), Some(gate)) = (patience(turn), turn.block.gate.clone()) else {
        return false;
    };
    if turn.now < at {
        turn.wake_at(at);
        return false;
    }
    if turn.memory.refused_at.is_none_or(|refused| refused < at) {
        turn.ask_now();
        return false;
    }
    let muted = closed(turn).is_some_and(|hook| hook.mute_alert);
    let waited = format!(
        "{} is closed since {}",
        gate.mark,
        gate.since.format("%Y-%m-%d %H:%M:%S UTC")
    );
    match then {
        OnTimeout::Hold => {
            if turn.once(&format!("told/gate-timeout/{}", gate.mark)) {
                let text = format!("{} waits on: {waited}", turn.canary_name());
                let notice = turn.warning("gate-timeout", "Wait", &text);
                if !muted {
                    notice.alerts(Severity::Warn, &text);
                }
            }
            false
        }
        OnTimeout::Rollback => {
            word::refuse_revision(turn, "GateTimedOut", &waited);
            true
        }
        OnTimeout::Approve => {
            let text = format!("{} goes on: {waited}, and counts as passed", turn.canary_name());
            let notice = turn.event("gate-timeout", "Confirm", &text);
            if !muted {
                notice.alerts(Severity::Info, &text);
            }
            word::open(turn, &gate.mark);
            false
        }
    }
}
