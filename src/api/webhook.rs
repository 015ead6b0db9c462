//! `spec.analysis.webhooks[]`: calls to other systems during a run.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DurationText, OnTimeout, SecretRef,
    canary::is_false,
    duration::{FLAGGER_DURATION, GO_DURATION},
    number,
};

/// One hook.
///
/// See spec/core.md 4.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// When it is called; absent or empty means `rollout`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = [
        "",
        "confirm-rollout",
        "pre-rollout",
        "rollout",
        "confirm-promotion",
        "post-rollout",
        "event",
        "rollback",
        "confirm-traffic-increase"
    ]))]
    pub type_: Option<HookType>,
    /// Name, as events and alerts show it.
    pub name: String,
    /// Address that is called.
    pub url: String,
    /// Time for one try. Default 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = FLAGGER_DURATION))]
    pub timeout: Option<DurationText>,
    /// Tries after the first. Default 0.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub retries: Option<i64>,
    /// Do not verify the server's certificate.
    #[serde(default, rename = "disableTLS", skip_serializing_if = "is_false")]
    pub disable_tls: bool,
    /// Do not alert when this gate holds the run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mute_alert: bool,
    /// Sent along in the body.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How long a gate may hold the run; absent means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = GO_DURATION))]
    pub gate_timeout: Option<DurationText>,
    /// What happens when `gateTimeout` has passed. Default `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnTimeout>,
    /// A Secret whose keys and values are sent as headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_from: Option<SecretRef>,
    /// A Secret with `tls.crt` and `tls.key`, shown to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_from: Option<SecretRef>,
    /// A Secret with `ca.crt`, which the server's certificate is checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<SecretRef>,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HookType {
    /// Gate before a run scales anything up.
    ConfirmRollout,
    /// Once, before the first weight.
    PreRollout,
    /// At every check. An empty type means this.
    #[default]
    #[serde(alias = "")]
    Rollout,
    /// Gate before every weight.
    ConfirmTrafficIncrease,
    /// Gate before the promotion.
    ConfirmPromotion,
    /// Once, after the end.
    PostRollout,
    /// At every check: an answer of success asks for a rollback.
    Rollback,
    /// At every event.
    Event,
}

impl HookType {
    /// The spelling in the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmRollout => "confirm-rollout",
            Self::PreRollout => "pre-rollout",
            Self::Rollout => "rollout",
            Self::ConfirmTrafficIncrease => "confirm-traffic-increase",
            Self::ConfirmPromotion => "confirm-promotion",
            Self::PostRollout => "post-rollout",
            Self::Rollback => "rollback",
            Self::Event => "event",
        }
    }
}

impl fmt::Display for HookType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
