//! A world small enough to think about: two workloads, three Services, one route, as numbers. The core is run against it pass by pass,
//! with stale caches, conflicts, crashes and foreign edits, and every write is held against the invariants of `design.md`.

mod deeds;
mod laws;
mod outside;
mod pods;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use serin::api::support::KUBERNETES;
use serin::api::{Canary, Phase};
use serin::rollout::{
    Answers, Assertion, Block, Confirmation, Destination, DestinationFacts, Fingerprint, Known, Memory, Observation,
    QuestionKey, RoundId, RouteFacts, Said, Says, Selects, ServiceFacts, Stage, Subject, Traffic, Verb, Weight,
    advance, ask, met, publish, remember, render,
};

use laws::Moment;
pub use laws::number;
pub use pods::Pods;

/// What the API server holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Actual {
    /// The team's Deployment.
    pub target: Option<Pods>,
    /// Its primary.
    pub primary: Option<Pods>,
    /// The route's weight.
    pub route: Option<Weight>,
    /// What else it does with requests, as it was last written.
    pub traffic: Traffic,
    /// The apex's selector; a live application has one before Serin comes.
    pub apex: Option<Selects>,
    /// The side Services.
    pub sides: (bool, bool),
    /// What the provider draws beside the sides' Services: primary, canary.
    pub destinations: (bool, bool),
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
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that may go wrong by itself"
)]
pub struct World {
    /// The truth.
    pub actual: Actual,
    cached: Actual,
    /// The Canary, with the status as stored.
    pub canary: Canary,
    /// The virtual time.
    pub now: DateTime<Utc>,
    /// What the process remembers.
    pub memory: Memory,
    answers: Answers,
    /// Questions that were asked, with their answers, which are on their way.
    pending: Vec<(DateTime<Utc>, QuestionKey, Says)>,
    /// How long an answer takes.
    pub answers_take: TimeDelta,
    /// Hooks that were called, by name.
    pub called: Vec<String>,
    /// When, and as part of which check.
    pub calls: Vec<(DateTime<Utc>, RoundId)>,
    /// What the last pass saw, and when the next one is due without a change.
    last: Option<(Observation, Canary)>,
    wake: Option<DateTime<Utc>>,
    /// Templates whose pods never get ready.
    pub broken: BTreeSet<u32>,
    /// Templates that fail their checks.
    pub bad: BTreeSet<u32>,
    /// Gates answer no.
    pub gates_closed: bool,
    /// The traffic provider.
    pub provider: &'static str,
    /// The data plane says nothing about the route.
    pub unconfirmed: bool,
    /// Hooks that answer no, by name.
    pub refusing: BTreeSet<String>,
    /// Hooks that cannot be reached, by name.
    pub silent: BTreeSet<String>,
    /// Rollback hooks answer yes.
    pub pressed: bool,
    /// Metrics cannot be asked.
    pub metrics_down: bool,
    /// Metrics have no number, and that is to be waited for.
    pub no_data: bool,
    /// What persons say by annotations.
    pub words: Vec<Said>,
    /// What is different from a plain look at the world.
    pub distort: fn(&mut Observation),
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
    /// Alerts told.
    pub alerts: Vec<String>,
    ids: BTreeSet<String>,
    route_since: DateTime<Utc>,
    /// Since when the route leads to the Services that it leads to now.
    led_since: DateTime<Utc>,
    judged: BTreeSet<Fingerprint>,
    /// Whether the run promotes without a judgement: analysis is skipped, or Flagger had judged.
    pub unjudged: bool,
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
                ready: replicas,
                ..Pods::new(1, replicas, now)
            }),
            primary: None,
            route: None,
            traffic: Traffic::default(),
            apex: Some(Selects::Target),
            sides: (false, false),
            destinations: (false, false),
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
            pending: Vec::new(),
            answers_take: TimeDelta::zero(),
            called: Vec::new(),
            calls: Vec::new(),
            last: None,
            wake: None,
            broken: BTreeSet::new(),
            bad: BTreeSet::new(),
            gates_closed: false,
            provider: "gatewayapi:v1",
            unconfirmed: false,
            refusing: BTreeSet::new(),
            silent: BTreeSet::new(),
            pressed: false,
            metrics_down: false,
            no_data: false,
            words: Vec::new(),
            distort: |_| {},
            deleting: false,
            gone: false,
            versions: "1/1".into(),
            recreate: false,
            status_writes: 0,
            log: Vec::new(),
            stages: Vec::new(),
            told: Vec::new(),
            alerts: Vec::new(),
            ids: BTreeSet::new(),
            route_since: now,
            led_since: now,
            judged: BTreeSet::new(),
            unjudged: false,
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

    /// The same with the provider that has no route.
    pub fn without_route(replicas: u32, analysis: &serde_json::Value) -> Self {
        Self {
            provider: KUBERNETES,
            ..Self::new(replicas, analysis)
        }
    }

    /// Whether a route shares the traffic.
    pub fn has_route(&self) -> bool {
        self.provider != KUBERNETES
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
            target.roll(template, now);
        }
    }

    /// A person sets an annotation about a template, with what comes behind its revision: a nonce, and perhaps more.
    pub fn say(&mut self, verb: Verb, template: u32, rest: &str) {
        self.words.retain(|said| said.verb != verb);
        self.words.push(Said {
            verb,
            value: format!("{}#{rest}", fingerprint(template)),
            by: Some("kubectl-annotate".into()),
            at: Some(self.now),
        });
    }

    /// The process dies; a successor knows nothing but the cluster.
    pub fn crash(&mut self) {
        self.memory = Memory::default();
        self.answers = Answers::default();
        self.pending.clear();
        self.last = None;
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
        let destination = |stands| if stands { Known::Present(true) } else { Known::Absent };
        let mut observation = Observation {
            subject: Subject {
                target: "podinfo".into(),
                apex: "podinfo".into(),
                provider: self.provider.into(),
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
            apex_endpoints: self.cached.apex.map_or(Known::Absent, Known::Present),
            destinations: self.has_route().then(|| DestinationFacts {
                primary: destination(self.cached.destinations.0),
                canary: destination(self.cached.destinations.1),
            }),
            route: self.cached.route.map_or(Known::Absent, |weight| {
                let (home, both) = (self.cached.handed_back, self.cached.announced.is_some());
                Known::Present(RouteFacts {
                    weight: (!home).then_some(weight),
                    drawn: (!home && !both).then(|| Traffic {
                        weight,
                        ..self.cached.traffic.clone()
                    }),
                    owned: self.cached.owned,
                    confirmed: if self.unconfirmed {
                        Confirmation::Pending
                    } else {
                        Confirmation::Confirmed
                    },
                    announced: !home || both,
                    apex_announced: home || both,
                    names_others: home || both,
                    parting: match (both, home) {
                        (true, true) => Some(Destination::Apex),
                        (true, false) if weight == Weight::ZERO => Some(Destination::Sides),
                        _ => None,
                    },
                    handed_back: home && !both,
                })
            }),
            stored: Known::Present(self.cached.stored.iter().cloned().collect()),
            finalizer: self.actual.finalizer,
            deleting: self.deleting,
            versions: self.versions.clone(),
            words: self.words.clone(),
            ..Observation::default()
        };
        (self.distort)(&mut observation);
        observation
    }

    /// A pass, if the controller would make one: something it watches has changed, or the time it asked for has come.
    pub fn pass_when_due(&mut self) {
        let (observation, canary) = (self.observe(), self.canary.clone());
        let changed = self.last.as_ref() != Some(&(observation, canary));
        let answered = self.pending.iter().any(|(at, ..)| self.now >= *at);
        if changed || answered || self.wake.is_some_and(|at| self.now >= at) {
            self.pass(None);
        }
    }

    /// One pass of the controller. `cut` stops it after that many writes, as a crash would.
    pub fn pass(&mut self, cut: Option<usize>) {
        self.run(cut, false);
    }

    /// One pass whose status write loses against another write of the Canary: everything is decided and nothing of it is done.
    pub fn pass_in_conflict(&mut self) {
        self.run(None, true);
    }

    fn run(&mut self, cut: Option<usize>, conflict: bool) {
        if self.gone {
            return;
        }
        let mut writes = 0;
        let cut = cut.unwrap_or(usize::MAX);
        let observation = self.observe();
        self.last = Some((observation.clone(), self.canary.clone()));
        let (block, now) = (self.block(), self.now);
        self.memory = remember(&self.memory, &self.canary, block.as_ref(), &observation, now);
        let arrived = self.receive();
        let round = ask(
            &self.canary,
            block.as_ref(),
            &observation,
            &self.memory,
            &self.answers,
            now,
        );
        let asked = round.is_some_and(|round| self.put(round));
        let arrived = self.receive() || arrived;
        let decision = advance(
            &self.canary,
            block.as_ref(),
            &observation,
            &self.memory,
            &self.answers,
            now,
        );
        let wake = decision.wake;
        assert!(wake.is_none_or(|at| at > now), "a wake-up in the past: {:#?}", self.log);
        // A controller that has written, or was answered, looks again at once.
        let at_once = decision.block.is_some() || decision.round_done || arrived || (asked && self.pending.is_empty());
        self.wake = if at_once { Some(now) } else { wake };
        if let Some(next) = &decision.block {
            if conflict {
                self.wake = Some(now);
                return;
            }
            if writes == cut {
                return self.crash();
            }
            writes += 1;
            self.write_status(block.as_ref(), next, &observation);
        }
        self.memory = decision.memory;
        if decision.round_done {
            self.answers = Answers::default();
            self.pending.clear();
        }
        let Some(block) = self.block() else { return };
        for assertion in render(&self.canary, &block, &observation, &self.memory, now) {
            if met(&assertion, &block, &observation, &self.memory) {
                continue;
            }
            if writes == cut {
                return self.crash();
            }
            writes += 1;
            self.wake = Some(now);
            self.apply(&assertion, &block, &observation);
            self.wake = Some(now);
        }
    }

    fn write_status(&mut self, before: Option<&Block>, next: &Block, observation: &Observation) {
        self.status_writes += 1;
        if self.stages.last() != Some(&next.stage) {
            self.stages.push(next.stage);
        }
        self.told.extend(next.notices.iter().map(|notice| notice.text.clone()));
        self.alerts.extend(
            next.notices
                .iter()
                .filter_map(|notice| Some(notice.alert.as_ref()?.message.clone())),
        );
        self.canary.status = Some(publish(&self.canary, next, self.now));
        let (stage, weight, reason) = (next.stage, next.weight, &next.why.reason);
        self.log.push(format!(
            "{} status {stage:?} weight {weight} ({reason})",
            self.now.format("%T")
        ));
        self.hold_status(before, next, observation);
    }

    /// Every status that is written keeps the laws, fits, and announces nothing by a name that was used.
    fn hold_status(&mut self, before: Option<&Block>, next: &Block, observation: &Observation) {
        let size = serde_json::to_string(next).expect("a block serialises").len();
        assert!(size < 16 * 1024, "the block has {size} bytes");
        for notice in &next.notices {
            let fresh = self.ids.insert(notice.id.clone());
            assert!(fresh, "two transitions share the id {}: {:#?}", notice.id, self.log);
        }
        let said = before.and_then(|before| next.words.followed_since(&before.words));
        if said.is_some_and(|said| matches!(said.verb, Verb::Promote | Verb::PromoteFull | Verb::Goto)) {
            // A person has judged.
            self.judged.extend(next.running.clone());
        }
        let held = self.moment().status(before, next, observation);
        assert!(held.is_ok(), "{held:?}: {:#?}", self.log);
    }

    /// So does every write to the world.
    fn hold_deed(&self, assertion: &Assertion, block: &Block, observation: &Observation) {
        let acts = self.deleting || !self.canary.spec.suspend;
        assert!(acts, "{assertion:?} while suspended");
        let held = self.moment().deed(assertion, block, observation);
        assert!(held.is_ok(), "{held:?}: {:#?}", self.log);
    }

    fn moment(&self) -> Moment<'_> {
        let spec = &self.canary.spec;
        Moment {
            now: self.now,
            patience: TimeDelta::seconds(60),
            interval: TimeDelta::seconds(10),
            memory: &self.memory,
            route_since: self.route_since,
            apex: self.actual.apex,
            judged: &self.judged,
            unjudged: self.unjudged,
            ready_thresholds: (spec.primary_ready_threshold(), spec.canary_ready_threshold()),
        }
    }
}
