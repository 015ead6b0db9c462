//! What the process remembers from pass to pass: since when a thing has been seen as it should be.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono::{DateTime, Utc};

use super::advance;
use super::observation::{Confirmation, Memory, Observation, Obstacle, Progress, RouteFacts, Selects};
use super::pods::awaited_side;
use super::state::{Block, GateState, Stage, Subject};
use super::traffic::Traffic;
use super::weight::Side;
use crate::api::{Canary, CanarySpec};

/// The memory after looking at the world once more.
///
/// Everything here begins again when the process does, so that a restart or a change of the leader lengthens an interval and never
/// cuts one (`design.md`, "Time").
pub fn remember(
    memory: &Memory,
    canary: &Canary,
    block: Option<&Block>,
    observation: &Observation,
    now: DateTime<Utc>,
) -> Memory {
    if canary.spec.suspend && !observation.deleting {
        return Memory {
            acting_since: Some(now),
            primary_ready: memory.primary_ready,
            checks: memory.checks,
            ..Memory::default()
        };
    }
    let about = names(block, observation);
    let elsewhere = Memory {
        acting_since: memory.acting_since,
        checks: memory.checks,
        ..Memory::default()
    };
    let same = memory.about.as_ref().is_none_or(|before| before == about);
    // What was seen was seen of other objects where the names have changed.
    let memory = if same { memory } else { &elsewhere };
    let mut next = Memory {
        about: Some(about.clone()),
        ..memory.clone()
    };
    if next.acting_since.is_none() {
        next.checks = block.map_or(0, |block| checks_before(canary, block, now));
    }
    next.acting_since.get_or_insert(now);
    next.traffic_seen = since(memory.traffic_seen.clone(), traffic_drawn(block, observation), now);
    let followed = apex_drawn(observation).filter(|side| observation.apex_endpoints.is_present_and(|it| it == side));
    next.apex_seen = since(memory.apex_seen, followed, now);
    let route = observation.route.present().filter(|route| accepted(route));
    next.announced_seen = route
        .filter(|route| route.announced)
        .map(|_| memory.announced_seen.unwrap_or(now));
    next.apex_announced_seen = route
        .filter(|route| route.apex_announced)
        .map(|_| memory.apex_announced_seen.unwrap_or(now));
    next.parting_seen = since(memory.parting_seen, route.and_then(|route| route.parting), now);
    next.handed_back_seen = observation
        .route
        .is_present_and(|route| route.handed_back && route.confirmed != Confirmation::Pending)
        .then(|| memory.handed_back_seen.unwrap_or(now));
    next.template_seen = match observation
        .target
        .present()
        .and_then(|target| target.fingerprint.clone())
    {
        Some(fingerprint) => since(memory.template_seen.clone(), Some(fingerprint), now),
        // A target that cannot be read now has not changed.
        None => memory.template_seen.clone(),
    };
    if let Some(ready) = observation.primary_endpoints {
        next.primary_ready = Some((ready, now));
    }
    let lists = lists(canary);
    if memory.lists.is_some_and(|before| before != lists) {
        // The answers that are on their way would be taken for those of other hooks.
        next.checks += 1;
    }
    next.lists = Some(lists);
    if let Some(block) = block {
        let ready = awaited_ready(block, observation);
        // What was noted before this stage was about something else.
        next.progress = match memory.progress.filter(|best| best.at >= block.since) {
            Some(best) if best.ready >= ready => Some(best),
            Some(_) => Some(Progress { ready, at: now }),
            // What was ready before this process looked got ready no later than now and no earlier than the stage.
            None => Some(Progress { ready, at: block.since }),
        };
        let drawn = next.drawn_since(&block.traffic()).is_some();
        next.undrawn_since = (!drawn).then(|| memory.undrawn_since.unwrap_or(now));
    }
    next
}

