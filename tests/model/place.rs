//! One state of the model: what is, what the caches show, what the process knows, and what may still happen.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serin::api::Canary;
use serin::rollout::{
    Answers, Assertion, Block, Fingerprint, Known, Memory, Observation, QuestionKey, RoundId, RunResult, Stage, Weight,
    advance,
};

use crate::cluster::{Cluster, Owned, Road, Selected, Versions, Workers, fingerprint};
use crate::spec::{Budget, Spec};

/// A write of a frozen process, on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Late {
    /// What it writes.
    pub what: LateWrite,
    /// What it was computed from.
    pub from: Versions,
    /// The Canary has the version yet that it was computed from.
    pub fits: bool,
}

/// The content of a late write.
#[derive(Debug, Clone, PartialEq)]
pub enum LateWrite {
    /// The status.
    Status(Arc<Block>),
    /// An object.
    Deed(Box<Assertion>),
}

/// A question that has no answer yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The check that it belongs to.
    pub round: RoundId,
    /// Its name in the check.
    pub key: QuestionKey,
    /// The revision that a metric judges; `None` for a hook.
    pub metric_of: Option<Fingerprint>,
}

/// What one process of the controller knows, and loses when it dies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Process {
    /// The core's memory.
    pub memory: Memory,
    /// Answers of the present check.
    pub answers: Answers,
    /// The question that is out.
    pub pending: Option<Pending>,
    /// When it asked to be woken.
    pub wake: Option<DateTime<Utc>>,
    /// Something changed that it has not looked at.
    pub due: bool,
}

/// What the team's Canary says beside its analysis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Wish {
    /// `spec.suspend`.
    pub suspended: bool,
    /// It is being deleted.
    pub deleting: bool,
}

/// One state.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that may go wrong by itself"
)]
pub struct Place {
    /// The time; each state is moved to the same one, since only spans matter.
    pub now: DateTime<Utc>,
    /// What the Canary asks for.
    pub wish: Wish,
    /// The same as the cache shows it.
    pub wish_seen: Wish,
    /// The Canary carries our finalizer.
    pub finalizer: bool,
    /// There is no Canary any more.
    pub gone: bool,
    /// What the API server holds.
    pub truth: Cluster,
    /// What the caches show of it.
    pub seen: Cluster,
    /// The ready pods that `EndpointSlices` show: primary, canary.
    pub endpoints: (u8, u8),
    /// The caches of objects stand still.
    pub lags: bool,
    /// The caches of endpoints stand still.
    pub endpoints_lag: bool,
    /// The API server refuses writes of the route.
    pub refuses: bool,
    /// The status.
    pub status: Arc<Block>,
    /// The status as the cache shows it.
    pub status_seen: Arc<Block>,
    /// Whether that is its latest version.
    pub status_is_seen: bool,
    /// The process that leads.
    pub process: Process,
    /// What its predecessor still has on its way.
    pub late: Option<Late>,
    /// What may still happen.
    pub left: Budget,
    /// Revisions that passed a check at the last step.
    pub judged: BTreeSet<Fingerprint>,
    /// Since when the route leads to where it does, at its weight, as far as anybody can know.
    pub route_since: DateTime<Utc>,
    /// Since when it names both the sides and the apex.
    pub both_since: DateTime<Utc>,
    /// The law that was broken on the way here.
    pub broken: Option<String>,
}

impl Place {
    /// A Canary at rest, with the first template promoted.
    pub fn at_rest(spec: &Spec) -> Self {
        let workers = |replicas| Workers {
            stands: true,
            template: 1,
            replicas,
            ready: replicas,
            old: 0,
            observed: true,
            generation: 0,
            attempt: None,
        };
        let truth = Cluster {
            target: workers(0),
            primary: workers(spec.replicas),
            sides: [true; 2],
            route: Road::HOME,
            route_version: 0,
            apex: Selected::Primary,
            apex_version: 0,
            stored: 0b10,
            owned: Owned {
                apex: true,
                route: true,
                sides: true,
            },
        };
        let block: Block = serde_json::from_value(serde_json::json!({
            "version": serin::rollout::VERSION, "stage": "Resting", "since": DateTime::UNIX_EPOCH,
            "subject": {"target": "", "apex": "", "provider": ""}, "run": 0, "weight": 0,
            "promoted": fingerprint(1), "capacity": spec.replicas,
            "outcome": {"result": "initialized", "reason": "Initialized", "message": ""},
            "why": {"reason": "Initialized", "message": ""},
        }))
        .expect("a block at rest must read");
        Self {
            finalizer: true,
            ..Self::of(spec, truth, block)
        }
    }

