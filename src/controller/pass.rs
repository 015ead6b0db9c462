//! One pass over one canary: look, decide, write the status, draw, tell.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use serde_json::Value;
use tokio::sync::Notify;

use super::apply::{Applied, Hands};
use super::caches::Caches;
use super::contest;
use super::held::{Held, Holder};
use super::jobs::Jobs;
use super::look::{Look, REQUEST};
use super::meta;
use super::observe::{self, Surroundings};
use super::obstacle::Obstacles;
use super::projection;
use super::record::Step;
use super::resource::CanaryKey;
use super::site::{Rules, Site};
use super::slots::Slots;
use super::status;
use super::tell::Teller;
use super::versions::Versions;
use super::write::Writer;
use super::{lenient, say, warn};
use crate::api::{Canary, decode};
use crate::rollout::{
    self, Assertion, Block, Decision, Known, Observation, Refusal, RunResult, Stage, Stands, Traffic,
};
use crate::telemetry::metrics::{Ending, Metrics, Standing};

/// Passes in a row that may ask for another one at once; more look like a loop and are slowed down.
const HURRY: u32 = 50;
/// After so many failures in a row people are warned.
const LOUD: u32 = 4;
/// How long a Canary that goes is kept for its last word.
const LAST_WORD: Duration = Duration::from_secs(20);

/// Everything that a pass works with.
pub struct Engine {
    /// Reads.
    pub look: Look,
    /// Writes.
    pub writer: Writer,
    /// What is known without asking.
    pub caches: Arc<Caches>,
    /// What the operator decided.
    pub rules: Rules,
    /// Runs the questions.
    pub jobs: Jobs,
    /// Tells the notices.
    pub teller: Teller,
    /// Serin's own metrics.
    pub metrics: Metrics,
    /// What is kept between passes.
    pub holder: Holder,
    /// How many may work at once.
    pub slots: Slots,
    /// Told when the API server did not keep what was written to a status.
    pub pruned: Notify,
    /// What encodings depend on.
    pub versions: Versions,
    /// When this process began.
    pub started: DateTime<Utc>,
}

/// When the canary is due again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// At this time, or when something changes.
    At(Option<DateTime<Utc>>),
}

/// How a pass went.
#[derive(Debug, Default)]
pub(super) struct Turned {
    /// Another one is due at once.
    again: bool,
    /// Another one is due then, if nothing happens before.
    wake: Option<DateTime<Utc>>,
    /// Something could not be done, to be tried again with growing waits.
    failure: Option<String>,
}

impl Turned {
    fn again() -> Self {
        Self {
            again: true,
            ..Self::default()
        }
    }
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// What it was computed from has changed: compute again.
    #[error("something changed meanwhile")]
    Stale,
    /// It cannot be done now.
    #[error("{0}")]
    Failed(String),
}

