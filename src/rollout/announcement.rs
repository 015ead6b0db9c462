//! Taking over a live route: how long its new destinations are only announced. Shared by `advance`, which tells it, and
//! `render`, which draws it.

use chrono::{DateTime, Utc};

use super::advance;
use super::observation::{Memory, Observation};
use crate::api::Canary;

/// Whether the route leads past our two Services and must not be switched to them yet: the data plane has to load them first.
/// `past`: the patience is over, and the switch is made all the same.
pub fn announcing(canary: &Canary, observation: &Observation, memory: &Memory, past: bool, now: DateTime<Utc>) -> bool {
    let elsewhere = observation.route.is_present_and(|route| route.weight.is_none());
    let settle = advance::delta(canary.spec.traffic_settle());
    let settled = memory.announced_seen.is_some_and(|since| now >= since + settle);
    elsewhere && !settled && !past
}
