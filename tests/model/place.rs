//! One state of the model: what is, what the caches show, what the process knows, and what may still happen.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serin::rollout::{
    Answers, Assertion, Block, Confirmation, Fingerprint, Known, Memory, Observation, QuestionKey, RoundId, RouteFacts,
    RunResult, Selects, ServiceFacts, Stage, Traffic, Weight,
};

use crate::cluster::{Cluster, Selected, Versions, Workers, fingerprint};
use crate::spec::{Budget, Spec};

/// A write of a frozen process, on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Late {
    /// What it writes.
    pub what: LateWrite,
    /// What it was computed from.
    pub from: Versions,
}

/// The content of a late write.
#[derive(Debug, Clone, PartialEq)]
pub enum LateWrite {
    /// The status; and whether nobody has written it since.
    Status(Arc<Block>, bool),
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

/// One state.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that may go wrong by itself"
)]
pub struct Place {
    /// The time; each state is moved to the same one, since only spans matter.
    pub now: DateTime<Utc>,
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
    /// Since when the route carries its weight, as far as anybody can know.
    pub route_since: DateTime<Utc>,
    /// The law that was broken on the way here.
    pub broken: Option<String>,
}

impl Place {
    /// A Canary at rest, with the first template promoted.
    pub fn at_rest(spec: &Spec) -> Self {
        let workers = |replicas| Workers {
            template: 1,
            replicas,
            ready: replicas,
            old: 0,
            observed: true,
            generation: 0,
        };
        let truth = Cluster {
            target: workers(0),
            primary: workers(spec.replicas),
            route: Weight::ZERO,
            route_version: 0,
            apex: Selected::Primary,
            apex_version: 0,
            stored: 0b10,
        };
        let block: Block = serde_json::from_value(serde_json::json!({
            "version": serin::rollout::VERSION, "stage": "Resting", "since": DateTime::UNIX_EPOCH,
            "subject": {"target": "", "apex": "", "provider": ""}, "run": 0, "weight": 0,
            "promoted": fingerprint(1), "capacity": spec.replicas,
            "outcome": {"result": "initialized", "reason": "Initialized", "message": ""},
            "why": {"reason": "Initialized", "message": ""},
        }))
        .expect("a block at rest must read");
        let status = Arc::new(block);
        let mut place = Self {
            now: DateTime::UNIX_EPOCH,
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
            broken: None,
        };
        place.process.due = true;
        place
    }

    /// What the controller observes.
    pub fn observe(&self, spec: &Spec) -> Observation {
        let service = |selects| {
            Known::Present(ServiceFacts {
                drawn: true,
                selects,
                owned: true,
            })
        };
        let stored = (0..8).filter(|template| self.seen.stored & (1 << template) != 0);
        Observation {
            target: Known::Present(self.seen.target.workload(spec.recreate)),
            primary: Known::Present(self.seen.primary.workload(spec.recreate)),
            primary_endpoints: Some(self.endpoints.0.into()),
            canary_endpoints: Some(self.endpoints.1.into()),
            primary_service: service(Selects::Primary),
            canary_service: service(Selects::Target),
            apex_service: service(self.seen.apex.into()),
            route: Known::Present(RouteFacts {
                weight: Some(self.seen.route),
                drawn: Some(Traffic::shared(self.seen.route)),
                owned: true,
                confirmed: Confirmation::Confirmed,
                announced: true,
                apex_announced: false,
                handed_back: false,
                names_others: false,
                parting: None,
            }),
            stored: Known::Present(stored.map(fingerprint).collect()),
            finalizer: true,
            versions: "1/1".into(),
            ..Observation::default()
        }
    }

    /// The watches bring what has changed, unless they stand still.
    pub fn flow(&mut self) {
        if !self.lags {
            self.process.due |= self.seen != self.truth || !self.status_is_seen;
            if self.seen.route != self.truth.route {
                self.route_since = self.now;
            }
            self.seen.clone_from(&self.truth);
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
        if let Some(Late {
            what: LateWrite::Status(_, fits),
            ..
        }) = &mut self.late
        {
            *fits = false;
        }
    }

    /// Everything is as it should be, and stays so.
    pub fn rests(&self, spec: &Spec) -> bool {
        let (block, truth) = (&*self.status, &self.truth);
        let known = [&block.promoted, &block.last_failed];
        let wanted = Some(fingerprint(truth.target.template));
        block.stage == Stage::Resting
            && block.weight == Weight::ZERO
            && truth.route == Weight::ZERO
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
            (self.lags, " (objects lag)"),
            (self.endpoints_lag, " (endpoints lag)"),
            (self.refuses, " (route writes are refused)"),
            (self.late.is_some(), " (a write is late)"),
        ];
        let behind: String = behind.iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
        format!(
            "run {} {:?} at {} ({}), failed {}; route {}; primary {}; target {}{behind}",
            block.run,
            block.stage,
            block.weight,
            block.why.reason,
            block.failed_checks,
            truth.route,
            workers(&truth.primary),
            workers(&truth.target),
        )
    }
}
