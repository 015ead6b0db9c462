//! The optional fields that Flagger does not have. Absent means Flagger's behaviour, as Serin corrects it.
//!
//! The schema carries all of them from the first day; one that is not built yet is refused by name (see
//! `support.rs`), never pruned.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, Metric, TrafficMatch, duration::GO_DURATION, number};

/// Percent of the traffic.
pub type Weight = u32;

// === Analysis ===

/// One step of `analysis.steps`: exactly one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Give the canary this percent of the traffic.
    SetWeight(#[schemars(range(min = 0, max = 100))] Weight),
    /// Wait.
    Pause(PauseStep),
    /// Size the canary apart from its weight.
    SetScale(SetScale),
    /// Send the testers to the canary.
    Preview(Preview),
    /// Copy traffic to the canary.
    Mirror(MirrorStep),
    /// Judge before going on.
    Analysis(AnalysisStep),
}

/// A wait; without a duration until a person resumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseStep {
    /// How long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = GO_DURATION))]
    pub duration: Option<DurationText>,
}

/// The canary's size: exactly one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SetScale {
    /// This many pods.
    Replicas(#[schemars(range(min = 0))] u32),
    /// This percent of the primary's pods.
    Weight(#[schemars(range(min = 0, max = 100))] Weight),
    /// Back to what the traffic weight needs.
    Match(bool),
}

/// A copy of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MirrorStep {
    /// Percent of the traffic that is copied.
    #[schemars(range(min = 0, max = 100))]
    pub weight: Weight,
}

/// A judgement inside the list of steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisStep {
    /// What is judged; absent: the metrics of the analysis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Traffic below which the step goes on measuring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<MinSamples>,
    /// How long it may go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = GO_DURATION))]
    pub max_duration: Option<DurationText>,
}

/// Testers who see the canary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// Their requests.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TrafficMatch>,
}

/// What a failed run does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// Put everything back.
    #[default]
    Rollback,
    /// Stay as it is until a person decides.
    Hold,
}

/// What is judged at the first deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnInit {
    /// Nothing.
    #[default]
    None,
    /// The hooks.
    Hooks,
    /// Hooks and metrics.
    Full,
}

/// The third verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inconclusive {
    /// Inconclusive checks in a row after which `action` is taken; absent: the run's `threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<u32>,
    /// What is done then. Default `pause`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<InconclusiveAction>,
}

/// What a run does that could not be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum InconclusiveAction {
    /// Wait for a person.
    #[default]
    Pause,
    /// Put everything back.
    Rollback,
    /// Promote.
    Promote,
}

// === Metrics ===

/// Verdict on a number that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnMissing {
    /// A failed check.
    Fail,
    /// No step and no failed check.
    Hold,
    /// A passed check.
    Pass,
    /// Neither.
    Inconclusive,
}

/// Traffic below which a number says nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MinSamples {
    /// Query that counts the samples; absent: the built-in request count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Least count.
    #[schemars(range(min = 0))]
    pub count: u32,
}

/// How several series become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reduce {
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
}

/// Whether a query may look back past the last weight change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MetricWindow {
    /// It may.
    #[default]
    Sliding,
    /// It may not.
    Strict,
}

/// A judgement against the primary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compare {
    /// What the canary is compared with. Default `primary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Baseline>,
    /// Query for the canary; absent: the metric's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Query for the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_query: Option<String>,
    /// Greatest increase over the baseline that is accepted, in percent.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::shortest"
    )]
    pub max_increase: Option<f64>,
    /// Difference that counts as none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::shortest"
    )]
    pub equivalence: Option<f64>,
    /// Probability of a false alarm, between 0 and 1.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::shortest"
    )]
    pub alpha: Option<f64>,
    /// Events on each side before a verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_events: Option<u32>,
    /// The statistics. Default `sequential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
}

/// What a canary is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Baseline {
    /// The primary.
    #[default]
    Primary,
}

/// The statistics of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Judge {
    /// A sequential test, which may be looked at at any time.
    #[default]
    Sequential,
    /// Mann-Whitney over a window, as Kayenta does it.
    Kayenta,
}

// === Hooks ===

/// What a gate does whose time is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnTimeout {
    /// Go on waiting.
    #[default]
    Hold,
    /// Put everything back.
    Rollback,
    /// Go on as if it had passed.
    Approve,
}

// === Promotion and rollback ===

/// `spec.promotion`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// What happens when the primary does not come up. Default `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<PromotionFailure>,
    /// Watch after the promotion, with the old revision kept ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Bake>,
}

/// What happens when the primary does not come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromotionFailure {
    /// The canary keeps all traffic until the primary comes up, a new revision comes or a person decides.
    #[default]
    Hold,
    /// The same, and each time that the patience has run out the primary's pods are made anew.
    Retry,
    /// The primary gets its last good revision back and then the traffic; the run has failed.
    RestorePrimary,
}

/// A watch after the promotion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bake {
    /// How long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = GO_DURATION))]
    pub duration: Option<DurationText>,
    /// What is judged; absent: the metrics of the analysis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
}

/// `spec.rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Revisions that a way back without analysis reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub window: Option<u32>,
    /// How long the pods of a failed canary are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = GO_DURATION))]
    pub scale_down_delay: Option<DurationText>,
    /// Seconds that connections may take to end before pods are taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub drain_seconds: Option<u32>,
}

/// How workloads without routed traffic are released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WorkStrategy {
    /// By the number of pods.
    Replicas,
    /// By the partition of a `StatefulSet`, in place.
    Partition,
}

// === Objects ===

/// One port of `service.ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Name, unique in the Service.
    pub name: String,
    /// Port of the Services.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
    /// Port of the pods, by number or name; absent: `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<IntOrString>,
    /// Application protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// A route that the user owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteRef {
    /// API group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// The rule or port of the route; absent: all that name the Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// When an edit of the scaler reaches the primary's copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ScalerSync {
    /// With the next promotion.
    #[default]
    OnPromotion,
    /// At once.
    Immediate,
}

/// How one config object of the target is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigTracking {
    /// `ConfigMap` or `Secret`.
    #[schemars(extend("enum" = ["ConfigMap", "Secret"]))]
    pub kind: String,
    /// Name.
    pub name: String,
    /// How it is followed.
    pub mode: ConfigMode,
}

/// How a config object is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConfigMode {
    /// The primary reads a copy that is made at promotion.
    Snapshot,
    /// The primary reads the original.
    Live,
    /// The primary reads the original and is rolled, without analysis, when it changes.
    LiveRestart,
}

/// A time in which runs may start, or may not: `allow` or `deny`, for that long from each time of the `cron`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{ "required": ["allow"] }, { "required": ["deny"] }]))]
pub struct ReleaseWindow {
    /// When it begins, in five fields.
    pub cron: String,
    /// IANA time zone of the cron. Default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// For how long runs may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = GO_DURATION))]
    pub allow: Option<DurationText>,
    /// For how long runs may not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = GO_DURATION))]
    pub deny: Option<DurationText>,
}
