//! The target's pods behind a run: when they may go, and until when they are kept.

use chrono::{DateTime, Utc};

use super::super::notice::Severity;
use super::super::observation::{Observation, Selects};
use super::super::state::Block;
use super::super::weight::Weight;
use super::delta;
use super::turn::Turn;

/// What is waited for while connections end.
pub(super) const CONNECTIONS: &str = "the end of the connections to the canary's pods";
/// What is waited for behind a failure.
pub(super) const NEXT: &str = "a new revision of the target, or its return to the promoted one";
/// What is waited for on the way there.
pub(super) const HOME_AND_DOWN: &str = "traffic on the primary, then the target at zero replicas";
/// What comes then.
pub(super) const THEN: &str = "the target is scaled to zero";
/// What comes when traffic has waited long enough for the primary's pods.
pub(super) const AT_ONCE: &str = "the rest of the traffic goes to the primary at once";
/// What comes when the route does not follow, or the target does not stay down: only somebody's hand helps.
pub(super) const ALERTED: &str = "a person is alerted";

/// Whether the canary's traffic is home, its connections had time to end, and the target was then seen at zero replicas.
pub(super) fn home_and_down(turn: &mut Turn<'_>) -> bool {
    if turn.block.weight != Weight::ZERO {
        return false;
    }
    let since = turn.drawn_since();
    let target_down = is_down(turn.observation);
    let let_go = turn.let_go(since);
    if let (true, false, Some(since)) = (let_go, target_down, since) {
        kept_up(turn, since);
    }
    let_go && target_down
}

/// Says where the way home and down stands, until when it is waited for and what then. `awaited` comes when all traffic may go home.
pub(super) fn say(turn: &mut Turn<'_>, reason: &str, message: &str, awaited: &str) {
    let (awaited, at, then) = if turn.block.weight > Weight::ZERO {
        ("ready pods of the primary", turn.deadline(), AT_ONCE)
    } else if let Some(at) = drains_until(turn) {
        (CONNECTIONS, at, THEN)
    } else {
        (awaited, alerted_at(turn), ALERTED)
    };
    turn.why(reason, message).awaiting(awaited).until(at, then);
}

/// When a person is alerted of a route that does not lead home (`turn_route`), or of a target that does not stay down.
pub(super) fn alerted_at(turn: &Turn<'_>) -> DateTime<Utc> {
    let patience = delta(turn.spec().progress_deadline());
    match turn.drawn_since() {
        Some(since) => kept_up_at(turn, since),
        None => turn.memory.undrawn_since.unwrap_or(turn.now) + patience,
    }
}

/// Until when connections have time to end; `None` when there is none to wait for.
fn drains_until(turn: &Turn<'_>) -> Option<DateTime<Utc>> {
    let spec = turn.spec();
    let at = turn.drawn_since()? + delta(spec.letting_go());
    let waits = !spec.drain().is_zero() && turn.now < at && !is_down(turn.observation);
    (waits && turn.block.weight == Weight::ZERO).then_some(at)
}

/// Until when the pods of the revision that has just failed are kept, once all traffic has left them. Pods of another revision, or
/// of none, are of no use to anybody.
pub(super) fn keeps_until(turn: &mut Turn<'_>) -> Option<DateTime<Utc>> {
    let delay = delta(turn.spec().scale_down_delay()?);
    let target = turn.observation.target.present()?;
    if target.replicas == 0 || target.fingerprint != turn.block.running || turn.block.weight != Weight::ZERO {
        return None;
    }
    let since = turn.drawn_since();
    if !turn.settled(since) {
        return None;
    }
    let let_go = since? + delta(turn.spec().letting_go());
    Some(let_go.max(turn.now + delay))
}

/// The time for which they are kept, as it was written.
pub(super) fn delay_words(turn: &Turn<'_>) -> String {
    let rollback = turn.spec().rollback.as_ref();
    let delay = rollback.and_then(|rollback| rollback.scale_down_delay.as_ref());
    delay.map(ToString::to_string).unwrap_or_default()
}

/// Whether pods that were kept are to go now. What they stood in for has to serve.
pub(in super::super) fn is_due(block: &Block, observation: &Observation, now: DateTime<Utc>) -> bool {
    let serves = observation.primary_endpoints.is_some_and(|ready| ready > 0);
    let led_here = observation
        .apex_service
        .is_present_and(|apex| apex.selects == Selects::Target);
    serves && !led_here && block.weight == Weight::ZERO && block.kept_until.is_some_and(|until| now >= until)
}

/// At rest: sees to it that pods which are kept go in their time, and forgets them when they are gone.
pub(super) fn keep_time(turn: &mut Turn<'_>) {
    let Some(until) = turn.block.kept_until else { return };
    if is_down(turn.observation) {
        turn.block.kept_until = None;
    } else {
        turn.wake_at(until);
        let since = turn.drawn_since();
        turn.let_go(since);
    }
}

/// The target has, or has again, a revision about which nothing is to be done: no pods of it are needed. One that was deleted and made
/// anew meanwhile came with the number of its manifest.
pub(super) fn not_needed(turn: &mut Turn<'_>, promoted: bool) {
    if promoted && let Some(until) = turn.block.kept_until {
        turn.block.kept_until = Some(until.min(turn.now));
    }
    let Some(target) = turn.observation.target.present() else {
        return;
    };
    let known = turn.block.baseline.as_ref().map(|baseline| baseline.uid.as_str());
    let made_anew = known.is_some_and(|uid| !uid.is_empty() && uid != target.uid);
    if made_anew && target.replicas > 0 && turn.block.kept_until.is_none() {
        turn.block.kept_until = Some(turn.now);
        let text = format!(
            "{} was made anew with a revision that there is nothing to do about! Scaling it down, the primary serves",
            turn.target_name()
        );
        turn.event("made-anew", "ScaleDown", &text);
    }
}

fn is_down(observation: &Observation) -> bool {
    let target = &observation.target;
    target.is_absent() || target.is_present_and(|target| target.replicas == 0 && target.rollout.observed)
}

/// When that is said.
pub(super) fn kept_up_at(turn: &Turn<'_>, home_since: DateTime<Utc>) -> DateTime<Utc> {
    // What stood before the stage began says nothing about how long the target could have been down.
    let let_go = home_since + delta(turn.spec().letting_go());
    let_go.max(turn.block.since) + delta(turn.spec().progress_deadline())
}

/// Said when the target could have been at zero for the whole patience and is not: a scaler or a person raises it again.
pub(super) fn kept_up(turn: &mut Turn<'_>, home_since: DateTime<Utc>) {
    let at = kept_up_at(turn, home_since);
    if turn.now < at {
        return turn.wake_at(at);
    }
    if turn.once("told/kept-up") {
        let message = format!(
            "{} does not stay at zero replicas: something else scales it, or holds its pods",
            turn.target_name()
        );
        turn.warning("kept-up", "Stall", &message)
            .alerts(Severity::Error, &message);
    }
}
