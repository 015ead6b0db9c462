//! `status.serin`: the program counter of one canary. Everything that must survive a crash stands here, nothing else does.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::notice::Notice;
use super::slots::Queued;
use super::weight::Weight;
use super::word::Words;
use crate::api::support;

/// The layout of [`Block`] that this version writes. A block of a newer layout is left alone, and the canary is held.
pub const VERSION: u32 = 1;

/// Texts in the block are cut to this many bytes, so that the block stays below 16 KiB (`design.md`, "The status").
pub const TEXT_LIMIT: usize = 256;

/// Where the canary stands and what it remembers (`status.serin`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// See [`VERSION`].
    pub version: u32,
    /// What is being done now.
    pub stage: Stage,
    /// When the stage was entered.
    pub since: DateTime<Utc>,
    /// What the canary rolls out, fixed from initialisation on.
    pub subject: Subject,
    /// The names by which the primary stood that serves while the canary is taken over anew: set from the end of
    /// [`Stage::Moving`] to the end of the initialisation behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Subject>,
    /// The scaler whose copy the primary has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaler: Option<String>,
    /// The number of the current or last run; 0 before the first.
    pub run: u64,
    /// The plan of the run that is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The canary's intended share of the traffic.
    pub weight: Weight,
    /// The share is one of the requests that meet `spec.analysis.match`; all others go to the primary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub matched: bool,
    /// The iteration that is on, from 1; 0 in a run that counts by weight, and outside of one. One more than the plan has while all
    /// traffic is on the canary behind them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub iterations: u32,
    /// The cookies that keep callers on their side.
    #[serde(default, skip_serializing_if = "Cookies::is_empty")]
    pub cookies: Cookies,
    /// The weight that the route was seen to carry when the reason was that it does not carry the intended one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_weight: Option<Weight>,
    /// What the primary runs, or is to run: the last good revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Fingerprint>,
    /// The promoted revision before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_promoted: Option<Fingerprint>,
    /// The revision under test, or the one that waits for `confirm-rollout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Fingerprint>,
    /// The last revision that failed: not tried again until another one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed: Option<Fingerprint>,
    /// The revision that a promotion, or a restore that was called off, last set out to give to the primary. A write of it that was
    /// under way when that was called off (of a process that froze meanwhile) may still arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<Fingerprint>,
    /// These revisions are known by what their pods read, too: configurations are followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Configurations that the primary reads as they are although others are followed, and why: a text for each name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub untracked: BTreeMap<String, String>,
    /// What the target looked like when it was last taken note of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// N: the primary's ready pods when the run started; its floor until traffic is home.
    #[serde(default)]
    pub capacity: u32,
    /// Failed checks of this run.
    #[serde(default)]
    pub failed_checks: u32,
    /// Checks in a row in which the metrics could not be read (`onError: hold`).
    #[serde(default)]
    pub unreachable_checks: u32,
    /// Checks in a row in which a metric had no number (`onNoData: hold`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dataless_checks: u32,
    /// Checks that had ended when this was written. A successor counts on from here, so that no two checks
    /// go by the same `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub checks: u32,
    /// Hooks that have passed or been refused and need not be told again: name to state. Emptied at each step, but for the hooks that
    /// run once a run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<String, GateState>,
    /// Until when the target has pods although nothing is going on: those of a revision that failed, which somebody may want to look
    /// at, or of a target that was made anew. Then they are taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<DateTime<Utc>>,
    /// What was last taken note of in the configurations for which the primary is rolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_configs: Option<LiveConfigs>,
    /// How often the primary was written anew because it did not come up (`spec.promotion.onFailure: retry`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Its place in line for a slot, while it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Queued>,
    /// The gate that keeps the run, or the revision that waits, back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<ClosedGate>,
    /// What persons said, and what holds because of it.
    #[serde(default, skip_serializing_if = "Words::is_empty")]
    pub words: Words,
    /// How the last run ended, or the present one is ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The last numbers read, one a metric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SampleRecord>,
    /// Why the canary stands where it stands.
    pub why: Why,
    /// How many notices there were so far: it numbers them, so that no two share an id.
    #[serde(default)]
    pub told: u64,
    /// What the last write of the status announced; told again by a successor that finds no Event of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What is being done now. Flagger's closed set of phases is the public face of it (`public.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// A live application is being taken over: primary, Services, route, apex, settle, target down.
    Initializing,
    /// Nothing is going on. The outcome tells how it came to this.
    Resting,
    /// A new revision waits for `confirm-rollout`.
    Waiting,
    /// The target is scaled up and gets ready; no traffic yet.
    Raising,
    /// The canary has its share of the traffic and is checked at each interval.
    Stepping,
    /// As stepping, at the last weight; `confirm-promotion` was refused.
    WaitingPromotion,
    /// The primary could not carry its share while it rolls: the canary takes all traffic first.
    Shielding,
    /// The primary's template was written; its roll is waited for.
    Promoting,
    /// The primary is ready; traffic goes home, at once or by `stepWeightPromotion`.
    Returning,
    /// Traffic is home after a promotion; the target goes down.
    Finalising,
    /// The run failed: traffic goes home, then the target goes down.
    RollingBack,
    /// The target returned to the promoted revision: traffic goes home, the target goes down, no failure.
    Reverting,
    /// A newer revision came: traffic goes home, then the run begins anew.
    Restarting,
    /// The primary did not come up after its template was written: traffic stays on the canary.
    HoldOnCanary,
    /// A new revision came while traffic is held on the canary: the primary gets the last good template back.
    Restoring,
    /// The spec names another target, Service or provider: what stands by the old names is handed back, then the new ones are
    /// taken over.
    Moving,
    /// The Canary is being deleted: the target gets everything back.
    Leaving,
}

