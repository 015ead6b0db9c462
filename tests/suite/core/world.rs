//! A world small enough to think about: two workloads, three Services, one route, as numbers. The core is run against it pass by pass,
//! with stale caches, conflicts, crashes and foreign edits, and every write is held against the invariants of `design.md`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use serin::api::{Canary, Phase};
use serin::rollout::{
    Answer, Answers, Assertion, Block, Confirmation, Destination, Fingerprint, Judged, Known, Memory, Observation,
    Question, QuestionKey, Rehearsal, Rollout, RouteFacts, SampleRecord, Says, Selects, ServiceFacts, Side, Stage,
    Subject, Verdict, Weight, Workload, advance, ask, met, need, publish, remember, render,
};

/// One side's Deployment and its pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Pods {
    /// The template.
    pub template: u32,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Ready pods of the present template.
    pub ready: u32,
    /// Ready pods of an earlier one.
    pub old: u32,
    /// `deployment.kubernetes.io/revision`.
    pub anchor: u32,
    /// When the last pod got ready, or the template changed.
    pub moved: DateTime<Utc>,
}

/// What the API server holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Actual {
    /// The team's Deployment.
    pub target: Option<Pods>,
    /// Its primary.
    pub primary: Option<Pods>,
    /// The route's weight.
    pub route: Option<Weight>,
    /// The apex's selector; a live application has one before Serin comes.
    pub apex: Option<Selects>,
    /// The side Services.
    pub sides: (bool, bool),
    /// Revisions in the store.
    pub stored: BTreeSet<Fingerprint>,
    /// Our finalizer.
    pub finalizer: bool,
    /// The apex and route are the Canary's.
    pub owned: bool,
    /// The route leads to the apex.
    pub handed_back: bool,
    /// Since when the route also names the Services that it does not lead to.
    pub announced: Option<DateTime<Utc>>,
}

/// The whole: what is, what the cache shows, and what the process knows.
pub struct World {
    /// The truth.
    pub actual: Actual,
    cached: Actual,
    /// The Canary, with the status as stored.
    pub canary: Canary,
    /// The virtual time.
    pub now: DateTime<Utc>,
    memory: Memory,
    answers: Answers,
    /// What the last pass saw, and when the next one is due without a change.
    last: Option<(Observation, Canary)>,
    wake: Option<DateTime<Utc>>,
    /// Templates whose pods never get ready.
    pub broken: BTreeSet<u32>,
    /// Templates that fail their checks.
    pub bad: BTreeSet<u32>,
    /// Gates answer no.
    pub gates_closed: bool,
    /// The data plane says nothing about the route.
    pub unconfirmed: bool,
    /// Metrics cannot be asked.
    pub metrics_down: bool,
    /// The Canary is being deleted.
    pub deleting: bool,
    /// The finalizer was removed after `deleting`.
    pub gone: bool,
    /// The versions of Serin and Kubernetes.
    pub versions: String,
    /// `maxUnavailable` of the target's strategy; all of them for `Recreate`.
    pub recreate: bool,
    /// Statuses written.
    pub status_writes: u32,
    /// Writes to the world, in words.
    pub log: Vec<String>,
    /// Stages seen, without repetition.
    pub stages: Vec<Stage>,
    /// Texts of notices told.
    pub told: Vec<String>,
}

/// The fingerprint of a template.
pub fn fingerprint(template: u32) -> Fingerprint {
    Fingerprint(format!("v1:{template:064x}"))
}

