//! What is wrong with the route, or with drawing the world at all, in words.

use super::super::known::Known;
use super::super::mark;
use super::super::notice::Severity;
use super::super::observation::{Confirmation, Observation, Obstacle};
use super::super::state::{Block, Stage, Why};
use super::super::traffic::Traffic;
use super::super::weight::Weight;
use super::turn::{Turn, cut};

/// Says what is in the way of a stage that goes on by the world being drawn: a refusal or a rival at once, a route that does not follow
/// when the patience with it is over. Each is alerted once a stage, however often it goes and comes back.
pub(super) fn say_trouble(turn: &mut Turn<'_>) {
    // These bound the wait for the route themselves.
    let bounded = matches!(
        turn.block.stage,
        Stage::Initializing
            | Stage::Raising
            | Stage::Stepping
            | Stage::WaitingPromotion
            | Stage::Moving
            | Stage::Leaving
    );
    if turn.observation.obstacle.is_none() {
        let Some(since) = turn.memory.undrawn_since.filter(|_| !bounded) else {
            return;
        };
        let at = since + super::delta(turn.spec().progress_deadline());
        if turn.now < at {
            return turn.wake_at(at);
        }
    }
    let (reason, message) = describe(turn.observation, &turn.traffic());
    tell_once(turn, reason, &message);
    let why = turn.block.why.clone();
    turn.block.why = Why {
        reason: reason.into(),
        message: cut(&message),
        awaiting: why
            .awaiting
            .or_else(|| Some("the write to succeed; it is tried again".into())),
        ..why
    };
}

/// The alert about a trouble with the route, once a stage for the same one.
pub(super) fn tell_once(turn: &mut Turn<'_>, reason: &str, message: &str) {
    let about = match &turn.observation.obstacle {
        Some(Obstacle::Refused { what, .. }) => what,
        Some(Obstacle::Contested { manager, .. }) => manager,
        None => "",
    };
    let (reason, about) = (reason.to_lowercase(), mark::short(about));
    if turn.once(&format!("told/{reason}/{about}")) {
        turn.warning(&reason, "Stall", message).alerts(Severity::Error, message);
    }
}

/// Why the route does not count as drawn as doing this: a reason for machines and a sentence.
pub(super) fn describe(observation: &Observation, traffic: &Traffic) -> (&'static str, String) {
    let weight = traffic.weight;
    trouble(observation).unwrap_or_else(|| match &observation.route {
        Known::Absent => ("DrawingRoute", "the route is being created".into()),
        Known::Present(route) if route.drawn.as_ref() == Some(traffic) && route.confirmed == Confirmation::Pending => (
            "RoutePending",
            format!("weight {weight} is written; the router has not confirmed this generation of the route yet"),
        ),
        _ => ("DrawingRoute", format!("weight {weight} is being written to the route")),
    })
}

/// The weight that the route carries, where the words are that it is not the intended one (rank 37 of `spec/users.md`). A route that
/// follows in time is no news.
pub(super) fn observed(block: &Block, observation: &Observation) -> Option<Weight> {
    let told = [
        "DrawingRoute",
        "RoutePending",
        "RouteRejected",
        "Contested",
        "WriteRefused",
        "Forbidden",
    ]
    .contains(&block.why.reason.as_str());
    let carried = observation.route.present()?.weight?;
    (told && carried != block.weight).then_some(carried)
}

/// What keeps any write of the route from taking effect, if something does.
pub(super) fn trouble(observation: &Observation) -> Option<(&'static str, String)> {
    match &observation.obstacle {
        Some(Obstacle::Refused { what, words }) => {
            return Some(("WriteRefused", format!("{what} was refused: {words}")));
        }
        Some(Obstacle::Contested { what, manager }) => {
            return Some((
                "Contested",
                format!(
                    "{what} is changed back by field manager {manager}; it is repaired again and again until one side stops"
                ),
            ));
        }
        None => {}
    }
    let destinations = observation.destinations.iter();
    let unseen = destinations
        .flat_map(|both| [&both.primary, &both.canary])
        .find_map(unseen);
    if unseen.is_some() {
        return unseen;
    }
    match &observation.route {
        Known::Forbidden { .. } | Known::NoKind { .. } => self::unseen(&observation.route),
        Known::Unknown => Some(("RouteUnknown", "the route cannot be read now".into())),
        Known::Present(route) => match &route.confirmed {
            Confirmation::Rejected(words) => Some(("RouteRejected", format!("the route is not accepted: {words}"))),
            _ => None,
        },
        Known::Absent => None,
    }
}

/// Why an object of the provider's cannot be seen at all, if it can not.
fn unseen<T>(object: &Known<T>) -> Option<(&'static str, String)> {
    match object {
        Known::Forbidden { verb, resource } => Some((
            "Forbidden",
            format!("Serin may not {verb} {resource}; its role must allow it"),
        )),
        Known::NoKind { kind } => Some((
            "KindNotServed",
            format!("the API server does not serve {kind}; install its CRDs or name another provider"),
        )),
        Known::Present(_) | Known::Absent | Known::Unknown => None,
    }
}
