//! The scaler of the target and the primary's copy of it: who decides about a side's size, between which bounds.
//!
//! Between its bounds a size belongs to the scaler. Serin raises a side to what its share of the traffic needs and takes nothing away
//! (`design.md`, "Capacity"): the canary by its number of replicas, since the team's scaler is not Serin's to write, the primary by the
//! least number that its own copy allows.

use super::capacity::Capacity;
use super::known::Known;
use super::observation::Observation;
use super::state::{Block, Stage};
use super::steps::Next;
use super::traffic::Traffic;
use super::weight::{Side, Weight};
use crate::api::{CanarySpec, ScalerReplicas, ScalerSync};

/// Between how many replicas a scaler chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// `spec.minReplicas`, 1 where unset.
    pub min: u32,
    /// `spec.maxReplicas`.
    pub max: u32,
}

impl Bounds {
    /// The same, but never fewer than that many; 0 changes nothing.
    #[must_use]
    pub fn at_least(self, floor: u32) -> Self {
        let min = self.min.max(floor);
        Self {
            min,
            max: self.max.max(min),
        }
    }
}

/// How much of the team's scaler the primary's copy takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// What it took over last.
    Recorded,
    /// Everything, but no lower bounds than it has: in a run with `sync: immediate`.
    Upwards,
    /// Everything, as the scaler is now.
    Now,
}

/// The scaler and its copy, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScalerFacts {
    /// The name of the team's scaler.
    pub name: String,
    /// The bounds of the team's scaler.
    pub team: Known<Bounds>,
    /// `<scaler>-primary`.
    pub copy: Known<ScalerCopy>,
}

/// The primary's copy of the scaler, reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, read from the object"
)]
pub struct ScalerCopy {
    /// This Canary's uid controls it.
    pub owned: bool,
    /// The bounds that it has.
    pub bounds: Bounds,
    /// The bounds that it is to have outside of a run: what was taken over last, with the overrides of the Canary.
    pub base: Bounds,
    /// It scales the primary, and all but its bounds is as it was taken over.
    pub sound: bool,
    /// What was taken over last is what the team's scaler says now, or there is nothing to take over.
    pub follows: bool,
    /// The same, but for bounds that the team has lowered since.
    pub follows_upwards: bool,
}

impl ScalerFacts {
    /// Whether the copy is as it is to be.
    pub fn stands(&self, floor: u32, follow: Follow) -> bool {
        // Without a scaler there is nothing to make a copy of.
        let impossible = self.copy.is_absent() && self.team.is_absent();
        impossible
            || self.copy.is_present_and(|copy| {
                let taken_over = match follow {
                    Follow::Recorded => true,
                    Follow::Upwards => copy.follows_upwards,
                    Follow::Now => copy.follows,
                };
                copy.sound && taken_over && copy.bounds == copy.base.at_least(floor)
            })
    }
}

/// The name of the scaler that the spec asks for, where it is one that is built.
pub fn wanted(spec: &CanarySpec) -> Option<&str> {
    let scaler = spec.autoscaler_ref.as_ref()?;
    (scaler.kind == "HorizontalPodAutoscaler").then_some(scaler.name.as_str())
}

/// Whether the copy of the scaler that was named before still stands and has to go: two scalers of one workload stop each other.
pub fn gives_way(spec: &CanarySpec, block: &Block, observation: &Observation) -> bool {
    let named_now = wanted(spec);
    block.scaler.is_some()
        && block.scaler.as_deref() != named_now
        && observation.refusals.is_empty()
        && copy(observation).is_some_and(|copy| copy.owned)
}

fn copy(observation: &Observation) -> Option<&ScalerCopy> {
    observation.scaler.as_ref()?.copy.present()
}

/// How much of the team's scaler the copy takes over in this stage.
pub fn follow(spec: &CanarySpec, block: &Block) -> Follow {
    let sync = spec
        .autoscaler_ref
        .as_ref()
        .and_then(|scaler| scaler.sync)
        .unwrap_or_default();
    match (block.stage, sync) {
        (Stage::Promoting | Stage::Returning | Stage::Finalising, _)
        | (Stage::Resting | Stage::Waiting, ScalerSync::Immediate) => Follow::Now,
        (_, ScalerSync::Immediate) => Follow::Upwards,
        (_, ScalerSync::OnPromotion) => Follow::Recorded,
    }
}

