//! What one pass sees of the world, reduced to what decisions need. Made by the controller, read by the core.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::assertion::Destination;
use super::known::Known;
use super::scaler::ScalerFacts;
use super::slots::Full;
use super::state::{Fingerprint, Subject};
use super::traffic::Traffic;
use super::weight::{Side, Weight};
use super::word::Said;

/// The world around one canary at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, read from the object"
)]
pub struct Observation {
    /// The names that the spec asks for now, with the controller's default provider filled in.
    pub subject: Subject,
    /// The Deployment that the team edits.
    pub target: Known<Workload>,
    /// `<target>-primary`.
    pub primary: Known<Workload>,
    /// Ready pods of the primary by `EndpointSlices`: unique, ready, not terminating, its own. `None`: not known.
    pub primary_endpoints: Option<u32>,
    /// Ready pods of the target by `EndpointSlices`, like `primary_endpoints`.
    pub canary_endpoints: Option<u32>,
    /// The primary that stood by the names of [`super::Block::former`]: whether this Canary controls it. Read while it is to go.
    pub former_primary: Known<bool>,
    /// `<apex>-primary`.
    pub primary_service: Known<ServiceFacts>,
    /// `<apex>-canary`.
    pub canary_service: Known<ServiceFacts>,
    /// The Service that clients call.
    pub apex_service: Known<ServiceFacts>,
    /// Whose pods alone are behind it, by its `EndpointSlices`: they come after the selector, and the data plane follows them.
    pub apex_endpoints: Known<Selects>,
    /// The provider's route object.
    pub route: Known<RouteFacts>,
    /// What the provider draws beside each side's Service; `None` where it draws nothing there.
    pub destinations: Option<DestinationFacts>,
    /// The scaler whose copy the primary has, or is to have; `None` where the Canary names none.
    pub scaler: Option<ScalerFacts>,
    /// What the configurations say that the primary reads live and is rolled for (`liveRestart`), as one mark.
    pub live_configs: Known<String>,
    /// Whether configurations are followed, so that a revision is known by what its pods read, too. `None`: that cannot be told now.
    pub follows_configs: Option<bool>,
    /// Which of them the primary reads as they are, and why, for people; `None`: not known now.
    pub untracked: Option<BTreeMap<String, String>>,
    /// The revisions in the store whose content is intact.
    pub stored: Known<Vec<Fingerprint>>,
    /// The Canary carries our finalizer.
    pub finalizer: bool,
    /// The Canary is being deleted.
    pub deleting: bool,
    /// The namespace is being deleted: nothing can be created in it.
    pub namespace_terminating: bool,
    /// Another Canary owns the target, the apex or the route: its name and what is taken.
    pub taken_by: Option<Taken>,
    /// A write that the API server refused or a rival undid, and that has not succeeded since.
    pub obstacle: Option<Obstacle>,
    /// Why there is no slot for a release or an initialisation that wanted to begin in this pass.
    pub full: Option<Full>,
    /// What the spec asks for that must not be acted on: the field and what is wrong. A run that is on goes on; nothing new starts.
    pub refusals: Vec<Refusal>,
    /// What the spec refers to and what does not exist: no run starts without it.
    pub lacking: Vec<Refusal>,
    /// The analysis is not known: the spec cannot be read, and this process has never seen one that could.
    pub unreadable: bool,
    /// What persons say by annotations of the Canary, whether it was heard already or not.
    pub words: Vec<Said>,
    /// The versions of Serin and Kubernetes, as `serin/kubernetes`.
    pub versions: String,
}

