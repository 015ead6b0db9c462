//! How many pods a share of the traffic needs, and how far traffic may move now.

use chrono::{DateTime, TimeDelta, Utc};

use super::observation::{Memory, Observation};
use super::state::{Block, Fingerprint};
use super::traffic::Traffic;
use super::weight::{Side, Weight};
use crate::api::CanarySpec;

/// How long a count of ready pods may be relied on to move traffic away from a failing canary while reads fail (`design.md`, "What is known").
const MEMORY_OF_READINESS: TimeDelta = TimeDelta::seconds(60);

/// Ready pods that a side needs to carry its share: `max(1, ceil(N * share/100 * threshold/100))`, and none for no share.
pub fn need(capacity: u32, share: u8, ready_threshold: u32) -> u32 {
    if share == 0 {
        return 0;
    }
    let pods = u64::from(capacity) * u64::from(share) * u64::from(ready_threshold.min(100));
    u32::try_from(pods.div_ceil(10_000)).unwrap_or(u32::MAX).max(1)
}

/// What one canary's sides can carry at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Capacity<'a> {
    spec: &'a CanarySpec,
    block: &'a Block,
    observation: &'a Observation,
    memory: &'a Memory,
    now: DateTime<Utc>,
}

impl<'a> Capacity<'a> {
    /// The capacity around one pass.
    pub const fn new(
        spec: &'a CanarySpec,
        block: &'a Block,
        observation: &'a Observation,
        memory: &'a Memory,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            spec,
            block,
            observation,
            memory,
            now,
        }
    }

    /// Pods that this side needs at this weight.
    pub fn need(&self, side: Side, weight: Weight) -> u32 {
        self.need_share(side, weight.of(side))
    }

    fn need_share(&self, side: Side, share: u8) -> u32 {
        let threshold = match side {
            Side::Primary => self.spec.primary_ready_threshold(),
            Side::Canary => self.spec.canary_ready_threshold(),
        };
        need(self.block.capacity, share, threshold)
    }

    /// Whether the pods that are known to be ready carry this side at this weight. Unknown is no.
    pub fn carries(&self, side: Side, weight: Weight) -> bool {
        self.has(side, self.need(side, weight))
    }

    fn has(&self, side: Side, needed: u32) -> bool {
        let (ready, workload) = match side {
            Side::Primary => (self.observation.primary_endpoints, &self.observation.primary),
            Side::Canary => (self.observation.canary_endpoints, &self.observation.target),
        };
        // Pods beyond what is wanted are on their way out, though their endpoints do not say so yet.
        let wanted = workload.present().map_or(u32::MAX, |workload| workload.replicas);
        ready.is_some_and(|ready| ready.min(wanted) >= needed)
    }

    /// Pods that this side needs for the most that may come to it by this traffic.
    pub fn need_of(&self, side: Side, traffic: &Traffic) -> u32 {
        self.need_share(side, traffic.most(side))
    }

    /// Whether the pods that are known to be ready carry that.
    pub fn bears(&self, side: Side, traffic: &Traffic) -> bool {
        self.has(side, self.need_of(side, traffic))
    }

    /// Whether the canary may be given everything: never without a route, which alone could lead it there.
    pub fn canary_takes_all(&self) -> bool {
        self.block.subject.has_route() && self.carries(Side::Canary, Weight::FULL)
    }

    /// The primary's ready pods, from the last minute when they cannot be counted now.
    pub fn primary_ready(&self) -> Option<u32> {
        self.observation.primary_endpoints.or_else(|| {
            self.memory
                .primary_ready
                .filter(|(_, at)| self.now - *at <= MEMORY_OF_READINESS)
                .map(|(ready, _)| ready)
        })
    }

    /// The lowest weight that the canary may be given now (invariant 2 of `design.md`): the primary gets what its ready pods carry,
    /// never less than it has; all of it at the stage's deadline, or when the canary has no ready pod and the primary has one.
    pub fn homeward(&self, past_deadline: bool) -> Weight {
        let weight = self.block.weight;
        let Some(ready) = self.primary_ready() else {
            return weight;
        };
        let full = self.need(Side::Primary, Weight::ZERO);
        let at_once = past_deadline || self.observation.canary_endpoints == Some(0);
        if ready >= full || (at_once && ready > 0) {
            return Weight::ZERO;
        }
        self.relieved_by(ready)
    }

    /// The same while the primary rolls, or is about to roll, to that revision: only pods that the roll will not take count.
    pub fn homeward_during_the_roll(&self, to: Option<&Fingerprint>) -> Weight {
        let Some(primary) = self.observation.primary.present() else {
            return self.block.weight;
        };
        let begun = primary.fingerprint.as_ref() == to;
        let rolled = if begun && primary.rollout.observed {
            primary.rollout.updated
        } else {
            0
        };
        let kept = if begun {
            primary.worst_ready
        } else {
            self.kept_by_a_roll()
        };
        let ready = self.observation.primary_endpoints.unwrap_or(0);
        self.relieved_by(ready.min(kept.max(rolled)))
    }

    /// The weight when the primary takes what that many of its pods carry.
    fn relieved_by(&self, ready: u32) -> Weight {
        let share = u64::from(ready) * 100 / u64::from(self.block.capacity.max(1));
        let left = Weight::clamped(100 - i64::try_from(share).unwrap_or(100));
        self.block.weight.min(left)
    }

    /// Whether the primary may be rolled now: it keeps its share through the worst moment of a roll to the target's template and
    /// strategy. Without a route its traffic has nowhere else to go, and the roll is that of any Deployment.
    pub fn primary_rolls_safely(&self) -> bool {
        let both = self.observation.primary.present().is_some() && self.observation.target.present().is_some();
        let needed = self.need_of(Side::Primary, &self.block.traffic());
        both && (!self.block.subject.has_route() || self.kept_by_a_roll() >= needed)
    }

    /// The pods that the primary keeps in the worst moment of a roll that has not begun. The target's strategy is written together with
    /// a template, so the roll follows whichever is worse.
    fn kept_by_a_roll(&self) -> u32 {
        let (Some(primary), Some(target)) = (self.observation.primary.present(), self.observation.target.present())
        else {
            return 0;
        };
        let by_target = if target.worst_ready == 0 {
            0
        } else {
            primary
                .replicas
                .saturating_sub(target.replicas.saturating_sub(target.worst_ready))
        };
        primary.worst_ready.min(by_target)
    }

    /// The same by its own strategy alone, at rest, when the target at zero replicas tells nothing about a roll.
    pub fn primary_returns_safely(&self) -> bool {
        let needed = self.need_of(Side::Primary, &self.block.traffic());
        let primary = &self.observation.primary;
        primary.is_present_and(|primary| primary.worst_ready >= needed)
    }
}

#[cfg(test)]
mod tests {
    use super::need;

    #[test]
    fn need_rounds_up_and_is_never_less_than_one_pod_for_a_share() {
        for (capacity, share, threshold, expected) in [
            (3, 0, 100, 0),
            (3, 1, 100, 1),
            (3, 50, 100, 2),
            (3, 100, 100, 3),
            (4, 100, 50, 2),
            (0, 10, 100, 1),
            (10, 25, 0, 1),
        ] {
            assert_eq!(
                need(capacity, share, threshold),
                expected,
                "N={capacity} w={share} t={threshold}"
            );
        }
    }
}
