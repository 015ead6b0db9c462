//! What people and machines are told, and the ids that keep it from being told twice.

use serde::{Deserialize, Serialize};

/// One message. It becomes, in this order: alerts, event hooks, a Kubernetes Event whose name is made from the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Unique within the Canary's uid: run, transition, place and number, such as `3-advance-20-17`. Lower case, digits and dashes. It
    /// is computed from the status alone: a decision that lost its write and is made again has the same.
    pub id: String,
    /// The text of the Event (`spec/core.md` 2.17).
    pub text: String,
    /// Whether the Event is a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// The Event's `action`: what happened, in one word such as `Advance`, `RollBack`.
    pub action: String,
    /// The phase in the payload of event hooks.
    pub phase: String,
    /// An alert that goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
    /// False for an alert that Flagger raises without an Event of its own.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub event: bool,
}

impl Notice {
    /// Goes with an alert. Its text is cut with the notice's own when the block is fitted.
    pub(super) fn alerts(&mut self, severity: Severity, message: &str) {
        self.alert = Some(Alert {
            severity,
            message: message.into(),
            with_fields: false,
        });
    }

    /// The same with the fields of the release.
    pub(super) fn alerts_with_fields(&mut self, severity: Severity, message: &str) {
        self.alert = Some(Alert {
            severity,
            message: message.into(),
            with_fields: true,
        });
    }
}

/// One alert (`spec/core.md` 2.12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// The text.
    pub message: String,
    /// Whether target, threshold, deadline and routing go with it as fields.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_fields: bool,
}

/// How bad an alert is; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As planned.
    Info,
    /// A person may want to look.
    Warn,
    /// The release failed, or cannot go on by itself.
    Error,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_true(value: &bool) -> bool {
    *value
}