impl World {
    /// A live application of this many replicas and a Canary for it.
    pub fn new(replicas: u32, analysis: &serde_json::Value) -> Self {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a valid time");
        let canary: Canary = serde_json::from_value(json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "test", "uid": "u", "generation": 1},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                "progressDeadlineSeconds": 60,
                "service": {"port": 80, "gatewayRefs": [{"name": "gateway"}]},
                "analysis": analysis,
            },
        }))
        .expect("a valid Canary");
        let actual = Actual {
            target: Some(Pods {
                template: 1,
                replicas,
                ready: replicas,
                old: 0,
                anchor: 1,
                moved: now,
            }),
            primary: None,
            route: None,
            apex: Some(Selects::Target),
            sides: (false, false),
            stored: BTreeSet::new(),
            finalizer: false,
            owned: true,
            handed_back: false,
            announced: None,
        };
        Self {
            cached: actual.clone(),
            actual,
            canary,
            now,
            memory: Memory::default(),
            answers: Answers::default(),
            last: None,
            wake: None,
            broken: BTreeSet::new(),
            bad: BTreeSet::new(),
            gates_closed: false,
            unconfirmed: false,
            metrics_down: false,
            deleting: false,
            gone: false,
            versions: "1/1".into(),
            recreate: false,
            status_writes: 0,
            log: Vec::new(),
            stages: Vec::new(),
            told: Vec::new(),
        }
    }

    /// The same with a route of the team's own, which leads to the apex.
    pub fn with_route(replicas: u32, analysis: &serde_json::Value) -> Self {
        let mut world = Self::new(replicas, analysis);
        world.actual.route = Some(Weight::ZERO);
        world.actual.handed_back = true;
        world.refresh();
        world
    }

    /// The block in the status.
    pub fn block(&self) -> Option<Block> {
        let value = self.canary.status.as_ref()?.serin.clone()?;
        Some(serde_json::from_value(value).expect("the block must read back as it was written"))
    }

    /// The phase in the status.
    pub fn phase(&self) -> Phase {
        self.canary
            .status
            .as_ref()
            .map(|status| status.phase)
            .unwrap_or_default()
    }

    /// The team rolls out a template.
    pub fn push(&mut self, template: u32) {
        let now = self.now;
        if let Some(target) = &mut self.actual.target
            && target.template != template
        {
            target.old += target.ready;
            target.ready = 0;
            target.template = template;
            target.anchor += 1;
            target.moved = now;
        }
    }

    /// The process dies; a successor knows nothing but the cluster.
    pub fn crash(&mut self) {
        self.memory = Memory::default();
        self.answers = Answers::default();
        self.cached = self.actual.clone();
    }

    /// The watch events that were on their way arrive.
    pub fn refresh(&mut self) {
        self.cached = self.actual.clone();
    }

    /// Time passes, and the controllers of the cluster do one round of work.
    pub fn pass_time(&mut self, by: TimeDelta) {
        self.now += by;
        let (now, recreate) = (self.now, self.recreate);
        for pods in [self.actual.target.as_mut(), self.actual.primary.as_mut()]
            .into_iter()
            .flatten()
        {
            let broken = self.broken.contains(&pods.template);
            pods.settle(recreate, broken, now);
        }
    }

    /// What the controller would observe.
    pub fn observe(&self) -> Observation {
        let service = |there: bool, selects| {
            if there {
                Known::Present(ServiceFacts {
                    drawn: true,
                    selects,
                    owned: true,
                })
            } else {
                Known::Absent
            }
        };
        let workload = |pods: Option<&Pods>| match pods {
            None => Known::Absent,
            Some(pods) => Known::Present(pods.workload(self.recreate, self.now, fingerprint(pods.template))),
        };
        Observation {
            subject: Subject {
                target: "podinfo".into(),
                apex: "podinfo".into(),
                provider: "gatewayapi:v1".into(),
            },
            target: workload(self.cached.target.as_ref()),
            primary: workload(self.cached.primary.as_ref()),
            primary_endpoints: Some(self.actual.primary.as_ref().map_or(0, |p| p.ready + p.old)),
            canary_endpoints: Some(self.actual.target.as_ref().map_or(0, |p| p.ready + p.old)),
            primary_service: service(self.cached.sides.0, Selects::Primary),
            canary_service: service(self.cached.sides.1, Selects::Target),
            apex_service: self.cached.apex.map_or(Known::Absent, |selects| {
                Known::Present(ServiceFacts {
                    drawn: true,
                    selects,
                    owned: self.cached.owned,
                })
            }),
            route: self.cached.route.map_or(Known::Absent, |weight| {
                let (home, both) = (self.cached.handed_back, self.cached.announced.is_some());
                Known::Present(RouteFacts {
                    weight: (!home).then_some(weight),
                    drawn: !home && !both,
                    owned: self.cached.owned,
                    confirmed: if self.unconfirmed {
                        Confirmation::Pending
                    } else {
                        Confirmation::Confirmed
                    },
                    announced: !home || both,
                    apex_announced: home || both,
                    handed_back: home && !both,
                })
            }),
            stored: Known::Present(self.cached.stored.iter().cloned().collect()),
            finalizer: self.actual.finalizer,
            deleting: self.deleting,
            versions: self.versions.clone(),
            ..Observation::default()
        }
    }

    /// A pass, if the controller would make one: something it watches has changed, or the time it asked for has come.
    pub fn pass_when_due(&mut self) {
        let (observation, canary) = (self.observe(), self.canary.clone());
        let changed = self.last.as_ref() != Some(&(observation, canary));
        if changed || self.wake.is_some_and(|at| self.now >= at) {
            self.pass(None);
        }
    }

    /// One pass of the controller. `cut` stops it after that many writes, as a crash would.
    pub fn pass(&mut self, cut: Option<usize>) {
        if self.gone {
            return;
        }
        let mut writes = 0;
        let cut = cut.unwrap_or(usize::MAX);
        let observation = self.observe();
        self.last = Some((observation.clone(), self.canary.clone()));
        let block = self.block();
        self.memory = remember(&self.memory, &self.canary, block.as_ref(), &observation, self.now);
        let round = ask(
            &self.canary,
            block.as_ref(),
            &observation,
            &self.memory,
            &self.answers,
            self.now,
        );
        let asked = round.is_some();
        if let Some(round) = round {
            self.answer(round);
        }
        let decision = advance(
            &self.canary,
            block.as_ref(),
            &observation,
            &self.memory,
            &self.answers,
            self.now,
        );
        // A controller that has written, or was answered, looks again at once.
        let at_once = decision.block.is_some() || decision.round_done || asked;
        self.wake = if at_once { Some(self.now) } else { decision.wake };
        assert!(
            decision.wake.is_none_or(|at| at > self.now),
            "a wake-up in the past: {:#?}",
            self.log
        );
        if let Some(next) = &decision.block {
            if writes == cut {
                return self.crash();
            }
            writes += 1;
            self.write_status(block.as_ref(), next, &observation);
        }
        self.memory = decision.memory;
        if decision.round_done {
            self.answers = Answers::default();
        }
        let Some(block) = self.block() else { return };
        for assertion in render(&self.canary, &block, &observation, &self.memory, self.now) {
            if met(&assertion, &block, &observation, &self.memory) {
                continue;
            }
            if writes == cut {
                return self.crash();
            }
            writes += 1;
            self.apply(&assertion, &block, &observation);
        }
    }

    fn write_status(&mut self, before: Option<&Block>, next: &Block, observation: &Observation) {
        self.status_writes += 1;
        if self.stages.last() != Some(&next.stage) {
            self.stages.push(next.stage);
        }
        self.told.extend(next.notices.iter().map(|notice| notice.text.clone()));
        self.canary.status = Some(publish(&self.canary, next, self.now));
        self.log.push(format!(
            "status {:?} weight {} ({})",
            next.stage, next.weight, next.why.reason
        ));
        let size = serde_json::to_string(next).expect("a block serialises").len();
        assert!(size < 16 * 1024, "the block has {size} bytes");
        // Invariant 1: upwards a weight follows the plan, or shields, or holds.
        let from = before.map_or(Weight::ZERO, |before| before.weight);
        if next.weight > from && before.is_some() {
            let planned = before.and_then(|b| b.plan.as_ref()).and_then(|plan| plan.after(from)) == Some(next.weight);
            let shields = next.weight == Weight::FULL
                && matches!(next.stage, Stage::Shielding | Stage::Promoting | Stage::HoldOnCanary);
            assert!(
                planned || shields,
                "weight {from} to {} in {:?}: {:#?}",
                next.weight,
                next.stage,
                self.log
            );
            let ready = observation.canary_endpoints.unwrap_or(0);
            let needed = need(next.capacity, next.weight.percent(), 100);
            assert!(
                ready >= needed,
                "raised to {} with {ready} of {needed} pods: {:#?}",
                next.weight,
                self.log
            );
        }
        // Invariant 2: homewards the primary never gets more than its ready pods carry, but for the named exceptions.
        if next.weight < from {
            let (ready, dead) = (
                observation.primary_endpoints.unwrap_or(0),
                observation.canary_endpoints == Some(0),
            );
            let carried = u64::from(ready) * 100 >= u64::from(next.weight.primary()) * u64::from(next.capacity.max(1));
            let late = before.is_some_and(|before| self.now - before.since >= TimeDelta::seconds(60));
            assert!(
                carried || dead || late,
                "{from} to {} with {ready} of {} pods: {:#?}",
                next.weight,
                next.capacity,
                self.log
            );
        }
        // A resting phase is written only when the world was seen drawn.
        if next.stage == Stage::Resting
            && before.is_some_and(|before| before.stage != Stage::Resting && before.stage != Stage::Waiting)
        {
            let home = observation
                .route
                .is_present_and(|route| route.weight == Some(Weight::ZERO));
            assert!(home, "resting with traffic on the canary: {:#?}", self.log);
            let down = observation.target.present().is_none_or(|target| target.replicas == 0);
            assert!(down, "resting with pods: {:#?}", self.log);
        }
        // Every waiting state names what it waits for.
        let rests = matches!(next.stage, Stage::Resting);
        assert!(
            rests || next.why.awaiting.is_some() || next.why.reason == "Initializing" || next.why.reason == "Adopted",
            "{:?}",
            next.why
        );
    }

    fn apply(&mut self, assertion: &Assertion, block: &Block, observation: &Observation) {
        self.log.push(format!("{assertion:?}"));
        let now = self.now;
        match assertion {
            Assertion::Finalizer => self.actual.finalizer = true,
            Assertion::Stored(wanted) => {
                let there = self
                    .actual
                    .target
                    .as_ref()
                    .is_some_and(|target| fingerprint(target.template) == *wanted)
                    || self
                        .actual
                        .primary
                        .as_ref()
                        .is_some_and(|primary| fingerprint(primary.template) == *wanted);
                if there {
                    self.actual.stored.insert(wanted.clone());
                    self.cached.stored.insert(wanted.clone());
                }
            }
            Assertion::PrimaryExists { revision, replicas } => {
                if self.actual.primary.is_none() && self.actual.stored.contains(revision) {
                    let template = number(revision);
                    self.actual.primary = Some(Pods {
                        template,
                        replicas: *replicas,
                        ready: 0,
                        old: 0,
                        anchor: 1,
                        moved: now,
                    });
                    self.cached.primary.clone_from(&self.actual.primary);
                }
            }
            Assertion::PrimaryTemplate { revision, replicas, .. } => {
                assert!(
                    matches!(block.stage, Stage::Promoting | Stage::Restoring | Stage::Initializing),
                    "the primary's template is written in {:?}: {:#?}",
                    block.stage,
                    self.log
                );
                if !self.actual.stored.contains(revision) {
                    return;
                }
                if let Some(primary) = &mut self.actual.primary {
                    primary.old += primary.ready;
                    primary.ready = 0;
                    primary.template = number(revision);
                    primary.replicas = *replicas;
                    primary.anchor += 1;
                    primary.moved = now;
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
                // Invariant 2: pods are taken only from a side without traffic, while the other one serves.
                let home = observation
                    .route
                    .is_present_and(|route| route.weight == Some(Weight::ZERO));
                assert!(home, "target down under traffic: {:#?}", self.log);
                let selected = observation
                    .apex_service
                    .is_present_and(|apex| apex.selects == Selects::Target);
                assert!(!selected, "target down while the apex selects it: {:#?}", self.log);
                if let Some(target) = &mut self.actual.target {
                    target.replicas = 0;
                }
                self.cached.target.clone_from(&self.actual.target);
            }
            Assertion::SideService(Side::Primary) => (self.actual.sides.0, self.cached.sides.0) = (true, true),
            Assertion::SideService(Side::Canary) => (self.actual.sides.1, self.cached.sides.1) = (true, true),
            Assertion::Route(weight) => {
                assert_eq!(*weight, block.weight, "the route is drawn from the status");
                if self.actual.handed_back && block.stage == Stage::Initializing {
                    self.assert_announced(block);
                }
                self.actual.route = Some(*weight);
                self.actual.handed_back = false;
                self.route_written(None);
            }
            Assertion::RouteAnnounced(destination) => {
                let apex_gets = *destination == Destination::Apex;
                assert!(
                    !apex_gets || !self.actual.handed_back,
                    "what gets the traffic needs no announcement: {:#?}",
                    self.log
                );
                self.route_written(Some(now));
            }
            Assertion::Apex(selects) => {
                let ready = match selects {
                    Selects::Primary => observation.primary_endpoints,
                    _ => observation.canary_endpoints,
                };
                if self.actual.apex != Some(*selects)
                    && self.actual.apex != Some(Selects::Other)
                    && self.now - block.since < TimeDelta::seconds(60)
                {
                    assert!(
                        ready.unwrap_or(0) > 0,
                        "the apex is pointed at nothing: {:#?}",
                        self.log
                    );
                }
                self.actual.apex = Some(*selects);
                self.cached.apex = Some(*selects);
            }
            Assertion::Rehearsed { run, .. } => self.memory.rehearsal = Some((*run, Rehearsal::Accepted)),
            Assertion::Pruned(keep) => {
                self.actual.stored.retain(|one| keep.contains(one));
                self.cached.stored = self.actual.stored.clone();
            }
            Assertion::RouteHandedBack { .. } => {
                if !self.actual.handed_back {
                    self.assert_announced(block);
                }
                self.actual.handed_back = true;
                self.route_written(None);
            }
            Assertion::Released => {
                self.actual.owned = false;
                self.cached.owned = false;
            }
            Assertion::Unfinalized => {
                self.actual.finalizer = false;
                self.gone = true;
            }
        }
    }

    /// What a write of the route leaves, as the cache shows it at once.
    fn route_written(&mut self, announced: Option<DateTime<Utc>>) {
        self.actual.announced = announced;
        self.cached.route = self.actual.route;
        self.cached.handed_back = self.actual.handed_back;
        self.cached.announced = announced;
    }

    /// Traffic goes to other Services only when the data plane has had the time to load them, or the patience is over.
    fn assert_announced(&self, block: &Block) {
        let settled = self
            .actual
            .announced
            .is_some_and(|at| self.now - at >= TimeDelta::seconds(2));
        let late = self.now - block.since >= TimeDelta::seconds(60);
        assert!(
            settled || late,
            "switched to Services that were not announced: {:#?}",
            self.log
        );
    }

    fn answer(&mut self, round: serin::rollout::Round) {
        if self.answers.round.as_ref() != Some(&round.id) {
            self.answers = Answers {
                round: Some(round.id),
                ..Answers::default()
            };
        }
        let template = self.actual.target.as_ref().map_or(0, |target| target.template);
        for question in round.questions {
            let says = match &question {
                Question::Probe => Says::Passed,
                Question::Hook { index, .. } => {
                    let hook = &self
                        .canary
                        .spec
                        .analysis
                        .as_ref()
                        .expect("hooks are part of an analysis")
                        .webhooks[*index];
                    let no = hook.name.starts_with("gate") && self.gates_closed || hook.name.starts_with("rollback");
                    if no { Says::Refused("no".into()) } else { Says::Passed }
                }
                Question::Metric { .. } => Says::Metric(self.judge(template)),
            };
            self.answers
                .given
                .insert(QuestionKey::of(&question), Answer { at: self.now, says });
        }
    }

    fn judge(&self, template: u32) -> Judged {
        let verdict = match (self.metrics_down, self.bad.contains(&template)) {
            (true, _) => Verdict::Unreachable,
            (false, true) => Verdict::Fail,
            (false, false) => Verdict::Pass,
        };
        let record = SampleRecord {
            metric: "rate".into(),
            value: "1".into(),
            limit: ">= 99".into(),
            passed: verdict == Verdict::Pass,
        };
        Judged {
            verdict,
            text: format!("{verdict:?}"),
            record,
            value: Some(1.0),
        }
    }
}

