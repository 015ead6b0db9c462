//! One pass of the controller, whole or cut short: what `controller/pass.rs` and `controller/apply.rs` do, without the requests.

use chrono::{DateTime, TimeDelta, Utc};
use serin::api::Canary;
use serin::rollout::{Answers, Assertion, Block, Observation, Question, QuestionKey, Rehearsal, Round, RoundId, met};

use crate::cluster::{Cluster, Conflict, Versions, template};
use crate::core::Core;
use crate::laws::Moment;
use crate::place::{Late, LateWrite, Pending, Place};
use crate::spec::Spec;

/// `spec.progressDeadlineSeconds`.
const PATIENCE: TimeDelta = TimeDelta::seconds(30);
/// `spec.trafficSettleSeconds`: what the data plane is given to follow.
pub const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// How far a pass comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// To its end.
    Whole,
    /// The process stops before this write, which may still arrive, or behind the last one.
    Before(u8),
}

/// The pass at work.
pub struct Pass<'a> {
    pub core: &'a Core,
    pub spec: &'a Spec,
    pub canary: &'a Canary,
    pub place: Place,
    pub cut: Cut,
    writes: u8,
}

impl<'a> Pass<'a> {
    /// A pass that begins in this state.
    pub const fn new(core: &'a Core, spec: &'a Spec, canary: &'a Canary, place: Place, cut: Cut) -> Self {
        Self {
            core,
            spec,
            canary,
            place,
            cut,
            writes: 0,
        }
    }

    /// Where it leads; `None` when it has fewer writes than the cut says.
    pub fn run(mut self) -> Option<Place> {
        let cut_short = self.act();
        match self.cut {
            Cut::Whole => {}
            Cut::Before(_) if cut_short => self.place.successor(),
            Cut::Before(n) if n == self.writes => self.place.successor(),
            Cut::Before(_) => return None,
        }
        Some(self.place)
    }

    /// True when it was cut short.
    fn act(&mut self) -> bool {
        let (now, core, canary) = (self.place.now, self.core, self.canary);
        let before = self.place.status_seen.clone();
        let observation = self.place.observe(self.spec);
        let process = &mut self.place.process;
        process.memory = serin::rollout::remember(&process.memory, canary, Some(&before), &observation, now);
        if let Some(round) = (core.ask)(
            canary,
            Some(&before),
            &observation,
            &process.memory,
            &process.answers,
            now,
        ) {
            self.put(&round, &before);
        }
        let process = &mut self.place.process;
        let decision = (core.advance)(
            canary,
            Some(&before),
            &observation,
            &process.memory,
            &process.answers,
            now,
        );
        process.due = false;
        process.wake = decision.wake.filter(|at| *at > now);
        let written = decision.block.is_some();
        if let Some(next) = decision.block {
            if core.fenced && !self.place.status_is_seen {
                return self.look_again();
            }
            if self.is_cut() {
                self.leave_behind(LateWrite::Status(std::sync::Arc::new(next)));
                return true;
            }
            self.write_status(next, &observation);
            let after = self.place.status.clone();
            let moved = (before.run, before.stage, before.weight) != (after.run, after.stage, after.weight);
            self.drop_answers(decision.round_done, moved);
        } else {
            self.drop_answers(decision.round_done, false);
        }
        self.place.process.memory = decision.memory;
        self.draw(&observation, written)
    }

    fn put(&mut self, round: &Round, block: &Block) {
        let process = &mut self.place.process;
        if process.answers.round.as_ref() != Some(&round.id) {
            process.answers = Answers {
                round: Some(round.id.clone()),
                ..Answers::default()
            };
        }
        let Some(question) = round.questions.first() else {
            return;
        };
        let key = QuestionKey::of(question);
        let asked = |pending: &Pending| pending.round == round.id && pending.key == key;
        if !process.pending.as_ref().is_some_and(asked) {
            let metric = matches!(question, Question::Metric { .. });
            process.pending = Some(Pending {
                round: RoundId::clone(&round.id),
                key,
                metric_of: block.running.clone().filter(|_| metric),
            });
        }
    }

    fn drop_answers(&mut self, round_done: bool, moved: bool) {
        if (round_done || moved) && self.core.drops_answers {
            self.place.process.answers = Answers::default();
            self.place.process.pending = None;
        }
    }

    /// The write that the pass was computed from is not the latest: the live object is read, and everything decided anew.
    fn look_again(&mut self) -> bool {
        self.place.status_seen = self.place.status.clone();
        self.place.wish_seen = self.place.wish;
        self.place.status_is_seen = true;
        self.place.process.due = true;
        false
    }

    const fn is_cut(&self) -> bool {
        matches!(self.cut, Cut::Before(n) if n == self.writes)
    }

    fn leave_behind(&mut self, what: LateWrite) {
        let from = self.place.seen.versions();
        let fits = self.place.status_is_seen;
        self.place.late = Some(Late { what, from, fits });
    }

    fn write_status(&mut self, next: Block, observation: &Observation) {
        self.writes += 1;
        let held = moment(&self.place).status(Some(&self.place.status), &next, observation);
        self.break_by(held);
        self.place.write_status(next);
        self.place.status_seen = self.place.status.clone();
        self.place.status_is_seen = true;
        self.place.process.due = true;
    }

    fn break_by(&mut self, held: Result<(), String>) {
        if let (Err(broken), None) = (held, &self.place.broken) {
            self.place.broken = Some(broken);
        }
    }

