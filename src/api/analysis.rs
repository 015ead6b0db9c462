//! `spec.analysis`: the steps of a run and what is judged at each of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Compare, CrossNamespaceRef, DurationText, Inconclusive, MetricWindow, MinSamples, OnFailure, OnInit, OnMissing,
    Preview, Reduce, Step, StringMatch, Webhook,
    canary::is_false,
    duration::{FLAGGER_DURATION, GO_DURATION},
    number,
};

/// A reference to a `MetricTemplate`.
pub type TemplateRef = CrossNamespaceRef;

/// How a new revision is judged.
///
/// See spec/core.md 1.3. The raw fields are here; their defaults are methods (see `defaults.rs`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "oneOf" = [
        { "required": ["interval", "threshold", "iterations"] },
        { "required": ["interval", "threshold", "stepWeight"] },
        { "required": ["interval", "threshold", "stepWeights"] },
        { "required": ["interval", "threshold", "steps"] }
    ],
    "x-kubernetes-validations" = [{
        "message": "steps excludes maxWeight",
        "rule": "!has(self.steps) || !has(self.maxWeight)"
    }]
))]
pub struct Analysis {
    /// Time between two checks. Default 60 s, at least 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = FLAGGER_DURATION))]
    pub interval: Option<DurationText>,
    /// Failed checks that end the run. Default 1.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub threshold: Option<i64>,
    /// Checks of a Blue/Green or A/B run.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub iterations: Option<i64>,
    /// Percent of traffic at which the new revision is promoted. Default 100.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub max_weight: Option<i64>,
    /// Percent of traffic added by each step.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub step_weight: Option<i64>,
    /// Percents of traffic, step by step.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "number::list")]
    #[schemars(schema_with = "number::list_schema")]
    pub step_weights: Vec<i64>,
    /// Percent of traffic that returns to the primary with each step of a promotion; absent: at once.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub step_weight_promotion: Option<i64>,
    /// Copy traffic to the canary before it is given any.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mirror: bool,
    /// Percent of traffic that is copied.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub mirror_weight: Option<i64>,
    /// Percent of the primary's pods that must be ready. Default 100.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub primary_ready_threshold: Option<i64>,
    /// Percent of the canary's pods that must be ready. Default 100.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub canary_ready_threshold: Option<i64>,
    /// Requests that an A/B test sends to the canary.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TrafficMatch>,
    /// Objectives that the new revision must meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Who is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Calls to other systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook>,
    /// Keep a caller on the side that answered it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,

    /// The run as an explicit list of steps, instead of weights or iterations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Warm-up before the first check of a step. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = GO_DURATION))]
    pub initial_delay: Option<DurationText>,
    /// What a failed run does. Default `rollback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Percent of traffic that leaves a failed canary with each step; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub step_weight_rollback: Option<u32>,
    /// Testers who see the canary while weights move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Keep the target paused while it has weight.
    #[serde(default, skip_serializing_if = "is_false")]
    pub freeze_target: bool,
    /// What is judged at the first deployment. Default `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_init: Option<OnInit>,
    /// The third verdict: neither passed nor failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inconclusive: Option<Inconclusive>,
}

/// One objective: a built-in metric by name, an inline query, or a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// `request-success-rate`, `request-duration`, or a name of the user's own.
    pub name: String,
    /// How far the query looks back, as the query language spells it. Default `1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = FLAGGER_DURATION))]
    pub interval: Option<DurationText>,
    /// Flagger's older single bound: least for the success rate, greatest for all others.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::shortest"
    )]
    pub threshold: Option<f64>,
    /// The bounds; when present, even empty, `threshold` is not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_range: Option<Range>,
    /// An inline query for the controller's Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A template to ask by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<TemplateRef>,
    /// What `{{ variables.x }}` stands for in that template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template_variables: BTreeMap<String, String>,

    /// Verdict when the server answers with no number. Default `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnMissing>,
    /// Verdict when the server cannot be asked. Default `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnMissing>,
    /// Traffic below which the number says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<MinSamples>,
    /// Judged and shown, never counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Failed checks of this metric that end the run; absent: the run's `threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failure_limit: Option<i32>,
    /// Errors in a row that end the run; absent: the run's `threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub consecutive_error_limit: Option<i32>,
    /// Passed checks in a row that the run waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub consecutive_success_limit: Option<i32>,
    /// How several series become one number; absent: several series are an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce: Option<Reduce>,
    /// Whether the query may look back past the last weight change. Default `sliding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<MetricWindow>,
    /// Bounds past which traffic leaves the canary at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<Range>,
    /// Judge against the primary instead of a fixed bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
}

/// Bounds of a metric; a value on a bound is inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// Least value.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::shortest"
    )]
    pub min: Option<f64>,
    /// Greatest value.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::shortest"
    )]
    pub max: Option<f64>,
}

/// Someone who is told about a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Name of the alert.
    pub name: String,
    /// The provider that delivers it.
    pub provider_ref: CrossNamespaceRef,
    /// Least severity that is told. Default `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["", "info", "warn", "error"]))]
    pub severity: Option<Severity>,
}

/// How bad a piece of news is; ordered.
///
/// Flagger stays silent when the severity is absent or empty (spec/core.md 7.3 W26); here that means `info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Everything.
    #[default]
    #[serde(alias = "")]
    Info,
    /// What waits for a person, and worse.
    Warn,
    /// Failures.
    Error,
}

/// One alternative of `analysis.match`: all its conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficMatch {
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderMatch>,
    /// Query parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query_params: BTreeMap<String, StringMatch>,
    /// Labels of the calling workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_labels: BTreeMap<String, String>,
}

/// A match of one header; the schema demands exactly one of the four.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [
    { "required": ["exact"] },
    { "required": ["prefix"] },
    { "required": ["suffix"] },
    { "required": ["regex"] }
]))]
pub struct HeaderMatch {
    /// The whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// A regular expression (RE2) for the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// Keeps a caller on the side that answered it first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinity {
    /// Cookie of callers that the canary answered.
    pub cookie_name: String,
    /// Cookie of callers that the primary answered; absent: those are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_cookie_name: Option<String>,
    /// Attribute `Domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Attribute `HttpOnly`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub http_only: bool,
    /// Attribute `Max-Age` of the canary's cookie, in seconds. Default 86400; 0 means the default.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema", extend("default" = 86_400))]
    pub max_age: Option<i64>,
    /// Attribute `Partitioned`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partitioned: bool,
    /// Attribute `Path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Attribute `SameSite`: `Strict`, `Lax` or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Strict", "Lax", "None"]))]
    pub same_site: Option<String>,
    /// Attribute `Secure`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secure: bool,
}
