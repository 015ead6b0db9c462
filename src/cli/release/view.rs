//! One Canary as the commands see it.

use chrono::{DateTime, Utc};
use kube::api::DynamicObject;
use serde_json::Value;

use crate::api::{Condition, condition};
use crate::rollout::{Block, Why};

/// What is read of a Canary. Nothing here fails: one whose spec or status cannot be read is shown as far as it can.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub namespace: String,
    pub name: String,
    pub raw: Value,
    /// Serin's own block; none before Serin has seen the Canary, or where a newer Serin wrote it.
    pub block: Option<Block>,
    pub conditions: Vec<Condition>,
}

impl View {
    pub(super) fn of(canary: &DynamicObject) -> Self {
        let raw = serde_json::to_value(canary).unwrap_or_default();
        let read = |pointer: &str| raw.pointer(pointer).cloned().unwrap_or_default();
        Self {
            namespace: canary.metadata.namespace.clone().unwrap_or_default(),
            name: canary.metadata.name.clone().unwrap_or_default(),
            block: serde_json::from_value(read("/status/serin")).ok(),
            conditions: serde_json::from_value(read("/status/conditions")).unwrap_or_default(),
            raw,
        }
    }

    /// `name.namespace`.
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.name, self.namespace)
    }

    pub(super) fn phase(&self) -> &str {
        match self.raw.pointer("/status/phase").and_then(Value::as_str) {
            None | Some("") => "Unseen",
            Some(phase) => phase,
        }
    }

    pub(super) fn weight(&self) -> i64 {
        let weight = self.raw.pointer("/status/canaryWeight");
        weight.and_then(Value::as_i64).unwrap_or_default()
    }

    /// The weight, and the one that the route was seen to carry where that is another one.
    pub(super) fn weights(&self) -> String {
        let intended = self.weight();
        let observed = self.block.as_ref().and_then(|block| block.observed_weight);
        observed.map_or_else(
            || intended.to_string(),
            |observed| format!("{intended} (the route has {observed})"),
        )
    }

    /// Since when it does what it does now.
    pub(super) fn since(&self) -> Option<DateTime<Utc>> {
        let block = self.block.as_ref().map(|block| block.since);
        let created = self.raw.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        block.or_else(|| created?.parse().ok())
    }

    /// Why it stands where it stands. What keeps Serin from doing anything at all comes first: the block says nothing of it.
    pub(super) fn why(&self) -> Why {
        let stalled = self
            .condition(condition::STALLED)
            .filter(|it| it.status.as_str() == "True");
        let block = self.block.as_ref().map(|block| &block.why);
        match (stalled, block) {
            (_, Some(why)) if stalled.is_none_or(|it| it.reason == why.reason) => why.clone(),
            (Some(stalled), _) => sentence(&stalled.reason, &stalled.message, "the Canary to be put right"),
            (None, Some(why)) => why.clone(),
            (None, None) => sentence(
                "Unseen",
                "no Serin has looked at this Canary yet",
                "a running controller",
            ),
        }
    }

    pub(super) fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

fn sentence(reason: &str, message: &str, awaiting: &str) -> Why {
    Why {
        reason: reason.into(),
        message: message.into(),
        awaiting: Some(awaiting.into()),
        until: None,
        then: None,
    }
}