impl Engine {
    /// One pass. Returns when the next one is due.
    pub async fn pass(&self, key: &CanaryKey) -> Next {
        let raw = match self.look.object(&key.object()).await {
            Known::Present(raw) => raw,
            Known::Absent => {
                self.forget(key);
                return Next::At(None);
            }
            _ => return Next::At(Some(self.look.clock.now() + TimeDelta::seconds(5))),
        };
        if self.holder.uid(key).is_some_and(|uid| uid != meta::uid(&raw)) {
            self.forget(key);
        }
        let mut held = self.holder.take(key, meta::uid(&raw));
        let turn = Box::pin(self.turn(key, raw, &mut held));
        let outcome = AssertUnwindSafe(turn).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| {
            tracing::error!(canary = %key, "a pass ended in a panic, which is a bug in Serin; it is tried again from the status");
            held.forget_all();
            Err(Stop::Failed("a panic".into()))
        });
        let next = self.settle(key, &mut held, outcome);
        self.holder.put(key, held);
        next
    }

    /// The canary is gone.
    fn forget(&self, key: &CanaryKey) {
        if let Some(uid) = self.holder.uid(key) {
            self.jobs.forget(&uid);
        }
        self.metrics.forget(&key.namespace, &key.name);
        self.slots.forget(key);
        self.holder.forget(key);
    }

    /// When the next pass is due, after this outcome.
    fn settle(&self, key: &CanaryKey, held: &mut Held, outcome: Result<Turned, Stop>) -> Next {
        let now = self.look.clock.now();
        let turned = match outcome {
            Ok(turned) => turned,
            Err(Stop::Stale) => Turned::again(),
            Err(Stop::Failed(words)) => Turned {
                failure: Some(words),
                ..Turned::default()
            },
        };
        if turned.again && held.hurried < HURRY {
            held.hurried += 1;
            return Next::Now;
        }
        if turned.again {
            tracing::error!(canary = %key, "each pass asks for another one, which is a bug in Serin; slowing down");
            held.hurried = 0;
            return Next::At(Some(now + TimeDelta::seconds(1)));
        }
        held.hurried = 0;
        let Some(words) = turned.failure else {
            held.retry.reset();
            return Next::At(turned.wake);
        };
        let wait = TimeDelta::from_std(held.retry.wait()).unwrap_or(TimeDelta::MAX);
        if held.retry.attempts() == LOUD {
            tracing::warn!(canary = %key, %words, "a pass has failed several times in a row");
        } else {
            tracing::debug!(canary = %key, %words, "a pass failed");
        }
        Next::At(turned.wake.into_iter().chain([now + wait]).min())
    }

    async fn turn(&self, key: &CanaryKey, mut raw: Arc<Value>, held: &mut Held) -> Result<Turned, Stop> {
        if !self.writer.claim.covers(REQUEST) {
            return Err(Stop::Failed("this process does not lead".into()));
        }
        if !held.attempts.is_empty() {
            // A write without an answer may have taken effect: only a live read tells.
            let Known::Present(live) = self.look.live(&key.object()).await else {
                return Err(Stop::Failed("the Canary cannot be read".into()));
            };
            raw = live;
        }
        held.malformed = None;
        let canary = match decode::decode::<Canary>(&raw) {
            Ok(canary) => {
                held.readable = Some(Box::new(canary.spec.clone()));
                canary
            }
            Err(error) => match lenient::leaving(&raw) {
                Some(canary) => canary,
                None => match lenient::running(&raw, held.readable.as_deref()) {
                    Some(canary) => {
                        held.malformed = Some(error.to_string());
                        canary
                    }
                    None => return self.hold(&raw, status::INVALID, &error.to_string(), held).await,
                },
            },
        };
        if let Some((manager, at)) = projection::rival(&raw)
            && at > self.started
            && !self.is_overdue(&canary)
        {
            let words = format!(
                "{manager} wrote this Canary's status at {at}: Serin only watches it, since another controller runs it; stop that one, then restart Serin"
            );
            if !self.writer.observe_only {
                let turned = self.hold(&raw, status::RIVAL, &words, held).await?;
                return Ok(Turned {
                    wake: Self::overdue_at(&canary),
                    ..turned
                });
            }
            say::notes(key, &words, &mut held.said);
        }
        let block = match (self.writer.observe_only, status::block(&raw)) {
            (true, _) => held.block.clone(),
            (false, Ok(block)) => block,
            // A Canary on its way out is handed back by what stands, whoever wrote its status.
            (false, Err(_)) if meta::deleting(&raw) => None,
            (false, Err(error)) => return self.hold(&raw, error.reason(), &error.to_string(), held).await,
        };
        let canary = Arc::new(canary);
        if let Some(block) = &block {
            self.recognise(&canary, block, held);
        }
        if let (false, Some(block)) = (held.introduced, &block) {
            let written = canary
                .status
                .as_ref()
                .and_then(|status| status.last_transition_time)
                .unwrap_or(block.since);
            self.teller.retell(canary.clone(), block.notices.clone(), written);
        }
        held.introduced = true;
        let site = Site::survey(&self.look, raw, canary, block.as_ref(), &self.rules).await;
        self.decide(site, block, held).await
    }

    /// The pass proper, when everything is read.
    async fn decide(&self, mut site: Site, block: Option<Block>, held: &mut Held) -> Result<Turned, Stop> {
        if meta::deleting(&site.raw) {
            self.read_namespace(meta::namespace(&site.raw), held).await;
        }
        let traffic = block.as_ref().map(Block::traffic).unwrap_or_default();
        let mut observation = self.observation(&site, traffic, held);
        if observation.taken_by.is_none() && !observation.deleting && self.inherit(&site).await? {
            return Ok(Turned::again());
        }
        if held.memory.about.as_ref().is_some_and(|about| *about != site.subject) {
            // What stood in the way stood in the way of other objects.
            held.obstacles = Obstacles::default();
        }
        if let Some(block) = &block {
            contest::detect(&self.look, &site, block, &observation, held).await;
            self.settle_doubt(block, &mut observation, held).await?;
        }
        observation.obstacle = held.obstacles.current();
        if let Some(words) = &held.malformed {
            observation.refusals.insert(0, malformed(words));
            observation.unreadable = held.readable.is_none();
        }
        let (now, canary) = (self.look.clock.now(), site.canary.clone());
        held.memory = rollout::remember(&held.memory, &canary, block.as_ref(), &observation, now);
        let mut ailing = None;
        if let Some(block) = block.as_ref().filter(|_| !canary.spec.suspend) {
            ailing = self.ail(&site, block, &mut observation, held).await;
        }
        let mut answers = self.jobs.answers(site.uid());
        if let Some(round) = rollout::ask(&canary, block.as_ref(), &observation, &held.memory, &answers, now) {
            self.jobs.ask(&canary, &round);
            answers = self.jobs.answers(site.uid());
        }
        let advance = |observation: &Observation| {
            rollout::advance(&canary, block.as_ref(), observation, &held.memory, &answers, now)
        };
        let Decision {
            block: new,
            memory,
            wake,
            round_done,
        } = self.within_limits(&site.key(), block.as_ref(), &mut observation, now, advance);
        let wake = wake.into_iter().chain(ailing).min();
        let written = new.is_some();
        let step = Step {
            memory,
            drop_round: round_done || moved(block.as_ref(), new.as_ref()),
            ending: ended(block.as_ref(), new.as_ref()),
        };
        let restated = block.as_ref().filter(|_| !written && status::is_on_hold(&site.raw));
        if let Some(next) = new.as_ref().or(restated)
            && let Err(stop) = self.write_status(&mut site, next, &step, held).await
        {
            let stands = block.as_ref().map_or(Stands::Idle, rollout::stands);
            self.slots.note(&site.key(), stands);
            return Err(stop);
        }
        if round_done && let Some(took) = self.jobs.took(site.uid()) {
            self.metrics
                .check_took(meta::namespace(&site.raw), &site.subject.target, took);
        }
        let ending = self.take_step(site.uid(), step, held);
        self.ended(&canary, ending);
        let Some(block) = new.or(block) else {
            return Ok(after(false, wake, &observation, Applied::default()));
        };
        self.slots.note(&site.key(), rollout::stands(&block));
        if !lenient::is_running(block.stage) {
            held.readable = None;
        }
        if written {
            // The route may stand already as the new status wants it.
            observation.route = observe::route(&site, &self.rules, &block.traffic());
        }
        self.preflight(&site, &block, held).await;
        let assertions = rollout::render(&canary, &block, &observation, &held.memory, now);
        let drawn = assertions
            .iter()
            .all(|it| rollout::met(it, &block, &observation, &held.memory));
        if !written && !drawn {
            self.is_of_now(&site, held).await?;
        }
        let hands = Hands {
            look: &self.look,
            writer: &self.writer,
            rules: &self.rules,
        };
        let goes = assertions.iter().any(|it| matches!(it, Assertion::Unfinalized { .. }));
        if written && goes {
            self.teller.tell(site.canary.clone(), block.notices.clone());
        }
        if goes {
            // A successor finds no status of a Canary that is gone, so its last word is told before.
            drop(self.look.clock.timeout(LAST_WORD, self.teller.told(site.uid())).await);
        }
        let applied = hands.apply(&site, &block, &observation, &assertions, held).await;
        if written && !goes {
            self.teller.tell(site.canary.clone(), block.notices.clone());
        }
        self.warn(&site, &observation, held);
        self.stands(&site, &block, observation.taken_by.is_none());
        Ok(after(written, wake, &observation, applied))
    }

    /// What comes next. What would begin without a slot is decided again, knowing that there is none.
    fn within_limits(
        &self,
        key: &CanaryKey,
        block: Option<&Block>,
        observation: &mut Observation,
        now: DateTime<Utc>,
        advance: impl Fn(&Observation) -> Decision,
    ) -> Decision {
        let decision = advance(observation);
        let begins = decision.block.as_ref().is_some_and(|next| rollout::begins(block, next));
        match begins.then(|| self.slots.take(key, now)) {
            Some(Err(full)) => {
                observation.full = Some(full);
                advance(observation)
            }
            _ => decision,
        }
    }

    /// Whether the template is a new one may hang on the API server's version, which may have moved since it was asked.
    async fn settle_doubt(&self, block: &Block, observation: &mut Observation, held: &mut Held) -> Result<(), Stop> {
        let fingerprint = observation
            .target
            .present()
            .and_then(|target| target.fingerprint.clone());
        if !rollout::in_doubt(block, observation) || held.doubted == fingerprint {
            return Ok(());
        }
        if !self.versions.ask_again(&self.look.client, &self.look.clock).await {
            return Err(Stop::Failed("the API server does not tell its version".into()));
        }
        observation.versions = self.versions.text();
        held.doubted = fingerprint;
        Ok(())
    }

    fn observation(&self, site: &Site, traffic: Traffic, held: &Held) -> Observation {
        let neighbours = self.caches.neighbours(&site.key());
        let primary_of = |target: &str| {
            if target == site.subject.target {
                return site.primary.present().cloned();
            }
            self.caches.primary_of(meta::namespace(&site.raw), target)
        };
        let around = Surroundings {
            neighbours: &neighbours,
            primary_of: &primary_of,
            traffic,
            obstacle: None,
            namespace_terminating: held.namespace_terminating,
            versions: self.versions.text(),
        };
        observe::observe(site, &self.rules, around)
    }

    /// Tells what is odd about the spec, once for each generation.
    fn warn(&self, site: &Site, observation: &Observation, held: &mut Held) {
        let generation = site.canary.metadata.generation;
        let in_doubt = held.malformed.is_some() || !observation.refusals.is_empty() || observation.deleting;
        if in_doubt || held.warned == generation {
            return;
        }
        held.warned = generation;
        let notices = warn::notices(site, &self.rules);
        if self.writer.observe_only {
            for notice in &notices {
                say::notes(&site.key(), &notice.text, &mut held.said);
            }
        }
        self.teller.retell(site.canary.clone(), notices, self.look.clock.now());
    }

    fn stands(&self, site: &Site, block: &Block, owner: bool) {
        let standing = Standing {
            target: site.subject.target.clone(),
            owner,
            phase: rollout::phase(block),
            since: status::in_phase_since(&site.canary, block),
            weight: Some(block.weight),
        };
        self.metrics
            .stands(meta::namespace(&site.raw), meta::name(&site.raw), standing);
    }
}

