//! A live application is taken over without a dropped request: the target serves until the primary does.

use super::super::announcement::{Takeover, parted, takeover};
use super::super::assertion::Destination;
use super::super::notice::Severity;
use super::super::observation::{Selects, Workload};
use super::super::round::{self, Check, Progress};
use super::super::state::{GateState, RunResult, Stage};
use super::super::weight::{Side, Weight};
use super::super::{known::Known, observation::Observation};
use super::moving;
use super::revision::{Seen, seen};
use super::scaling;
use super::turn::Turn;
use super::{down, line, unobserved};

/// Takes over. The order of the writes is `render`'s; this waits, says what for, and ends it.
pub(super) fn initialize(turn: &mut Turn<'_>) {
    if turn.block.subject != turn.observation.subject {
        // Nothing depends on what was begun: what served before does so still.
        moving::take_names(turn);
    }
    if refused(turn) || unreadable(turn) {
        return;
    }
    scaling::take_name(turn);
    probe(turn);
    match seen(&turn.block, turn.observation, &turn.memory, turn.now) {
        Seen::Unknown if turn.block.promoted.is_none() => {
            let deadline = turn.deadline();
            return unobserved::say(turn, deadline);
        }
        Seen::Unknown | Seen::Recoded => {}
        Seen::Unsettled(at) => {
            turn.wake_at(at);
            if turn.block.promoted.is_none() {
                return;
            }
        }
        // Only the encoding is another one: what is stored is what the primary gets, and is taken note of at rest.
        Seen::Rebased(_) if is_stored(turn) => {}
        Seen::Rebased(fingerprint) | Seen::Settled(fingerprint) => {
            let is_settled = moving::keeps_primary(&turn.block) || turn.block.promoted.as_ref() == Some(&fingerprint);
            if !is_settled && !primary_serves(turn) {
                if turn.block.promoted.is_none() {
                    if line::full(turn, None) {
                        return;
                    }
                    // What was waited for before is no lack of progress.
                    turn.block.since = turn.now;
                }
                turn.block.promoted = Some(fingerprint);
                let replicas = turn.observation.target.present().map_or(1, |target| target.replicas);
                // Pods that serve the same Service meanwhile are not replaced by fewer.
                let former = turn.block.former.as_ref();
                let same_service = former.is_some_and(|former| former.apex == turn.block.subject.apex);
                let serving = if same_service { turn.block.capacity } else { 1 };
                turn.block.capacity = replicas.max(serving).max(1);
            }
        }
    }
    let up = primary_up(turn);
    let observation = turn.observation;
    let past = turn.past_deadline();
    let takeover = takeover(turn.canary, observation, &turn.memory, past, turn.now);
    if !up {
        wait_for_primary(turn);
    } else if takeover == Takeover::Announcing {
        announcement_awaited(turn);
    } else if takeover == Takeover::Parting {
        parting_awaited(turn);
    } else if turn.drawn_since().is_none() {
        route_awaited(turn);
    } else if turn
        .memory
        .apex_seen
        .is_none_or(|(selects, _)| selects != Selects::Primary)
    {
        apex_awaited(turn);
    } else if observation.target.is_present_and(|target| target.replicas > 0) {
        target_awaited(turn);
    } else if !moving::former_stands(turn) {
        done(turn);
    }
}

fn done(turn: &mut Turn<'_>) {
    let keeps_outcome = moving::keeps_primary(&turn.block);
    moving::arrived(turn);
    if let Some(outcome) = turn.block.outcome.clone().filter(|_| keeps_outcome) {
        // The same release as before, by other names.
        turn.enter(Stage::Resting);
        turn.why(&outcome.reason, &outcome.message);
        return;
    }
    turn.outcome(RunResult::Initialized, "Initialized", "the application was taken over");
    turn.enter(Stage::Resting);
    turn.why(
        "Initialized",
        "the primary serves; the next change of the target starts a release",
    );
    let text = format!("Initialization done! {}", turn.canary_name());
    turn.event("initialized", "Initialize", &text)
        .alerts_with_fields(Severity::Info, "New Deployment detected, initialization completed.");
}