/// The names a canary works on. Once objects exist by them they change by a move only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// `spec.targetRef.name`.
    pub target: String,
    /// `spec.service.name`, else the target's name.
    pub apex: String,
    /// The traffic provider, after the controller's default was applied.
    pub provider: String,
}

impl Subject {
    /// Whether a route shares its traffic. Without one all of it goes to the primary's pods, through the apex Service (`spec/routers.md`
    /// 6.1).
    pub fn has_route(&self) -> bool {
        self.provider != support::KUBERNETES
    }
}

/// What a run does, decided when it starts. Thresholds, metrics and hooks are read live instead.
///
/// One list of weights serves all strategies: a weighted run climbs it; an A/B test has one entry, all of the requests that match, and
/// stays there for its iterations; Blue/Green stays at nothing for its iterations, then has one entry, everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The weights in ascending order; the last one is where promotion is decided. Empty when analysis is skipped, and for Blue/Green
    /// without a route.
    pub steps: Vec<Weight>,
    /// Checks that the revision has to pass where it is tried first; 0 for a run that counts by weight.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub iterations: u32,
    /// The weights are of the requests that meet `spec.analysis.match`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub matched: bool,
    /// Percent of the requests that are copied to the canary before it has a share of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Weight>,
    /// How much traffic goes home at a time during promotion; `None`: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion_step: Option<Weight>,
}

/// The cookies of session affinity, each as `name=value` (`spec/core.md` 2.13). They stand here before any route names them, so that no
/// crash and no conflict gives a caller another one (W15).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cookies {
    /// Of callers that the canary answered, while it has a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Of callers that the primary answered, where the spec names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The canary's of the last run: taken back from whoever shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

impl Cookies {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.canary.is_none() && self.primary.is_none() && self.previous.is_none()
    }
}

/// The identity of a pod template: `v1:` and a sha-256 in hex over its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    /// Its first ten digits, as people can compare it.
    pub fn short(&self) -> &str {
        let hex = self.0.split_once(':').map_or(self.0.as_str(), |(_, hex)| hex);
        hex.get(..10).unwrap_or(hex)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells a real edit of the template from a change of its encoding (`design.md`, "Fingerprint").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// The target's `metadata.uid`: a Deployment that was deleted and made anew counts its revisions from the start.
    #[serde(default)]
    pub uid: String,
    /// The target's fingerprint when it was last taken note of.
    pub fingerprint: Fingerprint,
    /// The target's `deployment.kubernetes.io/revision` then: it moves only with the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// The target's `metadata.generation` then: while it stands, nobody edited anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Whether the target was paused then; a paused Deployment moves no anchor.
    #[serde(default)]
    pub paused: bool,
    /// The versions of Serin and Kubernetes then, as `serin/kubernetes`.
    pub versions: String,
}

/// Where one gate or once-a-run hook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateState {
    /// It passed; it is not asked again.
    Passed,
    /// It was refused and that has been said; it is asked again at each interval.
    Refused,
    /// No gate: something that is said once in a stage was said.
    Told,
}

/// Configurations that the primary reads live, and that are followed by rolling it (`configTracking[].mode: liveRestart`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveConfigs {
    /// The mark of what they say.
    pub seen: String,
    /// The primary is to be rolled for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub roll: bool,
}

/// A gate that was asked and said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClosedGate {
    /// Its key in [`Block::gates`].
    pub mark: String,
    /// Since when it has kept the release back.
    pub since: DateTime<Utc>,
}

/// How a run ended, or is about to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The result.
    pub result: RunResult,
    /// A word for machines, such as `FailedChecks`, `ProgressDeadlineExceeded`, `RollbackHook`, `MetricsUnavailable`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// The result of initialisation or of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunResult {
    /// The application was taken over; no run yet.
    Initialized,
    /// A revision was promoted, or the target came back to the promoted one.
    Succeeded,
    /// The run was rolled back.
    Failed,
}

/// The last reading of one metric, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleRecord {
    /// `analysis.metrics[].name`.
    pub metric: String,
    /// What was read: a number with its unit, or `no data`, or the error.
    pub value: String,
    /// The limits it was held against, such as `>= 99` or `<= 500ms`.
    pub limit: String,
    /// Whether it passed.
    pub passed: bool,
}

/// One sentence about the present, and what comes next (`design.md`, issue of the road: "What `advance` decides it explains").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// A word for machines. A change of it, or of what comes then, is a change of state and is written; one of the message alone is not.
    pub reason: String,
    /// A sentence for people, with the numbers at the time of writing.
    pub message: String,
    /// What is awaited, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaiting: Option<String>,
    /// Until when it is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// What happens then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
}
