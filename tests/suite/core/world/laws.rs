//! The invariants of `design.md`, held against every single write.

use chrono::TimeDelta;
use serin::rollout::{Assertion, Block, Observation, Selects, Stage, Weight, need};

use super::{World, number};

/// How long the stages of these worlds are patient.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// The interval of these worlds.
const INTERVAL: TimeDelta = TimeDelta::seconds(10);

impl World {
    /// What must be true of a status that is written.
    pub(super) fn hold_status(&mut self, before: Option<&Block>, next: &Block, observation: &Observation) {
        let size = serde_json::to_string(next).expect("a block serialises").len();
        assert!(size < 16 * 1024, "the block has {size} bytes");
        for notice in &next.notices {
            let fresh = self.ids.insert(notice.id.clone());
            assert!(fresh, "two transitions share the id {}: {:#?}", notice.id, self.log);
        }
        let Some(before) = before else { return };
        if next.weight > before.weight {
            self.upwards(before, next, observation);
        } else if next.weight < before.weight {
            self.homewards(before, next, observation);
        }
        let rested = |stage| matches!(stage, Stage::Resting | Stage::Waiting);
        if next.stage == Stage::Resting && !rested(before.stage) {
            self.at_rest(observation);
        }
        if next.run > before.run {
            let known = [&before.promoted, &next.promoted];
            assert!(
                next.running.is_some() && !known.contains(&&next.running),
                "a run for nothing: {:#?}",
                self.log
            );
        }
        // Every waiting state names what it waits for.
        let explained = next.why.awaiting.is_some() || matches!(next.why.reason.as_str(), "Initializing" | "Adopted");
        assert!(next.stage == Stage::Resting || explained, "{:?}", next.why);
    }

    /// Invariants 1, 2 and 4: upwards a weight follows the plan, or shields, or holds; never without the pods; never before its time.
    fn upwards(&self, before: &Block, next: &Block, observation: &Observation) {
        let planned = before.plan.as_ref().and_then(|plan| plan.after(before.weight)) == Some(next.weight);
        let held = matches!(next.stage, Stage::Shielding | Stage::Promoting | Stage::HoldOnCanary);
        let shields = next.weight == Weight::FULL && held;
        let (from, to) = (before.weight, next.weight);
        assert!(
            planned || shields,
            "weight {from} to {to} in {:?}: {:#?}",
            next.stage,
            self.log
        );
        let ready = observation.canary_endpoints.unwrap_or(0);
        let needed = need(next.capacity, to.percent(), 100);
        assert!(
            ready >= needed,
            "raised to {to} with {ready} of {needed} pods: {:#?}",
            self.log
        );
        if next.stage == Stage::Stepping && from > Weight::ZERO {
            let stood = self.now - self.route_since;
            assert!(stood >= INTERVAL, "{from} stood for {stood} only: {:#?}", self.log);
        }
        if held {
            let fingerprint = observation
                .target
                .present()
                .and_then(|target| target.fingerprint.as_ref());
            // Templates that are a hundred apart are one, read by two versions.
            let same = fingerprint.zip(next.running.as_ref());
            let judged = same.is_some_and(|(one, other)| number(one) % 100 == number(other) % 100)
                || before.stage == Stage::Finalising;
            assert!(judged, "all traffic to a revision that nobody judged: {:#?}", self.log);
        }
    }

    /// Invariant 2: homewards the primary never gets more than its ready pods carry, but for the named exceptions.
    fn homewards(&self, before: &Block, next: &Block, observation: &Observation) {
        let remembered = self
            .memory
            .primary_ready
            .filter(|(_, at)| self.now - *at <= TimeDelta::seconds(60));
        let ready = observation
            .primary_endpoints
            .or_else(|| remembered.map(|(ready, _)| ready))
            .unwrap_or(0);
        let dead = observation.canary_endpoints == Some(0);
        let carried = u64::from(ready) * 100 >= u64::from(next.weight.primary()) * u64::from(next.capacity.max(1));
        let late = self.now - before.since >= PATIENCE;
        let (from, to) = (before.weight, next.weight);
        assert!(
            carried || (ready > 0 && (dead || late)),
            "{from} to {to} with {ready} of {} pods: {:#?}",
            next.capacity,
            self.log
        );
        let primary = observation.primary.present();
        let rolls = next.stage == Stage::Promoting && primary.is_some_and(|it| !it.rollout.complete);
        if let (true, false, Some(primary)) = (rolls, dead, primary) {
            let settled = if primary.fingerprint == next.running {
                ready.min(primary.rollout.updated)
            } else {
                0
            };
            let safe = primary.worst_ready.max(settled);
            let needed = need(next.capacity, to.primary(), 100);
            assert!(
                safe >= needed,
                "{to} while the roll leaves {safe} of {needed} pods: {:#?}",
                self.log
            );
        }
    }

