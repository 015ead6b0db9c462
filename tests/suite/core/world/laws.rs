//! The invariants of `design.md`, as questions about one write of the controller. Asked by the random worlds beside this file and
//! by the exhaustive ones of `tests/model`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serin::rollout::{Assertion, Block, Fingerprint, Memory, Observation, Plan, Selects, Side, Stage, Weight, need};

/// The moment of a write, and what has been true before it.
pub struct Moment<'a> {
    /// When it is written.
    pub now: DateTime<Utc>,
    /// `spec.progressDeadlineSeconds`.
    pub patience: TimeDelta,
    /// `spec.analysis.interval`.
    pub interval: TimeDelta,
    /// What the process remembers.
    pub memory: &'a Memory,
    /// Since when the route has carried the weight that it was last given.
    pub route_since: DateTime<Utc>,
    /// What the apex really selects.
    pub apex: Option<Selects>,
    /// Revisions that passed a check at the last step.
    pub judged: &'a BTreeSet<Fingerprint>,
    /// Whether runs promote without a judgement.
    pub unjudged: bool,
    /// Percent of its pods that a side needs ready: primary, canary.
    pub ready_thresholds: (u32, u32),
}

/// What a write breaks, in words.
pub type Held = Result<(), String>;

/// The template of a fingerprint.
pub fn number(fingerprint: &Fingerprint) -> u32 {
    u32::from_str_radix(fingerprint.0.trim_start_matches("v1:").trim_start_matches('0'), 16).unwrap_or(0)
}