fn is_stored(turn: &Turn<'_>) -> bool {
    let promoted = turn.block.promoted.as_ref();
    promoted.is_some_and(|promoted| {
        turn.observation
            .stored
            .is_present_and(|stored| stored.contains(promoted))
    })
}

/// Whether traffic may be on the primary's pods already: what is pushed now is released after the takeover, and not copied to them.
fn primary_serves(turn: &mut Turn<'_>) -> bool {
    // A primary that lacks pods for so long waits for a new revision, as its alert says.
    if turn.past_deadline() {
        return false;
    }
    let observation = turn.observation;
    let routed = observation
        .route
        .is_present_and(|route| route.weight == Some(Weight::ZERO));
    let switched = observation
        .apex_service
        .is_present_and(|apex| apex.selects == Selects::Primary);
    let taken_over = observation
        .primary
        .is_present_and(|primary| primary.fingerprint == turn.block.promoted);
    (routed || switched) && taken_over && observation.primary_endpoints != Some(0)
}

/// Whether the primary is there, of the right revision, and carries everything.
fn primary_up(turn: &Turn<'_>) -> bool {
    let primary = turn.observation.primary.present();
    let keeps_primary = moving::keeps_primary(&turn.block);
    let is_right = |it: &Workload| it.rollout.complete && (keeps_primary || it.fingerprint == turn.block.promoted);
    primary.is_some_and(is_right) && turn.capacity().carries(Side::Primary, Weight::ZERO)
}

fn wait_for_primary(turn: &mut Turn<'_>) {
    let primary = turn.primary_name();
    let state = turn
        .observation
        .primary
        .present()
        .map_or_else(|| "being created".to_owned(), Workload::state);
    if turn.observation.primary.present().is_some_and(|p| !p.rollout.complete) && turn.once("told/primary-not-ready") {
        turn.warning(
            "primary-not-ready",
            "Initialize",
            &format!("{primary} not ready: {state}"),
        );
    }
    let past = turn.past_deadline();
    let deadline = turn.deadline();
    if past {
        // The target serves and stays: a primary that does not come up is no reason to touch production (W5).
        let message = format!("{primary} not ready within its progress deadline: {state}; the target keeps serving");
        turn.why("PrimaryNotReady", &message)
            .awaiting("the primary to become ready, or a new revision of the target");
        if turn.once("told/init-deadline") {
            turn.warning("init-deadline", "Initialize", &message)
                .alerts(Severity::Error, &format!("Progress deadline exceeded {message}"));
        }
    } else {
        let endpoints = turn
            .observation
            .primary_endpoints
            .map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        turn.why(
            "WaitingForPrimary",
            &format!("{primary}: {state}; {endpoints} ready pods behind its Service"),
        )
        .awaiting("the primary's pods")
        .until(deadline, "the alert says so; the target keeps serving");
    }
}

fn announcement_awaited(turn: &mut Turn<'_>) {
    let announced = turn.memory.announced_seen;
    turn.settled(announced);
    let message = if announced.is_some() {
        "the route names the new Services without traffic; the data plane is given time to load their pods"
    } else {
        "the new Services are named in the route, without traffic"
    };
    let (reason, message) =
        super::turn_route::trouble(turn.observation).unwrap_or_else(|| ("AnnouncingRoute", message.to_owned()));
    let deadline = turn.deadline();
    turn.why(reason, &message)
        .awaiting("the data plane to know the new Services")
        .until(deadline, "traffic goes to them all the same");
}

fn parting_awaited(turn: &mut Turn<'_>) {
    let since = parted(&turn.memory, Destination::Sides);
    turn.settled(since);
    let message = "the route leads to the primary; the data plane is given time to let go of what it led to before";
    let (reason, message) =
        super::turn_route::trouble(turn.observation).unwrap_or_else(|| ("SwitchingRoute", message.to_owned()));
    let deadline = turn.deadline();
    turn.why(reason, &message)
        .awaiting("the data plane to follow")
        .until(deadline, "what the route led to before is left out all the same");
}

