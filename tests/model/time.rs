//! What makes the states finite: time is told from now, what is older than every deadline is equally old, versions only tell the
//! same from changed, and texts for people are left out.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serin::rollout::{Block, Fingerprint, Memory, RoundId, Stage};

use crate::pass::SETTLE;
use crate::place::{LateWrite, Place};

/// Older than this is all the same: the longest span that a decision here looks at is an interval and two progress deadlines of 30 s.
const OLDEST: TimeDelta = TimeDelta::seconds(75);
/// On the way out it is three deadlines and two minutes of last tries.
const OLDEST_LEAVING: TimeDelta = TimeDelta::seconds(215);
/// A law asks whether the route stood for an interval, and nothing longer.
const INTERVAL: TimeDelta = TimeDelta::seconds(10);

/// Moves the state to the beginning of time.
pub fn normalise(place: &mut Place) {
    let now = place.now;
    let oldest = if place.status.stage == Stage::Leaving {
        OLDEST_LEAVING
    } else {
        OLDEST
    };
    let older = |at: &mut DateTime<Utc>, oldest: TimeDelta| *at = DateTime::UNIX_EPOCH + (*at - now).max(-oldest);
    let age = |at: &mut DateTime<Utc>| older(at, oldest);
    let young = |at: &mut DateTime<Utc>| older(at, SETTLE);
    for late in [&mut place.late] {
        if let Some(LateWrite::Status(block)) = late.as_mut().map(|late| &mut late.what) {
            *block = Arc::new(plain(block, age));
        }
    }
    let status = Arc::new(plain(&place.status, age));
    place.status_seen = if place.status_is_seen {
        status.clone()
    } else {
        Arc::new(plain(&place.status_seen, age))
    };
    place.status = status;
    older(&mut place.route_since, INTERVAL);
    if place.truth.route.both {
        young(&mut place.both_since);
    } else {
        place.both_since = DateTime::UNIX_EPOCH;
    }
    place.process.wake.iter_mut().for_each(age);
    remembered(place, age, young);
    for answer in place.process.answers.given.values_mut() {
        answer.at = DateTime::UNIX_EPOCH;
    }
    place.now = DateTime::UNIX_EPOCH;
    versions(place);
}

fn remembered(place: &mut Place, age: impl Fn(&mut DateTime<Utc>), young: impl Fn(&mut DateTime<Utc>)) {
    let (since, stage) = (place.status.since, place.status.stage);
    let process = &mut place.process;
    let memory: &mut Memory = &mut process.memory;
    // Progress of an earlier stage is not looked at any more.
    memory.progress.iter_mut().for_each(|it| age(&mut it.at));
    memory.progress = memory.progress.filter(|it| it.at >= since);
    memory.traffic_seen.iter_mut().for_each(|(_, at)| age(at));
    memory.apex_seen.iter_mut().for_each(|(_, at)| age(at));
    memory.template_seen.iter_mut().for_each(|(_, at)| age(at));
    memory.undrawn_since.iter_mut().for_each(&age);
    memory.last_check.iter_mut().for_each(&age);
    // No gate here has a timeout.
    memory.refused_at = None;
    // Of the announcements only whether they have settled is looked at, and only on the way in or out.
    memory.announced_seen = memory.announced_seen.filter(|_| stage == Stage::Initializing);
    memory.announced_seen.iter_mut().for_each(&young);
    memory.apex_announced_seen.iter_mut().for_each(&young);
    memory.parting_seen.iter_mut().for_each(|(_, at)| young(at));
    memory.handed_back_seen.iter_mut().for_each(&young);
    // Endpoints are always known here.
    memory
        .primary_ready
        .iter_mut()
        .for_each(|(_, at)| *at = DateTime::UNIX_EPOCH);
    // How long a process has acted matters as long as it has not begun the stage itself.
    let oldest = DateTime::UNIX_EPOCH - OLDEST;
    memory.acting_since.iter_mut().for_each(&age);
    memory.acting_since = memory.acting_since.map(|at| if since < at { at } else { oldest });
    // A check is told from others of its step by how many came before it.
    let before = std::mem::take(&mut memory.checks);
    memory.short_in = memory.short_in.filter(|check| *check == before).map(|_| 0);
    let renumber = |id: &mut RoundId| id.check = id.check.checked_sub(before).unwrap_or(u32::MAX);
    process.answers.round.iter_mut().for_each(renumber);
    process
        .pending
        .iter_mut()
        .for_each(|pending| renumber(&mut pending.round));
}

