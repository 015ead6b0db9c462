//! One pass of the state machine over one canary: the block being made, and the words that go with it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::capacity::Capacity;
use super::super::notice::{Notice, Severity};
use super::super::observation::{Lack, Memory, Observation};
use super::super::question::Answers;
use super::super::round::Check;
use super::super::size;
use super::super::slots::{self, Queued, Stands};
use super::super::state::{Block, Fingerprint, GateState, Outcome, RunResult, Stage, TEXT_LIMIT, Why};
use super::super::traffic::Traffic;
use super::super::weight::Weight;
use super::super::{cookies, mark, public, round, steps};
use super::Decision;
use crate::api::{Canary, CanarySpec};

/// The longest span that is reckoned with: what is longer comes to the same and must not overflow.
const AGE: TimeDelta = TimeDelta::days(36_525);
/// The text of a notice before the block as a whole is fitted.
const NOTICE_LIMIT: usize = 1024;

/// The pass at work.
pub(super) struct Turn<'a> {
    pub canary: &'a Canary,
    pub observation: &'a Observation,
    pub answers: &'a Answers,
    pub now: DateTime<Utc>,
    /// The block as it stands in the status.
    pub before: &'a Block,
    /// The block as it will stand.
    pub block: Block,
    pub memory: Memory,
    notices: Vec<Notice>,
    wake: Option<DateTime<Utc>>,
    round_done: bool,
}

