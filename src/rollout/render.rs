//! `render`: what the world should say, given the status. Only what may be done now, in order.

use chrono::{DateTime, Utc};

use super::advance;
use super::announcement::{Takeover, takeover};
use super::assertion::{Assertion, Destination, Leftover};
use super::capacity::Capacity;
use super::handover::{Handover, handover, heir, selected, size};
use super::memory::names;
use super::observation::{Memory, Observation, Selects};
use super::scaler;
use super::state::{Block, Fingerprint, Stage};
use super::weight::{Side, Weight};
use crate::api::Canary;

/// The assertions for this pass.
///
/// Going up: pods, endpoints, destinations, routes. Going down: routes, settle, destinations, pods. What is `hold` stands in every stage
/// (Services, route, apex); what is `stage` only where the stage does it; at rest nothing else is asserted (`design.md`, "Assertions").
pub fn render(
    canary: &Canary,
    block: &Block,
    observation: &Observation,
    memory: &Memory,
    now: DateTime<Utc>,
) -> Vec<Assertion> {
    let scene = Scene {
        canary,
        block,
        observation,
        memory,
        now,
    };
    if !observation.deleting
        && (canary.spec.suspend || observation.taken_by.is_some() || observation.namespace_terminating)
    {
        return Vec::new();
    }
    let elsewhere = memory
        .about
        .as_ref()
        .is_some_and(|about| about != names(Some(block), observation));
    match block.stage {
        // The status has just taken other names: their objects are looked at first.
        _ if elsewhere => Vec::new(),
        _ if observation.deleting => scene.leave(),
        Stage::Initializing if observation.refusals.is_empty() => scene.initialize(),
        Stage::Initializing => Vec::new(),
        Stage::Leaving => scene.leave(),
        Stage::Moving => scene.hand_over(),
        _ => scene.released(),
    }
}

/// One pass over one canary, for reading.
struct Scene<'a> {
    canary: &'a Canary,
    block: &'a Block,
    observation: &'a Observation,
    memory: &'a Memory,
    now: DateTime<Utc>,
}