/// The block without what is for people alone.
fn plain(block: &Block, age: impl Fn(&mut DateTime<Utc>)) -> Block {
    let mut block = block.clone();
    age(&mut block.since);
    block.why.until.iter_mut().for_each(age);
    block.why.message = String::new();
    block
        .outcome
        .iter_mut()
        .for_each(|outcome| outcome.message = String::new());
    // Versions of Serin and Kubernetes stand still here, so that nothing is ever re-based.
    block.baseline = None;
    (block.notices, block.samples, block.told, block.checks) = (Vec::new(), Vec::new(), 0, 0);
    block
}

/// The present version of each object is 0; another one is the last number there is, which counting never reaches.
fn versions(place: &mut Place) {
    let now = place.truth.versions();
    let other = |version: &mut u8, present: u8| *version = if *version == present { 0 } else { u8::MAX };
    let seen = &mut place.seen;
    other(&mut seen.target.generation, now.target);
    other(&mut seen.primary.generation, now.primary);
    other(&mut seen.route_version, now.route);
    other(&mut seen.apex_version, now.apex);
    if let Some(late) = &mut place.late {
        other(&mut late.from.target, now.target);
        other(&mut late.from.primary, now.primary);
        other(&mut late.from.route, now.route);
        other(&mut late.from.apex, now.apex);
    }
    let truth = &mut place.truth;
    (truth.target.generation, truth.primary.generation) = (0, 0);
    (truth.route_version, truth.apex_version) = (0, 0);
}

/// The state but for what may still happen.
pub struct Calm<'a>(pub &'a Place);

impl Hash for Place {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.left.hash(hasher);
        Calm(self).hash(hasher);
    }
}

impl Hash for Calm<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let place = self.0;
        (&place.truth, &place.seen, place.endpoints).hash(hasher);
        (place.lags, place.endpoints_lag, place.refuses, place.status_is_seen).hash(hasher);
        (
            place.wish,
            place.wish_seen,
            place.finalizer,
            place.gone,
            place.both_since,
        )
            .hash(hasher);
        block(&place.status, hasher);
        if !place.status_is_seen {
            block(&place.status_seen, hasher);
        }
        process(place, hasher);
        (&place.judged, place.route_since, &place.broken).hash(hasher);
        match &place.late {
            None => 0_u8.hash(hasher),
            Some(late) => {
                (&late.from, late.fits).hash(hasher);
                match &late.what {
                    LateWrite::Status(late) => block(late, hasher),
                    LateWrite::Deed(deed) => format!("{deed:?}").hash(hasher),
                }
            }
        }
    }
}

fn process<H: Hasher>(place: &Place, hasher: &mut H) {
    let process = &place.process;
    (process.wake, process.due).hash(hasher);
    process
        .pending
        .as_ref()
        .map(|it| (&it.round, &it.key, &it.metric_of))
        .hash(hasher);
    process.answers.round.hash(hasher);
    for (key, answer) in &process.answers.given {
        (key, format!("{:?}", answer.says)).hash(hasher);
    }
    let memory = &process.memory;
    (
        &memory.traffic_seen,
        &memory.template_seen,
        memory.undrawn_since,
        memory.last_check,
    )
        .hash(hasher);
    memory.apex_seen.map(|(selects, at)| (selects as u8, at)).hash(hasher);
    (
        &memory.asked_about,
        memory.primary_ready,
        memory.acting_since,
        memory.short_in,
    )
        .hash(hasher);
    memory
        .progress
        .map(|progress| (progress.ready, progress.at))
        .hash(hasher);
    memory.rehearsal.as_ref().map(|(run, _)| *run).hash(hasher);
    let parting = memory.parting_seen.map(|(to, at)| (to as u8, at));
    (
        memory.announced_seen,
        memory.apex_announced_seen,
        parting,
        memory.handed_back_seen,
    )
        .hash(hasher);
}

fn block<H: Hasher>(block: &Block, hasher: &mut H) {
    let revisions: [&Option<Fingerprint>; 5] = [
        &block.promoted,
        &block.last_promoted,
        &block.running,
        &block.last_failed,
        &block.copied,
    ];
    revisions.hash(hasher);
    (block.stage, block.since, block.run, block.weight, block.capacity).hash(hasher);
    (block.failed_checks, block.unreachable_checks, block.attempts).hash(hasher);
    block
        .plan
        .as_ref()
        .map(|plan| (&plan.steps, plan.promotion_step))
        .hash(hasher);
    for (mark, state) in &block.gates {
        (mark, *state as u8).hash(hasher);
    }
    block
        .outcome
        .as_ref()
        .map(|it| (it.result as u8, &it.reason))
        .hash(hasher);
    let why = &block.why;
    (&why.reason, &why.awaiting, why.until, &why.then).hash(hasher);
}
