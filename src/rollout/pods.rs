//! Whose pods a stage waits for.

use super::observation::Observation;
use super::state::{Block, Stage};
use super::weight::Side;

/// The side whose pods the stage is about; none at rest.
pub const fn awaited_side(stage: Stage) -> Option<Side> {
    match stage {
        Stage::Resting | Stage::Waiting => None,
        Stage::Initializing
        | Stage::Promoting
        | Stage::Returning
        | Stage::Finalising
        | Stage::HoldOnCanary
        | Stage::Restoring
        | Stage::RollingBack
        | Stage::Reverting
        | Stage::Restarting => Some(Side::Primary),
        Stage::Raising
        | Stage::Stepping
        | Stage::WaitingPromotion
        | Stage::Shielding
        | Stage::Moving
        | Stage::Leaving => Some(Side::Canary),
    }
}

/// The same, where it lacks ready pods that it is to have.
pub fn awaited_pods(block: &Block, observation: &Observation) -> Option<Side> {
    let side = awaited_side(block.stage)?;
    let (workload, ready) = match side {
        Side::Primary => (&observation.primary, observation.primary_endpoints),
        Side::Canary => (&observation.target, observation.canary_endpoints),
    };
    let lacks = workload.is_present_and(|workload| {
        let short = ready.is_some_and(|ready| ready < workload.replicas);
        workload.replicas > 0 && (short || !workload.rollout.complete)
    });
    lacks.then_some(side)
}
