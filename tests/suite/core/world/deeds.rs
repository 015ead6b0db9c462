//! What the API server does with each assertion that is not met.

use serin::rollout::{Assertion, Block, Observation, Rehearsal, Side};

use super::{Pods, World, fingerprint, number};

impl World {
    /// Makes it true, with the cache showing our own write at once.
    pub(super) fn apply(&mut self, assertion: &Assertion, block: &Block, observation: &Observation) {
        self.hold_deed(assertion, block, observation);
        self.log.push(format!("{assertion:?}"));
        let now = self.now;
        match assertion {
            Assertion::Finalizer => self.actual.finalizer = true,
            Assertion::Stored(wanted) => {
                let sides = [self.actual.target.as_ref(), self.actual.primary.as_ref()];
                if sides
                    .into_iter()
                    .flatten()
                    .any(|side| fingerprint(side.template) == *wanted)
                {
                    self.actual.stored.insert(wanted.clone());
                    self.cached.stored.insert(wanted.clone());
                }
            }
            Assertion::PrimaryExists { revision, replicas } => {
                if self.actual.primary.is_none() && self.actual.stored.contains(revision) {
                    self.actual.primary = Some(Pods::new(number(revision), *replicas, now));
                }
                self.cached.primary.clone_from(&self.actual.primary);
            }
            Assertion::PrimaryTemplate { revision, replicas, .. } => {
                if !self.actual.stored.contains(revision) {
                    return;
                }
                if let Some(primary) = &mut self.actual.primary {
                    primary.roll(number(revision), now);
                    primary.replicas = primary.replicas.max(*replicas);
                }
                self.cached.primary.clone_from(&self.actual.primary);
            }
            Assertion::Floor { side, replicas } => {
                let pods = match side {
                    Side::Primary => &mut self.actual.primary,
                    Side::Canary => &mut self.actual.target,
                };
                if let Some(pods) = pods {
                    pods.replicas = pods.replicas.max(*replicas);
                }
                self.cached.target.clone_from(&self.actual.target);
                self.cached.primary.clone_from(&self.actual.primary);
            }
            Assertion::TargetDown => {
                if let Some(target) = &mut self.actual.target {
                    target.replicas = 0;
                }
                self.cached.target.clone_from(&self.actual.target);
            }
            Assertion::SideService(Side::Primary) => (self.actual.sides.0, self.cached.sides.0) = (true, true),
            Assertion::SideService(Side::Canary) => (self.actual.sides.1, self.cached.sides.1) = (true, true),
            Assertion::Route(weight) => {
                if self.actual.route != Some(*weight) {
                    self.route_since = now;
                }
                (self.actual.route, self.actual.handed_back) = (Some(*weight), false);
                (self.cached.route, self.cached.handed_back) = (Some(*weight), false);
            }
            Assertion::Apex(selects) => (self.actual.apex, self.cached.apex) = (Some(*selects), Some(*selects)),
            Assertion::Rehearsed { run, .. } => self.memory.rehearsal = Some((*run, Rehearsal::Accepted)),
            Assertion::Pruned(keep) => {
                self.actual.stored.retain(|one| keep.contains(one));
                self.cached.stored = self.actual.stored.clone();
            }
            Assertion::RouteHandedBack { .. } => (self.actual.handed_back, self.cached.handed_back) = (true, true),
            Assertion::Released => (self.actual.owned, self.cached.owned) = (false, false),
            Assertion::Unfinalized => {
                self.actual.finalizer = false;
                self.gone = true;
            }
        }
    }
}
