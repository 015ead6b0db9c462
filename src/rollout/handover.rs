//! Handing back what stands by the names of the subject: to the target's pods when the Canary leaves (`design.md`, "Leaving"), and
//! to those that go on serving when it moves to other names. Shared by `advance`, which tells it, and `render`, which draws it.

use chrono::{DateTime, TimeDelta, Utc};

use super::advance;
use super::announcement::parted;
use super::assertion::Destination;
use super::observation::{Memory, Observation, Selects};
use super::state::{Block, Stage};
use super::weight::Side;
use crate::api::Canary;

/// How long, after the deadline, the hand-back is still tried without waiting for pods.
pub const LAST_TRIES: TimeDelta = TimeDelta::seconds(60);

/// What comes next on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// There is nothing to hand back, or nobody to hand it to: released at once.
    Nothing,
    /// The target, or what leads to it, cannot be read now.
    Unknown,
    /// The target gets the primary's size and becomes ready.
    Raising,
    /// The apex Service is pointed at the heir's pods.
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

/// Whose pods serve behind the apex Service when everything is handed back.
///
/// The target's when the Canary leaves. When it moves, the primary's: they are to serve by the new names too, or until other pods do.
/// Only where neither target nor Service is to be kept, the target has to stand on its own again, if it is still there.
pub fn heir(block: &Block, observation: &Observation) -> Side {
    let (old, new) = (&block.subject, &observation.subject);
    let keeps_something = old.target == new.target || old.apex == new.apex;
    let moves = block.stage == Stage::Moving && !observation.deleting;
    if moves && (keeps_something || target_goes(observation)) {
        Side::Primary
    } else {
        Side::Canary
    }
}

fn target_goes(observation: &Observation) -> bool {
    observation.target.is_absent() || observation.target.is_present_and(|target| target.deleting)
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
    let heir = heir(block, observation);
    let nothing_stands = observation.primary.is_absent() && block.promoted.is_none();
    let nobody_to_take_it = heir == Side::Canary && target_goes(observation);
    // What another Canary has is not ours to hand back.
    let not_ours = observation.taken_by.is_some();
    if nobody_to_take_it || observation.namespace_terminating || nothing_stands || not_ours {
        return Handover::Nothing;
    }
    let end = deadline(canary, block, memory) + LAST_TRIES;
    // A canary that moves is not given up: the sides may get other pods only when the route does not lead there any more.
    let over = now >= end && block.stage != Stage::Moving;
    let abandoned = Handover::Abandoned {
        keep: now < end + LAST_TRIES,
    };
    let route_is_ours = observation.route.is_present_and(|route| route.handed_back);
    let selects = selected(heir);
    let apex_is_ours = observation.apex_service.is_present_and(|apex| apex.selects == selects);
    if block.gates.contains_key(advance::TERMINATED) {
        // The last word is told, and what it says stands: a successor has not seen since when.
        if block.gates.contains_key(advance::NOT_HANDED_BACK) {
            return if over { abandoned } else { Handover::Kept };
        }
        let apex_is_left = apex_is_ours || observation.apex_service.present().is_none();
        if apex_is_left && (route_is_ours || observation.route.present().is_none()) {
            return Handover::Done;
        }
    }
    if heir == Side::Canary {
        let Some(target) = observation.target.present() else {
            return if over { abandoned } else { Handover::Unknown };
        };
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
    }
    if over {
        return abandoned;
    }
    // What cannot be read now may still lead to what is about to be given up.
    let unread = observation.apex_service.is_unread() || (block.subject.has_route() && observation.route.is_unread());
    if unread {
        return Handover::Unknown;
    }
    let settle = advance::delta(canary.spec.traffic_settle());
    let settled = |since: Option<DateTime<Utc>>| past || since.is_some_and(|since| now >= since + settle);
    let switched = memory
        .apex_seen
        .filter(|(seen, _)| *seen == selects)
        .map(|(_, since)| since);
    let routed = observation.route.present().is_some();
    // The last thing that leads traffic away from the primary's pods, which are removed behind it.
    let let_go = advance::delta(canary.spec.letting_go());
    let left = |since: Option<DateTime<Utc>>| past || since.is_some_and(|since| now >= since + let_go);
    let is_switched = if routed { settled(switched) } else { left(switched) };
    if observation.apex_service.present().is_some() && !(apex_is_ours && is_switched) {
        return Handover::SwitchingApex;
    }
    if routed && !route_is_ours && !settled(memory.apex_announced_seen) {
        return Handover::Announcing;
    }
    if routed && !route_is_ours && !settled(parted(memory, Destination::Apex)) {
        return Handover::Parting;
    }
    if routed && !(route_is_ours && left(memory.handed_back_seen)) {
        return Handover::HandingBack;
    }
    Handover::Done
}

/// What the apex Service says when that side's pods are behind it.
pub const fn selected(heir: Side) -> Selects {
    match heir {
        Side::Primary => Selects::Primary,
        Side::Canary => Selects::Target,
    }
}

/// The replicas that the target gets: as many as the primary has, or had when it was last there.
pub fn size(block: &Block, observation: &Observation) -> u32 {
    let primary = observation.primary.present();
    primary.map_or(block.capacity, |primary| primary.replicas).max(1)
}

/// When the Canary is released whatever is missing. Time that connections were given is no lack of progress.
pub fn deadline(canary: &Canary, block: &Block, memory: &Memory) -> DateTime<Utc> {
    let spec = &canary.spec;
    let patience = advance::delta(spec.progress_deadline());
    // Pods that come one by one may lengthen the wait, not for ever.
    let end = memory.deadline(spec, block).min(block.since + patience * 3);
    end + advance::delta(spec.drain())
}