    /// A live application with a Canary that Serin has just seen, and a route of the team's own or none.
    pub fn live(spec: &Spec, canary: &Canary, route: Road) -> Self {
        let workers = Workers {
            stands: true,
            template: 1,
            replicas: spec.replicas,
            ready: spec.replicas,
            old: 0,
            observed: true,
            generation: 0,
            attempt: None,
        };
        let truth = Cluster {
            target: workers,
            primary: Workers {
                stands: false,
                template: 0,
                replicas: 0,
                ready: 0,
                ..workers
            },
            sides: [false; 2],
            route,
            route_version: 0,
            apex: Selected::Target,
            apex_version: 0,
            stored: 0,
            owned: Owned {
                apex: false,
                route: false,
                sides: false,
            },
        };
        // Without a status nothing is known but what stands, so that any block will do to look at it.
        let unborn = Self::of(spec, truth, Block::clone(&Self::at_rest(spec).status));
        let (now, observation) = (unborn.now, unborn.observe(spec));
        let first = advance(canary, None, &observation, &Memory::default(), &Answers::default(), now);
        let block = first.block.expect("a first block must come of a live application");
        Self::of(spec, unborn.truth, block)
    }

    fn of(spec: &Spec, truth: Cluster, block: Block) -> Self {
        let status = Arc::new(block);
        let mut place = Self {
            now: DateTime::UNIX_EPOCH,
            wish: Wish::default(),
            wish_seen: Wish::default(),
            finalizer: false,
            gone: false,
            seen: truth.clone(),
            endpoints: (truth.primary.serving(), truth.target.serving()),
            truth,
            lags: false,
            endpoints_lag: false,
            refuses: false,
            status_seen: status.clone(),
            status,
            status_is_seen: true,
            process: Process::default(),
            late: None,
            left: spec.budget,
            judged: BTreeSet::new(),
            route_since: DateTime::UNIX_EPOCH,
            both_since: DateTime::UNIX_EPOCH,
            broken: None,
        };
        place.process.due = true;
        place
    }

    /// What the controller observes.
    pub fn observe(&self, spec: &Spec) -> Observation {
        let [primary_service, canary_service, apex_service] = self.seen.services();
        let owned = self.seen.owned;
        let stored = (0..8).filter(|template| self.seen.stored & (1 << template) != 0);
        Observation {
            target: self.seen.target.workload(spec.recreate, false),
            primary: self.seen.primary.workload(spec.recreate, owned.sides),
            primary_endpoints: Some(self.endpoints.0.into()),
            canary_endpoints: Some(self.endpoints.1.into()),
            primary_service,
            canary_service,
            apex_endpoints: apex_service.as_ref().map(|apex| apex.selects),
            apex_service,
            route: self.seen.route.facts(owned.route),
            stored: Known::Present(stored.map(fingerprint).collect()),
            finalizer: self.finalizer,
            deleting: self.wish_seen.deleting,
            versions: "1/1".into(),
            ..Observation::default()
        }
    }

    /// The watches bring what has changed, unless they stand still.
    pub fn flow(&mut self) {
        if self.gone {
            return;
        }
        if !self.lags {
            self.process.due |= self.seen != self.truth || !self.status_is_seen;
            if self.seen.route.leads() != self.truth.route.leads() {
                self.route_since = self.now;
            }
            self.seen.clone_from(&self.truth);
            self.wish_seen = self.wish;
            self.status_seen.clone_from(&self.status);
            self.status_is_seen = true;
        }
        let endpoints = (self.truth.primary.serving(), self.truth.target.serving());
        if !self.endpoints_lag && self.endpoints != endpoints {
            self.endpoints = endpoints;
            self.process.due = true;
        }
    }