/// The least number of replicas that the canary is to have now: without a scaler as many as the primary, with one what its share of the
/// traffic needs and what comes next, within what the scaler allows.
pub fn canary_floor(capacity: &Capacity<'_>, spec: &CanarySpec, block: &Block, observation: &Observation) -> u32 {
    let Some(bounds) = canary_bounds(spec, block, observation) else {
        return block.capacity.max(1);
    };
    let need = ahead(capacity, block)
        .iter()
        .map(|traffic| capacity.need_of(Side::Canary, traffic))
        .max()
        .unwrap_or(0);
    need.max(bounds.min).min(bounds.max).max(1)
}

/// Between how many replicas the canary may be raised, where a scaler decides; the Canary's own bounds come before the scaler's.
pub fn canary_bounds(spec: &CanarySpec, block: &Block, observation: &Observation) -> Option<Bounds> {
    block.scaler.as_ref()?;
    let team = observation.scaler.as_ref()?.team.present()?;
    let own = spec
        .autoscaler_ref
        .as_ref()
        .and_then(|scaler| scaler.canary_scaler_replicas)
        .unwrap_or_default();
    let given = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let ScalerReplicas {
        min_replicas,
        max_replicas,
    } = own;
    Some(Bounds {
        min: given(min_replicas).unwrap_or(team.min),
        max: given(max_replicas).map_or(team.max, |max| max.min(team.max)),
    })
}

/// The ready pods without which the canary is checked but passes no check: what its share needs, or where a scaler thinks that fewer do,
/// what that leaves it. It gets no larger share with them, whatever the scaler thinks.
pub fn expected(spec: &CanarySpec, block: &Block, observation: &Observation, needed: u32) -> u32 {
    let scaled = canary_bounds(spec, block, observation).and_then(|_| observation.target.present());
    scaled.map_or(needed, |target| needed.min(target.replicas.max(1)))
}

/// What the route does now, and what it may be asked to do next.
fn ahead(capacity: &Capacity<'_>, block: &Block) -> Vec<Traffic> {
    let mut all = vec![block.traffic()];
    match block.stage {
        Stage::Raising => all.extend(block.trials()),
        Stage::Stepping | Stage::WaitingPromotion => match block.next() {
            Next::Weight(next) => all.push(block.traffic_at(next)),
            Next::Promotion if !capacity.primary_rolls_safely() => all.push(Traffic::shared(Weight::FULL)),
            Next::Promotion | Next::Iteration(_) => {}
        },
        Stage::Shielding => all.push(Traffic::shared(Weight::FULL)),
        _ => {}
    }
    all
}

/// What the scaler has to do with a canary that is too small, for people; empty where it has nothing.
pub fn limit(spec: &CanarySpec, block: &Block, observation: &Observation, needed: u32) -> String {
    let bounds = canary_bounds(spec, block, observation).filter(|bounds| bounds.max < needed);
    let name = block.scaler.as_deref().unwrap_or_default();
    bounds.map_or_else(String::new, |bounds| {
        format!(
            "; HorizontalPodAutoscaler {name} allows the canary at most {}",
            bounds.max
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(bounds: Bounds, follows: bool) -> ScalerFacts {
        let copy = ScalerCopy {
            owned: true,
            bounds,
            base: Bounds { min: 2, max: 4 },
            sound: true,
            follows,
            follows_upwards: true,
        };
        ScalerFacts {
            name: "app".into(),
            team: Known::Present(Bounds { min: 2, max: 4 }),
            copy: Known::Present(copy),
        }
    }

    #[test]
    fn the_copy_stands_when_its_least_is_the_floor_and_what_is_to_be_taken_over_is() {
        let raised = facts(Bounds { min: 3, max: 4 }, false);
        assert!(raised.stands(3, Follow::Recorded) && raised.stands(3, Follow::Upwards));
        assert!(!raised.stands(3, Follow::Now), "an edit is to be taken over");
        assert!(!raised.stands(0, Follow::Recorded), "the floor is to be given back");
        assert!(facts(Bounds { min: 2, max: 4 }, true).stands(0, Follow::Now));
    }

    #[test]
    fn a_floor_above_the_greatest_number_raises_that_too() {
        assert_eq!(Bounds { min: 2, max: 4 }.at_least(6), Bounds { min: 6, max: 6 });
        assert_eq!(Bounds { min: 2, max: 4 }.at_least(0), Bounds { min: 2, max: 4 });
    }
}