/// The names whose objects are observed: those that the status has fixed. Until an application was taken over it has fixed none.
pub(super) fn names<'a>(block: Option<&'a Block>, observation: &'a Observation) -> &'a Subject {
    block
        .filter(|block| block.stage != Stage::Initializing)
        .map_or(&observation.subject, |block| &block.subject)
}

impl Memory {
    /// Since when the data plane does this with requests, if it does.
    pub fn drawn_since(&self, traffic: &Traffic) -> Option<DateTime<Utc>> {
        let (seen, since) = self.traffic_seen.as_ref()?;
        (seen == traffic).then_some(*since)
    }

    /// When the patience with the block's stage ends: measured from the last newly ready pod, so that only a lack of progress runs it
    /// out.
    pub fn deadline(&self, spec: &CanarySpec, block: &Block) -> DateTime<Utc> {
        let from = self
            .progress
            .map_or(block.since, |progress| progress.at.max(block.since));
        from + advance::delta(spec.progress_deadline())
    }
}

/// How many checks a predecessor may have ended at this stage and weight. Only one that changes nothing (a gate that is still closed)
/// is not written down, and there is at most one of those in an interval.
fn checks_before(canary: &Canary, block: &Block, now: DateTime<Utc>) -> u32 {
    let is_repeated = block.stage == Stage::Waiting || block.gates.values().any(|state| *state == GateState::Refused);
    if !is_repeated {
        return block.checks;
    }
    let interval = advance::delta(canary.spec.interval()).num_milliseconds().max(1);
    let unwritten = (now - block.since).num_milliseconds().max(0) / interval + 1;
    block
        .checks
        .saturating_add(u32::try_from(unwritten).unwrap_or(u32::MAX))
}

/// A number that changes when a hook or a metric takes another's place in its list.
fn lists(canary: &Canary) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Some(analysis) = &canary.spec.analysis {
        for hook in &analysis.webhooks {
            (hook.type_(), &hook.name, &hook.url).hash(&mut hasher);
        }
        for metric in &analysis.metrics {
            metric.name.hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// What the data plane has been told, when everything about the route is as it should be.
fn traffic_drawn(block: Option<&Block>, observation: &Observation) -> Option<Traffic> {
    let contested = matches!(&observation.obstacle, Some(Obstacle::Contested { .. }));
    let subject = block.map_or(&observation.subject, |block| &block.subject);
    if !subject.has_route() {
        // The apex Service leads to the primary, and nothing else has a share.
        let apex = apex_drawn(observation).filter(|_| !contested);
        return apex
            .filter(|selects| *selects == Selects::Primary)
            .map(|_| Traffic::default());
    }
    let route = observation.route.present()?;
    if contested || !accepted(route) {
        None
    } else {
        route.drawn.clone()
    }
}

/// Whether the data plane has taken the present generation, as far as can be told.
const fn accepted(route: &RouteFacts) -> bool {
    matches!(route.confirmed, Confirmation::Confirmed | Confirmation::Silent)
}

fn apex_drawn(observation: &Observation) -> Option<Selects> {
    observation
        .apex_service
        .present()
        .filter(|apex| apex.drawn)
        .map(|apex| apex.selects)
}

/// Pods of the side that the stage waits for.
fn awaited_ready(block: &Block, observation: &Observation) -> u32 {
    let (workload, endpoints) = match awaited_side(block.stage) {
        Some(Side::Primary) => (&observation.primary, observation.primary_endpoints),
        Some(Side::Canary) | None => (&observation.target, observation.canary_endpoints),
    };
    // Only pods of the present template are progress: those of the old one are ready from the start.
    let updated = workload.present().map_or(0, |workload| workload.rollout.updated);
    endpoints.unwrap_or(0).min(updated)
}

fn since<T: PartialEq>(
    before: Option<(T, DateTime<Utc>)>,
    seen: Option<T>,
    now: DateTime<Utc>,
) -> Option<(T, DateTime<Utc>)> {
    let seen = seen?;
    match before {
        Some((value, at)) if value == seen => Some((value, at)),
        _ => Some((seen, now)),
    }
}
