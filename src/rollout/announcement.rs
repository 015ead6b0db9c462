//! Taking over a live route: its new destinations are announced, then get the traffic, then the old ones are no longer named. Shared
//! by `advance`, which tells it, and `render`, which draws it.

use chrono::{DateTime, Utc};

use super::advance;
use super::assertion::Destination;
use super::observation::{Memory, Observation};
use crate::api::Canary;

/// How far a route has come on its way to our two Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// It leads past them and must not be switched yet: the data plane has to load them first.
    Announcing,
    /// It leads to them, and what it led to before must not be left out yet: the data plane may send requests there still.
    Parting,
    /// It leads to them alone, or may.
    Over,
}

/// Reads how far it is. `past`: the patience is over, and what is left is done at once.
pub fn takeover(
    canary: &Canary,
    observation: &Observation,
    memory: &Memory,
    past: bool,
    now: DateTime<Utc>,
) -> Takeover {
    let settle = advance::delta(canary.spec.traffic_settle());
    let settled = |since: Option<DateTime<Utc>>| since.is_some_and(|since| now >= since + settle);
    let Some(route) = observation.route.present().filter(|_| !past) else {
        return Takeover::Over;
    };
    let elsewhere = route.weight.is_none();
    if elsewhere && !settled(memory.announced_seen) {
        Takeover::Announcing
    } else if elsewhere || (route.names_others && !settled(parted(memory, Destination::Sides))) {
        Takeover::Parting
    } else {
        Takeover::Over
    }
}

/// Since when the route gives the destination all traffic and still names others.
pub fn parted(memory: &Memory, destination: Destination) -> Option<DateTime<Utc>> {
    let (seen, since) = memory.parting_seen?;
    (seen == destination).then_some(since)
}