    /// A resting phase is written only when the world was seen drawn.
    fn at_rest(&self, observation: &Observation) {
        let home = observation
            .route
            .is_present_and(|route| route.weight == Some(Weight::ZERO));
        assert!(home, "resting with traffic on the canary: {:#?}", self.log);
        let down = observation.target.present().is_none_or(|target| target.replicas == 0);
        assert!(down, "resting with pods: {:#?}", self.log);
    }

    /// What must be true of a write to the world.
    pub(super) fn hold_deed(&self, assertion: &Assertion, block: &Block, observation: &Observation) {
        assert!(
            self.deleting || !self.canary.spec.suspend,
            "{assertion:?} while suspended"
        );
        match assertion {
            Assertion::PrimaryTemplate { .. } => self.template_written(block, observation),
            Assertion::Route(weight) => assert_eq!(*weight, block.weight, "the route is drawn from the status"),
            // Invariant 2: pods are taken only from a side without traffic, while the other one serves.
            Assertion::TargetDown => {
                let home = observation
                    .route
                    .is_present_and(|route| route.weight == Some(Weight::ZERO));
                assert!(home, "target down under traffic: {:#?}", self.log);
                let selected = observation
                    .apex_service
                    .is_present_and(|apex| apex.selects == Selects::Target);
                assert!(!selected, "target down while the apex selects it: {:#?}", self.log);
            }
            Assertion::Apex(selects) => {
                let ready = match selects {
                    Selects::Primary => observation.primary_endpoints,
                    _ => observation.canary_endpoints,
                };
                let working = ![Some(*selects), Some(Selects::Other)].contains(&self.actual.apex);
                if working && self.now - block.since < PATIENCE {
                    assert!(
                        ready.unwrap_or(0) > 0,
                        "the apex is pointed at nothing: {:#?}",
                        self.log
                    );
                }
            }
            _ => {}
        }
    }

    /// Invariant 3: the primary's template is written by a promotion or a restore; its worst ready count carries its weight; and what
    /// a promotion gives it passed the last step.
    fn template_written(&self, block: &Block, observation: &Observation) {
        let by = matches!(block.stage, Stage::Promoting | Stage::Restoring | Stage::Initializing);
        assert!(
            by,
            "the primary's template is written in {:?}: {:#?}",
            block.stage, self.log
        );
        if block.stage == Stage::Initializing {
            let switched = observation
                .apex_service
                .is_present_and(|apex| apex.selects == Selects::Primary);
            let serves = observation.primary_endpoints.is_some_and(|ready| ready > 0);
            let late = self.now - block.since >= PATIENCE;
            assert!(
                !(switched && serves) || late,
                "the serving primary is rolled unjudged: {:#?}",
                self.log
            );
            return;
        }
        let worst = observation.primary.present().map_or(0, |primary| primary.worst_ready);
        let needed = need(block.capacity, block.weight.primary(), 100);
        let late = self.now - block.since >= PATIENCE;
        let nobody = observation.primary_endpoints == Some(0);
        assert!(
            worst >= needed || (block.stage == Stage::Restoring && (late || nobody)),
            "the roll leaves {worst} of {needed} pods at weight {}: {:#?}",
            block.weight,
            self.log
        );
        if block.stage == Stage::Promoting && !self.unjudged {
            let revision = block.running.as_ref().map_or(0, number);
            let judged = self.judged.iter().any(|judged| number(judged) % 100 == revision % 100);
            assert!(
                judged,
                "promoted without a passed check at the last step: {:#?}",
                self.log
            );
        }
    }
}
