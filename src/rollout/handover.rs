//! Leaving: how far the target has taken over from the primary (`design.md`, "Leaving"). Shared by `advance`, which tells it, and
//! `render`, which draws it.

use chrono::{DateTime, TimeDelta, Utc};

use super::advance;
use super::announcement::parted;
use super::assertion::Destination;
use super::observation::{Memory, Observation, Selects};
use super::state::Block;
use crate::api::Canary;

/// How long, after the deadline, the hand-back is still tried without waiting for pods.
pub const LAST_TRIES: TimeDelta = TimeDelta::seconds(60);

/// What comes next on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// There is nothing to hand back, or nobody to hand it to: released at once.
    Nothing,
    /// The target is not known now.
    Unknown,
    /// The target gets the primary's size and becomes ready.
    Raising,
    /// The apex Service is pointed at the target's pods.
    SwitchingApex,
    /// The route names the apex Service beside the sides, so that the data plane loads it before it gets traffic.
    Announcing,
    /// The route gives the apex Service everything and still names the sides, so that no request is on its way to what the data
    /// plane has just forgotten.
    Parting,
    /// The route is pointed at the apex Service alone, or at what stood there before.
    HandingBack,
    /// Everything has settled: released.
    Done,
    /// The patience is over, and the target still has fewer pods than the primary: the primary keeps the traffic, and its objects stay.
    Kept,
    /// The patience is over and the cluster still refuses what is needed: released as things are, and where even that is refused,
    /// without it.
    Abandoned {
        /// What serves may still be kept from the garbage collector.
        keep: bool,
    },
}

/// Reads how far it is.
pub fn handover(
    canary: &Canary,
    block: &Block,
    observation: &Observation,
    memory: &Memory,
    now: DateTime<Utc>,
) -> Handover {
    let past = now >= deadline(canary, block, memory);
    let nothing_stands = observation.primary.is_absent() && block.promoted.is_none();
    let target_goes = observation.target.is_absent() || observation.target.is_present_and(|target| target.deleting);
    // What another Canary has is not ours to hand back.
    let not_ours = observation.taken_by.is_some();
    if target_goes || observation.namespace_terminating || nothing_stands || not_ours {
        return Handover::Nothing;
    }
    let end = deadline(canary, block, memory) + LAST_TRIES;
    let over = now >= end;
    let abandoned = Handover::Abandoned {
        keep: now < end + LAST_TRIES,
    };
    let Some(target) = observation.target.present() else {
        return if over { abandoned } else { Handover::Unknown };
    };
    let settle = advance::delta(canary.spec.traffic_settle());
    let settled = |since: Option<DateTime<Utc>>| past || since.is_some_and(|since| now >= since + settle);
    let apex_is_ours = observation
        .apex_service
        .is_present_and(|apex| apex.selects == Selects::Target);
    let route_is_ours = observation.route.is_present_and(|route| route.handed_back);
    let enough = observation
        .primary_endpoints
        .unwrap_or_else(|| size(block, observation))
        .max(1);
    let up = target.rollout.complete && observation.canary_endpoints.is_some_and(|ready| ready >= enough);
    // Where there is an apex Service it goes first: a route that leads to it already may have been put back by somebody else.
    let begun = match observation.apex_service.present() {
        Some(_) => apex_is_ours,
        None => route_is_ours,
    };
    if !up && !past && !begun {
        return Handover::Raising;
    }
    if !over && !up && !begun && observation.primary_endpoints > observation.canary_endpoints {
        return Handover::Kept;
    }
    if over {
        return abandoned;
    }
    let switched = memory
        .apex_seen
        .filter(|(selects, _)| *selects == Selects::Target)
        .map(|(_, since)| since);
    if observation.apex_service.present().is_some() && !(apex_is_ours && settled(switched)) {
        return Handover::SwitchingApex;
    }
    if observation.route.present().is_some() && !route_is_ours && !settled(memory.apex_announced_seen) {
        return Handover::Announcing;
    }
    if observation.route.present().is_some() && !route_is_ours && !settled(parted(memory, Destination::Apex)) {
        return Handover::Parting;
    }
    if observation.route.present().is_some() && !(route_is_ours && settled(memory.handed_back_seen)) {
        return Handover::HandingBack;
    }
    Handover::Done
}

/// The replicas that the target gets: as many as the primary has, or had when it was last there.
pub fn size(block: &Block, observation: &Observation) -> u32 {
    let primary = observation.primary.present();
    primary.map_or(block.capacity, |primary| primary.replicas).max(1)
}

/// When the Canary is released whatever is missing.
fn deadline(canary: &Canary, block: &Block, memory: &Memory) -> DateTime<Utc> {
    let patience = advance::delta(canary.spec.progress_deadline());
    // Pods that come one by one may lengthen the wait, not for ever.
    memory.deadline(&canary.spec, block).min(block.since + patience * 3)
}