    /// A process that knows nothing but the cluster.
    pub fn successor(&mut self) {
        self.process = Process {
            due: true,
            ..Process::default()
        };
        (self.lags, self.endpoints_lag) = (false, false);
        self.flow();
        self.process.due = true;
    }

    /// The status is written by whoever got through.
    pub fn write_status(&mut self, next: Block) {
        self.status = Arc::new(next);
        self.supersede();
    }

    /// Somebody else changes the Canary.
    pub fn edit_canary(&mut self, change: impl FnOnce(&mut Wish)) {
        change(&mut self.wish);
        self.status_is_seen = false;
        self.supersede();
        if self.wish.deleting && !self.finalizer {
            self.go();
        }
    }

    /// Nothing keeps the Canary any more.
    pub fn go(&mut self) {
        self.gone = true;
        self.truth.collect();
        // What nobody looks at any more.
        self.process = Process::default();
        (self.late, self.lags, self.endpoints_lag, self.refuses) = (None, false, false, false);
    }

    /// A write of the Canary that was computed from an earlier version is refused from now on.
    pub fn supersede(&mut self) {
        if let Some(late) = &mut self.late {
            late.fits = false;
        }
    }

    /// Everything is as it should be, and stays so.
    pub fn rests(&self, spec: &Spec) -> bool {
        let (block, truth) = (&*self.status, &self.truth);
        if self.gone {
            return truth.answers();
        }
        let known = [&block.promoted, &block.last_failed];
        let wanted = Some(fingerprint(truth.target.template));
        block.stage == Stage::Resting
            && block.weight == Weight::ZERO
            && truth.route == Road::HOME
            && self.finalizer
            && truth.apex == Selected::Primary
            && truth.target.serving() == 0
            && truth.primary.ready >= truth.primary.replicas
            && truth.primary.old == 0
            && (block.promoted == Some(fingerprint(truth.primary.template)) || self.waits_for_a_person(spec))
            && known.contains(&&wanted)
            && block.outcome.as_ref().is_some_and(|outcome| {
                (outcome.result == RunResult::Failed) == (block.last_failed == wanted && block.promoted != wanted)
            })
    }

    /// A promotion that was called off arrived late, and undoing it would take all pods that serve.
    fn waits_for_a_person(&self, spec: &Spec) -> bool {
        spec.recreate && self.status.why.reason == "PrimaryOvertaken"
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let (block, truth) = (&*self.status, &self.truth);
        let workers = |it: &Workers| {
            format!(
                "{}x v{} {} ready{}",
                it.replicas,
                it.template,
                it.ready,
                if it.old > 0 {
                    format!(" {} old", it.old)
                } else {
                    String::new()
                }
            )
        };
        let behind = [
            (self.wish.suspended, " (suspended)"),
            (self.wish.deleting, " (being deleted)"),
            (self.gone, " (gone)"),
            (self.lags, " (objects lag)"),
            (self.endpoints_lag, " (endpoints lag)"),
            (self.refuses, " (route writes are refused)"),
            (self.late.is_some(), " (a write is late)"),
        ];
        let behind: String = behind.iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
        format!(
            "run {} {:?} at {} ({}), failed {}; route {}; apex {:?}; primary {}; target {}{behind}",
            block.run,
            block.stage,
            block.weight,
            block.why.reason,
            block.failed_checks,
            road(truth.route),
            truth.apex,
            workers(&truth.primary),
            workers(&truth.target),
        )
    }
}

fn road(road: Road) -> String {
    let Road {
        stands,
        to_apex,
        both,
        weight,
    } = road;
    match (stands, to_apex) {
        (false, _) => "none".to_owned(),
        (true, true) => format!("to the apex{}", if both { ", naming the sides" } else { "" }),
        (true, false) => format!("{weight}{}", if both { ", naming the apex" } else { "" }),
    }
}