impl Scene<'_> {
    const fn capacity(&self) -> Capacity<'_> {
        Capacity::new(&self.canary.spec, self.block, self.observation, self.memory, self.now)
    }

    /// Whether what lost its traffic then may lose its pods.
    fn let_go(&self, since: Option<DateTime<Utc>>) -> bool {
        since.is_some_and(|since| self.now >= since + advance::delta(self.canary.spec.letting_go()))
    }

    /// Since when the route does so.
    fn drawn_since(&self) -> Option<DateTime<Utc>> {
        self.memory.drawn_since(&self.block.traffic())
    }

    /// Primary ready, Services, announcement, parting, route at 100/0, apex selector, settle, target down: each when the one before is seen.
    fn initialize(&self) -> Vec<Assertion> {
        let Some(revision) = self.block.promoted.clone() else {
            return Vec::new();
        };
        let observation = self.observation;
        // The target may be at zero already.
        let replicas = observation
            .target
            .present()
            .map_or(1, |target| target.replicas.max(self.block.capacity).max(1));
        let mut all = vec![Assertion::Finalizer];
        all.extend(advance::recoded_as(self.block, observation).map(Assertion::Stored));
        all.push(Assertion::Stored(revision.clone()));
        all.push(Assertion::PrimaryExists {
            revision: revision.clone(),
            replicas,
        });
        let keeps_primary = advance::keeps_primary(self.block);
        if !keeps_primary {
            all.push(Assertion::PrimaryTemplate {
                revision: revision.clone(),
                run: 0,
                attempt: 0,
                replicas,
            });
        }
        all.push(Assertion::Floor {
            side: Side::Primary,
            replicas: self.block.capacity.max(1),
        });
        // The target serves until the takeover is over, and the primary is to be as large then.
        all.extend(self.scaler(self.block.capacity));
        all.extend(self.sides());
        let primary_up = observation.primary.is_present_and(|primary| {
            primary.rollout.complete && (keeps_primary || primary.fingerprint.as_ref() == Some(&revision))
        }) && self.capacity().carries(Side::Primary, Weight::ZERO);
        if !primary_up {
            return all;
        }
        match takeover(self.canary, observation, self.memory, self.past_deadline(), self.now) {
            Takeover::Announcing => {
                all.push(Assertion::RouteAnnounced(Destination::Sides));
                return all;
            }
            Takeover::Parting => {
                all.push(Assertion::RouteLeads(Destination::Sides));
                return all;
            }
            Takeover::Over => {}
        }
        if self.block.subject.has_route() {
            all.push(Assertion::Route(self.block.traffic()));
            if self.drawn_since().is_none() {
                return all;
            }
        }
        all.push(Assertion::Apex(Selects::Primary));
        let switched = self
            .memory
            .apex_seen
            .filter(|(selects, _)| *selects == Selects::Primary)
            .map(|(_, since)| since);
        if self.let_go(switched) {
            all.push(Assertion::TargetDown);
            all.extend(self.discarded());
        }
        all
    }

    /// What is needed no more, once everything is on the new names.
    fn discarded(&self) -> Option<Assertion> {
        let leftovers = advance::leftovers(self.block, self.observation);
        (!leftovers.is_empty()).then_some(Assertion::Discarded(leftovers))
    }

    /// Every stage after initialisation and before deletion.
    fn released(&self) -> Vec<Assertion> {
        let block = self.block;
        let mut all = vec![Assertion::Finalizer];
        all.extend(self.stored());
        if let Some(revision) = self.primary_revision() {
            let replicas = self.primary_size();
            all.push(Assertion::PrimaryExists { revision, replicas });
        }
        all.extend(self.sides());
        if self.in_run() {
            all.push(Assertion::Floor {
                side: Side::Primary,
                replicas: block.capacity.max(1),
            });
        }
        if self.needs_target() {
            all.push(Assertion::Floor {
                side: Side::Canary,
                replicas: scaler::canary_floor(&self.capacity(), &self.canary.spec, block, self.observation),
            });
        }
        if block.subject.has_route() {
            all.push(Assertion::Route(block.traffic()));
        }
        all.push(Assertion::Apex(Selects::Primary));
        match block.stage {
            Stage::Raising => {
                if advance::pods_ready(self.canary, block, self.observation, self.memory, self.now)
                    && let Some(revision) = block.running.clone()
                {
                    all.push(Assertion::Rehearsed {
                        run: block.run,
                        trials: block.trials(),
                        home: block.traffic_after(),
                        revision,
                    });
                }
            }
            Stage::Promoting if self.capacity().primary_rolls_safely() => {
                all.extend(self.template(block.running.clone()));
            }
            // All traffic is on the canary, or the primary keeps what it needs.
            Stage::HoldOnCanary if block.attempts > 0 && self.capacity().primary_rolls_safely() => {
                all.extend(self.template(block.running.clone()));
            }
            // Pods that serve are taken at the deadline only, for then there is no other way.
            Stage::Restoring
                if self.capacity().primary_rolls_safely()
                    || self.observation.primary_endpoints == Some(0)
                    || self.past_deadline() =>
            {
                all.extend(self.template(block.promoted.clone()));
            }
            Stage::Finalising | Stage::RollingBack | Stage::Reverting => {
                let home = block.weight == Weight::ZERO && self.let_go(self.drawn_since());
                // A primary that lost its pods meanwhile is no reason to take the canary's, unless the canary has none either.
                let carried = self.capacity().carries(Side::Primary, Weight::ZERO)
                    || self.observation.canary_endpoints == Some(0)
                    || self.past_deadline();
                if home && carried && self.observation.target.present().is_some() {
                    all.push(Assertion::TargetDown);
                }
            }
            Stage::Resting => all.push(Assertion::Pruned(self.kept())),
            _ => {}
        }
        let at_rest = matches!(block.stage, Stage::Resting | Stage::Waiting);
        if at_rest && advance::is_due(block, self.observation, self.now) && self.let_go(self.drawn_since()) {
            all.push(Assertion::TargetDown);
        }
        if let Some(live) = block.live_configs.as_ref().filter(|live| live.roll)
            && advance::may_roll(block.stage)
            && (at_rest || self.capacity().primary_returns_safely())
        {
            let mark = live.seen.clone();
            all.push(Assertion::PrimaryRestarted { mark });
        }
        all.extend(self.named());
        if advance::overtaken(block, self.observation) && self.capacity().primary_returns_safely() {
            all.extend(self.template(block.promoted.clone()));
        }
        // Last, so that a copy which may not be written holds nothing up that carries traffic.
        all.extend(self.scaler(if self.in_run() { block.capacity } else { 0 }));
        all
    }

    /// The primary's copy of the scaler, which allows no fewer replicas than that; nothing while it gives way to another.
    fn scaler(&self, floor: u32) -> Option<Assertion> {
        let (spec, block) = (&self.canary.spec, self.block);
        if !self.in_run() && scaler::gives_way(spec, block, self.observation) {
            return Some(Assertion::Discarded(vec![Leftover::Scaler]));
        }
        // A status that has just taken another name is drawn when that scaler was looked at.
        let seen = self.observation.scaler.as_ref().map(|scaler| &scaler.name);
        let name = block.scaler.as_ref().filter(|name| seen == Some(*name));
        name.map(|_| Assertion::PrimaryScaler {
            floor,
            follow: scaler::follow(spec, block),
        })
    }

    /// What the route leads to: the sides' Services, and what the provider draws beside them.
    fn sides(&self) -> Vec<Assertion> {
        let sides = [Side::Primary, Side::Canary];
        let mut all: Vec<Assertion> = sides.map(Assertion::SideService).into();
        if self.observation.destinations.is_some() {
            all.extend(sides.map(Assertion::SideDestination));
        }
        all
    }

    fn template(&self, revision: Option<Fingerprint>) -> Option<Assertion> {
        // The team's own number comes with the release (`spec/core.md` 3.4), where no scaler decides; it may raise the primary and never
        // lowers it.
        let target = self.observation.target.present();
        let scaled = self.block.scaler.is_some();
        let wanted = target.filter(|_| self.block.stage == Stage::Promoting && !scaled);
        let replicas = self.primary_size().max(wanted.map_or(0, |target| target.replicas));
        revision.map(|revision| Assertion::PrimaryTemplate {
            revision,
            run: self.block.run,
            attempt: self.attempt(),
            replicas,
        })
    }

    /// A primary that was made while nobody followed its configurations runs what was promoted, which has another name now.
    fn named(&self) -> Option<Assertion> {
        let (block, observation) = (self.block, self.observation);
        let promoted = block.promoted.as_ref()?;
        let unnamed = observation.primary.is_present_and(|primary| primary.unpinned.is_some());
        let stands = block.pinned
            && advance::may_roll(block.stage)
            && block.copied.as_ref().is_none_or(|copied| copied == promoted);
        let stored = observation.stored.is_present_and(|stored| stored.contains(promoted));
        (unnamed && stands && stored).then(|| Assertion::PrimaryNamed(promoted.clone()))
    }

    const fn attempt(&self) -> u32 {
        match self.block.stage {
            Stage::HoldOnCanary => self.block.attempts,
            _ => 0,
        }
    }

    /// What the primary has now, and never less than its floor: a size that only its scaler or a person may lower.
    fn primary_size(&self) -> u32 {
        let now = self.observation.primary.present().map_or(0, |primary| primary.replicas);
        now.max(self.block.capacity).max(1)
    }

    /// The revisions whose content must be safe before anything else is done.
    fn stored(&self) -> Vec<Assertion> {
        let wanted = match self.block.stage {
            Stage::Resting | Stage::Waiting | Stage::Moving => [self.block.promoted.as_ref(), None],
            _ => [self.block.promoted.as_ref(), self.block.running.as_ref()],
        };
        let recoded = advance::recoded_as(self.block, self.observation);
        let mut stored: Vec<Assertion> = Vec::new();
        for fingerprint in wanted.into_iter().chain([recoded.as_ref()]).flatten() {
            let assertion = Assertion::Stored(fingerprint.clone());
            if !stored.contains(&assertion) {
                stored.push(assertion);
            }
        }
        stored
    }

    fn kept(&self) -> Vec<Fingerprint> {
        let block = self.block;
        [
            &block.promoted,
            &block.last_promoted,
            &block.running,
            &block.last_failed,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .chain(advance::recoded_as(self.block, self.observation))
        .collect()
    }

    /// What a lost primary is rebuilt from: the last good revision, or the one whose promotion is under way.
    fn primary_revision(&self) -> Option<Fingerprint> {
        match self.block.stage {
            Stage::Promoting | Stage::Returning | Stage::Finalising | Stage::HoldOnCanary => self.block.running.clone(),
            _ => self.block.promoted.clone(),
        }
    }

    /// Stages in which the primary's size is a floor.
    const fn in_run(&self) -> bool {
        !matches!(
            self.block.stage,
            Stage::Resting | Stage::Waiting | Stage::Moving | Stage::Leaving | Stage::Initializing
        )
    }

    /// Stages in which the target must have its pods.
    fn needs_target(&self) -> bool {
        match self.block.stage {
            Stage::Raising
            | Stage::Stepping
            | Stage::WaitingPromotion
            | Stage::Shielding
            | Stage::HoldOnCanary
            | Stage::Restoring => true,
            Stage::Promoting | Stage::Returning | Stage::RollingBack | Stage::Reverting | Stage::Restarting => {
                self.block.weight > Weight::ZERO
            }
            _ => false,
        }
    }

    fn past_deadline(&self) -> bool {
        self.now >= self.memory.deadline(&self.canary.spec, self.block)
    }

    /// Hand-back: traffic home, target to the primary's size, ready, apex to the target, announcement, parting, route to the
    /// apex alone, settle, release.
    fn leave(&self) -> Vec<Assertion> {
        let (block, observation) = (self.block, self.observation);
        let told = block.gates.contains_key(advance::TERMINATED);
        if told && !observation.finalizer {
            // Somebody else's finalizer keeps the object; what it named is no longer ours.
            return Vec::new();
        }
        let original = self.canary.spec.revert_on_deletion;
        let state = handover(self.canary, block, observation, self.memory, self.now);
        match state {
            Handover::Nothing | Handover::Abandoned { keep: false } if told => {
                let hand_back = observation.taken_by.is_none();
                vec![Assertion::Unfinalized { hand_back }]
            }
            Handover::Kept | Handover::Abandoned { keep: true } if told => vec![
                Assertion::Released { everything: true },
                Assertion::Unfinalized { hand_back: false },
            ],
            // What is handed back is no longer drawn: the annotations that were put there are taken off with the finalizer.
            Handover::Done if told => self
                .not_at_zero()
                .into_iter()
                .chain([
                    Assertion::Released { everything: false },
                    Assertion::Unfinalized { hand_back: true },
                ])
                .collect(),
            // The last word comes first, so that nobody misses it.
            Handover::Done => Vec::new(),
            _ => self.handed_back(state, original),
        }
    }

    /// A target that has all traffic and that somebody, or a late write of a dead process, scaled to zero: nobody repairs it behind us.
    fn not_at_zero(&self) -> Option<Assertion> {
        let serves = heir(self.block, self.observation) == Side::Canary;
        let at_zero = self.observation.target.is_present_and(|target| target.replicas == 0);
        (serves && at_zero).then(|| Assertion::Floor {
            side: Side::Canary,
            replicas: size(self.block, self.observation),
        })
    }

    /// The way from the old names: everything handed back, then what is needed no more taken away.
    fn hand_over(&self) -> Vec<Assertion> {
        let (block, observation) = (self.block, self.observation);
        let mut all = vec![Assertion::Finalizer];
        all.extend(self.stored());
        let stands_alone = heir(block, observation) == Side::Canary;
        // A primary that serves on is rebuilt where it is lost.
        if let Some(revision) = self.primary_revision().filter(|_| !stands_alone) {
            let replicas = self.primary_size();
            all.push(Assertion::PrimaryExists { revision, replicas });
        }
        let state = handover(self.canary, block, observation, self.memory, self.now);
        all.extend(self.handed_back(state, false));
        if state == Handover::Done {
            all.extend(stands_alone.then_some(Assertion::Released { everything: false }));
            all.extend(self.discarded());
        }
        all
    }

    /// The step of a hand-back that comes next, behind what the steps before have drawn.
    fn handed_back(&self, state: Handover, original: bool) -> Vec<Assertion> {
        let (block, observation) = (self.block, self.observation);
        let heir = heir(block, observation);
        let floor = (heir == Side::Canary).then(|| Assertion::Floor {
            side: Side::Canary,
            replicas: scaler::canary_bounds(&self.canary.spec, block, observation)
                .map_or(u32::MAX, |bounds| bounds.max)
                .min(size(block, observation)),
        });
        let apex = observation
            .apex_service
            .present()
            .map(|_| Assertion::Apex(selected(heir)));
        // A takeover that is called off may have left the apex named beside the sides, and it had the traffic until then.
        let home = observation
            .route
            .is_present_and(|route| {
                let parts = route.apex_announced && route.weight == Some(block.weight);
                route.weight.is_some() && !parts
            })
            .then(|| Assertion::Route(block.traffic()));
        let is_home = observation
            .route
            .is_present_and(|route| route.weight == Some(block.weight));
        let route = observation
            .route
            .present()
            .map(|_| Assertion::RouteHandedBack { original });
        let steps = match state {
            Handover::Raising => [floor, None, home],
            Handover::SwitchingApex => [floor, apex, home],
            // Without settle times this may come before the traffic is home.
            Handover::Announcing if home.is_some() && !is_home => [floor, apex, home],
            Handover::Announcing => [floor, apex, Some(Assertion::RouteAnnounced(Destination::Apex))],
            Handover::Parting => [floor, apex, Some(Assertion::RouteLeads(Destination::Apex))],
            Handover::HandingBack | Handover::Done => [floor, apex, route],
            Handover::Nothing | Handover::Kept | Handover::Abandoned { .. } | Handover::Unknown => [None, None, None],
        };
        steps.into_iter().flatten().collect()
    }
}