fn hold(holds: bool, broken: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Moment<'_> {
    /// What must be true of a status that is written.
    pub fn status(&self, before: Option<&Block>, next: &Block, observation: &Observation) -> Held {
        let Some(before) = before else { return Ok(()) };
        let widened = before.traffic().matched && next.has_all();
        if next.weight > before.weight || widened {
            self.upwards(before, next, observation)?;
        } else if next.weight < before.weight {
            self.homewards(before, next, observation)?;
        }
        hold(next.run >= before.run, || {
            format!("the run's number goes from {} to {}", before.run, next.run)
        })?;
        if before.iterations > 0 && next.iterations > before.iterations {
            let (from, to) = (before.iterations, next.iterations);
            let lasted = self.now - before.since;
            // A person may leave out the rest of an iteration.
            let heard = next.words != before.words;
            hold(to == from + 1 && (lasted >= self.interval || heard), || {
                format!("iteration {to} comes after {from}, which lasted {lasted}")
            })?;
        }
        let steps = |stage| matches!(stage, Stage::Stepping | Stage::WaitingPromotion);
        // Without steps the analysis was called off in the middle of the run, by a person.
        let judged = next.plan.as_ref().is_some_and(Plan::judges);
        let by_a_person = next.words.followed_since(&before.words).is_some();
        if judged && !by_a_person && steps(before.stage) && matches!(next.stage, Stage::Shielding | Stage::Promoting) {
            self.stood(before, observation)?;
        }
        let rested = |stage| matches!(stage, Stage::Resting | Stage::Waiting);
        if next.stage == Stage::Resting && !rested(before.stage) {
            at_rest(next, observation)?;
        }
        if next.run > before.run {
            let known = [&before.promoted, &next.promoted];
            let owed = next.running.is_some() && !known.contains(&&next.running);
            hold(owed, || "a run for nothing".to_owned())?;
        }
        explained(next)
    }

    /// Invariants 1, 2 and 4: upwards a weight follows the plan, or shields, or holds; never without the pods; never before its time.
    fn upwards(&self, before: &Block, next: &Block, observation: &Observation) -> Held {
        let after = before.plan.as_ref().and_then(|plan| plan.after(before.weight));
        let planned = after == Some(next.weight) && next.traffic().matched == before.traffic_at(next.weight).matched;
        let held = matches!(next.stage, Stage::Shielding | Stage::Promoting | Stage::HoldOnCanary);
        let shields = next.has_all() && held && next.subject.has_route();
        let (from, to) = (before.weight, next.weight);
        let by_a_person = next.words.followed_since(&before.words).is_some();
        hold(planned || shields || by_a_person, || {
            format!("weight {from} to {to} in {:?}", next.stage)
        })?;
        let ready = observation.canary_endpoints.unwrap_or(0);
        let needed = self.need(next, Side::Canary, next.traffic().most(Side::Canary));
        hold(ready >= needed, || {
            format!("raised to {to} with {ready} of {needed} pods")
        })?;
        let steps_on = matches!(before.stage, Stage::Stepping | Stage::WaitingPromotion);
        if next.stage == Stage::Stepping && steps_on && !by_a_person {
            self.stood(before, observation)?;
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
            hold(judged, || "all traffic to a revision that nobody judged".to_owned())?;
        }
        Ok(())
    }

    fn need(&self, block: &Block, side: Side, share: u8) -> u32 {
        let (primary, canary) = self.ready_thresholds;
        need(
            block.capacity,
            share,
            if side == Side::Primary { primary } else { canary },
        )
    }

    /// Invariant 4: each step lasts at least its interval, at its weight.
    fn stood(&self, block: &Block, observation: &Observation) -> Held {
        let weight = block.weight;
        if !block.subject.has_route() {
            return Ok(());
        }
        let drawn = observation
            .route
            .is_present_and(|route| route.drawn.as_ref() == Some(&block.traffic()));
        hold(drawn, || {
            format!("goes on from {weight}, which the route does not carry")
        })?;
        let stood = self.now - self.route_since;
        hold(self.unjudged || stood >= self.interval, || {
            format!("{weight} stood for {stood} only")
        })
    }

    /// Invariant 2: homewards the primary never gets more than its ready pods carry, but for the named exceptions.
    fn homewards(&self, before: &Block, next: &Block, observation: &Observation) -> Held {
        let remembered = self
            .memory
            .primary_ready
            .filter(|(_, at)| self.now - *at <= TimeDelta::seconds(60));
        let ready = observation
            .primary_endpoints
            .or_else(|| remembered.map(|(ready, _)| ready))
            .unwrap_or(0);
        let dead = observation.canary_endpoints == Some(0);
        let carried = ready >= self.need(next, Side::Primary, next.weight.primary());
        let late = self.now - before.since >= self.patience;
        let (from, to) = (before.weight, next.weight);
        hold(carried || (ready > 0 && (dead || late)), || {
            format!("{from} to {to} with {ready} of {} pods", next.capacity)
        })?;
        let primary = observation.primary.present();
        let (promotes, onto) = match next.stage {
            // What did not come up is to be rolled back.
            Stage::HoldOnCanary | Stage::Restoring => (true, &next.promoted),
            stage => (stage == Stage::Promoting, &next.running),
        };
        let rolls = promotes && primary.is_some_and(|it| !it.rollout.complete);
        if let (true, false, Some(primary)) = (rolls, dead, primary) {
            let settled = if primary.fingerprint == *onto {
                ready.min(primary.rollout.updated)
            } else {
                0
            };
            let safe = primary.worst_ready.max(settled);
            let needed = self.need(next, Side::Primary, to.primary());
            hold(safe >= needed, || {
                format!("{to} while the roll leaves {safe} of {needed} pods")
            })?;
        }
        Ok(())
    }

    /// What must be true of a write to the world.
    pub fn deed(&self, assertion: &Assertion, block: &Block, observation: &Observation) -> Held {
        match assertion {
            Assertion::PrimaryTemplate { .. } => self.template_written(block, observation),
            Assertion::Route(traffic) => hold(*traffic == block.traffic(), || {
                format!("the route gets {traffic:?}, the status says {:?}", block.traffic())
            }),
            // Invariant 2: pods are taken only from a side without traffic, while the other one serves.
            Assertion::TargetDown => {
                hold(is_home(block, observation), || "target down under traffic".to_owned())?;
                let selected = observation
                    .apex_service
                    .is_present_and(|apex| apex.selects == Selects::Target);
                hold(!selected, || "target down while the apex selects it".to_owned())
            }
            Assertion::Apex(selects) => {
                let ready = match selects {
                    Selects::Primary => observation.primary_endpoints,
                    _ => observation.canary_endpoints,
                };
                let working = ![Some(*selects), Some(Selects::Other)].contains(&self.apex);
                let in_time = self.now - block.since < self.patience;
                hold(!(working && in_time) || ready.unwrap_or(0) > 0, || {
                    "the apex is pointed at nothing".to_owned()
                })
            }
            _ => Ok(()),
        }
    }

    /// Invariant 3: the primary's template is written by a promotion or a restore; its worst ready count carries its weight; and what
    /// a promotion gives it passed the last step.
    fn template_written(&self, block: &Block, observation: &Observation) -> Held {
        let primary = observation.primary.present().and_then(|it| it.fingerprint.clone());
        // A promotion that was called off, and arrives late, is undone.
        let overtaken = primary.is_some() && primary == block.copied && primary != block.promoted;
        let by = overtaken || matches!(block.stage, Stage::Promoting | Stage::Restoring | Stage::Initializing);
        hold(by, || format!("the primary's template is written in {:?}", block.stage))?;
        let late = self.now - block.since >= self.patience;
        if block.stage == Stage::Initializing {
            let switched = observation
                .apex_service
                .is_present_and(|apex| apex.selects == Selects::Primary);
            let serves = observation.primary_endpoints.is_some_and(|ready| ready > 0);
            return hold(!(switched && serves) || late, || {
                "the serving primary is rolled unjudged".to_owned()
            });
        }
        let worst = observation.primary.present().map_or(0, |primary| primary.worst_ready);
        let needed = self.need(block, Side::Primary, block.traffic().most(Side::Primary));
        let nobody = observation.primary_endpoints == Some(0);
        // Without a route the primary rolls as any Deployment does.
        let forced = block.stage == Stage::Restoring && (late || nobody) || !block.subject.has_route();
        hold(worst >= needed || forced, || {
            format!("the roll leaves {worst} of {needed} pods at weight {}", block.weight)
        })?;
        if block.stage == Stage::Promoting && !self.unjudged {
            let revision = block.running.as_ref().map_or(0, number);
            let judged = self.judged.iter().any(|judged| number(judged) % 100 == revision % 100);
            hold(judged, || "promoted without a passed check at the last step".to_owned())?;
        }
        Ok(())
    }
}