    fn draw(&mut self, observation: &Observation, written: bool) -> bool {
        let block = self.place.status_seen.clone();
        let (now, memory) = (self.place.now, self.place.process.memory.clone());
        let assertions = (self.core.render)(self.canary, &block, observation, &memory, now);
        let unmet: Vec<_> = assertions
            .into_iter()
            .filter(|one| !met(one, &block, observation, &memory))
            .collect();
        if !written && !unmet.is_empty() && !self.place.status_is_seen {
            return self.look_again();
        }
        let mut blocked = false;
        for deed in unmet {
            let retreats = matches!(&deed, Assertion::Route(traffic)
                if observation.route.is_present_and(|route| route.weight.is_some_and(|had| traffic.weight < had)));
            if blocked && !retreats {
                continue;
            }
            if let Assertion::Rehearsed { run, .. } = &deed {
                self.place.process.memory.rehearsal = Some((*run, Rehearsal::Accepted));
                self.place.process.due = true;
                continue;
            }
            if !self.can_write(&deed) {
                blocked = true;
                continue;
            }
            if self.place.refuses && is_of_route(&deed) {
                // Tried again after a wait.
                let again = self.place.now + TimeDelta::seconds(10);
                let wake = &mut self.place.process.wake;
                *wake = Some(wake.map_or(again, |at| at.min(again)));
                blocked = true;
                continue;
            }
            let held = moment(&self.place).deed(&deed, &block, observation);
            self.break_by(held);
            if !self.place.finalizer && !matches!(deed, Assertion::Finalizer) {
                self.break_by(Err(format!("{deed:?} before the finalizer stands")));
            }
            if self.is_cut() {
                self.leave_behind(LateWrite::Deed(Box::new(deed)));
                return true;
            }
            self.writes += 1;
            self.place.process.due = true;
            let from = self.place.seen.versions();
            let before = self.place.truth.clone();
            let since = [self.place.route_since, self.place.both_since];
            let landed = land(&mut self.place, &deed, from);
            let followed = followed(&self.place, since, &before, &deed, self.spec);
            self.break_by(followed);
            if self.place.gone {
                return false;
            }
            match landed {
                Ok(()) => {
                    let truth = self.place.truth.clone();
                    self.place.seen.lay(&deed, &truth);
                }
                Err(conflict) => {
                    self.read_live(conflict);
                    blocked = true;
                }
            }
        }
        self.place.flow();
        false
    }

    /// A revision is stored from what was read; a template is written from what is stored.
    fn can_write(&self, deed: &Assertion) -> bool {
        let seen = &self.place.seen;
        match deed {
            Assertion::Stored(revision) => [seen.target.template, seen.primary.template].contains(&template(revision)),
            Assertion::PrimaryTemplate { revision, .. } | Assertion::PrimaryExists { revision, .. } => {
                self.place.truth.has(revision)
            }
            _ => true,
        }
    }

    const fn read_live(&mut self, conflict: Conflict) {
        let (seen, truth) = (&mut self.place.seen, &self.place.truth);
        match conflict {
            Conflict::Target => seen.target = truth.target,
            Conflict::Primary => seen.primary = truth.primary,
            Conflict::Route => (seen.route, seen.route_version) = (truth.route, truth.route_version),
            Conflict::Apex => (seen.apex, seen.apex_version) = (truth.apex, truth.apex_version),
        }
    }
}

const fn is_of_route(deed: &Assertion) -> bool {
    matches!(
        deed,
        Assertion::Route(_)
            | Assertion::RouteAnnounced(_)
            | Assertion::RouteLeads(_)
            | Assertion::RouteHandedBack { .. }
    )
}

/// A write arrives at the API server.
pub fn land(place: &mut Place, deed: &Assertion, from: Versions) -> Result<(), Conflict> {
    let was = place.truth.route;
    place.truth.receive(deed, from)?;
    match deed {
        Assertion::Finalizer => {
            place.finalizer = true;
            place.supersede();
        }
        Assertion::Unfinalized { .. } => {
            place.finalizer = false;
            place.supersede();
            if place.wish.deleting {
                place.go();
            }
        }
        _ => {}
    }
    let is = place.truth.route;
    if was.leads() != is.leads() {
        place.route_since = place.now;
    }
    if is.both && !was.both {
        place.both_since = place.now;
    }
    Ok(())
}

/// What requests and the data plane make of a write that has just landed: nobody is sent where no pod is or will be, Services are
/// announced before they get traffic, and none is forgotten that had it until then.
///
/// The write of a frozen process is not judged: it may be late by any time, and is repaired.
fn followed(
    place: &Place,
    since: [DateTime<Utc>; 2],
    before: &Cluster,
    deed: &Assertion,
    spec: &Spec,
) -> Result<(), String> {
    // With its patience over Serin does what is left without waiting, and says so.
    if place.now - place.status.since >= PATIENCE {
        return Ok(());
    }
    if spec.is_untroubled() && before.answers() && !place.truth.answers() {
        return Err(format!("requests find nobody behind {deed:?}"));
    }
    let (was, is) = (before.route, place.truth.route);
    if !was.stands || !is.stands {
        return Ok(());
    }
    let [led, both] = since.map(|since| place.now - since >= SETTLE);
    if was.to_apex != is.to_apex && !(was.both && both) {
        return Err("the route leads to Services that were not announced".to_owned());
    }
    if was.both && !is.both && (was.to_apex != is.to_apex || !led) {
        return Err("the route forgets Services that had its traffic until now".to_owned());
    }
    Ok(())
}

/// What the laws look at.
pub fn moment(place: &Place) -> Moment<'_> {
    Moment {
        now: place.now,
        patience: PATIENCE,
        interval: TimeDelta::seconds(10),
        memory: &place.process.memory,
        route_since: place.route_since,
        apex: Some(place.truth.apex.into()),
        judged: &place.judged,
        unjudged: false,
        ready_thresholds: (100, 100),
    }
}