/// A spec that cannot be read, as a reason to start nothing.
fn malformed(words: &str) -> Refusal {
    Refusal {
        field: "spec".into(),
        message: words.to_owned(),
    }
}

/// How the run ended, if the new block ends it.
fn ended(old: Option<&Block>, new: Option<&Block>) -> Option<Ending> {
    let (old, new) = (old?, new?);
    if old.stage != Stage::HoldOnCanary && new.stage == Stage::HoldOnCanary {
        return Some(Ending::Failed);
    }
    if new.stage != Stage::Resting || matches!(old.stage, Stage::Resting | Stage::Reverting | Stage::Initializing) {
        return None;
    }
    let skipped = new
        .plan
        .as_ref()
        .or(old.plan.as_ref())
        .is_some_and(|plan| !plan.judges());
    match new.outcome.as_ref()?.result {
        RunResult::Initialized => None,
        RunResult::Succeeded if skipped => Some(Ending::Skipped),
        RunResult::Succeeded => Some(Ending::Completed),
        RunResult::Failed => Some(Ending::Failed),
    }
}

/// What is left to do after a pass. What could not be read is looked for again.
fn after(written: bool, wake: Option<DateTime<Utc>>, observation: &Observation, applied: Applied) -> Turned {
    let unread = observe::is_incomplete(observation).then(|| "something could not be read".to_owned());
    Turned {
        again: applied.again || written,
        wake: wake.into_iter().chain(applied.not_before).min(),
        failure: applied.failure.or(unread),
    }
}

/// Whether the new block asks other questions than the old one.
fn moved(old: Option<&Block>, new: Option<&Block>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => (old.run, old.stage, old.weight) != (new.run, new.stage, new.weight),
        _ => false,
    }
}
