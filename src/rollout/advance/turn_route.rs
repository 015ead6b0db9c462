//! What is wrong with the route, in words.

use super::super::known::Known;
use super::super::observation::{Confirmation, Observation, Obstacle};
use super::super::weight::Weight;

/// Why the route does not count as drawn at this weight: a reason for machines and a sentence.
pub(super) fn describe(observation: &Observation, weight: Weight) -> (&'static str, String) {
    match &observation.obstacle {
        Some(Obstacle::Refused { what, words }) => return ("WriteRefused", format!("{what} was refused: {words}")),
        Some(Obstacle::Contested { what, manager }) => {
            return (
                "Contested",
                format!(
                    "{what} is changed back by field manager {manager}; it is repaired again and again until one side stops"
                ),
            );
        }
        None => {}
    }
    match &observation.route {
        Known::Forbidden { verb, resource } => (
            "Forbidden",
            format!("Serin may not {verb} {resource}; its role must allow it"),
        ),
        Known::NoKind { kind } => (
            "KindNotServed",
            format!("the API server does not serve {kind}; install its CRDs or name another provider"),
        ),
        Known::Unknown => ("RouteUnknown", "the route cannot be read now".into()),
        Known::Absent => ("DrawingRoute", "the route is being created".into()),
        Known::Present(route) => match &route.confirmed {
            Confirmation::Rejected(words) => ("RouteRejected", format!("the route is not accepted: {words}")),
            Confirmation::Pending if route.weight == Some(weight) && route.drawn => (
                "RoutePending",
                format!("weight {weight} is written; the router has not confirmed this generation of the route yet"),
            ),
            _ => ("DrawingRoute", format!("weight {weight} is being written to the route")),
        },
    }
}