fn route_awaited(turn: &mut Turn<'_>) {
    let (reason, message) = super::turn_route::describe(turn.observation, &turn.traffic());
    let past = turn.past_deadline();
    let deadline = turn.deadline();
    turn.why(reason, &message)
        .awaiting("the route to be accepted")
        .until(deadline, "the alert says so; the target keeps serving");
    if past && turn.once("told/route-deadline") {
        turn.warning("route-deadline", "Initialize", &message)
            .alerts(Severity::Error, &message);
    }
}

/// The selector of the apex Service says where requests shall go, its `EndpointSlices` where they do: until they follow both sides are
/// needed.
fn apex_awaited(turn: &mut Turn<'_>) {
    let past = turn.past_deadline();
    let deadline = turn.deadline();
    let message = format!(
        "Service {} is switched to the primary's pods, and its EndpointSlices do not hold them alone yet",
        turn.block.subject.apex
    );
    turn.why("SwitchingApex", &message)
        .awaiting("the switched Service and its EndpointSlices")
        .until(deadline, "the alert says so; both sides keep serving");
    if past && turn.once("told/apex-deadline") {
        let message = format!("{message}; both sides keep serving");
        turn.warning("apex-deadline", "Initialize", &message)
            .alerts(Severity::Error, &message);
    }
}

/// The primary has the traffic; what served before is given time to end.
fn target_awaited(turn: &mut Turn<'_>) {
    let since = turn.memory.apex_seen.map_or(turn.now, |(_, since)| since);
    let let_go = turn.let_go(Some(since));
    let message = if let_go {
        "the target is scaled to zero"
    } else {
        "the data plane is given time to follow, and connections to end"
    };
    let at = down::kept_up_at(turn, since);
    turn.why("ScalingTargetDown", message)
        .awaiting("the target at zero replicas")
        .until(at, down::ALERTED);
    if let_go {
        down::kept_up(turn, since);
    }
}

/// A spec that must not be acted on.
fn refused(turn: &mut Turn<'_>) -> bool {
    let Some(refusal) = turn.observation.refusals.first() else {
        return false;
    };
    let more = match turn.observation.refusals.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let message = format!("{}: {}{more}", refusal.field, refusal.message);
    turn.stalled_notice("InvalidSpec", &message);
    turn.why("InvalidSpec", &message).awaiting("the field to be corrected");
    true
}

/// A target that is not there, or may not be read.
fn unreadable(turn: &mut Turn<'_>) -> bool {
    let Observation { target, primary, .. } = turn.observation;
    let name = turn.target_name();
    let (reason, message) = match (target, primary) {
        (Known::Present(_), Known::Present(_) | Known::Absent) => return false,
        (Known::Absent, _) => (
            "TargetNotFound",
            format!(
                "deployment {name} get query error: deployments.apps \"{}\" not found",
                turn.block.subject.target
            ),
        ),
        (Known::Forbidden { verb, resource }, _) | (_, Known::Forbidden { verb, resource }) => (
            "Forbidden",
            format!("Serin may not {verb} {resource} in this namespace; its role must allow it"),
        ),
        (Known::NoKind { kind }, _) | (_, Known::NoKind { kind }) => {
            ("KindNotServed", format!("the API server does not serve {kind}"))
        }
        (Known::Unknown, _) | (_, Known::Unknown) => {
            let deadline = turn.deadline();
            unobserved::say_late(turn, deadline);
            return true;
        }
    };
    turn.stalled_notice(reason, &message);
    turn.why(reason, &message).awaiting("the cluster to be put right");
    true
}

/// Tells whether the metrics servers answer; it never blocks (`spec/analysis.md` 1.2).
fn probe(turn: &mut Turn<'_>) {
    if turn.block.gates.contains_key("probe") {
        return;
    }
    let Check::Due(due) = turn.check() else { return };
    let Progress::Done(tally) = round::progress(&due, turn.canary, turn.answers) else {
        return;
    };
    turn.end_round();
    turn.memory.last_check = None;
    match tally.failures.first() {
        None => {
            turn.block.gates.insert("probe".into(), GateState::Passed);
            turn.event("metrics-available", "Probe", "all the metrics providers are available!");
        }
        Some(failure) => {
            turn.block.gates.insert("probe".into(), GateState::Refused);
            let failure = failure.clone();
            turn.warning("metrics-unavailable", "Probe", &failure);
        }
    }
}