impl<'a> Turn<'a> {
    pub fn new(
        canary: &'a Canary,
        before: &'a Block,
        observation: &'a Observation,
        memory: &Memory,
        answers: &'a Answers,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            canary,
            observation,
            answers,
            now,
            before,
            block: before.clone(),
            memory: memory.clone(),
            notices: Vec::new(),
            wake: None,
            round_done: false,
        }
    }

    pub const fn spec(&self) -> &'a CanarySpec {
        &self.canary.spec
    }

    pub fn capacity(&self) -> Capacity<'_> {
        Capacity::new(&self.canary.spec, &self.block, self.observation, &self.memory, self.now)
    }

    // === the block ===

    /// Goes over to another stage, with a clean slate for its checks and gates.
    pub fn enter(&mut self, stage: Stage) {
        self.block.stage = stage;
        self.block.since = self.now;
        let has_no_slot = stage == Stage::Restarting && slots::stands(self.before) == Stands::Idle;
        self.block.queued = has_no_slot.then_some(Queued {
            since: self.now,
            revision: None,
        });
        if at_rest(stage) {
            self.block.gates.clear();
        } else {
            self.block.kept_until = None;
        }
        if !matches!(
            stage,
            Stage::Raising | Stage::Stepping | Stage::WaitingPromotion | Stage::Restarting
        ) {
            (self.block.words.paused, self.block.words.full) = (None, false);
        }
        if matches!(stage, Stage::Raising | Stage::Restarting | Stage::Reverting) || at_rest(stage) {
            self.block.iterations = 0;
        }
        self.forget_gates();
        self.memory.short_in = None;
        self.memory.lacking = None;
        self.memory.last_check = None;
        self.memory.progress = None;
    }

    /// Another run, of this revision: its number, its plan, and nothing counted yet. The revision that was under test comes back.
    pub fn begin_run(&mut self, fingerprint: Fingerprint) -> Option<Fingerprint> {
        self.block.run += 1;
        self.block.attempts = 0;
        self.block.plan = Some(steps::plan(self.spec(), &self.block.subject));
        self.block.iterations = 0;
        self.block.cookies = cookies::of_run(self.canary, &self.block);
        self.block.failed_checks = 0;
        self.block.unreachable_checks = 0;
        self.block.dataless_checks = 0;
        self.block.samples.clear();
        self.memory.asked_about = None;
        // What a person said was about another run.
        (self.block.words.paused, self.block.words.full) = (None, false);
        self.block.running.replace(fingerprint)
    }

    /// A new step asks its gates anew. What runs once a run has run.
    pub fn forget_gates(&mut self) {
        self.block.gates.retain(|mark, _| mark::is_of_the_run(mark));
        self.block.gate = None;
    }

    /// Gives the canary another intended weight, which begins a new step.
    pub fn set_weight(&mut self, weight: Weight) {
        let matched = self.block.traffic_at(weight).matched;
        self.set_share(weight, matched);
    }

    /// Gives the canary all traffic: also the requests that do not match.
    pub fn give_all(&mut self) {
        self.set_share(Weight::FULL, false);
    }

    fn set_share(&mut self, weight: Weight, matched: bool) {
        if (self.block.weight, self.block.matched) == (weight, matched) {
            return;
        }
        match weight {
            Weight::ZERO => cookies::take_back(&mut self.block.cookies),
            // Nobody is kept on a side that may be rolled, nor led back there by a cookie when only a part comes home.
            Weight::FULL => self.block.cookies.primary = None,
            _ => {}
        }
        (self.block.weight, self.block.matched) = (weight, matched);
        self.block.since = self.now;
        self.memory.short_in = None;
        self.memory.lacking = None;
        self.memory.last_check = None;
    }

    /// Another iteration at the same traffic.
    pub fn set_iteration(&mut self, number: u32) {
        self.block.iterations = number;
        self.block.since = self.now;
    }

    pub fn outcome(&mut self, result: RunResult, reason: &str, message: &str) {
        self.block.outcome = Some(Outcome {
            result,
            reason: reason.into(),
            message: cut(message),
        });
    }

    /// Reason and message of how the run ended, or is ending.
    pub fn outcome_words(&self) -> (String, String) {
        let outcome = self.block.outcome.as_ref();
        outcome.map_or_else(Default::default, |outcome| {
            (outcome.reason.clone(), outcome.message.clone())
        })
    }

    /// Says why the canary stands where it stands. The builder that comes back says what is awaited.
    pub fn why(&mut self, reason: &str, message: &str) -> WhyBuilder<'_> {
        self.block.why = Why {
            reason: reason.into(),
            message: cut(message),
            awaiting: None,
            until: None,
            then: None,
        };
        WhyBuilder {
            now: self.now,
            turn_wake: &mut self.wake,
            why: &mut self.block.why,
        }
    }

    /// Whether saying this reason is news.
    pub fn why_changes(&self, reason: &str) -> bool {
        self.before.why.reason != reason
    }

    /// The round that was judged is over: its answers are dropped and the interval begins.
    pub fn end_round(&mut self) {
        self.round_done = true;
        self.memory.checks += 1;
        self.memory.last_check = Some(self.now);
    }

    /// What was asked so far was asked about something else: it is asked again, as another check.
    pub fn drop_round(&mut self) {
        self.round_done = true;
        self.memory.checks += 1;
    }

    /// Asks now, whatever is left of the interval. When the last check ended is not forgotten: whoever counts from it must not think that
    /// there was none.
    pub fn ask_now(&mut self) {
        let before = self.now - delta(self.spec().interval());
        if self.memory.last_check.is_some_and(|last| last > before) {
            self.memory.last_check = Some(before);
            self.look_again();
        }
    }

    /// Looks again as soon as time has moved at all: what is due was not asked for in this pass.
    pub fn look_again(&mut self) {
        let at = self.now + TimeDelta::milliseconds(1);
        self.wake_at(at);
    }

    pub fn wake_at(&mut self, at: DateTime<Utc>) {
        wake_at(&mut self.wake, self.now, at);
    }

    /// The check of this stage. Looks again when it is due later.
    pub fn check(&mut self) -> Check {
        let check = round::check(self.canary, &self.block, self.observation, &self.memory, self.now);
        if let Check::Later(at) = check {
            self.wake_at(at);
        }
        check
    }

    // === time ===

    /// When the stage's patience ends: measured from the last newly ready pod, so that only a lack of progress runs it out.
    pub fn deadline(&self) -> DateTime<Utc> {
        self.memory.deadline(self.spec(), &self.block)
    }

    /// When the patience with something ends that began to be missing within this stage. That time stands in the status, so it neither
    /// moves with each pass nor begins again with a new process; a pod that gets ready moves it. What comes and goes again and again
    /// (pods that a scaler takes away) is missing all the while: only half the patience without a lack ends one.
    pub fn patience(&mut self, then: &str) -> DateTime<Utc> {
        let (before, patience) = (self.before, delta(self.spec().progress_deadline()));
        let place = |block: &Block| (block.run, block.stage, block.weight, block.matched, block.iterations);
        let same = place(before) == place(&self.block);
        let stated = before
            .why
            .until
            .filter(|_| same && before.why.then.as_deref() == Some(then));
        let remembered = self.memory.lacking.filter(|lack| self.now < lack.seen + patience / 2);
        let until = stated
            .or_else(|| remembered.map(|lack| lack.until))
            .unwrap_or(self.now + patience);
        self.memory.lacking = Some(Lack { until, seen: self.now });
        let progress = self.memory.progress.map(|progress| progress.at + patience);
        progress.map_or(until, |progress| until.max(progress))
    }

    /// Whether that time has come. Looks again when it has not.
    pub fn past_deadline(&mut self) -> bool {
        let deadline = self.deadline();
        if self.now < deadline {
            self.wake_at(deadline);
        }
        self.now >= deadline
    }

    /// Whether a thing has been seen for the settle time. Looks again when it has been seen, but not long enough.
    pub fn settled(&mut self, since: Option<DateTime<Utc>>) -> bool {
        self.has_stood(since, delta(self.spec().traffic_settle()))
    }

    /// The same, and then for as long as connections may take to end.
    pub fn let_go(&mut self, since: Option<DateTime<Utc>>) -> bool {
        self.has_stood(since, delta(self.spec().letting_go()))
    }

    fn has_stood(&mut self, since: Option<DateTime<Utc>>, time: TimeDelta) -> bool {
        let Some(since) = since else { return false };
        let at = since + time;
        if self.now < at {
            self.wake_at(at);
        }
        self.now >= at
    }

    /// What the route is to do.
    pub fn traffic(&self) -> Traffic {
        self.block.traffic()
    }

    /// Since when the data plane does what is intended, if it does.
    pub fn drawn_since(&self) -> Option<DateTime<Utc>> {
        self.memory.drawn_since(&self.traffic())
    }

    /// An interval from now.
    pub fn interval_from_now(&self) -> DateTime<Utc> {
        self.now + delta(self.spec().interval())
    }

    /// When the next check is due: an interval after the step began, after its traffic was seen drawn, and after the last check.
    pub fn next_check(&self) -> Option<DateTime<Utc>> {
        let from = round::stands_since(&self.block, &self.memory)?;
        Some(from + delta(self.spec().interval()))
    }

    // === words ===

    /// Where the run stands, for people.
    pub fn place(&self) -> String {
        let (block, traffic) = (&self.block, self.block.traffic());
        let planned = block.plan.as_ref().map_or(0, |plan| plan.iterations);
        if (1..=planned).contains(&block.iterations) {
            format!("iteration {} of {planned}", block.iterations)
        } else if traffic.mirror.is_some() {
            "the copied requests".to_owned()
        } else {
            format!("weight {}", block.weight)
        }
    }

    pub fn canary_name(&self) -> String {
        format!("{}.{}", public::name(self.canary), public::namespace(self.canary))
    }

    pub fn target_name(&self) -> String {
        format!("{}.{}", self.block.subject.target, public::namespace(self.canary))
    }

    pub fn primary_name(&self) -> String {
        let namespace = public::namespace(self.canary);
        format!("{}-primary.{namespace}", self.block.subject.target)
    }

    /// A Normal event. `place` says in its id what it is about.
    pub fn event(&mut self, place: &str, action: &str, text: &str) -> &mut Notice {
        self.push(place, action, text, false)
    }

    /// A Warning event.
    pub fn warning(&mut self, place: &str, action: &str, text: &str) -> &mut Notice {
        self.push(place, action, text, true)
    }

    /// An alert without an event of its own.
    pub fn alert_only(&mut self, place: &str, action: &str, severity: Severity, message: &str) {
        let notice = self.push(place, action, message, severity != Severity::Info);
        notice.event = false;
        notice.alerts(severity, message);
    }

    /// A warning with an alert, once for as long as the reason stands.
    pub fn stalled_notice(&mut self, reason: &str, message: &str) {
        if self.why_changes(reason) {
            let place = format!("stalled-{}", reason.to_lowercase());
            self.warning(&place, "Stall", message).alerts(Severity::Error, message);
        }
    }

    /// Marks something as said in this stage; true the first time.
    pub fn once(&mut self, mark: &str) -> bool {
        self.block.gates.insert(mark.into(), GateState::Told).is_none()
    }

    fn push(&mut self, place: &str, action: &str, text: &str, warning: bool) -> &mut Notice {
        let phase = public::phase(&self.block).as_str().to_owned();
        self.block.told += 1;
        self.notices.push(Notice {
            id: format!("{}-{place}-{}", self.block.run, self.block.told),
            text: size::cut(text, NOTICE_LIMIT),
            warning,
            action: action.into(),
            phase,
            alert: None,
            event: true,
        });
        self.notices
            .last_mut()
            .expect("a list that was just pushed to must have a last entry")
    }

    // === the end ===

    /// What is to be written, if anything that matters changed: a stage, a weight, a counter, a gate or a reason. Numbers that moved
    /// within the same state are not written (invariant 8 of `design.md`).
    pub fn finish(mut self) -> Decision {
        let changed = {
            let (a, b) = (&self.block, self.before);
            a.stage != b.stage
                || (a.weight, a.matched, a.iterations) != (b.weight, b.matched, b.iterations)
                || a.cookies != b.cookies
                || a.run != b.run
                || a.plan != b.plan
                || a.subject != b.subject
                || a.scaler != b.scaler
                || a.promoted != b.promoted
                || a.running != b.running
                || a.last_failed != b.last_failed
                || a.capacity != b.capacity
                || a.failed_checks != b.failed_checks
                || a.unreachable_checks != b.unreachable_checks
                || a.dataless_checks != b.dataless_checks
                || a.gates != b.gates
                || (a.kept_until, a.attempts, &a.live_configs) != (b.kept_until, b.attempts, &b.live_configs)
                || a.queued != b.queued
                || a.gate != b.gate
                || a.words != b.words
                || a.outcome != b.outcome
                || (&a.why.reason, &a.why.then) != (&b.why.reason, &b.why.then)
                || !self.is_of_this_generation()
                || !self.notices.is_empty()
        };
        if changed {
            self.note_baseline();
            self.block.observed_weight = super::turn_route::observed(&self.block, self.observation);
            self.block.notices = std::mem::take(&mut self.notices);
            self.block.checks = self.memory.checks;
            size::fit(&mut self.block);
        }
        Decision {
            block: changed.then_some(self.block),
            memory: self.memory,
            wake: self.wake,
            round_done: self.round_done,
        }
    }

    /// Whether the status was written for the spec as it is: kstatus calls an object with an older `observedGeneration` unfinished.
    fn is_of_this_generation(&self) -> bool {
        let observed = self
            .canary
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        observed == self.canary.metadata.generation
    }

    /// Every write takes note of the target as it is, so that a later change of its encoding alone is told from an edit.
    fn note_baseline(&mut self) {
        if let Some(baseline) = super::revision::next_baseline(&self.block, self.observation) {
            self.block.baseline = Some(baseline);
        }
    }
}

