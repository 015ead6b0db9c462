//! `status` of a Canary: Flagger's public face, and Serin's own block beside it.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::number;

/// The status of a Canary.
///
/// See spec/core.md 1.4.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Where the release stands.
    #[serde(default)]
    pub phase: Phase,
    /// Failed checks of the run.
    #[serde(default, deserialize_with = "number::or_zero")]
    #[schemars(schema_with = "number::schema")]
    pub failed_checks: i64,
    /// Percent of the traffic on the canary.
    #[serde(default, deserialize_with = "number::or_zero")]
    #[schemars(schema_with = "number::schema")]
    pub canary_weight: i64,
    /// Checks done of a Blue/Green or A/B run. Flagger writes -1 for a weighted run that waits for its promotion.
    #[serde(default, deserialize_with = "number::or_zero")]
    #[schemars(schema_with = "number::schema")]
    pub iterations: i64,
    /// Cookie of the last run, to be expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_session_affinity_cookie: Option<String>,
    /// Cookie of this run, as `name=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_cookie: Option<String>,
    /// Cookie of the primary, as `name=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_session_affinity_cookie: Option<String>,
    /// `configmap/<name>` and `secret/<name>` to a checksum; absent when configs are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked_configs: Option<BTreeMap<String, String>>,
    /// Fingerprint of the last revision that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_spec: Option<String>,
    /// Fingerprint of the last revision that was promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_promoted_spec: Option<String>,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<DateTime<Utc>>,
    /// What is known for sure; `Promoted` is always the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Serin's own block. Its type belongs to the core, which alone reads and writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object")]
    pub serin: Option<Value>,
}

fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

impl CanaryStatus {
    /// The condition of a type, if it stands.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.type_ == type_)
    }
}

/// Flagger's closed set of phases; tools key on the exact spelling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Nothing was done yet.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// The primary is being made.
    Initializing,
    /// The primary serves; no run yet.
    Initialized,
    /// A run waits for the gate `confirm-rollout`.
    Waiting,
    /// A run is under way.
    Progressing,
    /// A run waits for the gate `confirm-promotion`.
    WaitingPromotion,
    /// The primary is being written.
    Promoting,
    /// All traffic is back on the primary.
    Finalising,
    /// The last run was promoted.
    Succeeded,
    /// The last run failed.
    Failed,
    /// The Canary is being deleted.
    Terminating,
    /// Declared by Flagger, never written.
    Terminated,
}

impl Phase {
    /// The spelling in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Initializing => "Initializing",
            Self::Initialized => "Initialized",
            Self::Waiting => "Waiting",
            Self::Progressing => "Progressing",
            Self::WaitingPromotion => "WaitingPromotion",
            Self::Promoting => "Promoting",
            Self::Finalising => "Finalising",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::Terminated => "Terminated",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One condition of the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about, for example `Promoted`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds: `True`, `False` or `Unknown`.
    #[schemars(with = "String")]
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people. Always written: Argo CD's health script reads it unguarded.
    #[serde(default)]
    pub message: String,
    /// When it was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<DateTime<Utc>>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<DateTime<Utc>>,
    /// The generation of the spec that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// Not known, or not decided yet.
    #[default]
    Unknown,
}

impl ConditionStatus {
    /// The spelling in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The types of conditions that Serin writes. The field is free text: others may stand beside them.
pub mod condition {
    /// Flagger's condition: whether the last revision was promoted.
    pub const PROMOTED: &str = "Promoted";
    /// Whether the Canary rests and serves what it should.
    pub const READY: &str = "Ready";
    /// Whether work is under way.
    pub const RECONCILING: &str = "Reconciling";
    /// Whether only a change of the spec or of the cluster helps.
    pub const STALLED: &str = "Stalled";
}