/// Reasons that no time ends: a person, a rival or an object that is missing is named as awaited.
const NO_TIME_ENDS: [&str; 11] = [
    "Suspended",
    "Paused",
    // A person was alerted, and the canary serves.
    "PromotionFailed",
    "PrimaryNotReady",
    "InvalidSpec",
    "Forbidden",
    "KindNotServed",
    "TargetTaken",
    "Queued",
    "TargetNotFound",
    "ReferenceNotFound",
];

/// What a person has just said, for as long as a check lasts that is on: its end has other words.
const JUST_HEARD: [&str; 3] = ["Approved", "Resumed", "PromoteFull"];

/// Invariant 6: every waiting state names what it waits for, until when, and what happens then; or that no time ends it.
fn explained(next: &Block) -> Held {
    let why = &next.why;
    let reason = why.reason.as_str();
    let begins = matches!(reason, "Initializing" | "Adopted");
    let named = why.awaiting.is_some() || begins;
    hold(next.stage == Stage::Resting || named, || {
        format!("waits and does not say what for: {why:?}")
    })?;
    let checks = matches!(
        next.stage,
        Stage::Raising | Stage::Stepping | Stage::WaitingPromotion | Stage::Waiting
    );
    let timeless = NO_TIME_ENDS.contains(&reason) || (checks && JUST_HEARD.contains(&reason));
    // A failed promotion is held before all its traffic is seen on the canary too: a route that does not follow has its own words.
    let failed = next.stage == Stage::Promoting && next.outcome.is_some();
    let held = next.stage == Stage::HoldOnCanary || failed;
    let bounded = why.until.is_some() && why.then.is_some();
    hold(
        next.stage == Stage::Resting || begins || timeless || held || bounded,
        || format!("waits for ever, in {:?}: {why:?}", next.stage),
    )
}

/// Whether all traffic is seen on the primary.
fn is_home(block: &Block, observation: &Observation) -> bool {
    let routed = |weight: Option<Weight>| weight == Some(Weight::ZERO);
    if block.subject.has_route() {
        observation.route.is_present_and(|route| routed(route.weight))
    } else {
        block.weight == Weight::ZERO
    }
}

/// A resting phase is written only when the world was seen drawn.
fn at_rest(block: &Block, observation: &Observation) -> Held {
    hold(is_home(block, observation), || {
        "resting with traffic on the canary".to_owned()
    })?;
    let down = observation.target.present().is_none_or(|target| target.replicas == 0);
    hold(down, || "resting with pods".to_owned())
}