const fn at_rest(stage: Stage) -> bool {
    matches!(stage, Stage::Resting | Stage::Waiting)
}

/// Completes a [`Why`].
pub(super) struct WhyBuilder<'a> {
    now: DateTime<Utc>,
    turn_wake: &'a mut Option<DateTime<Utc>>,
    why: &'a mut Why,
}

impl WhyBuilder<'_> {
    pub fn awaiting(self, what: &str) -> Self {
        self.why.awaiting = Some(cut(what));
        self
    }

    /// Until when, and what then. Also looks again at that time.
    pub fn until(self, at: DateTime<Utc>, then: &str) -> Self {
        self.why.until = Some(at);
        self.why.then = Some(cut(then));
        wake_at(self.turn_wake, self.now, at);
        self
    }
}

/// Looks again at this time, or earlier if that was wanted before. What is due now is decided now: a time that has passed would only
/// make the controller spin, and hide the next one.
fn wake_at(wake: &mut Option<DateTime<Utc>>, now: DateTime<Utc>, at: DateTime<Utc>) {
    if at > now {
        *wake = Some(wake.map_or(at, |before| before.min(at)));
    }
}

/// A span of the spec as chrono knows it.
pub fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).map_or(AGE, |delta| delta.min(AGE))
}

/// Cuts a text to what the status may hold.
pub(super) fn cut(text: &str) -> String {
    size::cut(text, TEXT_LIMIT)
}
