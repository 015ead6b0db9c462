//! A gate that nobody opens: after its `gateTimeout` the release is held with an alert, rolled back, or goes on.

use chrono::{DateTime, Utc};

use super::super::mark;
use super::super::notice::Severity;
use super::super::state::Stage;
use super::turn::{Turn, delta};
use super::word;
use crate::api::OnTimeout;

/// Until when a closed gate is waited for, and what then; `None`: for ever.
fn patience(turn: &Turn<'_>) -> Option<(DateTime<Utc>, OnTimeout)> {
    let gate = turn.block.gate.as_ref()?;
    let hooks = mark::hooks(turn.canary);
    let index = (0..hooks.len()).find(|index| mark::mark(turn.canary, *index) == gate.mark)?;
    let span = hooks[index].gate_timeout()?;
    Some((gate.since + delta(span), hooks[index].on_timeout.unwrap_or_default()))
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

/// Does what was wanted when the patience is over. True when the pass is over with it.
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
    let waited = format!(
        "{} is closed since {}",
        gate.mark,
        gate.since.format("%Y-%m-%d %H:%M:%S UTC")
    );
    match then {
        OnTimeout::Hold => {
            if turn.once(&format!("told/gate-timeout/{}", gate.mark)) {
                let text = format!("{} waits on: {waited}", turn.canary_name());
                turn.warning("gate-timeout", "Wait", &text)
                    .alerts(Severity::Warn, &text);
            }
            false
        }
        OnTimeout::Rollback => {
            word::refuse_revision(turn, "GateTimedOut", &waited);
            true
        }
        OnTimeout::Approve => {
            let text = format!("{} goes on: {waited}, and counts as passed", turn.canary_name());
            turn.event("gate-timeout", "Confirm", &text)
                .alerts(Severity::Info, &text);
            word::open(turn, &gate.mark);
            false
        }
    }
}
