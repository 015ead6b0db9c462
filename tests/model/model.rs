//! The model as the checker walks it: states, what may happen in each, and what must hold in all of them.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};

use serin::api::Canary;
use serin::rollout::{Side, Stage, Weight};
use stateright::{Model, Property};

use crate::cluster::Road;
use crate::core::Core;
use crate::happening::{Happening, calm, happen, possible};
use crate::pass::{Cut, Pass};
use crate::place::{LateWrite, Place};
use crate::spec::{Begin, Spec};
use crate::time::{Calm, normalise};

/// No calm is longer than that, or it never ends.
const LONGEST_CALM: usize = 2_000;

/// One spec under one core.
pub struct World {
    core: Core,
    spec: Spec,
    canary: Canary,
    suspended: Canary,
    /// States from which calm brings rest.
    settling: Mutex<HashSet<u64>>,
}

impl World {
    /// The model of a spec.
    pub fn new(spec: Spec, core: Core) -> Self {
        Self {
            core,
            canary: spec.canary(false),
            suspended: spec.canary(true),
            spec,
            settling: Mutex::default(),
        }
    }

    fn step(&self, place: &Place, happening: Happening) -> Option<Place> {
        let mut next = match happening {
            Happening::Pass(cut) => {
                let mut before = place.clone();
                if cut != Cut::Whole {
                    before.left.deaths -= 1;
                }
                let canary = if place.wish_seen.suspended {
                    &self.suspended
                } else {
                    &self.canary
                };
                Pass::new(&self.core, &self.spec, canary, before, cut).run()?
            }
            other => happen(place, other, &self.spec, self.core.fenced)?,
        };
        normalise(&mut next);
        Some(next)
    }

    /// Whether the state comes to rest when nothing disturbs it any more. What is learned on the way is kept.
    fn settles(&self, place: &Place) -> bool {
        if place.broken.is_some() {
            // Another property has it.
            return true;
        }
        let mut way = Vec::new();
        let mut place = place.clone();
        let settled = loop {
            let mut hasher = DefaultHasher::new();
            Calm(&place).hash(&mut hasher);
            let print = hasher.finish();
            if self.known().contains(&print) {
                break true;
            }
            if way.len() > LONGEST_CALM || way.contains(&print) {
                break false;
            }
            way.push(print);
            match self.calmed(&place) {
                Some(next) => place = next,
                None => break place.rests(&self.spec),
            }
            if place.broken.is_some() {
                break true;
            }
        };
        if settled {
            self.known().extend(way);
        }
        settled
    }

    /// The next state when nothing disturbs this one.
    pub fn calmed(&self, place: &Place) -> Option<Place> {
        calm(place).into_iter().find_map(|next| self.step(place, next))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for World {
    type State = Place;
    type Action = Happening;

    fn init_states(&self) -> Vec<Place> {
        match self.spec.begin {
            Begin::AtRest => vec![Place::at_rest(&self.spec)],
            Begin::Live => [Road::NONE, Road::TEAMS]
                .map(|route| Place::live(&self.spec, &self.canary, route))
                .into(),
        }
    }

    fn actions(&self, place: &Place, actions: &mut Vec<Happening>) {
        possible(place, actions);
    }

    fn next_state(&self, place: &Place, happening: Happening) -> Option<Place> {
        self.step(place, happening)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LAWS, |_, place: &Place| place.broken.is_none()),
            Property::always(STORED, |_, place: &Place| {
                let initialized = place.status.promoted.as_ref();
                let untouched = place.gone || place.wish.suspended || place.wish.deleting;
                initialized.is_none_or(|revision| {
                    untouched || place.truth.has(revision) || place.late.is_some() || place.process.due
                })
            }),
            Property::always(AWAITED, |_, place: &Place| awaits(place)),
            Property::always(REST, Self::settles),
            Property::sometimes(PROMOTED, |_, place: &Place| {
                place.status.stage == Stage::Resting && place.status.last_promoted.is_some()
            }),
            Property::sometimes(SHARED, |_, place: &Place| place.truth.route.weight > Weight::ZERO),
            Property::sometimes(TAKEN_OVER, |world: &Self, place: &Place| {
                world.spec.begin == Begin::Live && place.status.stage == Stage::Resting
            }),
            Property::sometimes(HANDED_BACK, |_, place: &Place| {
                place.gone && place.status.gates.contains_key("told/terminated") && place.truth.answers()
            }),
        ]
    }
}

/// Every status and every write keeps the laws.
pub const LAWS: &str = "every write keeps the laws";
/// Invariant 3.
pub const STORED: &str = "the promoted revision is stored";
/// Invariant 6.
pub const AWAITED: &str = "every state but rest names what it waits for, and something will happen";
/// Invariants 4 and 6.
pub const REST: &str = "calm brings rest";

/// What a spec must come to somewhere, or it shows nothing.
pub const PROMOTED: &str = "a revision is promoted";
/// See [`PROMOTED`].
pub const SHARED: &str = "traffic is shared";
/// See [`PROMOTED`].
pub const TAKEN_OVER: &str = "the application is taken over";
/// See [`PROMOTED`].
pub const HANDED_BACK: &str = "the application is handed back";

fn awaits(place: &Place) -> bool {
    let (block, process) = (&place.status, &place.process);
    let resting = block.stage == Stage::Resting || place.gone;
    // A new revision is taken after a quiet second, the first one too.
    let begins = block.why.reason == "Initializing";
    let named = block.why.awaiting.is_some() || begins;
    let moves = process.due || process.wake.is_some() || process.pending.is_some();
    // The one state in which only the world can go on: a person was alerted, and the canary serves.
    let held = block.stage == Stage::HoldOnCanary;
    let lags = place.lags || place.endpoints_lag || place.late.is_some();
    let pods = [Side::Primary, Side::Canary].into_iter().any(|side| {
        let mut workers = match side {
            Side::Primary => place.truth.primary,
            Side::Canary => place.truth.target,
        };
        workers.step(false)
    });
    resting || (named && (moves || held || lags || pods || place.wish.suspended))
}

/// What a write that is still on its way says, for the traces.
pub fn late(place: &Place) -> String {
    place.late.as_ref().map_or_else(String::new, |late| match &late.what {
        LateWrite::Status(block) => format!("; on its way: status {:?} at {}", block.stage, block.weight),
        LateWrite::Deed(deed) => format!("; on its way: {deed:?}"),
    })
}