impl Pods {
    /// One round of the Deployment controller and the kubelets.
    fn settle(&mut self, recreate: bool, broken: bool, now: DateTime<Utc>) {
        if recreate && self.old > 0 {
            self.old = 0;
        } else if !broken && self.ready < self.replicas {
            self.ready += 1;
            self.moved = now;
            if self.ready + self.old > self.replicas {
                self.old = self.old.saturating_sub(1);
            }
        } else if self.ready + self.old > self.replicas {
            let surplus = self.ready + self.old - self.replicas;
            let from_old = surplus.min(self.old);
            self.old -= from_old;
            self.ready -= surplus - from_old;
        }
        if self.replicas == 0 {
            (self.ready, self.old) = (0, 0);
        }
    }

    fn workload(&self, recreate: bool, now: DateTime<Utc>, fingerprint: Fingerprint) -> Workload {
        let complete = self.replicas > 0 && self.ready >= self.replicas && self.old == 0;
        Workload {
            uid: "uid".into(),
            fingerprint: Some(fingerprint),
            anchor: Some(self.anchor.to_string()),
            replicas: self.replicas,
            rollout: Rollout {
                observed: true,
                complete,
                updated: self.ready,
                available: self.ready,
                deadline_exceeded: !complete && self.replicas > 0 && now - self.moved > TimeDelta::seconds(600),
                message: format!("{} of {} ready", self.ready, self.replicas),
            },
            worst_ready: if recreate { 0 } else { self.replicas },
            ..Workload::default()
        }
    }
}

fn number(fingerprint: &Fingerprint) -> u32 {
    u32::from_str_radix(fingerprint.0.trim_start_matches("v1:").trim_start_matches('0'), 16).unwrap_or(0)
}