/// A Deployment, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workload {
    /// `metadata.uid`.
    pub uid: String,
    /// The identity of its pod template as stored. For a primary: of the revision it was rendered from, where known.
    pub fingerprint: Option<Fingerprint>,
    /// Where the fingerprint also says what the configurations say that its pods read: the identity of the template alone, by which the
    /// same revision was known while nobody followed them.
    pub unpinned: Option<Fingerprint>,
    /// Of a primary whose recorded revision is in no store: the identity of what it runs, as far as its template tells.
    pub recovered: Option<Fingerprint>,
    /// Of a primary that was written anew because it did not come up: by which run, and which attempt of it.
    pub attempt: Option<(u64, u32)>,
    /// Of a primary that was rolled because something that it reads live has changed: the mark of what it said then.
    pub restarted: Option<String>,
    /// `deployment.kubernetes.io/revision`.
    pub anchor: Option<String>,
    /// `metadata.generation`, which every edit of the spec moves; `None` where it is not told, and then it proves nothing.
    pub generation: Option<u64>,
    /// `spec.paused`.
    pub paused: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// This Canary's uid controls it: a primary that is ours.
    pub owned: bool,
    /// `spec.replicas`, 1 if unset.
    pub replicas: u32,
    /// How its roll stands.
    pub rollout: Rollout,
    /// Pods that its strategy keeps ready in the worst moment of a roll: 0 for `Recreate`, else replicas − maxUnavailable.
    pub worst_ready: u32,
    /// Waiting reasons of its pods or conditions, such as `ImagePullBackOff`, for people.
    pub trouble: Option<String>,
}

impl Workload {
    /// How its roll stands, for people, with what troubles it.
    pub fn state(&self) -> String {
        format!("{}{}", self.rollout.message, self.troubled())
    }

    /// What troubles it, in parentheses; empty where nothing does.
    pub fn troubled(&self) -> String {
        self.trouble
            .as_ref()
            .map(|trouble| format!(" ({trouble})"))
            .unwrap_or_default()
    }
}

/// How far a Deployment's roll has come (`spec/core.md` 2.10).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rollout {
    /// `status.observedGeneration` has caught up with the object.
    pub observed: bool,
    /// Every pod is of the present template, none of an old one is left and enough are available.
    pub complete: bool,
    /// `status.updatedReplicas`.
    pub updated: u32,
    /// `status.availableReplicas` of the updated ones.
    pub available: u32,
    /// The Deployment says `ProgressDeadlineExceeded`.
    pub deadline_exceeded: bool,
    /// What is awaited, in Flagger's words, such as `waiting for rollout to finish: 0 out of 1 new replicas have been updated`.
    pub message: String,
}

/// A Service, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceFacts {
    /// Ports and metadata that we own are as rendered.
    pub drawn: bool,
    /// Which side its selector points at.
    pub selects: Selects,
    /// This Canary's uid controls it.
    pub owned: bool,
}

/// Whose pods a Service selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selects {
    /// The target's pods.
    Target,
    /// The primary's pods.
    Primary,
    /// Something else.
    #[default]
    Other,
}

/// The route object, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, read from the object"
)]
pub struct RouteFacts {
    /// The weight it carries; `None` when it does not split between our two Services (an adopted route before we touched it).
    pub weight: Option<Weight>,
    /// The intended traffic, where everything that we own in it is as rendered for that.
    pub drawn: Option<Traffic>,
    /// This Canary's uid controls it.
    pub owned: bool,
    /// The data plane has taken this generation, as far as the provider tells; `Err` has its words.
    pub confirmed: Confirmation,
    /// Every rule of ours names both side Services, whatever weight they have.
    pub announced: bool,
    /// Every rule of ours names the apex Service, whatever weight it has.
    pub apex_announced: bool,
    /// Some rule of ours names others beside the side Services, whatever weight they have.
    pub names_others: bool,
    /// Every rule of ours gives these Services all its traffic, and some still name others.
    pub parting: Option<Destination>,
    /// It routes to the apex Service alone: what `Leaving` hands back.
    pub handed_back: bool,
}

/// The objects by which a provider reaches the sides' Services, such as `DestinationRules`: whether each stands as rendered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DestinationFacts {
    /// The one of `<apex>-primary`.
    pub primary: Known<bool>,
    /// The one of `<apex>-canary`.
    pub canary: Known<bool>,
}

impl DestinationFacts {
    /// The one of a side.
    pub const fn of(&self, side: Side) -> &Known<bool> {
        match side {
            Side::Primary => &self.primary,
            Side::Canary => &self.canary,
        }
    }
}

