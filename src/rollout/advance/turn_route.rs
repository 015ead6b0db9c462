//! What is wrong with the route, in words.

use super::super::known::Known;
use super::super::observation::{Confirmation, Observation, Obstacle};
use super::super::weight::Weight;

/// Why the route does not count as drawn at this weight: a reason for machines and a sentence.
pub(super) fn describe(observation: &Observation, weight: Weight) -> (&'static str, String) {
    trouble(observation).unwrap_or_else(|| match &observation.route {
        Known::Absent => ("DrawingRoute", "the route is being created".into()),
        Known::Present(route)
            if route.weight == Some(weight) && route.drawn && route.confirmed == Confirmation::Pending =>
        {
            (
                "RoutePending",
                format!("weight {weight} is written; the router has not confirmed this generation of the route yet"),
            )
        }
        _ => ("DrawingRoute", format!("weight {weight} is being written to the route")),
    })
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
    match &observation.route {
        Known::Forbidden { verb, resource } => Some((
            "Forbidden",
            format!("Serin may not {verb} {resource}; its role must allow it"),
        )),
        Known::NoKind { kind } => Some((
            "KindNotServed",
            format!("the API server does not serve {kind}; install its CRDs or name another provider"),
        )),
        Known::Unknown => Some(("RouteUnknown", "the route cannot be read now".into())),
        Known::Present(route) => match &route.confirmed {
            Confirmation::Rejected(words) => Some(("RouteRejected", format!("the route is not accepted: {words}"))),
            _ => None,
        },
        Known::Absent => None,
    }
}