/// Whether a router has accepted the present generation of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Confirmation {
    /// Its conditions say so.
    Confirmed,
    /// Not yet.
    #[default]
    Pending,
    /// It says that the route is not valid, in these words.
    Rejected(String),
    /// The provider tells nothing; a settle time stands in for it.
    Silent,
}

/// Another Canary came first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What is taken, such as `Deployment podinfo`.
    pub what: String,
    /// The Canary that has it.
    pub by: String,
}

/// Something in the spec that Serin does not act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The path of the field, such as `spec.analysis.stepWeights[2]`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Something in the way of drawing the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// A write was refused by the API server or an admission policy.
    Refused {
        /// Verb and object, such as `patch HTTPRoute podinfo`.
        what: String,
        /// The server's words.
        words: String,
    },
    /// A rival keeps changing what we hold.
    Contested {
        /// The object, such as `HTTPRoute podinfo`.
        what: String,
        /// The field manager that undid it.
        manager: String,
    },
}

/// What this process remembers of one canary and may lose: after a restart intervals begin again, deadlines are re-read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// The names of the objects that it is about.
    pub about: Option<Subject>,
    /// Since when the route has been seen drawn, confirmed and uncontested at this traffic, without a break.
    pub traffic_seen: Option<(Traffic, DateTime<Utc>)>,
    /// Since when the route has not been seen so, at the traffic of the status.
    pub undrawn_since: Option<DateTime<Utc>>,
    /// Since when the apex Service has been seen drawn towards this side, with its endpoints.
    pub apex_seen: Option<(Selects, DateTime<Utc>)>,
    /// Since when the target's template has this fingerprint: a commit is taken after one quiet second.
    pub template_seen: Option<(Fingerprint, DateTime<Utc>)>,
    /// The checks that ended so far.
    pub checks: u32,
    /// When the last check at this stage and weight ended.
    pub last_check: Option<DateTime<Utc>>,
    /// The number of the check during which the canary had too few ready pods.
    pub short_in: Option<u32>,
    /// What was missing last at this stage and weight.
    pub lacking: Option<Lack>,
    /// When a gate last refused.
    pub refused_at: Option<DateTime<Utc>>,
    /// What the lists of hooks and metrics looked like: questions are named by their place in them.
    pub lists: Option<u64>,
    /// The revision that `confirm-rollout` was last asked about.
    pub asked_about: Option<Fingerprint>,
    /// The most pods seen ready on the side that is awaited, and when that was: the deadline measures lack of progress.
    pub progress: Option<Progress>,
    /// Since when the route has been seen to name both side Services, confirmed.
    pub announced_seen: Option<DateTime<Utc>>,
    /// Since when the route has been seen to name the apex Service, confirmed.
    pub apex_announced_seen: Option<DateTime<Utc>>,
    /// What the route has been seen to give all traffic to while it still names others, confirmed, and since when.
    pub parting_seen: Option<(Destination, DateTime<Utc>)>,
    /// Since when the route has been seen handed back to the apex Service.
    pub handed_back_seen: Option<DateTime<Utc>>,
    /// The last known count of the primary's ready pods, and when it was known.
    pub primary_ready: Option<(u32, DateTime<Utc>)>,
    /// The answers to the rehearsal (dry run) of this run's writes, by run number.
    pub rehearsal: Option<(u64, Rehearsal)>,
    /// When this process began to act on the canary: start, leadership, or the end of a suspension.
    pub acting_since: Option<DateTime<Utc>>,
}

/// How far the awaited side has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The most ready pods seen in this stage.
    pub ready: u32,
    /// When that many were first seen.
    pub at: DateTime<Utc>,
}

/// Something that a step needs and that was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// When the patience with it ends.
    pub until: DateTime<Utc>,
    /// When it was last seen to be missing.
    pub seen: DateTime<Utc>,
}

/// What the API server said to the dry runs before the first weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rehearsal {
    /// It would accept every kind of write that the run will send.
    Accepted,
    /// It would refuse one: verb and object, and the server's words.
    Refused {
        /// Verb and object.
        what: String,
        /// The server's words.
        words: String,
    },
}
